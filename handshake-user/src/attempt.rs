//! An attempt and what is known of it: the record that every output shows.
//!
//! Times are nanoseconds, of boot time live and since 1970 in replay; latencies are signed,
//! because the times of a capture may go backwards, and saturate, because they may be anything.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use handshake_common::event::Event;
use handshake_common::flow::{Flow, Keys};
use handshake_common::options::{Mptcp, Options};
use handshake_common::packet::tunnel::Layers;

use crate::after::After;
use crate::outcome::{Doubt, EndedBy, Outcome, Side};
use crate::pattern::Pattern;

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

/// A duration in nanoseconds; the longest there are if it is longer.
#[must_use]
pub fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// Address and port of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

    /// The fingerprint of the flow, as the programs make it of a packet.
    #[must_use]
    pub fn fingerprint(&self, keys: &Keys) -> u64 {
        let Self { client, server, ip_version } = self;
        let flow = if *ip_version == 6 {
            Flow::v6(client.address, server.address, client.port, server.port, keys)
        } else {
            Flow::v4(client.address[3], server.address[3], client.port, server.port, keys)
        };
        flow.fingerprint()
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opening {
    /// Payload in bytes.
    pub payload_len: u32,
    /// Window, unscaled.
    pub window: u16,
    /// TCP flags ([`handshake_common::packet::tcp::Flags`]).
    pub flags: u16,
    mss: u16,
    window_scale: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Which of the options there were: the constants below.
    options: u8,
    fast_open: Option<Box<Cookie>>,
}

/// A Fast Open cookie; options have 40 bytes, two of them for its kind and length.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    len: u8,
    bytes: [u8; 38],
}

impl Opening {
    const MSS: u8 = 1;
    const WINDOW_SCALE: u8 = 1 << 1;
    const SACK_PERMITTED: u8 = 1 << 2;
    const TIMESTAMPS: u8 = 1 << 3;
    /// Two bits: 0 is none, else which.
    const MPTCP_SHIFT: u32 = 4;

    /// The opening that an event reports.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let len = usize::from(event.extra_len).min(event.extra.len());
        let options = Options::parse(&event.extra[..len]);
        let mptcp = match options.mptcp {
            None => 0,
            Some(Mptcp::Capable) => 1,
            Some(Mptcp::Join) => 2,
            Some(Mptcp::Other) => 3,
        };
        let bit = |is_there: bool, bit: u8| if is_there { bit } else { 0 };
        Self {
            payload_len: event.payload_len,
            window: event.window,
            flags: event.tcp_flags,
            mss: options.mss.unwrap_or_default(),
            window_scale: options.window_scale.unwrap_or_default(),
            ttl: event.ttl,
            options: bit(options.mss.is_some(), Self::MSS)
                | bit(options.window_scale.is_some(), Self::WINDOW_SCALE)
                | bit(options.sack_permitted, Self::SACK_PERMITTED)
                | bit(options.timestamps, Self::TIMESTAMPS)
                | mptcp << Self::MPTCP_SHIFT,
            fast_open: options.fast_open.map(|cookie| Box::new(Cookie::of(cookie))),
        }
    }

    /// Its TCP options.
    #[must_use]
    pub fn options(&self) -> Options<'_> {
        let has = |bit: u8| self.options & bit != 0;
        Options {
            mss: has(Self::MSS).then_some(self.mss),
            window_scale: has(Self::WINDOW_SCALE).then_some(self.window_scale),
            sack_permitted: has(Self::SACK_PERMITTED),
            timestamps: has(Self::TIMESTAMPS),
            fast_open: self.fast_open.as_deref().map(Cookie::bytes),
            mptcp: match self.options >> Self::MPTCP_SHIFT {
                0 => None,
                1 => Some(Mptcp::Capable),
                2 => Some(Mptcp::Join),
                _ => Some(Mptcp::Other),
            },
        }
    }
}

impl Cookie {
    fn of(cookie: &[u8]) -> Self {
        let mut bytes = [0; 38];
        let len = cookie.len().min(bytes.len());
        bytes[..len].copy_from_slice(&cookie[..len]);
        Self { len: len as u8, bytes }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
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
    /// It is part of a health check, a scan or a flood ([`crate::pattern`]).
    pub pattern: Option<Pattern>,
    /// What came right after its completion; none if it was not completed, or not watched for it.
    pub after: Option<After>,
    /// Why not all may have been seen of it; then counts are lower bounds.
    pub uncertain: Option<Doubt>,
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
    /// An attempt of which nothing else is known: number and times 0, ended by a time-out.
    #[must_use]
    pub fn blank(key: Key, outcome: Outcome) -> Self {
        Self {
            id: 0,
            key,
            source: 0,
            outcome,
            ended_by: EndedBy::Timeout,
            t_first: 0,
            t_syn: None,
            t_syn_last: None,
            t_synack: None,
            t_synack_last: None,
            t_ack: None,
            t_end: None,
            rtt_server: None,
            rtt_client: None,
            syn_retrans: 0,
            synack_retrans: 0,
            synack_isns: 0,
            bad_synack: 0,
            bad_rst: 0,
            client_isn: 0,
            server_isn: None,
            syn: None,
            synack: None,
            ack_len: None,
            ack_exact: None,
            rst_from: None,
            icmp: None,
            simultaneous: false,
            isn_repeat: false,
            pattern: None,
            after: None,
            uncertain: None,
            sample_shift: 0,
            vlan: [0; 2],
            vlan_count: 0,
            layers: None,
            frames: Frames::default(),
        }
    }

    /// Does it say something against its service, or the way there? Not if it completed, if the client
    /// itself ended it, if its outcome is unknown, or if it is part of a pattern.
    #[must_use]
    pub fn is_service_failure(&self) -> bool {
        self.outcome.is_failure() && !self.outcome.is_clients_doing() && self.pattern.is_none()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the options say survives being kept in a few bits.
    #[test]
    fn an_opening_keeps_what_its_options_say() {
        let all: [&[u8]; 8] = [
            &[],
            &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
            &[2, 4, 0, 0, 3, 3, 0],
            &[34, 2],
            &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 30, 4, 0x10, 0],
            &[30, 4, 0x01, 0, 254, 6, 0xf9, 0x89, 9, 9],
            &[30, 4, 0x20, 0, 4, 2],
            &[2, 4, 5],
        ];
        for options in all {
            let mut event = Event { extra_len: options.len() as u8, ..Event::ZERO };
            event.extra[..options.len()].copy_from_slice(options);
            assert_eq!(Opening::of(&event).options(), Options::parse(options), "{options:?}");
        }
        let mut event = Event { extra_len: 40, ..Event::ZERO };
        event.extra = [7; 40];
        event.extra[..2].copy_from_slice(&[34, 40]);
        assert_eq!(Opening::of(&event).options().fast_open, Some(&[7; 38][..]));
    }
}
