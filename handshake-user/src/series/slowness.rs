//! Which of the services that are shown are slow, judged by [`crate::slow`] whenever that is asked.

use std::net::SocketAddr;

use ahash::AHashMap;

use crate::attempt::{Attempt, Nanos};
use crate::slow::{Half, Sample, Watch};
use crate::windows::Windows;

/// How often it is computed anew what is usual: slots are that long.
const USUAL_FOR: Nanos = 10_000_000_000;

/// One service.
#[derive(Debug, Clone, Default)]
struct Follow {
    watch: Watch,
    usual: Sample,
    /// When that was computed.
    at: Option<Nanos>,
    /// Halves that have been slow.
    was: [bool; Half::ALL.len()],
}

/// Is a half slow now? None if it has never been.
pub type Halves = [Option<bool>; Half::ALL.len()];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Slowness {
    windows: Windows,
    services: AHashMap<SocketAddr, Follow>,
}

impl Slowness {
    /// Takes an ended attempt.
    pub(super) fn record(&mut self, attempt: &Attempt) {
        self.windows.record_service(attempt);
    }

    /// Judges these services, and forgets the others' past.
    pub(super) fn judge(&mut self, shown: &[SocketAddr], now: Nanos) {
        self.windows.advance(now);
        self.services.retain(|service, _| shown.contains(service));
        for service in shown {
            let Some(series) = self.windows.service(service) else { continue };
            let follow = self.services.entry(*service).or_default();
            if follow.at.is_none_or(|at| now.saturating_sub(at) >= USUAL_FOR) {
                (follow.usual, follow.at) = (series.before_the_minute(now).sample(), Some(now));
            }
            let minute = series.last_minute(now).sample();
            if let Some((_, slow)) = follow.watch.judge(now, &minute, &follow.usual) {
                follow.was[slow.half as usize] = true;
            }
        }
    }

    /// What was judged last of a service.
    pub(super) fn of(&self, service: &SocketAddr) -> Halves {
        let Some(follow) = self.services.get(service) else { return [None; 2] };
        let now = follow.watch.slow().map(|(_, slow)| slow.half);
        Half::ALL.map(|half| follow.was[half as usize].then_some(now == Some(half)))
    }
}
