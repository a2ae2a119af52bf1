//! What is watched and how, what its hooks saw by class, what was lost, and what handshake said.

use handshake_common::abi::{Counter, Hook, PACKET_CLASSES};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::state::Ui;
use super::text::{broken, clock, count, cut, latency, percent, period, put, rate};
use super::theme::Theme;
use super::window;
use crate::board::{Board, PlaceLine, Trouble, Watched};
use crate::output::escape::Escaped;
use crate::windows::Window;

type Line = (String, Style);

/// Draws the view.
pub(super) fn draw(ui: &mut Ui, board: &Board, area: Rect, buffer: &mut Buffer) {
    let theme = ui.theme;
    let lines = lines(ui, board, area.width);
    let page = usize::from(area.height);
    ui.scrollable = (lines.len(), page);
    ui.scroll = ui.scroll.min(lines.len().saturating_sub(page));
    for (y, (text, style)) in lines.iter().skip(ui.scroll).take(page).enumerate() {
        let text = cut(&theme.text(text.clone()), area.width.into(), theme);
        put(buffer, area, 0, y as u16, &text, *style);
    }
}

fn lines(ui: &Ui, board: &Board, width: u16) -> Vec<Line> {
    let theme = ui.theme;
    let title = window::title(ui, board, board.of(ui.window));
    let mut lines =
        vec![(format!("attempts of the {title}, packets since the start"), theme.strong())];
    for watched in &board.watched {
        lines.extend(interface(watched, board, ui, width));
    }
    for trouble in board.alarms.degraded.iter() {
        if !board.watched.iter().any(|watched| watched.name == trouble.name) {
            let text = format!("{}: {}", Escaped(&trouble.name), told(trouble, board, ui));
            lines.push((text, theme.alarm()));
        }
    }
    if board.alarms.degraded.more() > 0 {
        lines.push((format!("and {} more", board.alarms.degraded.more()), theme.alarm()));
    }
    lines.extend(classes(board, theme, width));
    lines.extend(past(board, ui));
    if !board.words.is_empty() {
        lines.push(("messages".to_owned(), theme.head()));
    }
    for said in board.words.iter().rev() {
        let at = clock(said.at, &ui.zone);
        let text = Escaped(&said.text).to_string();
        let room = usize::from(width).saturating_sub(at.len() + 1).max(1);
        let parts = broken(&text, room, MESSAGE_LINES, |text, room| cut(text, room, theme));
        let starts = std::iter::once(at.clone()).chain(std::iter::repeat(" ".repeat(at.len())));
        let parts = starts.zip(parts).map(|(start, part)| format!("{start} {part}"));
        lines.extend(parts.map(|text| (text, Style::new())));
    }
    lines
}

/// A message takes so many lines at most.
const MESSAGE_LINES: usize = 12;

fn interface(watched: &Watched, board: &Board, ui: &Ui, width: u16) -> Vec<Line> {
    let theme = ui.theme;
    let name = Escaped(&watched.name);
    let how = format!("received by {}, sent by {}", watched.ingress, watched.egress);
    let mut lines = vec![(format!("{name}: {how}"), theme.strong())];
    for trouble in board.alarms.degraded.of(&watched.name) {
        lines.push((format!("  DEGRADED: {}", told(trouble, board, ui)), theme.alarm()));
    }
    if width >= 70 {
        lines.push((format!("  {}", Escaped(&watched.reason)), theme.faint()));
    }
    for place in board.places.iter().filter(|place| place.interface == watched.name) {
        lines.push((attempts(place, ui.window), Style::new()));
    }
    lines
}

/// What is or was wrong, and when.
fn told(trouble: &Trouble, board: &Board, ui: &Ui) -> String {
    let when = period(trouble.since, trouble.until, board.now, &ui.zone);
    format!("{}, {when}", Escaped(&trouble.reason))
}

/// What is over: when nothing was seen, and what was wrong; the last of each first.
fn past(board: &Board, ui: &Ui) -> Vec<Line> {
    let blind = board.alarms.blind.over().rev().map(|spell| {
        let when = period(spell.from, spell.until, board.now, &ui.zone);
        format!("  {}: BLIND {when}: {}", Escaped(&spell.name), spell.reason)
    });
    let troubles = board.alarms.degraded.past().rev();
    let troubles = troubles
        .map(|trouble| format!("  {}: {}", Escaped(&trouble.name), told(trouble, board, ui)));
    let lost = board.alarms.lost.iter().map(|(reason, lost)| {
        let (long, _) = super::banner::losses(reason, lost, board.now, &ui.zone);
        format!("  {long}")
    });
    let mut lines: Vec<Line> =
        lost.chain(blind).chain(troubles).map(|text| (text, Style::new())).collect();
    if !lines.is_empty() {
        lines.insert(0, ("past troubles".to_owned(), ui.theme.head()));
    }
    lines
}

fn attempts(place: &PlaceLine, window: Window) -> String {
    let numbers = &place.numbers[window as usize];
    let felt = numbers.felt;
    format!(
        "  as {}: {}/s, {} completed, {} failed, {} retransmitted, p50 {} p99 {}",
        place.role,
        rate(numbers.rate(numbers.ended())),
        percent(numbers.completion()),
        count(numbers.service_failed),
        percent(numbers.retransmitted_part()),
        latency(felt.count, felt.p50_ns),
        latency(felt.count, felt.p99_ns),
    )
}

/// Packets and losses by hook: those that there are, losses first.
fn classes(board: &Board, theme: Theme, width: u16) -> Vec<Line> {
    let sum =
        |counter: Counter| board.counters.iter().map(|row| row[counter as usize]).sum::<u64>();
    let used = |hook: Hook| board.counters[hook as usize].iter().any(|count| *count > 0);
    let hooks: Vec<Hook> = Hook::ALL.into_iter().filter(|hook| used(*hook)).collect();
    let rates = width >= 70;
    let row = |name: &str, cell: &dyn Fn(Hook) -> (String, String)| {
        let mut text = format!("{name:<18}");
        for hook in &hooks {
            let (total, rate) = cell(*hook);
            text.push_str(&format!("{total:>11}"));
            if rates {
                text.push_str(&format!("{rate:>8}"));
            }
        }
        text
    };
    let mut lines =
        vec![(row("packets", &|hook| (hook.name().to_owned(), "/s".to_owned())), theme.head())];
    if hooks.is_empty() {
        lines.push(("  none seen yet".to_owned(), theme.faint()));
    }
    let (packets, losses) = Counter::ALL.split_at(PACKET_CLASSES);
    let losses = losses.iter().map(|counter| (counter, theme.bad()));
    for (counter, style) in losses.chain(packets.iter().map(|counter| (counter, Style::new()))) {
        if sum(*counter) == 0 {
            continue;
        }
        let cell = |hook: Hook| {
            let now = board.counters[hook as usize][*counter as usize];
            let before = board.counters_before[hook as usize][*counter as usize];
            (now.to_string(), count(now.saturating_sub(before)))
        };
        lines.push((row(&format!("  {}", counter.name()), &cell), style));
    }
    if sum_lost(board) == 0 {
        lines.push(("  nothing lost".to_owned(), theme.good()));
    }
    lines
}

fn sum_lost(board: &Board) -> u64 {
    let lost = &Counter::ALL[PACKET_CLASSES..];
    board.counters.iter().map(|row| lost.iter().map(|c| row[*c as usize]).sum::<u64>()).sum()
}
