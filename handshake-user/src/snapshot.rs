//! The read-only views that outputs get: an ended attempt with its names, and the summary.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::attempt::{Attempt, Nanos};

/// The host's part in an attempt.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// This host opened it (also when it is both ends, as on loopback).
    Client,
    /// This host was asked.
    Server,
    /// Neither address is this host's.
    Forwarded,
}

impl Role {
    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Where a live attempt was first seen.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Interface name.
    pub interface: &'a str,
    /// Hook name.
    pub hook: &'static str,
    /// The host's part.
    pub role: Role,
}

/// An ended attempt as outputs get it.
#[derive(Debug, Clone, Copy)]
pub struct AttemptView<'a> {
    /// The attempt.
    pub attempt: &'a Attempt,
    /// `None` in replay.
    pub place: Option<Place<'a>>,
    /// Added to the attempt's times to get nanoseconds since 1970.
    pub to_wall: Nanos,
}

/// Percentiles of one latency, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Percentiles {
    /// Samples.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Largest.
    pub max_ns: u64,
}

/// The three parts of a handshake's latency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Latencies {
    /// SYN to SYN-ACK.
    pub server: Percentiles,
    /// SYN-ACK to third ACK.
    pub client: Percentiles,
    /// SYN to third ACK.
    pub total: Percentiles,
}

/// Events on their way from the kernel: offered = delivered + lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct EventCounts {
    /// Packets that deserved an event.
    pub offered: u64,
    /// Events read from the rings.
    pub delivered: u64,
    /// Events that found no room.
    pub lost: u64,
    /// Events read later than the merge waits for; still counted, possibly out of order.
    pub late: u64,
    /// Events outside `--port`, `--net` and their like in `--filter`, or from before all hooks were
    /// attached, or after.
    pub filtered: u64,
    /// Ring records that were no event of ours.
    pub undecodable: u64,
}

/// Everything there is to say at the end, or at any moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Summary {
    /// Attempts begun.
    pub started: u64,
    /// Attempts open now.
    pub open: u64,
    /// Attempts ended, by outcome; started = sum of outcomes + open.
    pub outcomes: BTreeMap<String, u64>,
    /// Ended attempts of which no record was printed: `--filter` kept them back, or `--count` was
    /// reached.
    pub hidden: u64,
    /// Attempts that ended while events had been lost.
    pub uncertain: u64,
    /// Copies of SYNs beyond the first.
    pub syn_retrans: u64,
    /// Copies of SYN-ACKs beyond the first.
    pub synack_retrans: u64,
    /// SYNs and SYN-ACKs of attempts that had ended.
    pub late_copies: u64,
    /// SYN-ACKs that answered no SYN of theirs.
    pub bad_synack: u64,
    /// RSTs that belonged to no attempt.
    pub bad_rst: u64,
    /// Latency of attempts in which nothing was sent twice.
    pub latency: Latencies,
    /// Latency of attempts with retransmissions.
    pub latency_retransmitted: Latencies,
    /// Packets seen at the hooks.
    pub packets_seen: u64,
    /// Packets by class; their sum is `packets_seen`.
    pub packets: BTreeMap<String, u64>,
    /// Events from the kernel to the tracker.
    pub events: EventCounts,
    /// The kernel's filter table: evictions and the like, by reason.
    pub filter: BTreeMap<String, u64>,
}
