//! Recent attempts: all that have ended, those that failed, and open ones that look as if they might
//! fail. Bounded: the oldest goes.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;

use crate::attempt::{Attempt, Key, Nanos, OpenView};
use crate::evidence::Segments;
use crate::outcome::{EndedBy, Outcome};
use crate::snapshot::{AttemptView, Place, Role};

/// An open attempt is listed after this long, or as soon as something was sent twice.
const PATIENCE: Nanos = 1_000_000_000;
/// A completed attempt that took so long is slow.
pub const SLOW: Nanos = 500_000_000;
const SECOND: Nanos = 1_000_000_000;
/// A client whose SYN is not repeated for so long does not repeat it.
const NO_REPETITION: Nanos = 2 * SECOND;

/// One attempt and its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// 0, 1, … in order of ending.
    pub seq: u64,
    /// The attempt. Of one that is still open, `outcome` is what it is if it gets no further.
    pub attempt: Attempt,
    /// It has not ended.
    pub is_open: bool,
    /// Its segments, if they were kept with it ([`super::Board::segments`] has more).
    pub segments: Option<Segments>,
    /// The failed attempt of the same connect before it: its SYN crossed what ended that one, or followed
    /// an error that the client did not take as final.
    pub repeats: Option<Arc<Self>>,
    place: Option<(Arc<str>, &'static str, Role)>,
    to_wall: Nanos,
}

impl Row {
    /// As outputs get it.
    #[must_use]
    pub fn view(&self) -> AttemptView<'_> {
        let place = self.place.as_ref().map(|(interface, hook, role)| Place {
            interface,
            hook,
            role: *role,
        });
        AttemptView { attempt: &self.attempt, place, to_wall: self.to_wall }
    }

    /// The same with more that is known of the attempt.
    #[must_use]
    pub fn with(&self, attempt: Attempt) -> Arc<Self> {
        Arc::new(Self { attempt, ..self.clone() })
    }

    /// The same of an open attempt, as if watching ended.
    #[must_use]
    pub fn unfinished(&self) -> Arc<Self> {
        let (outcome, ended_by) = (Outcome::Unfinished, EndedBy::Eof);
        self.with(Attempt { outcome, ended_by, ..self.attempt.clone() })
    }

    /// When it began, since 1970.
    #[must_use]
    pub fn began(&self) -> Nanos {
        self.attempt.t_first.saturating_add(self.to_wall)
    }

    /// First packet to end; until `now` while it is open.
    #[must_use]
    pub fn lasted(&self, now: Nanos) -> Option<Nanos> {
        if self.is_open {
            return Some(now.saturating_sub(self.began()).max(0));
        }
        self.attempt.latency_end()
    }

    /// Copies of SYNs and SYN-ACKs.
    #[must_use]
    pub fn retransmits(&self) -> u32 {
        self.attempt.syn_retrans.saturating_add(self.attempt.synack_retrans)
    }

    /// Completed, but something was sent twice or it took [`SLOW`].
    #[must_use]
    pub fn is_slow(&self) -> bool {
        is_slow(&self.attempt)
    }

    /// Open and unanswered, and the client should have sent its SYN again by now, but has not.
    #[must_use]
    pub fn gave_up(&self, now: Nanos) -> bool {
        let Some(last) = self.attempt.t_syn_last.filter(|_| self.is_open) else { return false };
        let silent = now.saturating_sub(last.saturating_add(self.to_wall));
        let took = last.saturating_sub(self.attempt.t_first);
        let due = next_syn(self.attempt.syn_retrans, took);
        silent > due + due / 4 + SECOND / 2
    }

    /// One SYN, never repeated for as long as any client would have waited: the connect was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let a = &self.attempt;
        let is_silent = a.outcome == Outcome::NoAnswer && a.ended_by == EndedBy::Timeout;
        let is_long = a.latency_end().is_some_and(|ns| ns >= NO_REPETITION);
        !self.is_open && is_silent && a.syn_retrans == 0 && a.uncertain.is_none() && is_long
    }
}

/// [`Row::is_slow`] of an attempt.
pub(super) fn is_slow(attempt: &Attempt) -> bool {
    let is_long = || attempt.latency_total().is_some_and(|total| total >= SLOW);
    attempt.outcome.is_completed() && (attempt.is_retransmitted() || is_long())
}

/// How long after its last SYN a client sends it again, having sent it so many times more within `took`.
/// Most double the time between two; Linux does so after five seconds of one a second.
fn next_syn(copies: u32, took: Nanos) -> Nanos {
    let copies = copies.min(10);
    let doublings = (1 << copies) - 1;
    if took >= doublings * SECOND * 3 / 4 {
        let first = if copies == 0 { SECOND } else { (took / doublings).max(SECOND) };
        return first << copies;
    }
    SECOND << copies.saturating_sub(4)
}

/// Should this open attempt be listed, at `boot_now`?
pub(super) fn is_late(view: &OpenView, boot_now: Nanos) -> bool {
    view.syn_retrans > 0
        || view.synack_retrans > 0
        || boot_now.saturating_sub(view.began) > PATIENCE
}

/// An open attempt as a row.
pub(super) fn waiting(view: &OpenView, place: Place<'_>, to_wall: Nanos) -> Arc<Row> {
    Arc::new(Row {
        seq: u64::MAX,
        attempt: so_far(view),
        is_open: true,
        segments: None,
        repeats: None,
        place: Some((place.interface.into(), place.hook, place.role)),
        to_wall,
    })
}

/// What is known of an open attempt.
fn so_far(view: &OpenView) -> Attempt {
    Attempt {
        id: view.id,
        source: view.source,
        t_first: view.began,
        t_syn_last: (!view.answered).then_some(view.last),
        syn_retrans: view.syn_retrans,
        synack_retrans: view.synack_retrans,
        synack_isns: u32::from(view.answered),
        client_isn: view.client_isn,
        ..Attempt::blank(view.key, view.unanswered)
    }
}

/// See the module. A clone keeps what it has, whatever happens to the original.
#[derive(Debug, Clone)]
pub struct Rows {
    rows: VecDeque<Arc<Row>>,
    next: u64,
    taken: u64,
    most: usize,
}

impl Rows {
    /// None yet; keeps the newest `most`.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { rows: VecDeque::new(), next: 0, taken: 0, most: most.max(1) }
    }

    /// Takes an ended attempt; its number is larger than those before.
    pub fn push(&mut self, row: Arc<Row>) {
        if self.rows.len() >= self.most {
            self.rows.pop_front();
        }
        self.next = row.seq + 1;
        self.taken += 1;
        self.rows.push_back(row);
    }

    /// The oldest that is kept has this number.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.rows.front().map_or(self.next, |row| row.seq)
    }

    /// The next one will have at least this number.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// So many were ever taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Those from number `seq` on, oldest first.
    pub fn since(&self, seq: u64) -> impl DoubleEndedIterator<Item = &Arc<Row>> {
        self.rows.range(self.rows.partition_point(|row| row.seq < seq)..)
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// None is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Failed attempts that may be followed by another of the same connect. Bounded: the oldest goes.
#[derive(Debug, Clone, Default)]
struct Connects {
    rows: AHashMap<(Key, u32), Arc<Row>>,
    order: VecDeque<(Key, u32)>,
}

impl Connects {
    const MOST: usize = 1_024;

    /// The first failed attempt of the same connect, if this one failed, too.
    fn before(&self, attempt: &Attempt) -> Option<Arc<Row>> {
        let is_one = attempt.isn_repeat && attempt.outcome.is_failure();
        let row = is_one.then(|| self.rows.get(&(attempt.key, attempt.client_isn)))??;
        Some(Arc::clone(row.repeats.as_ref().unwrap_or(row)))
    }

    fn push(&mut self, row: &Arc<Row>) {
        let a = &row.attempt;
        if !matches!(a.outcome, Outcome::Refused | Outcome::IcmpUnreachable) {
            return;
        }
        let connect = (a.key, a.client_isn);
        if self.rows.insert(connect, Arc::clone(row)).is_none() {
            self.order.push_back(connect);
        }
        if self.order.len() > Self::MOST {
            let oldest = self.order.pop_front();
            oldest.and_then(|connect| self.rows.remove(&connect));
        }
    }
}

/// Segments of completed attempts; the oldest give way.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    attempts: VecDeque<(u64, Arc<Segments>)>,
    segments: usize,
}

impl Kept {
    /// Segments kept in all.
    const MOST: usize = 12_000;

    pub(super) fn push(&mut self, id: u64, segments: Segments) {
        self.segments += segments.iter().count();
        self.attempts.push_back((id, Arc::new(segments)));
        while self.segments > Self::MOST {
            let Some((_, oldest)) = self.attempts.pop_front() else { return };
            self.segments -= oldest.iter().count();
        }
    }

    pub(super) fn of(&self, id: u64) -> Option<&Segments> {
        let found = self.attempts.iter().rev().find(|(one, _)| *one == id);
        found.map(|(_, segments)| &**segments)
    }
}

/// Makes rows of ended attempts.
#[derive(Debug, Clone)]
pub(super) struct Maker {
    next: u64,
    interface: Arc<str>,
    failed: Connects,
}

impl Default for Maker {
    fn default() -> Self {
        Self { next: 0, interface: "".into(), failed: Connects::default() }
    }
}

impl Maker {
    /// The row of an ended attempt and its segments.
    pub(super) fn row(&mut self, view: &AttemptView<'_>, segments: Option<Segments>) -> Arc<Row> {
        let repeats = self.failed.before(view.attempt);
        let place = view.place.map(|place| {
            // Mostly the same name as the one before.
            if *self.interface != *place.interface {
                self.interface = place.interface.into();
            }
            (Arc::clone(&self.interface), place.hook, place.role)
        });
        let seq = self.next;
        self.next += 1;
        let row = Arc::new(Row {
            seq,
            attempt: view.attempt.clone(),
            is_open: false,
            segments,
            repeats,
            place,
            to_wall: view.to_wall,
        });
        self.failed.push(&row);
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Endpoint;

    #[test]
    fn failed_ones_are_found_by_their_numbers_among_all() {
        let end = Endpoint { address: [0; 4], port: 1 };
        let key = Key { client: end, server: end, ip_version: 4 };
        let (mut maker, mut all, mut failed) = (Maker::default(), Rows::new(4), Rows::new(2));
        for number in 0..9 {
            let is_failed = number % 3 == 0;
            let outcome = if is_failed { Outcome::Refused } else { Outcome::Completed };
            let attempt = Attempt::blank(key, outcome);
            let view = AttemptView { attempt: &attempt, place: None, to_wall: 0 };
            let row = maker.row(&view, None);
            if is_failed {
                failed.push(Arc::clone(&row));
            }
            all.push(row);
        }
        let numbers = |rows: &Rows, from| rows.since(from).map(|row| row.seq).collect::<Vec<_>>();
        assert_eq!(numbers(&all, 0), [5, 6, 7, 8]);
        assert_eq!(numbers(&failed, 0), [3, 6]);
        assert_eq!((numbers(&failed, 4), numbers(&failed, 7)), (vec![6], vec![]));
        assert_eq!((failed.first(), failed.next(), failed.taken()), (3, 7, 3));
        assert_eq!((all.first(), all.next(), all.taken()), (5, 9, 9));
    }
}
