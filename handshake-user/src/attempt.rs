//! An attempt and what is known of it: the record that every output shows.
//!
//! Times are nanoseconds, of boot time live and since 1970 in replay; latencies are signed,
//! because the times of a capture may go backwards, and saturate, because they may be anything.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use handshake_common::event::Event;
use handshake_common::options::Options;
use handshake_common::packet::tunnel::Layers;

use crate::outcome::{EndedBy, Outcome, Side};

/// Index of the interface and hook that saw a segment (`source::Sources`); 0 in replay.
pub type SourceId = u32;

/// One event, where it was seen, in which frame and wrapped in what.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// The event.
    pub event: Event,
    /// Which interface and hook.
    pub source: SourceId,
    /// Number of the frame in the capture, from 1; 0 live.
    pub frame: u64,
    /// Encapsulations of the frame if it can begin an attempt; none live, where the event has the
    /// VLAN ids.
    pub layers: Layers,
}

/// Nanoseconds on the clock of the source.
pub type Nanos = i64;

/// Address and port of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Address in network order, IPv4 mapped.
    pub address: [u32; 4],
    /// Port.
    pub port: u16,
}

/// Identifies an attempt among the open ones: client, server, family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Who opens.
    pub client: Endpoint,
    /// Who is asked.
    pub server: Endpoint,
    /// 4 or 6.
    pub ip_version: u8,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let word = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
        let (client, server) = (&self.client.address, &self.server.address);
        if self.ip_version == 6 {
            state.write_u64(word(client[0], client[1]));
            state.write_u64(word(client[2], server[0]));
            state.write_u64(word(server[1], server[2]));
        }
        state.write_u64(word(client[3], server[3]));
        let ports = u32::from(self.client.port) << 16 | u32::from(self.server.port);
        state.write_u64(word(ports, u32::from(self.ip_version)));
    }
}

impl Key {
    /// The key of an attempt whose client sent this segment.
    #[must_use]
    pub fn from_client(event: &Event) -> Self {
        Self {
            client: Endpoint { address: event.source, port: event.source_port },
            server: Endpoint { address: event.dest, port: event.dest_port },
            ip_version: event.ip_version,
        }
    }

    /// The same flow, seen as opened by the other end.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { client: self.server, server: self.client, ip_version: self.ip_version }
    }

    /// The client's address and port.
    #[must_use]
    pub fn client_addr(&self) -> SocketAddr {
        SocketAddr::new(ip_addr(self.client.address, self.ip_version), self.client.port)
    }

    /// The server's address and port.
    #[must_use]
    pub fn server_addr(&self) -> SocketAddr {
        SocketAddr::new(ip_addr(self.server.address, self.ip_version), self.server.port)
    }
}

/// The address of an event field.
#[must_use]
pub fn ip_addr(words: [u32; 4], ip_version: u8) -> IpAddr {
    if ip_version == 4 {
        return IpAddr::V4(Ipv4Addr::from(words[3].to_ne_bytes()));
    }
    let mut bytes = [0; 16];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    IpAddr::V6(Ipv6Addr::from(bytes))
}

/// What a SYN or SYN-ACK said of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Window, unscaled.
    pub window: u16,
    /// TCP flags ([`handshake_common::packet::tcp::Flags`]).
    pub flags: u16,
    /// Payload in bytes.
    pub payload_len: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    options_len: u8,
    options: [u8; 40],
}

impl Opening {
    /// The opening that an event reports.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            window: event.window,
            flags: event.tcp_flags,
            payload_len: event.payload_len,
            ttl: event.ttl,
            options_len: event.extra_len,
            options: event.extra,
        }
    }

    /// Its TCP options.
    #[must_use]
    pub fn options(&self) -> Options<'_> {
        Options::parse(&self.options[..usize::from(self.options_len).min(self.options.len())])
    }
}

/// The ICMP error that ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpEnd {
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub code: u8,
    /// Who sent it.
    pub source: IpAddr,
    /// Whose segment it quotes: the client's SYN or the server's SYN-ACK.
    pub quotes: Side,
}

/// Numbers of frames in the capture, for a human reader; 0 is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frames {
    /// First of the attempt.
    pub first: u64,
    /// First SYN.
    pub syn: u64,
    /// First copy of the SYN-ACK taken.
    pub synack: u64,
    /// Completing segment of the client.
    pub ack: u64,
    /// The one that ended it.
    pub end: u64,
    /// The other side's SYN in a simultaneous open.
    pub peer_syn: u64,
}

/// An attempt that is open now, for gauges and screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenView {
    /// 1, 2, … in order of first packet.
    pub id: u64,
    /// Who with whom.
    pub key: Key,
    /// Where its first segment was seen.
    pub source: SourceId,
    /// Time of its first packet.
    pub began: Nanos,
    /// Time of its last SYN or valid SYN-ACK.
    pub last: Nanos,
    /// Client's initial sequence number.
    pub client_isn: u32,
    /// A SYN-ACK was seen, or both ends sent a SYN.
    pub answered: bool,
    /// Answered, and the client's SYN was seen.
    pub two_sided: bool,
    /// What it is if it gets no further: `no-answer` or `half-open`.
    pub unanswered: Outcome,
    /// Copies of the SYN beyond the first.
    pub syn_retrans: u32,
    /// Copies of SYN-ACKs beyond the first of each server ISN.
    pub synack_retrans: u32,
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// 1, 2, … in order of first packet.
    pub id: u64,
    /// Who with whom.
    pub key: Key,
    /// Where its first segment was seen.
    pub source: SourceId,
    /// What became of it.
    pub outcome: Outcome,
    /// What ended it.
    pub ended_by: EndedBy,
    /// Time of its first packet.
    pub t_first: Nanos,
    /// First SYN.
    pub t_syn: Option<Nanos>,
    /// Last SYN.
    pub t_syn_last: Option<Nanos>,
    /// First copy of the SYN-ACK taken.
    pub t_synack: Option<Nanos>,
    /// Last valid SYN-ACK.
    pub t_synack_last: Option<Nanos>,
    /// Completing segment of the client.
    pub t_ack: Option<Nanos>,
    /// When it ended.
    pub t_end: Option<Nanos>,
    /// First SYN-ACK minus the last SYN before it; ambiguous (Karn) with retransmitted SYNs.
    pub rtt_server: Option<Nanos>,
    /// Third ACK minus the last copy of the SYN-ACK taken.
    pub rtt_client: Option<Nanos>,
    /// Copies of the SYN beyond the first.
    pub syn_retrans: u32,
    /// Copies of SYN-ACKs beyond the first of each server ISN.
    pub synack_retrans: u32,
    /// Distinct server ISNs seen in SYN-ACKs.
    pub synack_isns: u32,
    /// SYN-ACKs that do not answer this SYN.
    pub bad_synack: u32,
    /// RSTs that do not belong to it.
    pub bad_rst: u32,
    /// Client's initial sequence number.
    pub client_isn: u32,
    /// Server's, once seen.
    pub server_isn: Option<u32>,
    /// The SYN.
    pub syn: Option<Opening>,
    /// The SYN-ACK taken.
    pub synack: Option<Opening>,
    /// Payload of the completing client segment.
    pub ack_len: Option<u32>,
    /// Did the third ACK have exactly the expected numbers?
    pub ack_exact: Option<bool>,
    /// Who sent the RST that ended it.
    pub rst_from: Option<Side>,
    /// The ICMP error that ended it.
    pub icmp: Option<IcmpEnd>,
    /// Both ends sent a SYN.
    pub simultaneous: bool,
    /// An earlier attempt with the same ISN ended before this one.
    pub isn_repeat: bool,
    /// Events were lost while it was open: counts are lower bounds.
    pub uncertain: bool,
    /// It stands for 2^this attempts, of which only it was followed ([`handshake_common::sample`]).
    pub sample_shift: u8,
    /// VLAN ids of the first packet, outermost first.
    pub vlan: [u16; 2],
    /// How many of them.
    pub vlan_count: u8,
    /// All encapsulations of the first packet; replay only.
    pub layers: Option<Box<Layers>>,
    /// Frame numbers.
    pub frames: Frames,
}

impl Attempt {
    /// First SYN to first copy of the SYN-ACK taken: the server's part of what the user felt.
    #[must_use]
    pub fn latency_server(&self) -> Option<Nanos> {
        Some(self.t_synack?.saturating_sub(self.t_syn?))
    }

    /// First copy of the SYN-ACK taken to the third ACK: the client's part.
    #[must_use]
    pub fn latency_client(&self) -> Option<Nanos> {
        Some(self.t_ack?.saturating_sub(self.t_synack?))
    }

    /// First SYN to third ACK.
    #[must_use]
    pub fn latency_total(&self) -> Option<Nanos> {
        Some(self.t_ack?.saturating_sub(self.t_syn?))
    }

    /// First packet to the end.
    #[must_use]
    pub fn latency_end(&self) -> Option<Nanos> {
        Some(self.t_end?.saturating_sub(self.t_first))
    }

    /// Was any of its handshake segments sent twice (its latencies then contain timeouts)?
    #[must_use]
    pub fn is_retransmitted(&self) -> bool {
        self.syn_retrans > 0 || self.synack_retrans > 0
    }
}
