//! The failed attempts that are listed: which of the board's rows, in which order. Kept up to date by
//! what is new, so that 50,000 rows cost little.

use std::sync::Arc;

use crate::board::{Board, Row};
use crate::outcome::Outcome;

/// Open attempts that wait are shown above the failed ones, so many at most.
const MOST_WAITING: usize = 5;

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
            Self::Time => u128::from(row.seq),
            Self::Outcome => attempt.outcome as u128,
            Self::Client => socket(attempt.key.client_addr()),
            Self::Server => socket(attempt.key.server_addr()),
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

/// See the module.
#[derive(Debug)]
pub(super) struct List {
    pub(super) by: By,
    pub(super) descending: bool,
    /// Smallest first, in the order of `by`; ties by age.
    entries: Vec<Entry>,
    /// Rows before this number have been looked at.
    next: u64,
    waiting: Vec<Arc<Row>>,
    shown_waiting: usize,
}

impl Default for List {
    fn default() -> Self {
        Self {
            by: By::Time,
            descending: true,
            entries: Vec::new(),
            next: 0,
            waiting: Vec::new(),
            shown_waiting: 0,
        }
    }
}

impl List {
    /// Everything is to be looked at again: another filter, or other rows.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.next = 0;
    }

    /// Another order.
    pub(super) fn sort(&mut self, by: By, descending: bool) {
        if self.by != by {
            self.by = by;
            self.entries.iter_mut().for_each(|entry| entry.key = by.key(&entry.row));
            self.entries.sort_unstable_by_key(|entry| (entry.key, entry.seq));
        }
        self.descending = descending;
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
        self.shown_waiting = self.shown_waiting.min(self.waiting.len());
    }

    /// Room for the open ones: not more than a third of the screen.
    pub(super) fn make_room(&mut self, lines: usize) {
        self.shown_waiting = self.waiting.len().min(MOST_WAITING).min(lines / 3);
    }

    /// Rows to be shown.
    pub(super) fn len(&self) -> usize {
        self.shown_waiting + self.entries.len()
    }

    /// Failed attempts among them.
    pub(super) fn failed(&self) -> usize {
        self.entries.len()
    }

    /// Open attempts that wait, also those for which there is no room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The row in this place.
    pub(super) fn row(&self, index: usize) -> Option<&Arc<Row>> {
        if let Some(row) = self.waiting[..self.shown_waiting].get(index) {
            return Some(row);
        }
        let index = index - self.shown_waiting;
        let last = self.entries.len().checked_sub(1)?;
        let index = if self.descending { last.checked_sub(index)? } else { index };
        self.entries.get(index).map(|entry| &entry.row)
    }

    /// The place of an attempt.
    pub(super) fn place(&self, id: u64) -> Option<usize> {
        let open = self.waiting[..self.shown_waiting].iter();
        if let Some(place) = open.into_iter().position(|row| row.attempt.id == id) {
            return Some(place);
        }
        let place = if self.descending {
            self.entries.iter().rev().position(|entry| entry.id == id)
        } else {
            self.entries.iter().position(|entry| entry.id == id)
        };
        place.map(|place| place + self.shown_waiting)
    }

    /// The failed attempts in their order.
    pub(super) fn rows(&self) -> Vec<Arc<Row>> {
        let rows = self.entries.iter().map(|entry| Arc::clone(&entry.row));
        if self.descending { rows.rev().collect() } else { rows.collect() }
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
