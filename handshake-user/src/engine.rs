//! The live engine: counters and rings in, ended attempts out. No timers and no output of its own;
//! `app` calls [`Engine::step`] when it is time.

mod sources;

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ahash::AHashSet;
use handshake_common::abi::{Counter, Hook};
use handshake_common::packet::tunnel::Layers;

use crate::after::Aftermath;
use crate::attempt::{Attempt, Nanos, Observation, OpenView};
use crate::board::Sampled;
use crate::census::{Begun, Census};
use crate::clock::Clock;
use crate::evidence::{Evidence, Frame, Seen, Segments, Sighting};
use crate::loader::{Counters, LoadError, Loader, ProgramStats};
use crate::merge::{LATENESS_NS, Merge};
use crate::metrics::Metrics;
use crate::pattern::Patterns;
use crate::pending::{Pending, Tidying};
use crate::sampling::{Change, Sampling, one_in};
use crate::selection::Selection;
use crate::snapshot::{EventCounts, ProgramCost, SelfCost, Summary};
use crate::source::ring::{Rings, ring_of_cpu};
use crate::tracker::{Config, Stats, Tracker};
use crate::usage::Usage;
use crate::verdict::{Judged, Verdict};

pub use sources::Sources;

/// Events read in one step: bounds the time until the caller is asked again.
const STEP_EVENTS: usize = 16_384;

/// Attempts that [`Engine::end_some`] ends: an ended one takes more room than an open one.
const END_AT_ONCE: usize = 4_096;

/// An entry of the kernel's table that had no SYN or SYN-ACK for so long, or up to twice that, is left
/// over: with copies 120 s apart, the most that Linux lets pass, an attempt waits for 300 s.
const LEFT_OVER_NS: u64 = 300_000_000_000;

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
    /// Nothing waits to be sorted, and all flows are followed: until the next event, there is nothing
    /// to do before [`Step::due_ns`].
    pub idle: bool,
    /// Boot time at which an open attempt may have timed out; none if none is open.
    pub due_ns: Option<u64>,
}

/// See the module.
pub struct Engine {
    rings: Rings,
    merge: Merge<Sighting>,
    tracker: Tracker,
    metrics: Metrics,
    patterns: Patterns,
    after: Aftermath,
    /// What has begun since it was last taken, if `tells_begun`.
    begun: Vec<Begun>,
    tells_begun: bool,
    selection: Selection,
    sources: Sources,
    events: EventCounts,
    counters: Counters,
    /// Events that found a ring full, by CPU: now, and when they were read before.
    lost: Vec<u64>,
    lost_before: Vec<u64>,
    /// What has been told of losses.
    told: Counters,
    sampling: Sampling,
    batch: Vec<Sighting>,
    ordered: Vec<Sighting>,
    observed: Vec<Observation>,
    /// Of `observed`, one each.
    frames: Vec<Option<Box<Frame>>>,
    /// Only if somebody asked for it.
    evidence: Option<Evidence>,
    /// While all hooks were attached: before and after, answers pass unseen.
    whole: RangeInclusive<u64>,
    tidying: Tidying,
    /// When the table is tidied next, boot time in nanoseconds.
    tidied_next: u64,
    /// Entries of the table that were removed although no attempt of them ended here.
    swept: u64,
}

impl Engine {
    /// An engine over the rings of a loader whose hooks are all attached: what came before is not
    /// followed.
    #[must_use]
    pub fn new(rings: Rings, pending: &Arc<Pending>, config: Config, selection: Selection) -> Self {
        let now = Clock::now();
        let none = Counters([[0; handshake_common::abi::COUNTERS]; 3]);
        let mut tracker = Tracker::new(config);
        tracker.read_back(Arc::<Pending>::clone(pending));
        tracker.keep_census(Census::default());
        Self {
            rings,
            merge: Merge::new(),
            tracker,
            metrics: Metrics::new(),
            patterns: Patterns::default(),
            after: Aftermath::new(0),
            begun: Vec::new(),
            tells_begun: false,
            selection,
            sources: Sources::default(),
            events: EventCounts::default(),
            counters: none,
            lost: Vec::new(),
            lost_before: Vec::new(),
            told: none,
            sampling: Sampling::default(),
            batch: Vec::new(),
            ordered: Vec::new(),
            observed: Vec::new(),
            frames: Vec::new(),
            evidence: None,
            whole: now..=u64::MAX,
            tidying: Tidying::default(),
            tidied_next: now,
            swept: 0,
        }
    }

    /// Watches for so long what comes after each completion, as the programs do if they were loaded for
    /// it.
    pub fn watch_after(&mut self, span: Nanos) {
        self.after = Aftermath::new(span);
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
            self.tracker.note_reload(nanos(Clock::now()));
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
        self.tracker.note_gap_anywhere(nanos(Clock::now()));
    }

    /// An interface is gone, or has only now been attached to: what was seen there may miss its
    /// answers. Other attempts have nothing to do with it: containers come and go.
    pub fn note_gap_at(&mut self, index: u32) {
        let now = nanos(Clock::now());
        for hook in Hook::ALL {
            self.tracker.note_gap(self.sources.id(index, hook as u8), now);
        }
    }

    /// Forgets interfaces that are not `watched` and that no open attempt was seen at, once there are
    /// many; what was attached to lately is kept for whoever shows what has ended. True if something
    /// was forgotten.
    pub fn forget_gone(&mut self, watched: &HashSet<u32>) -> bool {
        self.sources.forget_gone(watched, &mut self.tracker)
    }

    /// From now on [`Engine::begun`] tells what has begun.
    pub fn tell_begun(&mut self) {
        self.tells_begun = true;
    }

    /// The attempts that have begun since the last call, after [`Engine::tell_begun`].
    pub fn begun(&mut self) -> Vec<Begun> {
        std::mem::take(&mut self.begun)
    }

    /// Health checks, scans and floods.
    #[must_use]
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    fn look_for_patterns(&mut self, now_ns: u64) {
        let Some(census) = self.tracker.census_mut() else { return };
        let (begun, tells) = (&mut self.begun, self.tells_begun);
        self.patterns.look(nanos(now_ns), census, |one| {
            if tells {
                begun.push(one);
            }
        });
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
        self.count(loader)?;
        self.batch.clear();
        let drained = self.rings.drain(STEP_EVENTS, &mut self.batch);
        self.sample(loader);
        self.events.delivered += drained.delivered;
        self.events.undecodable += drained.undecodable;
        self.merge.push(self.batch.drain(..));
        self.merge.release(now_ns, drained.horizon_ns, &mut self.ordered);
        self.track(loader.pending());
        self.look_for_patterns(now_ns);
        self.tidy(loader.pending(), now_ns);
        let watermark = nanos(self.merge.watermark_ns());
        let more_due = self.tracker.expire(watermark);
        self.after.expire(watermark, loader.pending().as_ref());
        let delivered = drained.delivered;
        let idle = delivered == 0 && self.merge.pending() == 0 && self.sampling.shift() == 0;
        let deadline = self.tracker.next_deadline().filter(|_| self.tracker.open() > 0);
        let deadline = deadline.into_iter().chain(self.after.next_due()).min();
        let due_ns = deadline.map(|deadline| {
            u64::try_from(deadline).unwrap_or_default().saturating_add(LATENESS_NS)
        });
        Ok(Step { delivered, emptied: drained.emptied, more_due, idle, due_ns })
    }

    /// Reads the counters, and tells the tracker what was lost by them.
    fn count(&mut self, loader: &Loader) -> Result<(), LoadError> {
        let before = self.counters;
        std::mem::swap(&mut self.lost, &mut self.lost_before);
        self.counters = loader.counters_and_lost(&mut self.lost)?;
        let until = nanos(Clock::now());
        let has_grown = |counter| self.counters.total(counter) > before.total(counter);
        if has_grown(Counter::EventsNoRing) || has_grown(Counter::EventsLost) {
            self.after.note_loss();
        }
        if has_grown(Counter::EventsNoRing) {
            self.tracker.note_loss(until);
        }
        if has_grown(Counter::EventsLost) {
            for (cpu, lost) in self.lost.iter().enumerate() {
                if *lost > self.lost_before.get(cpu).copied().unwrap_or(0) {
                    self.tracker.note_lost_events(ring_of_cpu(cpu), until);
                }
            }
        }
        if Counter::FORGETTING.into_iter().chain([Counter::Spent]).any(has_grown) {
            self.tracker.note_forgetting(until);
        }
        Ok(())
    }

    /// Lets more flows in if the rings have been nearly empty for long enough. The tracker hears of
    /// it before any event that it lets in: those are younger than the time read here. It hears that
    /// flows are left out before it gets the next events, too: the rings were drained before.
    fn sample(&mut self, loader: &Loader) {
        let now_ns = Clock::now();
        let (fill, ring_bytes) = (self.rings.fill().last_bytes, loader.ring_bytes().into());
        let lowered = self.sampling.step(loader.sample_word(), now_ns, fill, ring_bytes);
        if lowered.is_some() || self.sampling.shift() > 0 {
            self.tracker.note_sampled(nanos(now_ns));
        }
        if let Some(from) = lowered {
            self.tracker.note_sampling_lowered(from, nanos(now_ns));
        }
    }

    fn track(&mut self, pending: &Pending) {
        let mut observed = std::mem::take(&mut self.observed);
        let mut frames = std::mem::take(&mut self.frames);
        for Sighting { event, frame } in self.ordered.drain(..) {
            let is_selected = self.selection.selects(&event);
            if !is_selected {
                self.swept += u64::from(pending.ignore(&event));
            }
            if !is_selected || !self.whole.contains(&event.time_ns) {
                self.events.filtered += 1;
                continue;
            }
            let source = self.sources.id(event.ifindex, event.hook);
            observed.push(Observation { event, source, frame: 0, layers: Layers::NONE });
            frames.push(frame);
        }
        let mut frames_left = frames.drain(..);
        let (evidence, after) = (&mut self.evidence, &mut self.after);
        self.tracker.observe_batch(&observed, |seen, judged| {
            let Judged { attempt, verdict } = match after.note(seen, &judged, pending) {
                Some(attempt) => Judged { attempt: Some(attempt), verdict: Verdict::Follows },
                None => judged,
            };
            let frame = frames_left.next().flatten();
            if let (Some(evidence), Some(attempt)) = (evidence.as_mut(), attempt) {
                let Observation { event, source, .. } = *seen;
                evidence.note(attempt, Seen { event, source, verdict, frame });
            }
        });
        drop(frames_left);
        observed.clear();
        (self.observed, self.frames) = (observed, frames);
    }

    /// Every few minutes: removes entries of the table that nothing came of for so long. No attempt waits
    /// that long for the next copy; should one do all the same, it hears that its entry may be gone.
    fn tidy(&mut self, pending: &Pending, now_ns: u64) {
        if now_ns < self.tidied_next {
            return;
        }
        let longest = u64::try_from(self.tracker.timeout()).unwrap_or_default().saturating_mul(2);
        self.tidied_next = now_ns.saturating_add(LEFT_OVER_NS.max(longest));
        let removed = pending.tidy(&mut self.tidying);
        if removed > 0 {
            self.swept += removed;
            self.tracker.note_forgetting(nanos(Clock::now()));
        }
    }

    /// Reads what is left after everything is detached.
    ///
    /// # Errors
    /// As [`Engine::step`].
    pub fn finish(&mut self, loader: &Loader) -> Result<(), LoadError> {
        while !self.step(loader)?.emptied {}
        self.merge.flush(&mut self.ordered);
        self.track(loader.pending());
        self.after.finish();
        Ok(())
    }

    /// After [`Engine::finish`]: ends some of what is open, to be handed out before the next. False
    /// once nothing was left.
    pub fn end_some(&mut self) -> bool {
        self.tracker.finish_some(END_AT_ONCE)
    }

    /// Hands out the attempts that have ended since the last call, to be counted. What they are to be
    /// shown for, [`Engine::settled`] says.
    pub fn ended(&mut self) -> Vec<Attempt> {
        let mut ended: Vec<Attempt> = self.tracker.drain().collect();
        self.patterns.judge(&mut ended);
        ended.iter().for_each(|attempt| self.metrics.record(attempt));
        ended
    }

    /// Of attempts that have just ended, and of those that are watched after their completion, hands out
    /// the ones of which nothing more is to come: each once, to be shown.
    pub fn settled(&mut self, ended: Vec<Attempt>) -> Vec<Attempt> {
        self.after.hold(ended)
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

    /// How sampling has changed since the last call, and how many events were not made meanwhile; call
    /// it before [`Engine::losses`], which counts as having told everything.
    pub fn sampling(&mut self) -> (Change, u64) {
        let left_out = self.counters.total(Counter::SampledOut);
        (self.sampling.change(), left_out - self.told.total(Counter::SampledOut))
    }

    /// The tracker, to look at.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The kernel's counters, as of the last step.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where attempts were seen.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// If flows were ever left out: how many, and when first since boot.
    #[must_use]
    pub fn sampled(&self) -> Option<Sampled> {
        let first = self.sampling.first_ns()?;
        Some(Sampled {
            one_in: one_in(self.sampling.shift()),
            highest_one_in: one_in(self.sampling.highest()),
            first: Nanos::try_from(first).unwrap_or(Nanos::MAX),
        })
    }

    /// Counts of what the tracker has done.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        self.tracker.stats()
    }

    /// Every attempt open now, in no order.
    pub fn open_attempts(&self) -> impl Iterator<Item = OpenView> {
        self.tracker.open_attempts()
    }

    /// What the records of these open attempts would be if watching ended now.
    pub fn unfinished(&self, ids: &AHashSet<u64>) -> impl Iterator<Item = Attempt> {
        self.tracker.unfinished(ids)
    }

    /// Latencies so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Everything there is to say now.
    #[must_use]
    pub fn summary(&self, loader: &Loader) -> Summary {
        let events = EventCounts { late: self.merge.late(), ..self.events };
        let mut summary = self.metrics.summary(&self.tracker, &self.counters.0, events);
        summary.patterns = self.patterns.counts();
        summary.after = self.after.counts();
        let sampling = &self.sampling;
        summary.filter.insert("retired".to_owned(), self.tracker.stats().retired);
        summary.filter.insert("swept".to_owned(), self.swept);
        summary.sampling.one_in = one_in(sampling.shift());
        summary.sampling.highest_one_in = one_in(sampling.highest());
        summary.sampling.first_after_ns =
            sampling.first_ns().map(|first| first.saturating_sub(*self.whole.start()));
        summary.sampling.lasted_ns = sampling.lasted_ns(Clock::now());
        summary.self_cost = Some(self.self_cost(loader));
        summary
    }

    /// What handshake itself costs now. Reads the kernel's whole table ([`Pending::entries`](crate::pending::Pending::entries)) and
    /// a few files: for once in some seconds.
    #[must_use]
    pub fn self_cost(&self, loader: &Loader) -> SelfCost {
        let fill = self.rings.fill();
        let process = Usage::of_process();
        let cpu_ns = process.user_ns + process.system_ns;
        let measured = loader.measures_runs();
        let program = |stats: ProgramStats| ProgramCost {
            name: stats.name.to_owned(),
            runs: measured.then_some(stats.runs),
            time_ns: measured.then_some(stats.time.as_nanos() as u64),
        };
        SelfCost {
            programs: loader.program_stats().into_iter().map(program).collect(),
            kernel_memory_bytes: loader.kernel_memory_bytes(),
            rings: self.rings.len() as u64,
            ring_bytes: loader.ring_bytes().into(),
            ring_used_bytes: fill.last_bytes,
            ring_highest_bytes: fill.highest_bytes,
            table_entries: loader.pending().entries(),
            table_capacity: loader.pending().capacity(),
            cpu_user_ns: process.user_ns,
            cpu_system_ns: process.system_ns,
            cpu_per_attempt_ns: cpu_ns.checked_div(self.tracker.stats().started),
            resident_highest_bytes: process.resident_highest_bytes,
        }
    }
}

fn nanos(boot_ns: u64) -> Nanos {
    Nanos::try_from(boot_ns).unwrap_or(Nanos::MAX)
}
