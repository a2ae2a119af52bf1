//! What happens now, in a few lines of the first screen: services that fail and since when, clients that
//! cancel; and where nothing fails, the busiest services.

use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::sheet::{failures, who};
use super::state::Ui;
use super::text::{clock, count, cut, latency, percent, put, rate, span};
use super::theme::Theme;
use crate::attempt::Nanos;
use crate::board::{Board, Failing, Standing};
use crate::outcome::Outcome;

/// One line for so many of the screen.
const LINES_A_LINE: u16 = 4;
/// A smaller part completed is marked.
const POOR: f64 = 0.9;
/// A failure longer ago than this is told with its age.
const RECENT: Nanos = 5_000_000_000;

type Line = (String, Style);

/// Draws them; returns the lines used.
pub(super) fn draw(ui: &Ui, board: &Board, area: Rect, buffer: &mut Buffer) -> u16 {
    if area.height < 5 {
        return 0;
    }
    let theme = ui.theme;
    let most = usize::from(area.height / LINES_A_LINE);
    let lines = if area.height < 12 { few(ui, board) } else { many(ui, board, most) };
    for (y, (text, style)) in lines.iter().enumerate() {
        let text = cut(&theme.text(text.clone()), area.width.into(), theme);
        put(buffer, area, 0, y as u16, &text, *style);
    }
    lines.len() as u16
}

/// Services that fail: first those that used to complete, then by failures now.
fn failing(board: &Board) -> Vec<(&Standing, Failing)> {
    let all = board.services.iter();
    let mut failing: Vec<(&Standing, Failing)> =
        all.filter_map(|standing| Some((standing, standing.failing?))).collect();
    failing.sort_by_key(|(standing, failing)| {
        (Reverse((standing.has_completed, failing.count() + failing.waiting)), standing.who)
    });
    failing
}

/// On a small screen one line: the service that fails most, and how many others do.
fn few(ui: &Ui, board: &Board) -> Vec<Line> {
    let failing = failing(board);
    let Some((standing, first)) = failing.first() else {
        let busiest = busiest(ui, board, 1);
        return busiest.into_iter().map(|line| (line, Style::new())).collect();
    };
    let what = told(first, ui.theme);
    let others = match failing.len() {
        1 => String::new(),
        all => format!("{all} "),
    };
    let since = clock(first.since, &ui.zone);
    let text = format!("{others}fail: {} {what} since {since}", who(standing.who));
    vec![(text, style(first, ui.theme))]
}

fn many(ui: &Ui, board: &Board, most: usize) -> Vec<Line> {
    let theme = ui.theme;
    let failing = failing(board);
    let mut lines = Vec::new();
    let title = match failing.len() {
        0 => "no service fails; the busiest:".to_owned(),
        1 => "1 service fails".to_owned(),
        all => format!("{all} services fail (2 shows all)"),
    };
    lines.push((title, theme.strong()));
    for (standing, failing) in failing.iter().take(most) {
        lines.push((format!("  {}", failure(standing, failing, ui, board)), style(failing, theme)));
    }
    if failing.is_empty() {
        let busiest = busiest(ui, board, most);
        if busiest.is_empty() {
            lines[0].0 = "no service fails".to_owned();
        }
        lines.extend(busiest.into_iter().map(|line| (format!("  {line}"), Style::new())));
    }
    lines.extend(cancelled(ui, board).map(|line| (line, Style::new())));
    lines
}

fn style(failing: &Failing, theme: Theme) -> Style {
    if failing.completion() < POOR { theme.bad() } else { theme.doubtful() }
}

/// What failed, and what waits, by number.
fn told(failing: &Failing, theme: Theme) -> String {
    let mut what = failures(&failing.outcomes, theme);
    if failing.waiting > 0 {
        let gap = if what.is_empty() { "" } else { ", " };
        what.push_str(&format!("{gap}unanswered {}{}", theme.times(), count(failing.waiting)));
    }
    what
}

/// "10.0.0.1:443 since 12:00:00: refused ×3; 0% completed".
fn failure(standing: &Standing, failing: &Failing, ui: &Ui, board: &Board) -> String {
    let what = told(failing, ui.theme);
    let ago = board.now.saturating_sub(failing.last);
    let ago = if ago > RECENT { format!("; last {} ago", span(ago)) } else { String::new() };
    format!(
        "{} since {}: {what}; {} completed{ago}",
        who(standing.who),
        clock(failing.since, &ui.zone),
        percent(Some(failing.completion())),
    )
}

/// The busiest services of the window.
fn busiest(ui: &Ui, board: &Board, most: usize) -> Vec<String> {
    let window = ui.window;
    let mut services: Vec<&Standing> =
        board.services.iter().filter(|standing| standing.of(window).ended() > 0).collect();
    services.sort_by_key(|standing| (Reverse(standing.of(window).ended()), standing.who));
    let line = |standing: &Standing| {
        let numbers = standing.of(window);
        let felt = numbers.felt;
        format!(
            "{}: {}/s, {} completed, p50 {} p99 {}",
            who(standing.who),
            rate(numbers.rate(numbers.ended())),
            percent(numbers.completion()),
            latency(felt.count, felt.p50_ns),
            latency(felt.count, felt.p99_ns),
        )
    };
    services.into_iter().take(most).map(line).collect()
}

/// Attempts that clients ended themselves, within the window: no failure of a service.
fn cancelled(ui: &Ui, board: &Board) -> Option<String> {
    let window = ui.window;
    let all = board.of(window).cancelled();
    if all == 0 {
        return None;
    }
    let mut services: Vec<&Standing> =
        board.services.iter().filter(|one| one.of(window).cancelled() > 0).collect();
    services.sort_by_key(|one| (Reverse(one.of(window).cancelled()), one.who));
    let theme = ui.theme;
    let texts: Vec<String> = services
        .iter()
        .take(3)
        .map(|one| {
            let mut outcomes = one.of(window).outcomes;
            let others = Outcome::ALL.into_iter().filter(|outcome| !outcome.is_clients_doing());
            others.for_each(|outcome| outcomes[outcome as usize] = 0);
            format!("{} {}", who(one.who), failures(&outcomes, theme))
        })
        .collect();
    let more = services.len().saturating_sub(texts.len());
    let more = if more > 0 { format!("; {more} more") } else { String::new() };
    Some(format!("cancelled by clients: {} ({}{more})", count(all), texts.join("; ")))
}
