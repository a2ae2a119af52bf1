//! Is a service slower than it usually is? Judged by its own numbers only: no fixed limit would suit both
//! a database next door and a server on another continent.
//!
//! Two samples are compared: the last minute ([`Sample`] of the attempts that completed in it) and the
//! 14 minutes before that, what is *usual*. A service is slow if one of these holds for the minute:
//!
//! - **retransmitted**: at least [`RETRANSMITTED`] attempts, and at least 2% of them, completed only
//!   after something was sent twice, and that is at least three times the usual part. Where nothing is
//!   known of what is usual, none is: 2% is no normal network.
//! - **p99**: of one half, the p99 is above three times the usual p99 and at least 20 ms more. For that
//!   to rest on three attempts at least, of 20 to 199 samples the p90 is taken instead; fewer, and a
//!   usual sample of fewer than 20, tell nothing. Attempts in which something was sent twice are no
//!   samples.
//!
//! The half: *server* is from the SYN to the SYN-ACK, *client* from the SYN-ACK to the third ACK, as seen
//! from where they are watched. Copies of SYN-ACKs belong to the client's half (a SYN that comes again
//! after its answer makes one, too), copies of SYNs alone to the server's.
//!
//! [`Watch`] follows one service. It keeps what was usual when the service became slow, because the slow
//! minutes are soon part of the 15; the service is slow until its minute has been below half of these
//! limits for ten seconds, or for an hour: by then it is what it is. No clock, no I/O.

use crate::attempt::Nanos;
use crate::snapshot::Percentiles;

/// Attempts that completed after a copy, at least.
pub const RETRANSMITTED: u64 = 5;
/// Samples that tell anything, at least.
pub const SAMPLES: u64 = 20;
/// From so many on, the p99 rests on three of them.
const P99_SAMPLES: u64 = 200;
/// A part of all, retransmitted, that is no noise.
const PART: f64 = 0.02;
/// So many times what is usual.
const TIMES: f64 = 3.0;
/// Latencies that differ by less are the same to users.
const MORE_NS: f64 = 20e6;
/// How long the signs must be good before it is over.
const OVER_FOR: Nanos = 9_900_000_000;
/// For how long what was usual is remembered.
const REMEMBERED: Nanos = 3_600_000_000_000;

/// What completed at a service within some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Attempts completed.
    pub completed: u64,
    /// Those of them in which something was sent twice.
    pub retransmitted: u64,
    /// Copies of SYNs, of attempts of any outcome.
    pub syn_copies: u64,
    /// Copies of SYN-ACKs, likewise.
    pub synack_copies: u64,
    /// SYN to SYN-ACK where nothing was sent twice.
    pub server: Percentiles,
    /// SYN-ACK to third ACK, likewise.
    pub client: Percentiles,
}

impl Sample {
    fn part(&self) -> f64 {
        if self.completed == 0 { 0.0 } else { self.retransmitted as f64 / self.completed as f64 }
    }

    fn of(&self, half: Half) -> &Percentiles {
        match half {
            Half::Server => &self.server,
            Half::Client => &self.client,
        }
    }
}

/// Where the time goes, seen from where it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Half {
    /// From the SYN to the SYN-ACK: the server and the way to it.
    Server,
    /// From the SYN-ACK to the third ACK: the client and the way to it.
    Client,
}

impl Half {
    /// Both, in the order of a handshake.
    pub const ALL: [Self; 2] = [Self::Server, Self::Client];

    /// Its name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// Why a service is called slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// Its p99 is far above its usual one.
    P99,
    /// Connects need a second try.
    Retransmitted,
}

impl Why {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::P99, Self::Retransmitted];

    /// Its name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::P99 => "p99",
            Self::Retransmitted => "retransmitted",
        }
    }
}

/// A slow service, with the evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    /// Which half of the handshake.
    pub half: Half,
    /// By what it is told.
    pub why: Why,
    /// p99 of that half this minute.
    pub p99_ns: u64,
    /// Its usual p99; none where too little is known.
    pub usual_p99_ns: Option<u64>,
    /// Attempts that completed this minute.
    pub completed: u64,
    /// Those of them in which something was sent twice.
    pub retransmitted: u64,
    /// Part of the attempts, from 0 to 1, in which something usually is.
    pub usual_retransmitted_part: f64,
}

/// How far above the usual: 1 to become slow, less to stay so.
#[derive(Debug, Clone, Copy)]
struct Strictness(f64);

const BECOMES: Strictness = Strictness(1.0);
const STAYS: Strictness = Strictness(0.5);

/// Judges the last minute by what is usual: the 15 minutes to now without that minute.
///
/// Retransmissions come first: what users wait for them is a second and more.
#[must_use]
pub fn judge(minute: &Sample, usual: &Sample) -> Option<Slow> {
    judge_by(minute, usual, BECOMES)
}

fn judge_by(minute: &Sample, usual: &Sample, strictness: Strictness) -> Option<Slow> {
    let verdict = |half, why| Slow {
        half,
        why,
        p99_ns: minute.of(half).p99_ns,
        usual_p99_ns: (usual.of(half).count >= SAMPLES).then_some(usual.of(half).p99_ns),
        completed: minute.completed,
        retransmitted: minute.retransmitted,
        usual_retransmitted_part: usual.part(),
    };
    if is_retransmitted(minute, usual, strictness) {
        let is_clients = minute.synack_copies > 0 && minute.synack_copies * 2 >= minute.syn_copies;
        let half = if is_clients { Half::Client } else { Half::Server };
        return Some(verdict(half, Why::Retransmitted));
    }
    let slow = Half::ALL
        .into_iter()
        .filter(|half| is_above(minute.of(*half), usual.of(*half), strictness));
    // Of two slow halves, the one that costs more.
    let half =
        slow.max_by_key(|half| minute.of(*half).p99_ns.saturating_sub(usual.of(*half).p99_ns))?;
    Some(verdict(half, Why::P99))
}

fn is_retransmitted(minute: &Sample, usual: &Sample, Strictness(by): Strictness) -> bool {
    let usual_part = if usual.completed >= SAMPLES { usual.part() } else { 0.0 };
    minute.retransmitted as f64 >= RETRANSMITTED as f64 * by
        && minute.part() >= PART * by
        && minute.part() >= usual_part * times(by)
}

fn is_above(minute: &Percentiles, usual: &Percentiles, Strictness(by): Strictness) -> bool {
    if minute.count < SAMPLES || usual.count < SAMPLES {
        return false;
    }
    let now = if minute.count < P99_SAMPLES { minute.p90_ns } else { minute.p99_ns } as f64;
    let usual = usual.p99_ns as f64;
    now > usual * times(by) && now >= usual + MORE_NS * by
}

/// Three times what is usual; between that and what is usual, by half.
fn times(by: f64) -> f64 {
    1.0 + (TIMES - 1.0) * by
}

/// A service that is slow, and since when.
#[derive(Debug, Clone, PartialEq)]
struct Spell {
    since: Nanos,
    slow: Slow,
    /// What was usual when it began.
    usual: Sample,
    /// Since when the signs have been good.
    good_since: Option<Nanos>,
}

/// Follows one service; asked once a second or so. Eight bytes while the service is not slow.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    spell: Option<Box<Spell>>,
}

impl Watch {
    /// Judges by the last minute and the 14 before it. Returns what is so from now on: the evidence of
    /// this minute, and since when.
    pub fn judge(&mut self, now: Nanos, minute: &Sample, usual: &Sample) -> Option<(Nanos, Slow)> {
        self.spell = match self.spell.take() {
            Some(spell) => spell.goes_on(now, minute),
            None => None,
        };
        if self.spell.is_none() {
            self.spell = judge(minute, usual)
                .map(|slow| Box::new(Spell { since: now, slow, usual: *usual, good_since: None }));
        }
        self.slow()
    }

    /// Since when the service has been slow, and the last evidence.
    #[must_use]
    pub fn slow(&self) -> Option<(Nanos, Slow)> {
        self.spell.as_ref().map(|spell| (spell.since, spell.slow))
    }
}

/// How often it is computed anew what is usual: slots of the windows are that long.
const USUAL_FOR: Nanos = 10_000_000_000;

/// Follows one service, and remembers what is usual for it.
#[derive(Debug, Clone, Default)]
pub struct Follow {
    watch: Watch,
    usual: Sample,
    /// When that was computed.
    at: Option<Nanos>,
}

impl Follow {
    /// [`Watch::judge`], which asks what is `usual` every ten seconds at most.
    pub fn judge(
        &mut self,
        now: Nanos,
        minute: &Sample,
        usual: impl FnOnce() -> Sample,
    ) -> Option<(Nanos, Slow)> {
        if self.at.is_none_or(|at| now.saturating_sub(at) >= USUAL_FOR) {
            (self.usual, self.at) = (usual(), Some(now));
        }
        self.watch.judge(now, minute, &self.usual)
    }

    /// [`Watch::slow`].
    #[must_use]
    pub fn slow(&self) -> Option<(Nanos, Slow)> {
        self.watch.slow()
    }
}

impl Spell {
    /// Itself with this minute's evidence, unless it is over.
    fn goes_on(mut self: Box<Self>, now: Nanos, minute: &Sample) -> Option<Box<Self>> {
        if now.saturating_sub(self.since) >= REMEMBERED {
            return None;
        }
        if let Some(slow) = judge_by(minute, &self.usual, STAYS) {
            (self.slow, self.good_since) = (slow, None);
            return Some(self);
        }
        let good_since = *self.good_since.get_or_insert(now);
        (now.saturating_sub(good_since) < OVER_FOR).then_some(self)
    }
}

#[cfg(test)]
mod tests;
