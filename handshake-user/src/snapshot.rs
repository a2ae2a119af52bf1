//! The read-only views that outputs get: an ended attempt with its names, and the summary.

pub mod metrics;

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

/// Events on their way from the kernel: offered = delivered + lost + `sampled_out`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct EventCounts {
    /// Packets that deserved an event.
    pub offered: u64,
    /// Events read from the rings.
    pub delivered: u64,
    /// Events that found no room.
    pub lost: u64,
    /// Events that were not made because their flow was outside the sample.
    pub sampled_out: u64,
    /// Events read later than the merge waits for; still counted, possibly out of order.
    pub late: u64,
    /// Events outside `--port`, `--net` and their like in `--filter`, or from before all hooks were
    /// attached, or after.
    pub filtered: u64,
    /// Ring records that were no event of ours.
    pub undecodable: u64,
}

/// Sampling by flow, while rings filled faster than they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SamplingSummary {
    /// 1 in so many flows is followed now; 1 is all.
    pub one_in: u64,
    /// The same when it was most.
    pub highest_one_in: u64,
    /// How long after the start flows were first left out; null if never.
    pub first_after_ns: Option<u64>,
    /// How long flows were left out, all in all.
    pub lasted_ns: u64,
    /// Attempts begun, had no flow been left out: an estimate.
    pub started: u64,
    /// Attempts ended by outcome, likewise.
    pub outcomes: BTreeMap<String, u64>,
}

/// What one of our programs has cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ProgramCost {
    /// Its name.
    pub name: String,
    /// Packets it ran for while this was measured; null if it was not (`--self-cost`).
    pub runs: Option<u64>,
    /// Time spent in it, likewise.
    pub time_ns: Option<u64>,
}

/// What handshake itself costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SelfCost {
    /// The programs that are loaded.
    pub programs: Vec<ProgramCost>,
    /// Kernel memory of maps, rings and programs, as the kernel accounts for it (`memlock` in
    /// `/proc/self/fdinfo`).
    pub kernel_memory_bytes: u64,
    /// Rings: one a CPU.
    pub rings: u64,
    /// Bytes of each ring.
    pub ring_bytes: u64,
    /// Bytes in the fullest ring when they were last read.
    pub ring_used_bytes: u64,
    /// The same, highest so far.
    pub ring_highest_bytes: u64,
    /// Entries of the filter's table that are in use.
    pub table_entries: u64,
    /// Entries it has.
    pub table_capacity: u64,
    /// CPU time of this process in user space.
    pub cpu_user_ns: u64,
    /// CPU time of this process in the kernel.
    pub cpu_system_ns: u64,
    /// Both, for each attempt begun; null before the first.
    pub cpu_per_attempt_ns: Option<u64>,
    /// Memory of this process at its highest.
    pub resident_highest_bytes: u64,
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
    /// Ended attempts that are part of a pattern, by pattern: `probe`, `scan`, `flood`.
    pub patterns: BTreeMap<String, u64>,
    /// Attempts whose watch after the completion is over, by what came: `reset-by-server`, `data` and so
    /// on.
    pub after: BTreeMap<String, u64>,
    /// Ended attempts of which no record was printed: `--filter` kept them back, or `--count` was
    /// reached.
    pub hidden: u64,
    /// Attempts that ended as uncertain: not all may have been seen of them.
    pub uncertain: u64,
    /// Copies of SYNs beyond the first, counted when they are seen.
    pub syn_retrans: u64,
    /// Copies of SYN-ACKs beyond the first, likewise.
    pub synack_retrans: u64,
    /// SYNs and SYN-ACKs of attempts that had ended.
    pub late_copies: u64,
    /// SYN-ACKs that answered no SYN of theirs, likewise.
    pub bad_synack: u64,
    /// RSTs that belonged to no attempt, likewise.
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
    /// Flows left out, and what that makes of the totals.
    pub sampling: SamplingSummary,
    /// What handshake itself costs; null in replay.
    pub self_cost: Option<SelfCost>,
}
