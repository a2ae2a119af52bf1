//! The kernel's table of pending attempts, seen from here: who is in it, and who is to leave it.
//!
//! The table is mapped, so nothing here is a system call; the programs use it at the same time
//! (`handshake_common::filter::sweep`).

use handshake_common::event::{Event, kind};
use handshake_common::filter::{WAYS, sweep};
use handshake_common::flow::Keys;

use crate::attempt::{Endpoint, Key};
use crate::mapped::Mapped;
use crate::tracker::{Entries, Numbers};

/// See the module.
#[derive(Debug)]
pub struct Pending {
    table: Mapped,
    keys: Keys,
}

/// What [`Pending::tidy`] keeps from one time to the next.
#[derive(Debug, Default)]
pub struct Tidying {
    /// The entries of the last time: a word for each place, none before the first.
    seen: Vec<u64>,
    /// A bit for each bucket.
    needed: Vec<u64>,
}

impl Pending {
    /// A table with so many words as a power of two of buckets has, and the keys of its fingerprints.
    pub(crate) fn new(table: Mapped, keys: Keys) -> Self {
        Self { table, keys }
    }

    /// Entries in use. Reads all heads: about 0.1 ms for 32,768 entries.
    #[must_use]
    pub fn entries(&self) -> u64 {
        sweep::entries(self.table.words())
    }

    /// Entries that there is room for.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.table.words().len() as u64 / 2
    }

    /// The sequence numbers that the client's and the server's next segments have, as the entry of an
    /// attempt holds them (0 if not seen yet); none if the attempt's flow is not remembered.
    #[must_use]
    pub fn numbers(&self, key: &Key) -> Option<(u32, u32)> {
        sweep::numbers(self.table.words(), key.fingerprint(&self.keys))
    }

    /// Removes the entry of an attempt that is over here, if its [`Pending::numbers`] say that it is the
    /// one that is meant and not one that began since. True if it was there and is no more.
    pub fn retire(&self, key: &Key, is_meant: impl Fn((u32, u32)) -> bool) -> bool {
        sweep::retire(self.table.words(), key.fingerprint(&self.keys), is_meant)
    }

    /// Removes the entry that a SYN or SYN-ACK has made or used of which nobody wants to know. True if it
    /// was there and is no more.
    pub fn ignore(&self, event: &Event) -> bool {
        let end = |address, port| Endpoint { address, port };
        let key = Key {
            client: end(event.source, event.source_port),
            server: end(event.dest, event.dest_port),
            ip_version: event.ip_version,
        };
        let next = match event.kind {
            kind::SYN => event.seq.wrapping_add(1),
            kind::SYN_ACK => event.ack,
            _ => return false,
        };
        self.retire(&key, |(client_next, _)| client_next == next)
    }

    /// Removes what has had no SYN or SYN-ACK since the last time, however it came to be there (its
    /// event may be lost, or outside of what is followed), and makes misses cheap again. Returns how
    /// many entries were removed. To be called no sooner than the longest deadline after the last time.
    pub fn tidy(&self, tidying: &mut Tidying) -> u64 {
        let Tidying { seen, needed } = tidying;
        let words = self.table.words();
        // A zeroed word is no entry's head.
        seen.resize(words.len() / 2, 0);
        needed.resize((words.len() / 2 / WAYS).div_ceil(64), 0);
        let removed = sweep::expire(words, seen);
        sweep::unmark(words, needed);
        removed
    }
}

impl Entries for Pending {
    fn remembers(&self, key: &Key) -> bool {
        self.numbers(key).is_some()
    }

    fn retire(&self, key: &Key, syn: Numbers) -> bool {
        Self::retire(self, key, |(client_next, _)| syn.lead_to(client_next))
    }
}

#[cfg(test)]
mod tests {
    use handshake_common::event::Event;
    use handshake_common::packet::ethernet::Link;
    use handshake_common::packet::{Parsed, SliceFrame, parse};

    use super::*;
    const KEYS: Keys = Keys { low: 0x1234_5678_9abc_def0, high: 0x0fed_cba9_8765_4321 };

    /// A SYN over IPv4 or IPv6, without a link header.
    fn packet(is_v6: bool) -> Vec<u8> {
        let mut packet = if is_v6 {
            let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
            packet.extend((0..32).map(|byte| byte * 5 + 1));
            packet
        } else {
            let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0];
            packet.extend([10, 1, 2, 3, 192, 0, 2, 9]);
            packet
        };
        packet.extend([0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 2, 9, 9, 0, 0, 0, 0]);
        packet
    }

    #[test]
    fn the_fingerprint_of_an_attempt_is_that_of_its_packets() {
        for is_v6 in [false, true] {
            let packet = packet(is_v6);
            let frame = SliceFrame::new(&packet, packet.len());
            let Parsed::Segment(segment) = parse(&frame, Link::Ip, &KEYS) else {
                panic!("a segment");
            };
            let mut event = Event::ZERO;
            event.fill_segment(&frame, 1, &segment);
            let end = |address, port| Endpoint { address, port };
            let client = end(event.source, event.source_port);
            let server = end(event.dest, event.dest_port);
            for (client, server) in [(client, server), (server, client)] {
                let key = Key { client, server, ip_version: event.ip_version };
                assert_eq!(key.fingerprint(&KEYS), segment.flow.fingerprint());
            }
        }
    }
}
