//! The live engine: counters and rings in, ended attempts out. No timers and no output of its own;
//! `app` calls [`Engine::step`] when it is time.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use handshake_common::abi::{Counter, Hook};
use handshake_common::packet::tunnel::Layers;

use crate::attempt::{Attempt, Nanos, Observation, SourceId};
use crate::clock::Clock;
use crate::evidence::{Evidence, Seen, Segments, Sighting};
use crate::loader::{Counters, LoadError, Loader};
use crate::merge::Merge;
use crate::metrics::Metrics;
use crate::selection::Selection;
use crate::snapshot::{EventCounts, Summary};
use crate::source::ring::Rings;
use crate::tracker::{Config, Tracker};

/// Events read in one step: bounds the time until the caller is asked again.
const STEP_EVENTS: usize = 16_384;

/// What was lost since it was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

/// What a step found.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Events read.
    pub delivered: u64,
    /// The rings were read to their ends; if not, there is more to do at once.
    pub emptied: bool,
    /// More attempts have timed out than one step ends: there is more to do at once.
    pub more_due: bool,
}

/// Interfaces and hooks, numbered as the tracker knows them.
#[derive(Debug, Default)]
pub struct Sources {
    known: Vec<(u32, u8)>,
    /// Interfaces may come and go by the thousand, and every event asks.
    numbers: HashMap<(u32, u8), SourceId>,
}

impl Sources {
    /// The number of an interface index and hook; new ones get the next.
    fn id(&mut self, index: u32, hook: u8) -> SourceId {
        *self.numbers.entry((index, hook)).or_insert_with(|| {
            self.known.push((index, hook));
            (self.known.len() - 1) as SourceId
        })
    }

    /// Interface index and hook of a number.
    #[must_use]
    pub fn of(&self, id: SourceId) -> Option<(u32, u8)> {
        self.known.get(id as usize).copied()
    }
}

/// See the module.
pub struct Engine {
    rings: Rings,
    merge: Merge<Sighting>,
    tracker: Tracker,
    metrics: Metrics,
    selection: Selection,
    sources: Sources,
    events: EventCounts,
    counters: Counters,
    /// What has been told of losses.
    told: Counters,
    batch: Vec<Sighting>,
    ordered: Vec<Sighting>,
    /// Only if somebody asked for it.
    evidence: Option<Evidence>,
    /// While all hooks were attached: before and after, answers pass unseen.
    whole: RangeInclusive<u64>,
}

impl Engine {
    /// An engine over the rings of a loader whose hooks are all attached: what came before is not
    /// followed.
    #[must_use]
    pub fn new(rings: Rings, config: Config, selection: Selection) -> Self {
        let none = Counters([[0; handshake_common::abi::COUNTERS]; 3]);
        Self {
            rings,
            merge: Merge::new(),
            tracker: Tracker::new(config),
            metrics: Metrics::new(),
            selection,
            sources: Sources::default(),
            events: EventCounts::default(),
            counters: none,
            told: none,
            batch: Vec::new(),
            ordered: Vec::new(),
            evidence: None,
            whole: Clock::now()..=u64::MAX,
        }
    }

    /// Keeps the segments of every attempt from now on ([`Engine::take_evidence`]).
    pub fn keep_evidence(&mut self, evidence: Evidence) {
        self.evidence = Some(evidence);
    }

    /// The segments kept, if any are.
    #[must_use]
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// Takes the segments of an attempt that [`Engine::ended`] has handed out: whoever keeps
    /// evidence takes it from every one of them, to use it or to throw it away.
    pub fn take_evidence(&mut self, attempt: u64) -> Option<Segments> {
        self.evidence.as_mut()?.take(attempt)
    }

    /// What comes from now on is not followed: hooks are about to be detached.
    pub fn close(&mut self) {
        self.whole = *self.whole.start()..=Clock::now();
    }

    /// What is followed from now on. If that is something else, attempts open now may have lost
    /// events to either selection, as those did that begin with events already in the rings.
    pub fn reselect(&mut self, selection: Selection) {
        if selection != self.selection {
            self.note_gap();
            self.selection = selection;
        }
    }

    /// What is followed.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// A hook was detached under us: what is open may have lost evidence there.
    pub fn note_gap(&mut self) {
        self.tracker.note_loss(nanos(Clock::now()));
    }

    /// An interface is gone, or has only now been attached to: what was seen there may miss its
    /// answers. Other attempts have nothing to do with it: containers come and go.
    pub fn note_gap_at(&mut self, index: u32) {
        let now = nanos(Clock::now());
        for hook in Hook::ALL {
            self.tracker.note_gap(self.sources.id(index, hook as u8), now);
        }
    }

    /// Reads counters and rings once, boundedly.
    ///
    /// The time comes first, then the counters: whatever they say is lost concerns attempts that
    /// cannot have timed out yet, because nothing expires after the watermark, which lies before
    /// that time. (The other way round, losses while we are stopped in between would go unnoticed
    /// until after the time-outs.)
    ///
    /// # Errors
    /// If the kernel refuses to read its counters.
    pub fn step(&mut self, loader: &Loader) -> Result<Step, LoadError> {
        let now_ns = Clock::now();
        let lost_before = lost_evidence(&self.counters);
        self.counters = loader.counters()?;
        if lost_evidence(&self.counters) > lost_before {
            self.tracker.note_loss(nanos(Clock::now()));
        }
        self.batch.clear();
        let drained = self.rings.drain(STEP_EVENTS, &mut self.batch);
        self.events.delivered += drained.delivered;
        self.events.undecodable += drained.undecodable;
        self.merge.push(self.batch.drain(..));
        self.merge.release(now_ns, drained.horizon_ns, &mut self.ordered);
        self.track();
        let more_due = self.tracker.expire(nanos(self.merge.watermark_ns()));
        Ok(Step { delivered: drained.delivered, emptied: drained.emptied, more_due })
    }

    fn track(&mut self) {
        for Sighting { event, frame } in self.ordered.drain(..) {
            if !self.whole.contains(&event.time_ns) || !self.selection.selects(&event) {
                self.events.filtered += 1;
                continue;
            }
            let source = self.sources.id(event.ifindex, event.hook);
            let layers = Layers::NONE;
            let judged = self.tracker.observe(&Observation { event, source, frame: 0, layers });
            if let (Some(evidence), Some(attempt)) = (&mut self.evidence, judged.attempt) {
                evidence.note(attempt, Seen { event, source, verdict: judged.verdict, frame });
            }
        }
    }

    /// Reads what is left after everything is detached, and ends what is open.
    ///
    /// # Errors
    /// As [`Engine::step`].
    pub fn finish(&mut self, loader: &Loader) -> Result<(), LoadError> {
        while !self.step(loader)?.emptied {}
        self.merge.flush(&mut self.ordered);
        self.track();
        self.tracker.finish();
        Ok(())
    }

    /// Hands out the attempts that have ended since the last call.
    pub fn ended(&mut self) -> Vec<Attempt> {
        let ended: Vec<Attempt> = self.tracker.drain().collect();
        ended.iter().for_each(|attempt| self.metrics.record(attempt));
        ended
    }

    /// What was lost since the last call.
    pub fn losses(&mut self) -> Vec<Loss> {
        let reasons = [
            ("ring-full", Counter::EventsLost),
            ("no-ring", Counter::EventsNoRing),
            ("filter-evicted-one-sided", Counter::EvictedOneSided),
            ("filter-evicted-two-sided", Counter::EvictedTwoSided),
            ("filter-contended", Counter::Contended),
        ];
        let losses = reasons
            .into_iter()
            .map(|(reason, counter)| {
                let count = self.counters.total(counter) - self.told.total(counter);
                Loss { reason, count }
            })
            .filter(|loss| loss.count > 0)
            .collect();
        self.told = self.counters;
        losses
    }

    /// Where attempts were seen.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Everything there is to say now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let events = EventCounts { late: self.merge.late(), ..self.events };
        self.metrics.summary(&self.tracker, &self.counters.0, events)
    }
}

/// Everything that can make the tracker miss evidence.
fn lost_evidence(counters: &Counters) -> u64 {
    let filter = Counter::FORGETTING.into_iter().map(|counter| counters.total(counter));
    counters.lost() + filter.sum::<u64>()
}

fn nanos(boot_ns: u64) -> Nanos {
    Nanos::try_from(boot_ns).unwrap_or(Nanos::MAX)
}
