//! Which of the services that are shown are slow, judged by [`crate::slow`] whenever that is asked.

use std::net::SocketAddr;

use ahash::AHashMap;

use crate::attempt::{Attempt, Nanos};
use crate::slow::{Follow, Half};
use crate::windows::Windows;

/// One service.
#[derive(Debug, Clone, Default)]
struct Service {
    follow: Follow,
    /// Halves that have been slow.
    was: [bool; Half::ALL.len()],
}

/// Is a half slow now? None if it has never been.
pub type Halves = [Option<bool>; Half::ALL.len()];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Slowness {
    windows: Windows,
    services: AHashMap<SocketAddr, Service>,
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
        for address in shown {
            let Some(series) = self.windows.service(address) else { continue };
            let service = self.services.entry(*address).or_default();
            let minute = series.last_minute(now).sample();
            let usual = || series.before_the_minute(now).sample();
            if let Some((_, slow)) = service.follow.judge(now, &minute, usual) {
                service.was[slow.half as usize] = true;
            }
        }
    }

    /// What was judged last of a service.
    pub(super) fn of(&self, service: &SocketAddr) -> Halves {
        let Some(service) = self.services.get(service) else { return [None; 2] };
        let now = service.follow.slow().map(|(_, slow)| slow.half);
        Half::ALL.map(|half| service.was[half as usize].then_some(now == Some(half)))
    }
}
