//! The closed list of outcomes: what became of an attempt, and what ended it.
//!
//! Names are API (`docs/outcomes.md`); rules are in the tracker.

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// SYN, SYN-ACK and third ACK all seen.
    Completed,
    /// Evidently completed, not all three seen.
    CompletedPartial,
    /// Two SYNs crossed and both were acknowledged.
    SimultaneousOpen,
    /// The server answered the SYN with RST.
    Refused,
    /// The server sent RST after its SYN-ACK.
    ResetByServer,
    /// The client sent RST after the SYN-ACK (a SYN scan looks like this).
    ResetByClient,
    /// The client sent RST before any answer.
    Aborted,
    /// An ICMP error quoted the SYN or SYN-ACK.
    IcmpUnreachable,
    /// SYN only, until the deadline.
    NoAnswer,
    /// SYN-ACK, never acknowledged.
    HalfOpen,
    /// We stopped watching first, or lost evidence that could have decided it.
    Unfinished,
    /// Our own table was full.
    Evicted,
}

impl Outcome {
    /// Every outcome, in the order of reports.
    pub const ALL: [Self; 12] = [
        Self::Completed,
        Self::CompletedPartial,
        Self::SimultaneousOpen,
        Self::Refused,
        Self::ResetByServer,
        Self::ResetByClient,
        Self::Aborted,
        Self::IcmpUnreachable,
        Self::NoAnswer,
        Self::HalfOpen,
        Self::Unfinished,
        Self::Evicted,
    ];

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CompletedPartial => "completed-partial",
            Self::SimultaneousOpen => "simultaneous-open",
            Self::Refused => "refused",
            Self::ResetByServer => "reset-by-server",
            Self::ResetByClient => "reset-by-client",
            Self::Aborted => "aborted",
            Self::IcmpUnreachable => "icmp-unreachable",
            Self::NoAnswer => "no-answer",
            Self::HalfOpen => "half-open",
            Self::Unfinished => "unfinished",
            Self::Evicted => "evicted",
        }
    }

    /// Did the handshake complete?
    #[must_use]
    pub fn is_completed(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedPartial | Self::SimultaneousOpen)
    }

    /// Do we know nothing of how it went, for reasons of our own?
    #[must_use]
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::Unfinished | Self::Evicted)
    }

    /// Did the client itself end it? That says nothing against the server.
    #[must_use]
    pub fn is_clients_doing(self) -> bool {
        matches!(self, Self::Aborted | Self::ResetByClient)
    }

    /// Did the network, the server or the client fail it?
    #[must_use]
    pub fn is_failure(self) -> bool {
        !self.is_completed() && !self.is_unknown()
    }
}

/// What ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// The handshake completed.
    Handshake,
    /// A valid RST.
    Rst,
    /// An ICMP error.
    Icmp,
    /// A SYN with another initial sequence number.
    Superseded,
    /// Its deadline.
    Timeout,
    /// The end of the input.
    Eof,
    /// Its deadline, but not all may have been seen while it was open: [`Doubt`] says why.
    Loss,
    /// Our own limit.
    Evicted,
}

impl EndedBy {
    /// Everything that ends an attempt.
    pub const ALL: [Self; 8] = [
        Self::Handshake,
        Self::Rst,
        Self::Icmp,
        Self::Superseded,
        Self::Timeout,
        Self::Eof,
        Self::Loss,
        Self::Evicted,
    ];

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Rst => "rst",
            Self::Icmp => "icmp",
            Self::Superseded => "superseded",
            Self::Timeout => "timeout",
            Self::Eof => "eof",
            Self::Loss => "loss",
            Self::Evicted => "evicted",
        }
    }
}

/// Why an attempt is uncertain: what may have kept us from seeing all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// Events were lost while it was open.
    Loss,
    /// An interface that saw it was not watched for a while.
    Gap,
    /// The filter changed while it was open.
    Reload,
    /// Flows were sampled: its beginning, or copies, may have been left out.
    Sampling,
}

impl Doubt {
    /// Every reason. If there are several, the first of them is told.
    pub const ALL: [Self; 4] = [Self::Loss, Self::Gap, Self::Reload, Self::Sampling];

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Gap => "gap",
            Self::Reload => "reload",
            Self::Sampling => "sampling",
        }
    }

    /// A few words for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Loss => "events were lost",
            Self::Gap => "not watched all the time",
            Self::Reload => "the filter changed",
            Self::Sampling => "flows were sampled",
        }
    }
}

/// One of the two ends of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Whose SYN opened it.
    Client,
    /// The other.
    Server,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}
