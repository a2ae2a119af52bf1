//! The attempts that are listed: which of the board's rows, in which order. Failed ones, kept up to date
//! by what is new, so that 50,000 rows cost little, with some open ones above them; or open ones only.

use std::sync::Arc;

use crate::attempt::Nanos;
use crate::board::{Board, Row};
use crate::outcome::Outcome;

/// Open attempts that wait are shown above the failed ones, so many at most if these need the room.
const MOST_WAITING: usize = 5;
/// What the line "+3 more" is chosen by; no attempt has this number.
const MORE: u64 = u64::MAX;

/// The columns, in their order on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Time,
    Outcome,
    Client,
    Server,
    After,
    Evidence,
    Retransmits,
    Interface,
}

impl By {
    pub(super) const ALL: [Self; 8] = [
        Self::Time,
        Self::Outcome,
        Self::Client,
        Self::Server,
        Self::After,
        Self::Evidence,
        Self::Retransmits,
        Self::Interface,
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
        }
    }
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
    pub(super) by: By,
    pub(super) descending: bool,
    /// Only open attempts that wait, all of them.
    pub(super) is_waiting_only: bool,
    /// The order of the other kind of list.
    other_order: (By, bool),
    /// Failed ones: smallest first, in the order of `by`; ties by age.
    entries: Vec<Entry>,
    /// Rows before this number have been looked at.
    next: u64,
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
        Self {
            by: By::Time,
            descending: true,
            is_waiting_only: false,
            other_order: (By::After, true),
            entries: Vec::new(),
            next: 0,
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
        self.next = 0;
    }

    /// Only those that wait, or failed ones again.
    pub(super) fn turn_over(&mut self) {
        let order = std::mem::replace(&mut self.other_order, (self.by, self.descending));
        self.is_waiting_only = !self.is_waiting_only;
        (self.by, self.descending) = order;
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

    /// Above failed ones the oldest is first, whatever their order.
    fn sort_waiting(&mut self) {
        let (by, is_shown) = (self.by, self.is_waiting_only);
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
        let first = board.rows.first();
        if self.next != board.rows.next() {
            self.entries.retain(|entry| entry.seq >= first);
            let by = self.by;
            let new = board.rows.since(self.next).filter(|row| passes(row));
            self.entries.extend(new.map(|row| Entry {
                key: by.key(row),
                seq: row.seq,
                id: row.attempt.id,
                row: Arc::clone(row),
            }));
            // Long sorted runs with a short tail are what this sort is good at.
            self.entries.sort_by_key(|entry| (entry.key, entry.seq));
            self.next = board.rows.next();
        }
        self.waiting = board.waiting.iter().filter(|row| passes(row)).cloned().collect();
        if self.is_waiting_only {
            self.sort_waiting();
        }
        self.shown_waiting = self.shown_waiting.min(self.waiting.len());
        self.has_more &= self.more() > 0;
    }

    /// Room for the open ones: what the failed ones leave, else not more than a third of the screen
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
        if self.is_waiting_only {
            return self.waiting.len();
        }
        self.before_failed() + self.entries.len()
    }

    fn before_failed(&self) -> usize {
        self.shown_waiting + usize::from(self.has_more)
    }

    /// Failed attempts that pass.
    pub(super) fn failed(&self) -> usize {
        self.entries.len()
    }

    /// Open attempts that wait, also those for which there is no room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The line in this place.
    pub(super) fn line(&self, index: usize) -> Option<Line<'_>> {
        if self.is_waiting_only {
            return self.waiting.get(index).map(Line::Row);
        }
        if let Some(row) = self.waiting[..self.shown_waiting].get(index) {
            return Some(Line::Row(row));
        }
        let Some(index) = index.checked_sub(self.before_failed()) else {
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
        let above = if self.is_waiting_only { self.waiting.len() } else { self.shown_waiting };
        let open = self.waiting[..above].iter().position(|row| row.attempt.id == id);
        if open.is_some() || self.is_waiting_only {
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
        place.map(|place| place + self.before_failed())
    }

    /// All attempts in their order, also those for which there is no room.
    pub(super) fn rows(&self) -> Vec<Arc<Row>> {
        let mut rows = self.waiting.clone();
        if !self.is_waiting_only {
            let failed = self.entries.iter().map(|entry| Arc::clone(&entry.row));
            if self.descending { rows.extend(failed.rev()) } else { rows.extend(failed) }
        }
        rows
    }
}

/// The outcome of a row in words; what is open has none yet.
pub(super) fn outcome(row: &Row) -> String {
    match (row.is_open, row.attempt.outcome) {
        (false, outcome) => outcome.name().to_owned(),
        (true, Outcome::HalfOpen) => "no ACK yet".to_owned(),
        (true, _) => "no answer yet".to_owned(),
    }
}
