//! The segments of attempts: what the tracker was shown and what it made of each.
//!
//! For whoever wants to see an attempt segment by segment: the recorder and the detail of a screen.
//! Kept only if asked for, from the attempt's first segment to its end; what comes later (late
//! copies, RSTs of a closed connection) is not. Memory is bounded: of one attempt the first and the
//! last segments are kept, of all attempts as much as fits, the oldest giving way; both are counted.
//! Nothing is decided here: the tracker decides, the engine appends and the owner of the engine
//! takes ([`crate::engine::Engine::take_evidence`]).

use std::collections::{BTreeMap, VecDeque};

use handshake_common::event::Event;
use handshake_common::kept::{KEPT_LEN, Kept, mark};

use crate::attempt::SourceId;
use crate::merge::Timed;
use crate::verdict::Verdict;

/// EtherTypes of tags.
const TAG: [u8; 2] = [0x81, 0x00];
const SERVICE_TAG: [u8; 2] = [0x88, 0xa8];
/// Where a tag stands: behind both hardware addresses.
const TAG_OFFSET: usize = 12;

/// The first bytes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    wire_len: u32,
    kept: u8,
    is_ip: bool,
    /// Room for the tag that is put back.
    bytes: [u8; KEPT_LEN + 4],
}

impl Frame {
    /// The frame as it was on the wire: a tag that was taken out of it is put back.
    #[must_use]
    pub fn new(kept: &Kept<'_>) -> Self {
        let is_ip = kept.marks & mark::IP != 0;
        let mut frame = Self { wire_len: kept.wire_len, kept: 0, is_ip, bytes: [0; KEPT_LEN + 4] };
        if kept.marks & mark::TAG == 0 || kept.bytes.len() < TAG_OFFSET {
            frame.append(kept.bytes);
            return frame;
        }
        let (addresses, rest) = kept.bytes.split_at(TAG_OFFSET);
        frame.append(addresses);
        frame.append(if kept.marks & mark::SERVICE_TAG == 0 { &TAG } else { &SERVICE_TAG });
        frame.append(&kept.tci.to_be_bytes());
        frame.append(rest);
        frame.wire_len = frame.wire_len.saturating_add(4);
        frame
    }

    fn append(&mut self, bytes: &[u8]) {
        let from = usize::from(self.kept);
        let room = self.bytes.get_mut(from..).unwrap_or_default();
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.kept += len as u8;
    }

    /// What was kept of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.kept)]
    }

    /// Its length on the wire in bytes, as far as the hook can know.
    #[must_use]
    pub fn wire_len(&self) -> u32 {
        self.wire_len
    }

    /// Does it begin with its IP header? Otherwise it has an Ethernet header.
    #[must_use]
    pub fn is_ip(&self) -> bool {
        self.is_ip
    }
}

/// An event on its way to the tracker, and its frame if frames are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The event.
    pub event: Event,
    /// The first bytes of its frame.
    pub frame: Option<Box<Frame>>,
}

impl Timed for Sighting {
    fn time_ns(&self) -> u64 {
        self.event.time_ns
    }
}

/// One segment of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What was seen. Times are boot time.
    pub event: Event,
    /// Which interface and hook saw it ([`crate::engine::Sources`]).
    pub source: SourceId,
    /// What the tracker made of it.
    pub verdict: Verdict,
    /// The first bytes of its frame, if frames are kept.
    pub frame: Option<Box<Frame>>,
}

impl Seen {
    /// Bytes that it holds.
    fn size(&self) -> usize {
        size_of::<Self>() + self.frame.as_ref().map_or(0, |_| size_of::<Frame>())
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments together; what the tables take besides is in proportion.
    pub bytes: usize,
    /// Segments from the beginning of an attempt.
    pub first: usize,
    /// Segments from its end.
    pub last: usize,
}

impl Default for Limits {
    /// 64 MiB: 200,000 segments with their frames. A connect of Linux to a dead host sends 7
    /// SYNs, a server whose client has gone 6 SYN-ACKs; what is longer is data or an attack.
    fn default() -> Self {
        Self { bytes: 64 << 20, first: 24, last: 8 }
    }
}

/// The segments of one attempt in the order in which they were judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segments {
    first: Vec<Seen>,
    last: VecDeque<Seen>,
    left_out: u64,
}

impl Segments {
    /// Those from the beginning. If none are left out, all.
    #[must_use]
    pub fn first(&self) -> &[Seen] {
        &self.first
    }

    /// How many are missing behind the first ones.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// All that are kept.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Seen> {
        self.first.iter().chain(&self.last)
    }

    /// Those that count: without what another interface or hook had seen before. With each comes how
    /// many were left out before it.
    #[must_use]
    pub fn counted(&self) -> Vec<(&Seen, u64)> {
        let mut counted = Vec::with_capacity(self.first.len() + self.last.len());
        let mut left_out = 0;
        for (place, seen) in self.iter().enumerate() {
            if place == self.first.len() {
                left_out = self.left_out;
            }
            if seen.verdict != Verdict::Copy {
                counted.push((seen, std::mem::take(&mut left_out)));
            }
        }
        counted
    }

    /// Appends a segment; returns the one that had to go for it.
    fn push(&mut self, seen: Seen, limits: &Limits) -> Option<Seen> {
        if self.first.len() < limits.first {
            if self.first.is_empty() {
                // In a flood most attempts have one segment.
                self.first.reserve_exact(1);
            }
            self.first.push(seen);
            return None;
        }
        self.last.push_back(seen);
        if self.last.len() <= limits.last {
            return None;
        }
        self.left_out += 1;
        self.last.pop_front()
    }

    fn size(&self) -> usize {
        OVERHEAD + self.iter().map(Seen::size).sum::<usize>()
    }
}

/// Bytes of an attempt beside its segments: in the map, and of two lists.
const OVERHEAD: usize = size_of::<Segments>() + 32;

/// See the module.
#[derive(Debug, Default)]
pub struct Evidence {
    limits: Limits,
    /// By number: the oldest attempt is the first.
    attempts: BTreeMap<u64, Segments>,
    bytes: usize,
    /// Attempts up to this one have begun; if they are not in the table, they have ended or given
    /// way.
    begun: u64,
    given_way: u64,
}

impl Evidence {
    /// No evidence yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Appends a segment to its attempt, or begins with it. Numbers of attempts only grow; segments
    /// of attempts that have ended, or had to give way, are not kept.
    pub fn note(&mut self, attempt: u64, seen: Seen) {
        if seen.verdict == Verdict::LateCopy {
            return;
        }
        let segments = if attempt > self.begun {
            self.begun = attempt;
            self.bytes += OVERHEAD;
            self.attempts.entry(attempt).or_default()
        } else {
            let Some(segments) = self.attempts.get_mut(&attempt) else { return };
            segments
        };
        self.bytes += seen.size();
        let gone = segments.push(seen, &self.limits);
        self.bytes -= gone.map_or(0, |seen| seen.size());
        while self.bytes > self.limits.bytes {
            let Some((_, oldest)) = self.attempts.pop_first() else { break };
            self.bytes -= oldest.size();
            self.given_way += 1;
        }
    }

    /// The segments of an attempt so far.
    #[must_use]
    pub fn of(&self, attempt: u64) -> Option<&Segments> {
        self.attempts.get(&attempt)
    }

    /// Takes the segments of an attempt that has ended; none if they had to give way.
    pub fn take(&mut self, attempt: u64) -> Option<Segments> {
        let segments = self.attempts.remove(&attempt)?;
        self.bytes -= segments.size();
        Some(segments)
    }

    /// Attempts whose segments had to give way to others.
    #[must_use]
    pub fn given_way(&self) -> u64 {
        self.given_way
    }

    /// Bytes of all segments kept now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Attempts with segments kept now.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.attempts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(seq: u32) -> Seen {
        let event = Event { seq, ..Event::ZERO };
        Seen { event, source: 0, verdict: Verdict::SynAgain, frame: None }
    }

    fn seqs(segments: &Segments) -> Vec<u32> {
        segments.iter().map(|seen| seen.event.seq).collect()
    }

    #[test]
    fn the_first_and_the_last_segments_stay_and_the_rest_is_counted() {
        let mut evidence = Evidence::new(Limits { bytes: 1 << 20, first: 2, last: 3 });
        (0..5).for_each(|seq| evidence.note(1, seen(seq)));
        let all = evidence.of(1).unwrap();
        assert_eq!((seqs(all), all.left_out()), (vec![0, 1, 2, 3, 4], 0));
        (5..100).for_each(|seq| evidence.note(1, seen(seq)));
        assert_eq!(evidence.bytes(), OVERHEAD + 5 * size_of::<Seen>());
        let all = evidence.take(1).unwrap();
        assert_eq!((seqs(&all), all.left_out()), (vec![0, 1, 97, 98, 99], 95));
        assert_eq!((evidence.bytes(), evidence.attempts()), (0, 0));
    }

    #[test]
    fn copies_do_not_count_and_what_was_left_out_is_said_behind_them() {
        let mut evidence = Evidence::new(Limits { bytes: 1 << 20, first: 2, last: 2 });
        for seq in 0..6 {
            let verdict = if seq == 1 || seq == 4 { Verdict::Copy } else { Verdict::SynAgain };
            evidence.note(1, Seen { verdict, ..seen(seq) });
        }
        let all = evidence.take(1).unwrap();
        let counted = all.counted().into_iter().map(|(seen, out)| (seen.event.seq, out));
        assert_eq!(counted.collect::<Vec<_>>(), [(0, 0), (5, 2)]);
    }

    #[test]
    fn the_oldest_attempt_gives_way_and_does_not_come_back() {
        let limits = Limits { bytes: 3 * (OVERHEAD + size_of::<Seen>()), first: 9, last: 9 };
        let mut evidence = Evidence::new(limits);
        (1..=4).for_each(|attempt| evidence.note(attempt, seen(0)));
        assert_eq!((evidence.given_way(), evidence.attempts()), (1, 3));
        evidence.note(1, seen(1));
        assert!(evidence.take(1).is_none());
        assert_eq!(evidence.bytes(), limits.bytes);
    }

    #[test]
    fn nothing_is_kept_of_an_attempt_that_was_taken() {
        let mut evidence = Evidence::default();
        evidence.note(7, seen(0));
        assert!(evidence.take(7).is_some());
        evidence.note(7, seen(1));
        let late = Seen { verdict: Verdict::LateCopy, ..seen(2) };
        evidence.note(8, late);
        assert_eq!((evidence.attempts(), evidence.bytes()), (0, 0));
    }

    #[test]
    fn bytes_are_those_of_the_segments_kept() {
        let kept = Kept { wire_len: 60, marks: 0, tci: 0, bytes: &[1; 60] };
        let frame = Some(Box::new(Frame::new(&kept)));
        let mut evidence = Evidence::default();
        for round in 0..3_000_u32 {
            let attempt = u64::from(round % 50 + round / 100);
            evidence.note(attempt, Seen { frame: frame.clone(), ..seen(round) });
            if round % 7 == 0 {
                evidence.take(attempt);
            }
            let sum: usize = evidence.attempts.values().map(Segments::size).sum();
            assert_eq!(evidence.bytes(), sum);
        }
        assert!(evidence.bytes() > 0);
    }

    #[test]
    fn a_tag_that_was_taken_out_stands_in_the_frame_again() {
        let bytes: Vec<u8> = (0..74).collect();
        let kept = Kept { wire_len: 74, marks: mark::TAG, tci: 0x6064, bytes: &bytes };
        let frame = Frame::new(&kept);
        assert_eq!((frame.wire_len(), frame.bytes().len(), frame.is_ip()), (78, 78, false));
        assert_eq!(frame.bytes()[12..16], [0x81, 0x00, 0x60, 0x64]);
        assert_eq!((&frame.bytes()[..12], &frame.bytes()[16..]), (&bytes[..12], &bytes[12..]));
        let full = [7; KEPT_LEN];
        let marks = mark::TAG | mark::SERVICE_TAG;
        let frame = Frame::new(&Kept { wire_len: 1500, marks, tci: 5, bytes: &full });
        assert_eq!((frame.bytes().len(), &frame.bytes()[12..16]), (164, &[0x88, 0xa8, 0, 5][..]));
    }
}
