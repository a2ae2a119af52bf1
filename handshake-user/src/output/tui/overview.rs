//! The first screen: how it goes, and what failed last.

use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::attempts;
use super::sheet::{failures, who};
use super::state::Ui;
use super::text::{clock, count, cut, percent, put, rate, width};
use super::theme::Theme;
use crate::board::{Board, Rates, Standing};

/// Services that fail are listed above the attempts: one for so many lines of the screen.
const LINES_A_SERVICE: u16 = 5;

/// Draws what stands below the numbers; `now` is the board as it is, `shown` as it was frozen.
pub(super) fn draw(ui: &mut Ui, now: &Board, shown: &Board, area: Rect, buffer: &mut Buffer) {
    let is_roomy = area.height >= 12 && !ui.list.is_waiting_only;
    let used = if is_roomy { failing(ui, shown, area, buffer) } else { 0 };
    attempts::draw(ui, shown, now, below(area, used), buffer);
}

/// What is left of an area below its first lines.
pub(super) fn below(area: Rect, used: u16) -> Rect {
    let used = used.min(area.height);
    Rect { y: area.y + used, height: area.height - used, ..area }
}

/// One number with its course.
struct Number {
    long: &'static str,
    short: &'static str,
    text: String,
    style: Style,
    course: Vec<f64>,
    /// What a full bar is; the largest if not given.
    full: Option<f64>,
}

/// Six numbers and their sparklines in two columns, never frozen; returns the lines used.
pub(super) fn numbers(theme: Theme, board: &Board, area: Rect, buffer: &mut Buffer) -> u16 {
    let half = area.width / 2;
    let numbers = six(theme, board, usize::from(half));
    let wide = half >= 36;
    // Where there is little room, the rows are what counts.
    let lines = if area.height >= 8 { 3 } else { 1 };
    for (index, number) in numbers.iter().enumerate().take(2 * usize::from(lines)) {
        let (x, y) = ((index as u16 % 2) * half, index as u16 / 2);
        let label = if wide { number.long } else { number.short };
        let (label_width, text_width) = if wide { (14, 8) } else { (6, 6) };
        put(buffer, area, x, y, label, Style::new());
        let indent = text_width - (width(&number.text) as u16).min(text_width);
        put(buffer, area, x + label_width + indent, y, &number.text, number.style);
        let from = x + label_width + text_width + 1;
        let room = (x + half).saturating_sub(from + 1);
        put(buffer, area, from, y, &sparkline(number, room.into(), theme), theme.faint());
    }
    lines.min(area.height)
}

fn six(theme: Theme, board: &Board, width: usize) -> [Number; 6] {
    let rates = board.history.now();
    let course = |of: fn(&Rates) -> f64| board.history.last(width, of);
    let notable = |is: bool, style: Style| if is { style } else { theme.strong() };
    let completion = rates.completion();
    let lost = board.history.lost();
    let number =
        |long, short, text, style, course| Number { long, short, text, style, course, full: None };
    [
        number("attempts/s", "att/s", rate(rates.started), theme.strong(), course(|r| r.started)),
        Number {
            full: Some(1.0),
            ..number(
                "completed",
                "compl",
                percent(completion),
                notable(completion.is_some_and(|part| part < 0.9), theme.bad()),
                course(|r| r.completion().unwrap_or(0.0)),
            )
        },
        number("open now", "open", count(board.open), theme.strong(), course(|r| r.open as f64)),
        number(
            "half-open now",
            "half",
            count(board.half_open),
            theme.strong(),
            course(|r| r.half_open as f64),
        ),
        number(
            "retransmits/s",
            "retr/s",
            rate(rates.retransmits),
            theme.strong(),
            course(|r| r.retransmits),
        ),
        number("lost", "lost", count(lost), notable(lost > 0, theme.bad()), course(|r| r.lost)),
    ]
}

fn sparkline(number: &Number, room: usize, theme: Theme) -> String {
    let bars = theme.bars();
    let skipped = number.course.len().saturating_sub(room);
    let course = &number.course[skipped..];
    let largest = number.full.unwrap_or_else(|| course.iter().copied().fold(0.0, f64::max));
    let steps = (bars.len() - 1) as f64;
    let bar = |value: &f64| match *value {
        value if value <= 0.0 || largest <= 0.0 => bars[0],
        value => bars[((value / largest * steps).ceil() as usize).clamp(1, bars.len() - 1)],
    };
    course.iter().map(bar).collect()
}

/// Which services fail now, since when: returns the lines used.
fn failing(ui: &Ui, board: &Board, area: Rect, buffer: &mut Buffer) -> u16 {
    let theme = ui.theme;
    let mut services: Vec<&Standing> =
        board.services.iter().filter(|standing| standing.failing.is_some()).collect();
    let times = |standing: &Standing| standing.failing.map_or(0, |failing| failing.count);
    services.sort_by_key(|standing| (Reverse(times(standing)), standing.who));
    let plural = if services.len() == 1 { "" } else { "s" };
    let title =
        format!("failing within a minute: {} service{plural} (2 shows all)", services.len());
    let text = if services.is_empty() { "no failure within a minute" } else { &title };
    put(buffer, area, 0, 0, &cut(text, area.width.into(), theme), theme.strong());
    let most = usize::from(area.height / LINES_A_SERVICE);
    for (index, standing) in services.iter().take(most).enumerate() {
        let since = standing.failing.map_or(0, |failing| failing.since);
        let text = format!(
            "  {} since {}: {}; {} completed",
            who(standing.who),
            clock(since, &ui.zone),
            failures(&standing.outcomes, theme),
            percent(standing.completion()),
        );
        let text = cut(&text, area.width.into(), theme);
        put(buffer, area, 0, index as u16 + 1, &text, theme.bad());
    }
    1 + services.len().min(most) as u16
}
