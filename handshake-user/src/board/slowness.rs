//! Which services are slow, and since when: feeds [`crate::slow`] with the windows of each.

use std::net::SocketAddr;

use ahash::AHashMap;

use crate::attempt::Nanos;
use crate::board::standing::{Moment, Standing, Who};
use crate::slow::{Follow, RETRANSMITTED, SAMPLES, Slow};
use crate::windows::{Window, Windows};

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Slowness {
    services: AHashMap<SocketAddr, Follow>,
}

impl Slowness {
    /// Once a second: since when this service has been slow, if it is.
    pub(super) fn look(
        &mut self,
        standing: &Standing,
        windows: &Windows,
        moment: Moment,
    ) -> Option<(Nanos, Slow)> {
        let Who::Service(service) = standing.who else { return None };
        let minute = standing.of(Window::Minute).sample();
        let is_told = minute.completed >= SAMPLES || minute.retransmitted >= RETRANSMITTED / 2;
        if !is_told && !self.services.contains_key(&service) {
            return None;
        }
        let usual = || {
            let series = windows.service(&service);
            series
                .map(|series| series.before_the_minute(moment.boot()).sample())
                .unwrap_or_default()
        };
        let follow = self.services.entry(service).or_default();
        let slow = follow.judge(moment.now, &minute, usual);
        if slow.is_none() && !is_told {
            self.services.remove(&service);
        }
        slow
    }

    /// Forgets services that are known no more.
    pub(super) fn keep(&mut self, windows: &Windows) {
        self.services.retain(|service, _| windows.service(service).is_some());
    }
}
