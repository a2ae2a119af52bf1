//! Interfaces and hooks, numbered as the tracker knows them.
//!
//! Interfaces may come and go by the thousand; a number is never given twice, and those that nobody
//! can mean any more are forgotten.

use std::collections::HashSet;

use ahash::AHashMap as HashMap;

use crate::attempt::SourceId;
use crate::tracker::Tracker;

/// So many are kept without a look at who needs them: three for each interface.
const MANY: usize = 3 * 512;
/// Of those forgotten, the newest are kept: what has ended is still shown for a while.
const RECENT: SourceId = 3 * 256;

/// See the module.
#[derive(Debug)]
pub struct Sources {
    known: HashMap<SourceId, (u32, u8)>,
    numbers: HashMap<(u32, u8), SourceId>,
    next: SourceId,
    /// When it is time to look who is needed.
    limit: usize,
}

impl Default for Sources {
    fn default() -> Self {
        Self { known: HashMap::new(), numbers: HashMap::new(), next: 0, limit: MANY }
    }
}

impl Sources {
    /// The number of an interface index and hook; new ones get the next.
    pub fn id(&mut self, index: u32, hook: u8) -> SourceId {
        let Self { known, numbers, next, .. } = self;
        *numbers.entry((index, hook)).or_insert_with(|| {
            let id = *next;
            *next = next.wrapping_add(1);
            known.insert(id, (index, hook));
            id
        })
    }

    /// Interface index and hook of a number; none if nobody could mean it any more.
    #[must_use]
    pub fn of(&self, id: SourceId) -> Option<(u32, u8)> {
        self.known.get(&id).copied()
    }

    /// Every interface that has a number, some of them several times.
    pub fn interfaces(&self) -> impl Iterator<Item = u32> {
        self.numbers.keys().map(|(index, _)| *index)
    }

    /// Once there are many: forgets those of interfaces that are not `watched`, but for those where an
    /// open attempt was seen and the newest, and what the tracker knows of the forgotten. True if it
    /// was time.
    pub fn forget_gone(&mut self, watched: &HashSet<u32>, tracker: &mut Tracker) -> bool {
        if self.known.len() < self.limit {
            return false;
        }
        let in_use = tracker.sources_in_use();
        let next = self.next;
        self.known.retain(|id, (index, _)| {
            watched.contains(index) || next.wrapping_sub(*id) <= RECENT || in_use.contains(id)
        });
        self.numbers.retain(|_, id| self.known.contains_key(id));
        tracker.forget_gaps(|source| self.known.contains_key(&source));
        // If all of them are needed, the next look is not the next time.
        self.limit = MANY.max(2 * self.known.len());
        true
    }
}

#[cfg(test)]
mod tests {
    use handshake_common::event::{Event, kind};
    use handshake_common::packet::tunnel::Layers;

    use super::*;
    use crate::attempt::{Nanos, Observation};
    use crate::outcome::{Doubt, Outcome};
    use crate::places::Places;
    use crate::tracker::Config;

    const SECOND: Nanos = 1_000_000_000;

    /// A SYN of a new flow.
    fn syn(flow: u32, source: SourceId, time: Nanos) -> Observation {
        let event = Event {
            time_ns: time.cast_unsigned(),
            kind: kind::SYN,
            ip_version: 4,
            source: [0, 0, 0, flow],
            source_port: 4000,
            dest_port: 443,
            ..Event::ZERO
        };
        Observation { event, source, frame: 0, layers: Layers::NONE }
    }

    #[test]
    fn ten_thousand_generations_of_interfaces_take_bounded_room_and_no_attempt_loses_its_place() {
        let config = Config { timeout: 10 * SECOND, linger: SECOND, max_attempts: 100_000 };
        let (mut tracker, mut sources) = (Tracker::new(config), Sources::default());
        let mut places = Places::new();
        let stays = sources.id(1, 0);
        places.name(1, "eth0");
        let (mut most, mut ended) = (0, 0);
        for generation in 2..10_002_u32 {
            // A thousand of them have attempts open at any time.
            let now = Nanos::from(generation) * SECOND / 100;
            places.name(generation, &format!("veth{generation}"));
            let hooks = [0, 1, 2].map(|hook| sources.id(generation, hook));
            tracker.observe(&syn(generation, hooks[1], now));
            hooks.iter().for_each(|source| tracker.note_gap(*source, now));
            let watched = HashSet::from([1, generation]);
            if sources.forget_gone(&watched, &mut tracker) {
                places.forget_gone(&watched, &sources);
            }
            most = most.max(sources.known.len()).max(tracker.gaps()).max(places.named());
            assert_eq!(sources.known.len(), sources.numbers.len());
            for attempt in tracker.drain() {
                ended += 1;
                let told = (attempt.outcome, attempt.uncertain);
                assert_eq!(told, (Outcome::Unfinished, Some(Doubt::Gap)), "{attempt:?}");
                let name = places.seen_at(attempt.source, &sources).0;
                assert_eq!(name, format!("veth{}", attempt.id + 1));
            }
        }
        assert!(ended > 8_000, "{ended}");
        assert!((MANY..4 * MANY).contains(&most), "{most}");
        assert_eq!((sources.id(1, 0), sources.of(stays)), (stays, Some((1, 0))));
        assert_eq!(places.seen_at(stays, &sources).0, "eth0");
    }
}
