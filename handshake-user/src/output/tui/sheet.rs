//! Services and peers: one line each, what fails first.

use std::cmp::Ordering;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::cursor::{Cursor, Step};
use super::overview::below;
use super::state::{Tab, Ui};
use super::table::{Cell, Column, Shape, Table, Widths, room_below};
use super::text::{clock, count, cut, latency, percent, put, rate};
use super::theme::Theme;
use super::window;
use crate::after::Next;
use crate::board::{Board, Standing, Who};
use crate::outcome::Outcome;
use crate::pattern::Flood;
use crate::windows::{Numbers, Window};

/// The columns, in their order on the screen.
#[expect(missing_docs, reason = "each is a heading")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Who,
    Rate,
    Completion,
    Failed,
    Outcomes,
    Unserved,
    Since,
    HalfOpen,
    ServerP50,
    ServerP99,
    ClientP50,
    ClientP99,
    Retransmits,
    Cancelled,
    Ended,
    Flood,
}

const ALL: [By; 16] = [
    By::Who,
    By::Rate,
    By::Completion,
    By::Failed,
    By::Outcomes,
    By::Unserved,
    By::Since,
    By::HalfOpen,
    By::ServerP50,
    By::ServerP99,
    By::ClientP50,
    By::ClientP99,
    By::Retransmits,
    By::Cancelled,
    By::Ended,
    By::Flood,
];

/// Cells of a flood with its start and end.
const FLOOD: u16 = 17;

/// State of one such view.
#[derive(Debug)]
pub(super) struct Sheet {
    title: &'static str,
    has_floods: bool,
    columns: Vec<(By, Column)>,
    by: usize,
    descending: bool,
    cursor: Cursor<Who>,
    widths: Widths,
}

impl Sheet {
    pub(super) fn services() -> Self {
        Self::new("service", true, &ALL, By::Failed)
    }

    /// Floods have no honest peer.
    pub(super) fn peers() -> Self {
        Self::new("clients from", false, &ALL, By::Failed)
    }

    /// These columns, each once, sorted by `sort` at first.
    pub(super) fn arrange(&mut self, columns: &[By], sort: By) {
        *self = Self::new(self.title, self.has_floods, columns, sort);
    }

    fn new(title: &'static str, has_floods: bool, columns: &[By], sort: By) -> Self {
        let mut chosen: Vec<(By, Column)> = Vec::new();
        for by in columns.iter().chain([&sort]).filter(|by| has_floods || **by != By::Flood) {
            if chosen.iter().all(|(one, _)| one != by) {
                chosen.push((*by, column(*by, title)));
            }
        }
        if chosen.is_empty() {
            chosen.push((By::Who, column(By::Who, title)));
        }
        let by = chosen.iter().position(|(by, _)| *by == sort).unwrap_or(0);
        Self {
            title,
            has_floods,
            columns: chosen,
            by,
            descending: sort != By::Who,
            cursor: Cursor::default(),
            widths: Widths::new(),
        }
    }

    pub(super) fn sort_by(&mut self, next: impl Fn(usize, usize) -> usize) {
        self.by = next(self.by, self.columns.len());
        // Names from A to Z, numbers from the largest.
        self.descending = self.columns[self.by].0 != By::Who;
        self.cursor = Cursor::default();
    }

    /// By this column; if it is so already, the other way round.
    pub(super) fn sort_on(&mut self, column: usize) {
        if column == self.by {
            self.reverse();
        } else {
            self.sort_by(|_, _| column);
        }
    }

    /// Chooses the row in this place.
    pub(super) fn choose(&mut self, place: usize, keys: &[Who]) {
        let from = self.index(keys);
        self.cursor.choose(place, from, keys.get(place).copied());
    }

    pub(super) fn reverse(&mut self) {
        self.descending = !self.descending;
        self.cursor = Cursor::default();
    }

    pub(super) fn go(&mut self, step: Step, keys: &[Who]) {
        let index = self.index(keys);
        self.cursor.go(step, index, keys.len(), |index| keys.get(index).copied());
    }

    pub(super) fn chosen(&self, keys: &[Who]) -> Option<Who> {
        keys.get(self.index(keys)).copied()
    }

    pub(super) fn index(&self, keys: &[Who]) -> usize {
        self.cursor.index(keys.len(), |who| keys.iter().position(|one| *one == who))
    }

    fn compare(&self, one: &Standing, two: &Standing, window: Window) -> Ordering {
        let by = self.columns[self.by].0;
        let order = compare(by, one, two, window);
        let order = if self.descending { order.reverse() } else { order };
        // What fails, what is open, what is busy; then by name.
        let weight = |standing: &Standing| {
            (standing.failed(window), standing.half_open, standing.of(window).ended())
        };
        order.then_with(|| weight(two).cmp(&weight(one))).then_with(|| one.who.cmp(&two.who))
    }
}

fn compare(by: By, one: &Standing, two: &Standing, window: Window) -> Ordering {
    let (first, second) = (one.of(window), two.of(window));
    let float = |of: fn(&Numbers) -> f64| of(first).total_cmp(&of(second));
    let number = |of: fn(&Numbers) -> u64| of(first).cmp(&of(second));
    match by {
        By::Who => one.who.cmp(&two.who),
        By::Rate => float(|numbers| numbers.rate(numbers.ended())),
        By::Completion => {
            let part = |standing: &Standing| standing.completion(window).unwrap_or(2.0);
            part(one).total_cmp(&part(two))
        }
        By::Failed => one.failed(window).cmp(&two.failed(window)),
        By::Outcomes => first.outcomes[3..].cmp(&second.outcomes[3..]),
        By::Unserved => number(Numbers::not_served),
        By::Since => one.failing.map(|f| f.since).cmp(&two.failing.map(|f| f.since)),
        By::HalfOpen => one.half_open.cmp(&two.half_open),
        By::ServerP50 => number(|numbers| numbers.server.p50_ns),
        By::ServerP99 => number(|numbers| numbers.server.p99_ns),
        By::ClientP50 => number(|numbers| numbers.client.p50_ns),
        By::ClientP99 => number(|numbers| numbers.client.p99_ns),
        By::Retransmits => float(|numbers| numbers.retransmitted_part().unwrap_or(-1.0)),
        By::Cancelled => number(|numbers| numbers.cancelled),
        By::Ended => number(Numbers::ended),
        By::Flood => one.flood.map(|f| f.start).cmp(&two.flood.map(|f| f.start)),
    }
}

fn column(by: By, title: &'static str) -> Column {
    let text = |title, least, rank| Column { title, least, rank, shape: Shape::Text };
    let number = |title, least, rank| Column { title, least, rank, shape: Shape::Number };
    match by {
        By::Who => Column { title, least: 16, rank: 0, shape: Shape::Address },
        By::Rate => number("ended/s", 8, 7),
        By::Completion => number("compl", 6, 2),
        By::Failed => number("failed", 7, 1),
        By::Outcomes => text("failures", 16, 5),
        By::Unserved => number("unserved", 8, 7),
        By::Since => text("since", 8, 3),
        By::HalfOpen => number("half", 5, 4),
        By::ServerP50 => number("srv p50", 8, 8),
        By::ServerP99 => number("srv p99", 8, 6),
        By::ClientP50 => number("cli p50", 8, 13),
        By::ClientP99 => number("cli p99", 8, 9),
        By::Retransmits => number("retr", 6, 10),
        By::Cancelled => number("cancel", 6, 12),
        By::Ended => number("ended", 6, 11),
        By::Flood => text("flood", 5, 4),
    }
}

impl Ui {
    /// The services or peers that pass the filter, in order.
    pub(super) fn standings<'a>(&self, board: &'a Board) -> Vec<&'a Standing>
    where
        Self: 'a,
    {
        let (all, sheet) = match self.tab {
            Tab::Peers => (&board.peers, &self.peers),
            _ => (&board.services, &self.services),
        };
        let mut rows: Vec<&Standing> = all.iter().filter(|one| self.admits(one)).collect();
        rows.sort_by(|one, two| sheet.compare(one, two, self.window));
        rows
    }
}

/// Draws the view.
pub(super) fn draw(ui: &mut Ui, board: &Board, area: Rect, buffer: &mut Buffer) {
    let services = ui.tab == Tab::Services;
    let rows = ui.standings(board);
    let keys: Vec<Who> = rows.iter().map(|standing| standing.who).collect();
    let (theme, zone, window) = (ui.theme, ui.zone.clone(), ui.window);
    let area = heading(ui, board, rows.len(), area, buffer);
    let sheet = if services { &mut ui.services } else { &mut ui.peers };
    let page = usize::from((area.height - room_below(area)).saturating_sub(1));
    let index = sheet.index(&keys);
    let top = sheet.cursor.window(index, keys.len(), page);
    let visible = rows.iter().skip(top).take(page);
    let cell = |standing: &Standing| {
        sheet.columns.iter().map(|(by, _)| cell(*by, standing, window, theme, &zone)).collect()
    };
    let mut columns: Vec<Column> = sheet.columns.iter().map(|(_, column)| *column).collect();
    if rows.iter().any(|standing| standing.flood.is_some()) {
        let flood = sheet.columns.iter().position(|(by, _)| *by == By::Flood);
        columns[flood.unwrap_or(0)].least = FLOOD;
    }
    let table = Table {
        columns: &columns,
        sort: (sheet.by, sheet.descending),
        rows: visible.map(|standing| cell(standing)).collect(),
        chosen: (!keys.is_empty()).then(|| index - top),
        theme,
    };
    let parts = table.draw(area, buffer, &mut sheet.widths);
    ui.note_spots(parts, top);
    if keys.is_empty() {
        let what = if services { "no service yet" } else { "no client yet" };
        let text = if ui.filter.is_some() { "none passes the filter" } else { what };
        put(buffer, area, 1, 1, text, theme.faint());
    }
}

/// How many there are and of which time the numbers are; returns the area below.
fn heading(ui: &Ui, board: &Board, shown: usize, area: Rect, buffer: &mut Buffer) -> Rect {
    if area.height < 6 {
        return area;
    }
    let what = if ui.tab == Tab::Services { "services" } else { "client networks" };
    let standings = if ui.tab == Tab::Services { &board.services } else { &board.peers };
    let numbers = standings.first().map_or(board.of(ui.window), |one| one.of(ui.window));
    let title = window::title(ui, board, numbers);
    let text = format!("{title}: {shown} {what}");
    put(buffer, area, 0, 0, &cut(&text, area.width.into(), ui.theme), ui.theme.strong());
    below(area, 1)
}

fn cell(
    by: By,
    standing: &Standing,
    window: Window,
    theme: Theme,
    zone: &jiff::tz::TimeZone,
) -> Cell {
    let (s, n) = (standing, standing.of(window));
    let bad = |number: u64| if number > 0 { theme.bad() } else { theme.faint() };
    match by {
        By::Who => Cell::plain(who(s.who)),
        By::Rate => Cell::plain(rate(n.rate(n.ended()))),
        By::Completion => Cell::plain(percent(s.completion(window))),
        By::Failed => Cell::styled(count(s.failed(window)), bad(s.failed(window))),
        By::Outcomes => {
            let slow = s.slow.map(|(since, slow)| {
                format!("slow ({} side) since {}", slow.half.name(), clock(since, zone))
            });
            let failures = Some(failures(&n.outcomes, theme)).filter(|text| !text.is_empty());
            let unserved = Some(unserved(n, theme)).filter(|text| !text.is_empty());
            let unserved = unserved.map(|text| format!("completed, then {text}"));
            let texts: Vec<String> = slow.into_iter().chain(failures).chain(unserved).collect();
            Cell::plain(texts.join(", "))
        }
        By::Unserved => Cell::styled(count(n.not_served()), bad(n.not_served())),
        By::Since => {
            let since = s.failing.map(|failing| clock(failing.since, zone));
            Cell::styled(since.unwrap_or_default(), theme.bad())
        }
        By::HalfOpen => Cell::plain(count(s.half_open)),
        By::ServerP50 => Cell::plain(theme.text(latency(n.server.count, n.server.p50_ns))),
        By::ServerP99 => Cell::plain(theme.text(latency(n.server.count, n.server.p99_ns))),
        By::ClientP50 => Cell::plain(theme.text(latency(n.client.count, n.client.p50_ns))),
        By::ClientP99 => Cell::plain(theme.text(latency(n.client.count, n.client.p99_ns))),
        By::Retransmits => Cell::plain(percent(n.retransmitted_part())),
        By::Cancelled => Cell::plain(count(n.cancelled)),
        By::Ended => Cell::plain(count(n.ended())),
        By::Flood => flood(s.flood, theme, zone),
    }
}

fn flood(flood: Option<Flood>, theme: Theme, zone: &jiff::tz::TimeZone) -> Cell {
    match flood {
        None => Cell::plain(""),
        Some(Flood { start, end: None }) => {
            let text = theme.text(format!("{}–now", clock(start, zone)));
            Cell::styled(text, theme.alarm())
        }
        Some(Flood { start, end: Some(end) }) => {
            let text = format!("{}–{}", clock(start, zone), clock(end, zone));
            Cell::styled(theme.text(text), theme.doubtful())
        }
    }
}

/// A name for people.
pub(super) fn who(who: Who) -> String {
    match who {
        Who::Service(service) => service.to_string(),
        Who::Peer(net) => net.to_string(),
        Who::Other => "(all others)".to_owned(),
    }
}

/// What the server did after completions instead of serving, the most frequent first.
pub(super) fn unserved(numbers: &Numbers, theme: Theme) -> String {
    let mut kinds: Vec<(u64, Next)> = numbers.unserved.into_iter().zip(Next::UNSERVED).collect();
    kinds.retain(|(count, _)| *count > 0);
    kinds.sort_by_key(|(count, next)| (std::cmp::Reverse(*count), *next));
    let texts: Vec<String> = kinds
        .iter()
        .map(|(number, next)| format!("{} {}{}", next.name(), theme.times(), count(*number)))
        .collect();
    texts.join(", ")
}

/// Failures by outcome, the most frequent first.
pub(super) fn failures(outcomes: &[u64; Outcome::ALL.len()], theme: Theme) -> String {
    let mut failed: Vec<(u64, Outcome)> = Outcome::ALL
        .into_iter()
        .filter(|outcome| outcome.is_failure())
        .map(|outcome| (outcomes[outcome as usize], outcome))
        .filter(|(count, _)| *count > 0)
        .collect();
    failed.sort_by_key(|(count, outcome)| (std::cmp::Reverse(*count), *outcome));
    let texts: Vec<String> = failed
        .iter()
        .map(|(number, outcome)| format!("{} {}{}", outcome.name(), theme.times(), count(*number)))
        .collect();
    texts.join(", ")
}
