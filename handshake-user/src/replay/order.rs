//! Attempts in order of their first packet.
//!
//! An ended attempt waits here for those that began before it. What waits is bounded by how many
//! begin while the slowest is open, not by the length of the file; each takes what it is and eight
//! bytes.

use std::collections::VecDeque;

use crate::attempt::Attempt;

/// See the module. Ids are 1, 2, …, each put once.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// From the attempt that is next.
    waiting: VecDeque<Option<Box<Attempt>>>,
    /// Attempts taken out.
    taken: u64,
}

impl Order {
    /// Takes an ended attempt.
    pub(super) fn put(&mut self, attempt: Attempt) {
        let at = (attempt.id - self.taken - 1) as usize;
        if at >= self.waiting.len() {
            self.waiting.resize_with(at + 1, || None);
        }
        self.waiting[at] = Some(Box::new(attempt));
    }

    /// The next attempt, if it has ended.
    pub(super) fn next(&mut self) -> Option<Box<Attempt>> {
        let attempt = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.taken += 1;
        Some(attempt)
    }
}

#[cfg(test)]
mod tests {
    use handshake_common::event::{Event, kind};
    use handshake_common::packet::tunnel::Layers;

    use super::*;
    use crate::attempt::Observation;
    use crate::tracker::{Config, Tracker};

    fn attempts(count: u16) -> Vec<Attempt> {
        let config = Config { timeout: 1, linger: 1, max_attempts: 100 };
        let mut tracker = Tracker::new(config);
        for source_port in 0..count {
            let event = Event { kind: kind::SYN, ip_version: 4, source_port, ..Event::ZERO };
            tracker.observe(&Observation { event, source: 0, frame: 0, layers: Layers::NONE });
        }
        tracker.finish();
        tracker.drain().collect()
    }

    #[test]
    fn attempts_come_out_in_order_of_their_first_packet() {
        let (mut order, mut out) = (Order::default(), Vec::new());
        let mut ended = attempts(60);
        for round in 0..3 {
            ended.rotate_left(17);
            for attempt in
                ended.extract_if(.., |attempt| attempt.id % 3 == round).collect::<Vec<_>>()
            {
                order.put(attempt);
                out.extend(std::iter::from_fn(|| order.next()).map(|attempt| attempt.id));
            }
        }
        assert_eq!(out, (1..=60).collect::<Vec<_>>());
        assert!(order.next().is_none() && order.waiting.is_empty());
    }
}
