//! What the tracker made of one segment: a closed list, for whoever shows single packets.
//!
//! Names are API. The tracker decides; nothing is decided here. What became of a whole attempt is
//! `outcome`.

use crate::outcome::Outcome;

/// What a segment meant to the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// A SYN begins an attempt.
    Begins,
    /// A SYN-ACK whose SYN was not seen begins an attempt.
    BeginsWithSynAck,
    /// A SYN with another initial sequence number ends the open attempt and begins a new one.
    Supersedes,
    /// The same SYN again.
    SynAgain,
    /// The SYN of an attempt that began with its SYN-ACK.
    SynAfterSynAck,
    /// The other side's SYN: a simultaneous open.
    PeerSyn,
    /// The other side's SYN again.
    PeerSynAgain,
    /// The first SYN-ACK.
    Answers,
    /// The same SYN-ACK again.
    AnswersAgain,
    /// A SYN-ACK with another initial sequence number of the server.
    AnswersAnew,
    /// A SYN-ACK that answers no SYN of the attempt.
    BadSynAck,
    /// The handshake is complete.
    Completes,
    /// One of the two SYNs of a simultaneous open is acknowledged.
    AcknowledgesHalf,
    /// The server refuses.
    Refuses,
    /// Either side resets after the SYN-ACK.
    Resets,
    /// The client gives up before any answer.
    Aborts,
    /// A RST that is disbelieved.
    BadRst,
    /// An ICMP error ends the attempt.
    Unreachable,
    /// An ICMP error that ends nothing.
    IcmpWithoutEffect,
    /// An ACK, data or FIN that completes nothing.
    ProvesNothing,
    /// The segment was already seen at another interface or hook.
    Copy,
    /// A late copy of a segment of an attempt that has ended.
    LateCopy,
    /// A segment right after the completion.
    Follows,
    /// It belongs to no attempt.
    NotOurs,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 24] = [
        Self::Begins,
        Self::BeginsWithSynAck,
        Self::Supersedes,
        Self::SynAgain,
        Self::SynAfterSynAck,
        Self::PeerSyn,
        Self::PeerSynAgain,
        Self::Answers,
        Self::AnswersAgain,
        Self::AnswersAnew,
        Self::BadSynAck,
        Self::Completes,
        Self::AcknowledgesHalf,
        Self::Refuses,
        Self::Resets,
        Self::Aborts,
        Self::BadRst,
        Self::Unreachable,
        Self::IcmpWithoutEffect,
        Self::ProvesNothing,
        Self::Copy,
        Self::LateCopy,
        Self::Follows,
        Self::NotOurs,
    ];

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Begins => "begins",
            Self::BeginsWithSynAck => "begins-with-syn-ack",
            Self::Supersedes => "supersedes",
            Self::SynAgain => "syn-again",
            Self::SynAfterSynAck => "syn-after-syn-ack",
            Self::PeerSyn => "peer-syn",
            Self::PeerSynAgain => "peer-syn-again",
            Self::Answers => "answers",
            Self::AnswersAgain => "answers-again",
            Self::AnswersAnew => "answers-anew",
            Self::BadSynAck => "bad-syn-ack",
            Self::Completes => "completes",
            Self::AcknowledgesHalf => "acknowledges-half",
            Self::Refuses => "refuses",
            Self::Resets => "resets",
            Self::Aborts => "aborts",
            Self::BadRst => "bad-rst",
            Self::Unreachable => "unreachable",
            Self::IcmpWithoutEffect => "icmp-without-effect",
            Self::ProvesNothing => "proves-nothing",
            Self::Copy => "copy",
            Self::LateCopy => "late-copy",
            Self::Follows => "follows",
            Self::NotOurs => "not-ours",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Begins => "The SYN begins an attempt.",
            Self::BeginsWithSynAck => "The SYN-ACK begins an attempt whose SYN was not seen.",
            Self::Supersedes => {
                "The SYN has another initial sequence number: it ends the open attempt and begins a new one."
            }
            Self::SynAgain => "The client sent its SYN again.",
            Self::SynAfterSynAck => "The SYN of an attempt whose SYN-ACK was seen first.",
            Self::PeerSyn => "The other side sent a SYN too: a simultaneous open.",
            Self::PeerSynAgain => "The other side sent its SYN again.",
            Self::Answers => "The SYN-ACK answers the SYN.",
            Self::AnswersAgain => "The SYN-ACK was sent again.",
            Self::AnswersAnew => {
                "The SYN-ACK answers the SYN with another initial sequence number of the server."
            }
            Self::BadSynAck => "The SYN-ACK answers no SYN of the attempt.",
            Self::Completes => "The handshake is complete.",
            Self::AcknowledgesHalf => "One of the two SYNs that crossed is acknowledged.",
            Self::Refuses => "The server refuses the connection.",
            Self::Resets => "The connection is reset after the SYN-ACK.",
            Self::Aborts => "The client gives up before any answer.",
            Self::BadRst => "The RST does not fit the attempt and is disbelieved.",
            Self::Unreachable => "The ICMP error ends the attempt.",
            Self::IcmpWithoutEffect => "The ICMP error quotes nothing that could end the attempt.",
            Self::ProvesNothing => "The segment completes nothing.",
            Self::Copy => "A copy of a segment that another interface or hook has seen.",
            Self::LateCopy => "A late copy of a segment of an attempt that has ended.",
            Self::Follows => "It comes right after the completion.",
            Self::NotOurs => "The segment belongs to no attempt.",
        }
    }

    /// What a RST that ends an attempt with `outcome` does.
    pub(crate) fn of_rst(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Refused => Self::Refuses,
            Outcome::Aborted => Self::Aborts,
            _ => Self::Resets,
        }
    }
}

/// A verdict, and the attempt that it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Number of the attempt that the segment begins, continues, ends or is a late copy of.
    pub attempt: Option<u64>,
    /// What the segment meant.
    pub verdict: Verdict,
}

impl Judged {
    /// A segment of no attempt.
    pub const NOT_OURS: Self = Self { attempt: None, verdict: Verdict::NotOurs };

    /// A segment of an attempt.
    pub(crate) const fn of(attempt: u64, verdict: Verdict) -> Self {
        Self { attempt: Some(attempt), verdict }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Verdict;

    #[test]
    fn names_are_kebab_case_and_differ() {
        let names: HashSet<_> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
        assert_eq!(names.len(), Verdict::ALL.len());
        let plain = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(names.iter().all(plain));
        for (place, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, place, "{} is out of order", verdict.name());
            assert!(verdict.sentence().ends_with('.'));
        }
    }
}
