//! Names, counters and limits that the eBPF object and its loader share.

use crate::filter::{Class, Pending, Table};
use crate::packet::{Malformed, NotOurs};

/// Map and program names: at most 15 characters, the kernel's limit (`BPF_OBJ_NAME_LEN` - 1).
pub mod name {
    /// Array of ring buffers, one a CPU, created by user space.
    pub const RINGS: &str = "HS_RINGS";
    /// Array of filter buckets.
    pub const TABLE: &str = "HS_TABLE";
    /// Per-CPU counters, one row a hook.
    pub const COUNTERS: &str = "HS_COUNTERS";
    /// One value of [`super::state::WORDS`] words that both sides change.
    pub const STATE: &str = "HS_STATE";
    /// Global: [`crate::sample::fill_shift`] of the rings' size; 63 never samples.
    pub const FILL_SHIFT: &str = "HS_FILL_SHIFT";
    /// Global: buckets in the table, minus 1.
    pub const TABLE_MASK: &str = "HS_TABLE_MASK";
    /// Global: [`crate::flow::Keys::low`].
    pub const KEY_LOW: &str = "HS_KEY_LOW";
    /// Global: [`crate::flow::Keys::high`].
    pub const KEY_HIGH: &str = "HS_KEY_HIGH";
    /// Global: 1 if the first bytes of each frame shall follow its event ([`crate::kept`]).
    pub const KEEP_FRAMES: &str = "HS_KEEP_FRAMES";
    /// Global: 1 if what comes after a completion is wanted ([`crate::event::flag::WATCHED`]).
    pub const WATCHES: &str = "HS_WATCHES";
    /// XDP program for links with an Ethernet header.
    pub const XDP: &str = "hs_xdp";
    /// XDP program for links that start with IP.
    pub const XDP_IP: &str = "hs_xdp_ip";
    /// TC ingress program, Ethernet.
    pub const TC_INGRESS: &str = "hs_tc_in";
    /// TC ingress program, IP.
    pub const TC_INGRESS_IP: &str = "hs_tc_in_ip";
    /// TC egress program, Ethernet.
    pub const TC_EGRESS: &str = "hs_tc_out";
    /// TC egress program, IP.
    pub const TC_EGRESS_IP: &str = "hs_tc_out_ip";
    /// All programs.
    pub const PROGRAMS: [&str; 6] =
        [XDP, XDP_IP, TC_INGRESS, TC_INGRESS_IP, TC_EGRESS, TC_EGRESS_IP];
}

/// The words of [`name::STATE`].
pub mod state {
    /// The [`crate::sample::Shift`] in force. Programs raise it, user space lowers it.
    pub const SAMPLE_SHIFT: usize = 0;
    /// 1 while the reader of the rings sleeps without a timer to speak of: the program that makes the
    /// next event takes it away and wakes the reader.
    pub const ASLEEP: usize = 1;
    /// How many.
    pub const WORDS: usize = 2;
}

/// Most CPUs we can follow: slots of the array of rings (8 bytes each).
pub const MAX_CPUS: usize = 1024;
/// Default buckets of the filter table: 4,096 × 128 bytes are 512 KiB; the half of it that most packets
/// look at fits a second-level cache. 32,768 attempts can be pending at once.
pub const DEFAULT_BUCKETS: u32 = 4096;

/// Where a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hook {
    /// XDP, before the stack.
    Xdp = 0,
    /// TC ingress.
    TcIngress = 1,
    /// TC egress.
    TcEgress = 2,
}

impl Hook {
    /// All hooks in the order of their index.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::TcIngress, Self::TcEgress];

    /// The hook of an index, as an event carries it.
    #[must_use]
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::TcIngress => "tc-ingress",
            Self::TcEgress => "tc-egress",
        }
    }
}

/// The counters of one hook on one CPU. Each packet seen adds one to exactly one of the packet
/// classes (everything before [`Counter::EventsLost`]), so packets seen are their sum and events
/// offered are the sum of the first five: delivered, lost and sampled out together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Counter {
    /// SYN: an event, unless its flow is sampled out.
    Syn,
    /// SYN-ACK: an event, unless its flow is sampled out.
    SynAck,
    /// ACK, data or FIN of a pending attempt: an event.
    Ack,
    /// RST of a pending attempt: an event.
    Rst,
    /// ICMP error that quotes a pending attempt: an event.
    Icmp,
    /// ACK, data or FIN of no pending attempt.
    AckOther,
    /// RST of no pending attempt.
    RstOther,
    /// ICMP error that quotes TCP, but no pending attempt.
    IcmpErrorOther,
    /// TCP that no state machine accepts: SYN with FIN, or none of SYN, RST, ACK.
    Ignored,
    /// Not IP.
    NotIp,
    /// IP, not TCP.
    NotTcp,
    /// A fragment other than the first.
    Fragment,
    /// ICMP that ends no attempt.
    IcmpOther,
    /// Cut short.
    Short,
    /// Impossible IP header.
    BadIp,
    /// Impossible TCP header.
    BadTcp,
    /// Events that found their ring full.
    EventsLost,
    /// Events that found no ring for their CPU.
    EventsNoRing,
    /// SYNs and SYN-ACKs that made no event because their flow is outside the sample
    /// ([`crate::sample`]).
    SampledOut,
    /// Filter entries evicted that had evidence from one side.
    EvictedOneSided,
    /// Filter entries evicted that had evidence from both sides.
    EvictedTwoSided,
    /// Filter entries not written because two CPUs met.
    Contended,
    /// Filter entries given up after their budget of segments.
    Spent,
}

/// Counters of a hook.
pub const COUNTERS: usize = 23;
/// The first counters are packet classes.
pub const PACKET_CLASSES: usize = Counter::EventsLost as usize;
/// The first packet classes make events.
pub const EVENT_CLASSES: usize = Counter::AckOther as usize;

const _: () = assert!(Counter::Spent as usize + 1 == COUNTERS);

impl Counter {
    /// All counters in the order of their index.
    pub const ALL: [Self; COUNTERS] = [
        Self::Syn,
        Self::SynAck,
        Self::Ack,
        Self::Rst,
        Self::Icmp,
        Self::AckOther,
        Self::RstOther,
        Self::IcmpErrorOther,
        Self::Ignored,
        Self::NotIp,
        Self::NotTcp,
        Self::Fragment,
        Self::IcmpOther,
        Self::Short,
        Self::BadIp,
        Self::BadTcp,
        Self::EventsLost,
        Self::EventsNoRing,
        Self::SampledOut,
        Self::EvictedOneSided,
        Self::EvictedTwoSided,
        Self::Contended,
        Self::Spent,
    ];

    /// Those that say that the filter has forgotten attempts it does not name. A spent entry is not
    /// among them: it concerns one attempt after 255 segments, and one forged SYN on a busy
    /// connection would otherwise make every silence uncertain.
    pub const FORGETTING: [Self; 3] =
        [Self::EvictedOneSided, Self::EvictedTwoSided, Self::Contended];

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "synack",
            Self::Ack => "handshake-ack",
            Self::Rst => "rst",
            Self::Icmp => "icmp",
            Self::AckOther => "ack-other",
            Self::RstOther => "rst-other",
            Self::IcmpErrorOther => "icmp-error-other",
            Self::Ignored => "ignored",
            Self::NotIp => "not-ip",
            Self::NotTcp => "not-tcp",
            Self::Fragment => "fragment",
            Self::IcmpOther => "icmp-other",
            Self::Short => "short",
            Self::BadIp => "bad-ip",
            Self::BadTcp => "bad-tcp",
            Self::EventsLost => "ring-full",
            Self::EventsNoRing => "no-ring",
            Self::SampledOut => "sampled-out",
            Self::EvictedOneSided => "evicted-one-sided",
            Self::EvictedTwoSided => "evicted-two-sided",
            Self::Contended => "contended",
            Self::Spent => "spent",
        }
    }

    /// The counter of a frame that is none of ours.
    #[inline(always)]
    #[must_use]
    pub fn of_not_ours(reason: NotOurs) -> Self {
        match reason {
            NotOurs::NotIp => Self::NotIp,
            NotOurs::NotTcp => Self::NotTcp,
            NotOurs::Fragment => Self::Fragment,
            NotOurs::IcmpOther => Self::IcmpOther,
        }
    }

    /// The counter of a malformed frame.
    #[inline(always)]
    #[must_use]
    pub fn of_malformed(reason: Malformed) -> Self {
        match reason {
            Malformed::Short => Self::Short,
            Malformed::BadIp => Self::BadIp,
            Malformed::BadTcp => Self::BadTcp,
        }
    }

    /// The counter of a segment that is looked up in the table.
    #[inline(always)]
    #[must_use]
    pub fn of_segment(class: Class, pending: Pending) -> Self {
        match (class, pending) {
            (Class::Rst, Pending::No) => Self::RstOther,
            (Class::Rst, _) => Self::Rst,
            (_, Pending::No) => Self::AckOther,
            _ => Self::Ack,
        }
    }

    /// The counter of what a SYN or SYN-ACK did to the table, if anything is to be counted.
    #[inline(always)]
    #[must_use]
    pub fn of_table(effect: Table) -> Option<Self> {
        match effect {
            Table::Kept | Table::New | Table::Exhausted => None,
            Table::EvictedOneSided => Some(Self::EvictedOneSided),
            Table::EvictedTwoSided => Some(Self::EvictedTwoSided),
            Table::Contended => Some(Self::Contended),
        }
    }
}
