//! The first lines of the first screen: of which time the numbers are, what is watched, and how it goes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::state::Ui;
use super::text::{count, cut, latency, percent, put, rate, width};
use super::theme::Theme;
use super::window;
use crate::board::{Board, Rates, Standing};
use crate::output::escape::Escaped;

/// Cells of a number with its course: so many columns as have room for this.
const COLUMN: u16 = 60;
/// A smaller part completed is marked.
const POOR: f64 = 0.9;

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

/// Draws them, never frozen; returns the lines used.
pub(super) fn draw(ui: &Ui, board: &Board, area: Rect, buffer: &mut Buffer) -> u16 {
    let theme = ui.theme;
    if area.height >= 6 {
        let title = heading(ui, board, area.width.into());
        put(buffer, area, 0, 0, &title, theme.strong());
    }
    let used = u16::from(area.height >= 6);
    let columns = (area.width / COLUMN).clamp(2, 4);
    let most = match area.height {
        14.. => 8_u16.div_ceil(columns),
        12.. => 2,
        _ => 1,
    };
    let wide = area.width / columns;
    let numbers = numbers(ui, board, wide.into());
    for (index, number) in numbers.iter().enumerate().take((most * columns).into()) {
        let index = index as u16;
        let place = ((index % columns) * wide, used + index / columns);
        one(number, place, wide, theme, area, buffer);
    }
    (used + most).min(area.height)
}

/// The window, and the interfaces as far as they fit.
fn heading(ui: &Ui, board: &Board, most: usize) -> String {
    let theme = ui.theme;
    let title = window::title(ui, board, board.of(ui.window));
    let names: Vec<String> =
        board.watched.iter().map(|watched| Escaped(&watched.name).to_string()).collect();
    let listed = |shown: usize| {
        let more = names.len() - shown;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{title}{}{}{more}", theme.dot(), names[..shown].join(", "))
    };
    let text = match names.len() {
        0 => format!("{title}{}no interface is watched", theme.dot()),
        all => {
            let fits = (1..=all).rev().map(listed).find(|text| width(text) <= most);
            fits.unwrap_or_else(|| listed(1))
        }
    };
    cut(&text, most, theme)
}

fn one(
    number: &Number,
    (x, y): (u16, u16),
    wide: u16,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) {
    let is_wide = wide >= 36;
    let label = if is_wide { number.long } else { number.short };
    let (label_width, text_width) = if is_wide { (14, 8) } else { (6, 6) };
    put(buffer, area, x, y, label, Style::new());
    let text = theme.text(number.text.clone());
    let indent = text_width - (width(&text) as u16).min(text_width);
    put(buffer, area, x + label_width + indent, y, &text, number.style);
    let from = x + label_width + text_width + 1;
    let room = (x + wide).saturating_sub(from + 1);
    put(buffer, area, from, y, &sparkline(number, room.into(), theme), theme.faint());
}

fn numbers(ui: &Ui, board: &Board, width: usize) -> [Number; 8] {
    let theme = ui.theme;
    let now = board.of(ui.window);
    let course = |of: fn(&Rates) -> f64| board.history.last(width, of);
    let notable = |is: bool| if is { theme.bad() } else { theme.strong() };
    let waiting = board.services.iter().map(Standing::waiting).sum();
    let completion = now.completion_beside(waiting);
    let lost = board.history.lost();
    let number = |long, short, text, course| Number {
        long,
        short,
        text,
        style: theme.strong(),
        course,
        full: None,
    };
    let felt = now.felt;
    [
        number("attempts/s", "att/s", rate(now.rate(now.begun)), course(|r| r.started)),
        Number {
            full: Some(1.0),
            style: notable(completion.is_some_and(|part| part < POOR)),
            ..number(
                "completed",
                "compl",
                percent(completion),
                course(|r| r.completion().unwrap_or(0.0)),
            )
        },
        number("connect p50", "p50", latency(felt.count, felt.p50_ns), course(|r| r.p50_ns as f64)),
        number("connect p99", "p99", latency(felt.count, felt.p99_ns), course(|r| r.p99_ns as f64)),
        number("SYN retr/s", "retr/s", rate(now.rate(now.copies)), course(|r| r.retransmits)),
        Number {
            style: notable(lost > 0),
            ..number("lost in all", "lost", count(lost), course(|r| r.lost))
        },
        number("open now", "open", count(board.open), course(|r| r.open as f64)),
        number("half-open now", "half", count(board.half_open), course(|r| r.half_open as f64)),
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
