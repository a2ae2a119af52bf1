//! The attempts that are listed: which of the board's rows, in which order. Failed or all ended ones, kept
//! up to date by what is new, so that 50,000 rows cost little, with some open ones above them; or open ones
//! only.

use std::sync::Arc;

use ahash::AHashMap;

use crate::attempt::Nanos;
use crate::board::{Board, Row};
use crate::outcome::Outcome;

/// Open attempts that wait are shown above the ended ones, so many at most if these need the room.
const MOST_WAITING: usize = 5;
/// What the line "+3 more" is chosen by; no attempt has this number.
const MORE: u64 = u64::MAX;

/// Which attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Those that failed; all that have ended as long as none has failed.
    Failed,
    /// All that have ended.
    All,
    /// Open ones that wait.
    Waiting,
}

impl Kind {
    /// The order in which it is first shown.
    fn order(self) -> (By, bool) {
        match self {
            Self::Failed | Self::All => (By::Time, true),
            Self::Waiting => (By::After, true),
        }
    }
}

/// What the list can be sorted by: the columns, in their order on the screen, and slowness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// When it ended.
    Time,
    /// What became of it.
    Outcome,
    /// Who began it.
    Client,
    /// Who was asked.
    Server,
    /// First packet to end.
    After,
    /// Copies of SYNs and SYN-ACKs.
    Retransmits,
    /// Where it was seen.
    Interface,
    /// What says so.
    Evidence,
    /// What was slow first; no column.
    Slow,
}

impl By {
    pub(super) const ALL: [Self; 8] = [
        Self::Time,
        Self::Outcome,
        Self::Client,
        Self::Server,
        Self::After,
        Self::Retransmits,
        Self::Interface,
        Self::Evidence,
    ];

    /// What rows are compared by.
    fn key(self, row: &Row) -> u128 {
        let attempt = &row.attempt;
        match self {
            Self::Time if row.is_open => time(attempt.t_first),
            Self::Time => u128::from(row.seq),
            Self::Outcome => attempt.outcome as u128,
            Self::Client => socket(attempt.key.client_addr()),
            Self::Server => socket(attempt.key.server_addr()),
            // The sooner it began, the longer it waits.
            Self::After if row.is_open => u128::MAX - time(attempt.t_first),
            Self::After => attempt.latency_end().map_or(0, |ns| ns.max(0) as u128),
            Self::Evidence => evidence(row),
            Self::Retransmits => u128::from(row.retransmits()),
            Self::Interface => row.view().place.map_or(0, |place| text(place.interface)),
            Self::Slow => slowness(row),
        }
    }
}

/// Slow ones, then failed ones in which something was sent twice, then the others; each by how long they took.
fn slowness(row: &Row) -> u128 {
    let rank = match (row.is_slow(), row.retransmits() > 0) {
        (true, _) => 2,
        (false, true) => 1,
        (false, false) => 0,
    };
    rank << 100 | row.attempt.latency_end().map_or(0, time)
}

/// Address and port as one number: the address is cut at its end, where IPv6 hosts hardly differ.
fn socket(address: std::net::SocketAddr) -> u128 {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) => u128::from(ip.to_bits()),
        std::net::IpAddr::V6(ip) => 1 << 111 | ip.to_bits() >> 17,
    };
    ip << 16 | u128::from(address.port())
}

fn time(ns: Nanos) -> u128 {
    ns.max(0) as u128
}

fn text(text: &str) -> u128 {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    u128::from_be_bytes(bytes)
}

fn evidence(row: &Row) -> u128 {
    let attempt = &row.attempt;
    let icmp =
        attempt.icmp.map_or(0, |icmp| u128::from(icmp.icmp_type) << 8 | u128::from(icmp.code));
    (attempt.ended_by as u128) << 16 | icmp
}

#[derive(Debug, Clone)]
struct Entry {
    key: u128,
    seq: u64,
    id: u64,
    row: Arc<Row>,
}

/// One line of the list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line<'a> {
    /// An attempt.
    Row(&'a Arc<Row>),
    /// So many more open attempts wait.
    More(u64),
}

/// See the module.
#[derive(Debug)]
pub(super) struct List {
    pub(super) kind: Kind,
    pub(super) by: By,
    pub(super) descending: bool,
    /// The orders of the other kinds.
    orders: [(By, bool); 3],
    /// All ended ones are listed.
    is_of_all: bool,
    /// Ended ones: smallest first, in the order of `by`; ties by age.
    entries: Vec<Entry>,
    /// Rows before this number have been looked at.
    next: u64,
    /// Those that belong to the connect of an entry, by its number.
    again: AHashMap<u64, Vec<Arc<Row>>>,
    /// Oldest first; if they are all that is listed, as they are shown.
    waiting: Vec<Arc<Row>>,
    /// More that wait, of which only the number is known.
    pub(super) unlisted: u64,
    shown_waiting: usize,
    /// A line after these says how many more there are.
    has_more: bool,
}

impl Default for List {
    fn default() -> Self {
        let (by, descending) = Kind::Failed.order();
        Self {
            kind: Kind::Failed,
            by,
            descending,
            orders: [Kind::Failed, Kind::All, Kind::Waiting].map(Kind::order),
            is_of_all: false,
            entries: Vec::new(),
            next: 0,
            again: AHashMap::new(),
            waiting: Vec::new(),
            unlisted: 0,
            shown_waiting: 0,
            has_more: false,
        }
    }
}

impl List {
    /// Everything is to be looked at again: another filter, or other rows.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.again.clear();
        self.next = 0;
    }

    /// Are all ended ones listed, whatever became of them?
    pub(super) fn is_of_all(&self) -> bool {
        self.is_of_all && self.kind != Kind::Waiting
    }

    /// Another kind of list, in its own order. The caller lets it [`Self::follow`].
    pub(super) fn turn_to(&mut self, kind: Kind) {
        self.orders[self.kind as usize] = (self.by, self.descending);
        self.kind = kind;
        (self.by, self.descending) = self.orders[kind as usize];
        self.rekey();
        self.sort_waiting();
    }

    /// Another order.
    pub(super) fn sort(&mut self, by: By, descending: bool) {
        self.descending = descending;
        if self.by != by {
            self.by = by;
            self.rekey();
        }
        self.sort_waiting();
    }

    /// The other way round.
    pub(super) fn reverse(&mut self) {
        self.sort(self.by, !self.descending);
    }

    fn rekey(&mut self) {
        let by = self.by;
        self.entries.iter_mut().for_each(|entry| entry.key = by.key(&entry.row));
        self.entries.sort_unstable_by_key(|entry| (entry.key, entry.seq));
    }

    /// Above ended ones the oldest is first, whatever their order.
    fn sort_waiting(&mut self) {
        let (by, is_shown) = (self.by, self.kind == Kind::Waiting);
        let key = |row: &Arc<Row>| (by.key(row), row.attempt.t_first, row.attempt.id);
        match (is_shown, self.descending) {
            (false, _) => {
                self.waiting.sort_unstable_by_key(|row| (row.attempt.t_first, row.attempt.id));
            }
            (true, false) => self.waiting.sort_unstable_by_key(key),
            (true, true) => self.waiting.sort_unstable_by_key(|row| std::cmp::Reverse(key(row))),
        }
    }

    /// Takes in what is new and drops what is gone.
    pub(super) fn follow(&mut self, board: &Board, passes: impl Fn(&Row) -> bool) {
        let is_of_all = match self.kind {
            Kind::All => true,
            Kind::Failed => board.rows.is_empty(),
            Kind::Waiting => self.is_of_all,
        };
        if std::mem::replace(&mut self.is_of_all, is_of_all) != is_of_all {
            self.forget();
        }
        let next = if is_of_all { board.ended.next() } else { board.rows.next() };
        if self.next != next {
            self.drop_gone(board);
            if is_of_all {
                // Of those that are kept for longer, what the others no longer have.
                let before = board.ended.first();
                let older = board.rows.since(self.next).chain(board.slow.since(self.next));
                self.take(older.filter(|row| row.seq < before), &passes, board);
                self.take(board.ended.since(self.next), &passes, board);
            } else {
                self.take(board.rows.since(self.next), &passes, board);
            }
            // Long sorted runs with a short tail are what this sort is good at.
            self.entries.sort_by_key(|entry| (entry.key, entry.seq));
            self.next = next;
        }
        self.waiting = board.waiting.iter().filter(|row| passes(row)).cloned().collect();
        if self.kind == Kind::Waiting {
            self.sort_waiting();
        }
        self.shown_waiting = self.shown_waiting.min(self.waiting.len());
        self.has_more &= self.more() > 0;
    }

    fn drop_gone(&mut self, board: &Board) {
        let (failed, slow, ended) = (board.rows.first(), board.slow.first(), board.ended.first());
        if self.is_of_all {
            self.entries.retain(|entry| {
                let seq = entry.seq;
                seq >= ended
                    || seq >= failed && entry.row.attempt.outcome.is_failure()
                    || seq >= slow && entry.row.is_slow()
            });
        } else {
            self.entries.retain(|entry| entry.seq >= failed);
        }
        self.again.retain(|seq, _| *seq >= failed);
    }

    fn take<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a Arc<Row>>,
        passes: &impl Fn(&Row) -> bool,
        board: &Board,
    ) {
        let by = self.by;
        for row in rows.filter(|row| passes(row)) {
            if let Some(first) = &row.repeats
                && first.seq >= board.rows.first()
                && passes(first)
            {
                self.again.entry(first.seq).or_default().push(Arc::clone(row));
                continue;
            }
            self.entries.push(Entry {
                key: by.key(row),
                seq: row.seq,
                id: row.attempt.id,
                row: Arc::clone(row),
            });
        }
    }

    /// Those of the same connect that are not listed themselves.
    pub(super) fn again(&self, row: &Row) -> &[Arc<Row>] {
        self.again.get(&row.seq).map_or(&[], Vec::as_slice)
    }

    /// Room for the open ones: what the ended ones leave, else not more than a third of the screen
    /// and a line that says how many more there are.
    pub(super) fn make_room(&mut self, lines: usize) {
        let spare = lines.saturating_sub(self.entries.len());
        let least = usize::from(lines >= 4);
        let room = (lines / 3).min(MOST_WAITING).max(least);
        let all = self.waiting.len();
        self.shown_waiting = all.min(room.max(spare));
        self.has_more = lines >= 2 && self.more() > 0;
        if self.has_more && self.shown_waiting > room {
            self.shown_waiting -= 1;
        }
    }

    fn more(&self) -> u64 {
        (self.waiting.len() - self.shown_waiting) as u64 + self.unlisted
    }

    /// Lines to be shown.
    pub(super) fn len(&self) -> usize {
        if self.kind == Kind::Waiting {
            return self.waiting.len();
        }
        self.before_ended() + self.entries.len()
    }

    fn before_ended(&self) -> usize {
        self.shown_waiting + usize::from(self.has_more)
    }

    /// Ended attempts that pass.
    pub(super) fn ended(&self) -> usize {
        self.entries.len()
    }

    /// Open attempts that wait, also those for which there is no room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The line in this place.
    pub(super) fn line(&self, index: usize) -> Option<Line<'_>> {
        if self.kind == Kind::Waiting {
            return self.waiting.get(index).map(Line::Row);
        }
        if let Some(row) = self.waiting[..self.shown_waiting].get(index) {
            return Some(Line::Row(row));
        }
        let Some(index) = index.checked_sub(self.before_ended()) else {
            return Some(Line::More(self.more()));
        };
        let last = self.entries.len().checked_sub(1)?;
        let index = if self.descending { last.checked_sub(index)? } else { index };
        self.entries.get(index).map(|entry| Line::Row(&entry.row))
    }

    /// What the line in this place is known by.
    pub(super) fn id(&self, index: usize) -> Option<u64> {
        self.line(index).map(|line| match line {
            Line::Row(row) => row.attempt.id,
            Line::More(_) => MORE,
        })
    }

    /// The place of a line.
    pub(super) fn place(&self, id: u64) -> Option<usize> {
        let above = match self.kind {
            Kind::Waiting => self.waiting.len(),
            Kind::Failed | Kind::All => self.shown_waiting,
        };
        let open = self.waiting[..above].iter().position(|row| row.attempt.id == id);
        if open.is_some() || self.kind == Kind::Waiting {
            return open;
        }
        if id == MORE {
            return self.has_more.then_some(self.shown_waiting);
        }
        let place = if self.descending {
            self.entries.iter().rev().position(|entry| entry.id == id)
        } else {
            self.entries.iter().position(|entry| entry.id == id)
        };
        place.map(|place| place + self.before_ended())
    }

    /// All attempts in their order, also those for which there is no room.
    pub(super) fn rows(&self) -> Vec<Arc<Row>> {
        let mut rows = self.waiting.clone();
        if self.kind == Kind::Waiting {
            return rows;
        }
        let mut add = |entry: &Entry| {
            rows.push(Arc::clone(&entry.row));
            rows.extend(self.again(&entry.row).iter().cloned());
        };
        if self.descending {
            self.entries.iter().rev().for_each(&mut add);
        } else {
            self.entries.iter().for_each(&mut add);
        }
        rows
    }
}

/// The outcome of a row in words; what is open `now` has none yet.
pub(super) fn outcome(row: &Row, now: Nanos) -> String {
    match (row.is_open, row.attempt.outcome) {
        (false, outcome) => outcome.name().to_owned(),
        (true, _) if row.gave_up(now) => "gave up?".to_owned(),
        (true, Outcome::HalfOpen) => "no ACK yet".to_owned(),
        (true, _) => "no answer yet".to_owned(),
    }
}
