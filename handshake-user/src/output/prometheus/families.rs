//! The names: which metrics there are, of which type, with which labels, and what they mean.
//!
//! This table is the only place of each: the endpoint is written from it, and `docs/metrics.md` is
//! compared with it. Names are API.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// A metric's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Samples in buckets, classic and native.
    Histogram,
    /// Always 1; the labels tell.
    Info,
}

impl Kind {
    /// The type's name in the documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    pub(super) fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The name as Prometheus stores it.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

impl Family {
    /// The name without the suffixes that its type and unit add, and the unit.
    pub(super) fn parts(&self) -> (&'static str, Option<Unit>) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let stem = self.name.strip_suffix(suffix).unwrap_or(self.name);
        for (ending, unit) in [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)] {
            if let Some(stem) = stem.strip_suffix(ending) {
                return (stem, Some(unit));
            }
        }
        (stem, None)
    }
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub(super) const $constant: Family =
                Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*
        /// Every metric, in the order of the endpoint.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD = Info "handshake_build_info" ["version", "kernel"]
        "Version of handshake and of the kernel it runs on";
    ATTEMPTS = Counter "handshake_attempts_total" ["interface", "role"]
        "Attempts begun: those that have ended and those that are open";
    OUTCOMES = Counter "handshake_outcomes_total" ["interface", "role", "outcome"]
        "Attempts ended, by what became of them";
    OPEN = Gauge "handshake_open_attempts" []
        "Attempts open now";
    HALF_OPEN = Gauge "handshake_half_open_attempts" []
        "Attempts open now that the server has answered and the client has not acknowledged";
    LATENCY = Histogram "handshake_latency_seconds" ["role", "part"]
        "Latency of completed attempts in which nothing was sent twice";
    LATENCY_RETRANSMITTED = Histogram "handshake_latency_retransmitted_seconds" ["role", "part"]
        "Latency of completed attempts with retransmissions";
    RETRANSMITS = Counter "handshake_retransmits_total" ["segment"]
        "Copies of SYNs and SYN-ACKs beyond the first";
    UNCERTAIN = Counter "handshake_uncertain_attempts_total" []
        "Attempts that ended as uncertain: not all may have been seen";
    LATE_COPIES = Counter "handshake_late_copies_total" []
        "SYNs and SYN-ACKs of attempts that had ended";
    DISBELIEVED = Counter "handshake_disbelieved_total" ["segment"]
        "SYN-ACKs and RSTs that belonged to no attempt";
    PATTERN_ATTEMPTS = Counter "handshake_pattern_attempts_total" ["pattern"]
        "Attempts ended that say nothing against their service, by what they are part of";
    ACTIVE_PATTERNS = Gauge "handshake_active_patterns" ["pattern"]
        "Health checks, scans and floods that go on now, 32 of each at most";
    SERVICE_OUTCOMES = Counter "handshake_service_outcomes_total"
        ["server_address", "server_port", "outcome"]
        "Attempts ended at one of the busiest services, by what became of them";
    SERVICE_FAILURES = Counter "handshake_service_failures_total"
        ["server_address", "server_port", "outcome"]
        "Attempts ended that count against one of the busiest services, by what became of them";
    SERVICE_RETRANSMITS = Counter "handshake_service_retransmits_total"
        ["server_address", "server_port", "segment"]
        "Copies of SYNs and SYN-ACKs in ended attempts at one of the busiest services";
    SERVICE_AFTER = Counter "handshake_service_after_total" ["server_address", "server_port", "after"]
        "Completed attempts at one of the busiest services, by what came right after";
    SERVICE_SLOW = Gauge "handshake_service_slow" ["server_address", "server_port", "half"]
        "1 if that half of the handshakes is slower than is usual for the service, 0 if it was";
    SERVICE_LATENCY = Histogram "handshake_service_latency_seconds"
        ["server_address", "server_port", "part"]
        "Latency of completed attempts in which nothing was sent twice, at the very busiest services";
    SERVICE_OPEN = Gauge "handshake_service_open_attempts" ["server_address", "server_port"]
        "Attempts open now at one of the busiest services";
    SERVICE_HALF_OPEN = Gauge "handshake_service_half_open_attempts"
        ["server_address", "server_port"]
        "Attempts open now that one of the busiest services has answered";
    SERVICE_ACTIVE = Counter "handshake_service_active_seconds_total"
        ["server_address", "server_port"]
        "Seconds in which an attempt at the service completed or failed";
    SERVICE_FAILED = Counter "handshake_service_failed_seconds_total"
        ["server_address", "server_port"]
        "Active seconds in which no attempt completed and one failed, not by the client's doing";
    PACKETS = Counter "handshake_packets_total" ["class"]
        "Packets seen at the hooks, by class";
    EVENTS_OFFERED = Counter "handshake_events_offered_total" []
        "Packets that deserved an event";
    EVENTS_DELIVERED = Counter "handshake_events_delivered_total" []
        "Events read from the rings";
    EVENTS_LOST = Counter "handshake_events_lost_total" ["reason"]
        "Events that found no room; offered = delivered + lost + sampled out";
    EVENTS_SAMPLED_OUT = Counter "handshake_events_sampled_out_total" []
        "Events that were not made because their flow was outside the sample";
    EVENTS_LATE = Counter "handshake_events_late_total" []
        "Events read later than the merge waits for";
    EVENTS_FILTERED = Counter "handshake_events_filtered_total" []
        "Events outside the selection, or from before or after the watch";
    EVENTS_UNDECODABLE = Counter "handshake_events_undecodable_total" []
        "Ring records that were no event";
    FILTER = Counter "handshake_filter_total" ["effect"]
        "What happened in the kernel's table of pending attempts beside its use";
    SAMPLING = Gauge "handshake_sampling_one_in" []
        "1 in so many flows is followed now; 1 is all";
    ATTEMPTS_ESTIMATED = Counter "handshake_attempts_estimated_total" []
        "Attempts begun, had no flow been left out: an estimate";
    OUTCOMES_ESTIMATED = Counter "handshake_outcomes_estimated_total" ["outcome"]
        "Attempts ended, had no flow been left out: an estimate";
    RING_CAPACITY = Gauge "handshake_ring_capacity_bytes" []
        "Size of each CPU's ring";
    RING_USED = Gauge "handshake_ring_used_bytes" []
        "Bytes in the fullest ring when they were last read";
    RING_HIGHEST = Gauge "handshake_ring_highest_bytes" []
        "Bytes in the fullest ring, highest so far";
    PROGRAM_RUNS = Counter "handshake_program_runs_total" ["program"]
        "Packets that a program ran for while this was measured";
    PROGRAM_SECONDS = Counter "handshake_program_run_seconds_total" ["program"]
        "Time spent in a program while this was measured";
    TABLE_ENTRIES = Gauge "handshake_table_entries" ["table"]
        "Entries of a table now";
    TABLE_CAPACITY = Gauge "handshake_table_capacity" ["table"]
        "Entries of a table at most";
    EVICTIONS = Counter "handshake_evictions_total" ["table"]
        "Entries that had to give way to newer ones before they were done with";
    ATTACHED = Gauge "handshake_interface_attached" ["interface", "hook", "mode"]
        "1 if the hook of the interface is attached, 0 if it was";
    KERNEL_MEMORY = Gauge "handshake_kernel_memory_bytes" []
        "Kernel memory of maps, rings and programs";
    CPU = Counter "process_cpu_seconds_total" []
        "Total user and system CPU time spent in seconds";
    RESIDENT = Gauge "process_resident_memory_bytes" []
        "Resident memory size in bytes";
    VIRTUAL = Gauge "process_virtual_memory_bytes" []
        "Virtual memory size in bytes";
    OPEN_FDS = Gauge "process_open_fds" []
        "Number of open file descriptors";
    MAX_FDS = Gauge "process_max_fds" []
        "Maximum number of open file descriptors";
    START_TIME = Gauge "process_start_time_seconds" []
        "Start time of the process since unix epoch in seconds";
}
