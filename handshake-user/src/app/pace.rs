//! When the rings are read next: soon while much happens, on a timer while something does, and when a
//! program rings the bell while nothing does.
//!
//! A timer of 20 ms alone costs a machine on which nothing happens more than everything else here
//! (0.6% of a core, measured), and a wake-up for each event costs a busy one microseconds an event. So
//! the reader says that it sleeps, and the program that makes the next event wakes it, once
//! (`handshake_common::abi::state::ASLEEP`).
//!
//! A program looks at that word after it has put its event into the ring, but on another CPU, without
//! a barrier: it may not see what was written a moment ago, nor the reader its event. So the reader
//! says it one timer before it relies on it, and looks into the rings again in between.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::engine::Step;

/// How often the rings are read when little happens: bounds how late an attempt is shown.
pub(super) const IDLE: Duration = Duration::from_millis(20);
/// How often when a step found many events.
const BUSY: Duration = Duration::from_millis(1);
/// Events in a step that make it busy.
const BUSY_EVENTS: u64 = 256;
/// How long to sleep at most: counters are read then, whatever happens.
const SLEEP: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    bells: Vec<AsyncFd<OwnedFd>>,
    /// The programs were told that the reader sleeps.
    announced: bool,
}

impl Pace {
    /// Over the descriptors of `Rings::bells`, in a runtime.
    pub(super) fn new(bells: Vec<OwnedFd>) -> io::Result<Self> {
        let register = |bell: OwnedFd| {
            // SAFETY: the descriptor is open, owned by the `AsyncFd` alone, and always the same.
            Ok(unsafe { AsyncFd::register_with_interest(bell, Interest::READABLE) }?)
        };
        let bells = bells.into_iter().map(register).collect::<io::Result<_>>()?;
        Ok(Self { bells, announced: false })
    }

    /// How long to wait after this step, at `now_ns` of boot time.
    pub(super) fn after(&mut self, step: Step, asleep: &AtomicU64, now_ns: u64) -> Duration {
        let was_announced = self.announced;
        self.announced = step.idle && step.emptied && !step.more_due;
        if !self.announced {
            if was_announced {
                asleep.store(0, Ordering::Relaxed);
            }
            return pause(step);
        }
        // If it is 0 again, a program rings the bell right now.
        if asleep.swap(1, Ordering::SeqCst) == 0 || !was_announced {
            return IDLE;
        }
        let due = step.due_ns.map(|due| Duration::from_nanos(due.saturating_sub(now_ns)));
        due.map_or(SLEEP, |due| due.clamp(IDLE, SLEEP))
    }

    /// Waits for a program to ring.
    pub(super) async fn rung(&self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rung = Poll::Pending;
        for bell in &self.bells {
            // Again until it is registered for the next one.
            while let Poll::Ready(ready) = bell.poll_read_ready(context)? {
                let mut ready = ready;
                ready.clear_ready();
                rung = Poll::Ready(Ok(()));
            }
        }
        rung
    }
}

/// How long to wait while something happens.
fn pause(step: Step) -> Duration {
    if !step.emptied || step.more_due {
        Duration::ZERO
    } else if step.delivered >= BUSY_EVENTS {
        BUSY
    } else {
        IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Step =
        Step { delivered: 0, emptied: true, more_due: false, idle: true, due_ns: None };
    const SECOND: u64 = 1_000_000_000;

    fn pace() -> (Pace, AtomicU64) {
        (Pace { bells: Vec::new(), announced: false }, AtomicU64::new(0))
    }

    #[test]
    fn what_keeps_coming_is_read_on_a_timer() {
        let (mut pace, asleep) = pace();
        let some = Step { delivered: 1, idle: false, ..QUIET };
        let many = Step { delivered: BUSY_EVENTS, ..some };
        let waiting = Step { delivered: 0, ..some };
        let more = Step { emptied: false, ..many };
        let due = Step { more_due: true, ..QUIET };
        for (step, wait) in [
            (some, IDLE),
            (many, BUSY),
            (waiting, IDLE),
            (more, Duration::ZERO),
            (due, Duration::ZERO),
        ] {
            assert_eq!(pace.after(step, &asleep, 0), wait, "{step:?}");
            assert_eq!(asleep.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn sleep_is_announced_a_timer_before_it_comes() {
        let (mut pace, asleep) = pace();
        assert_eq!(pace.after(QUIET, &asleep, 0), IDLE);
        assert_eq!(asleep.load(Ordering::Relaxed), 1);
        assert_eq!(pace.after(QUIET, &asleep, 0), SLEEP);
        // A program has taken the word away: its event is about to come.
        asleep.store(0, Ordering::Relaxed);
        assert_eq!(pace.after(QUIET, &asleep, 0), IDLE);
        assert_eq!(pace.after(QUIET, &asleep, 0), SLEEP);
        // An event that came by itself: nobody need wake us.
        let some = Step { delivered: 1, idle: false, ..QUIET };
        assert_eq!(pace.after(some, &asleep, 0), IDLE);
        assert_eq!(asleep.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nobody_sleeps_past_a_deadline() {
        let (mut pace, asleep) = pace();
        let now = 100 * SECOND;
        let due = |due_ns| Step { due_ns: Some(due_ns), ..QUIET };
        pace.after(QUIET, &asleep, now);
        for (step, wait) in [
            (due(now + SECOND / 2), SLEEP / 2),
            (due(now + 5 * SECOND), SLEEP),
            (due(now - SECOND), IDLE),
        ] {
            assert_eq!(pace.after(step, &asleep, now), wait);
        }
    }
}
