//! The first screen: how it goes, and what failed last.

use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::list::{By, Line, outcome};
use super::sheet::{failures, who};
use super::state::Ui;
use super::table::{Cell, Column, Shape, Table, room_below};
use super::text::{clock, count, cut, duration, percent, put, rate, width};
use super::theme::Theme;
use super::words::evidence;
use crate::board::{Board, Rates, Row, Standing};
use crate::output::escape::Escaped;

/// Services that fail are listed above the attempts: one for so many lines of the screen.
const LINES_A_SERVICE: u16 = 5;

const COLUMNS: [Column; 8] = [
    Column { title: "ended", least: 8, rank: 2, shape: Shape::Text },
    Column { title: "outcome", least: 16, rank: 0, shape: Shape::Text },
    Column { title: "client", least: 14, rank: 4, shape: Shape::Address },
    Column { title: "server", least: 16, rank: 1, shape: Shape::Address },
    Column { title: "after", least: 6, rank: 3, shape: Shape::Number },
    Column { title: "evidence", least: 10, rank: 5, shape: Shape::Text },
    Column { title: "retr", least: 5, rank: 6, shape: Shape::Number },
    Column { title: "iface", least: 6, rank: 7, shape: Shape::Text },
];

/// Draws what stands below the numbers; `now` is the board as it is, `shown` as it was frozen.
pub(super) fn draw(ui: &mut Ui, now: &Board, shown: &Board, area: Rect, buffer: &mut Buffer) {
    let is_roomy = area.height >= 12 && !ui.list.is_waiting_only;
    let used = if is_roomy { failing(ui, shown, area, buffer) } else { 0 };
    table(ui, shown, now, below(area, used), buffer);
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

fn table(ui: &mut Ui, shown: &Board, now: &Board, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let (theme, zone) = (ui.theme, ui.zone.clone());
    let titled = area.height >= 5;
    let rows = below(area, titled.into());
    let page = usize::from((rows.height - room_below(rows)).saturating_sub(1));
    ui.list.make_room(page);
    let list = &ui.list;
    let len = list.len();
    let index = ui.cursor.index(len, |id| list.place(id));
    let top = ui.cursor.window(index, len, page);
    if titled {
        let [long, short] = title(ui, shown, index, len);
        let wide = usize::from(area.width);
        let text = if width(&long) <= wide { long } else { cut(&short, wide, theme) };
        put(buffer, area, 0, 0, &text, theme.strong());
    }
    let area = below(area, titled.into());
    let rows: Vec<Vec<Cell>> = (top..len.min(top + page))
        .filter_map(|index| ui.list.line(index))
        .map(|line| match line {
            Line::Row(row) => cells(row, shown.now, theme, &zone),
            Line::More(more) => vec![Cell::styled(more_waiting(more), theme.doubtful())],
        })
        .collect();
    let none = rows.is_empty();
    let by = By::ALL.iter().position(|by| *by == ui.list.by).unwrap_or(0);
    let chosen = (!none).then(|| index - top);
    let table = Table { columns: &COLUMNS, sort: (by, ui.list.descending), rows, chosen, theme };
    table.draw(area, buffer, &mut ui.widths);
    if none {
        let text = cut(nothing(ui, now), area.width.saturating_sub(1).into(), theme);
        put(buffer, area, 1, 1, &text, Style::new());
    }
}

/// What stands for those for which there is no room.
fn more_waiting(more: u64) -> String {
    format!("+{} more waiting: w shows all", count(more))
}

/// What is listed, in many words and in few.
fn title(ui: &Ui, shown: &Board, index: usize, len: usize) -> [String; 2] {
    let list = &ui.list;
    let place = if len > 0 { format!("  ({} of {len})", index + 1) } else { String::new() };
    let (failed, waiting) = (list.failed(), list.waiting() as u64 + list.unlisted);
    if list.is_waiting_only {
        let which = match list.unlisted {
            0 => format!("waiting: {waiting}"),
            _ => format!("waiting: {waiting}, the oldest {}", list.waiting()),
        };
        return [format!("{which}{place}  w: failed ones"), format!("{which}{place}")];
    }
    let kept = shown.rows.len();
    // What is no longer kept has gone without having been looked at by this filter.
    let failed = match (shown.rows.taken() == kept as u64, ui.is_choosy()) {
        (true, _) => failed.to_string(),
        (_, false) => format!("the last {failed} of {}", shown.rows.taken()),
        (_, true) => format!("{failed} of the last {kept}"),
    };
    match waiting {
        0 => [format!("failed attempts: {failed}{place}"), format!("failed: {failed}{place}")],
        n => [
            format!("failed attempts: {failed}, waiting: {n}{place}"),
            format!("failed: {failed}, waiting: {n}{place}"),
        ],
    }
}

/// Why there is no row.
fn nothing(ui: &Ui, board: &Board) -> &'static str {
    if ui.is_choosy() {
        "none passes the filter (Esc: all)"
    } else if ui.list.is_waiting_only {
        "no open attempt waits"
    } else if board.history.now().started > 0.0 || board.outcomes.iter().any(|count| *count > 0) {
        "no attempt has failed"
    } else {
        "no attempt seen yet: is this the right interface? (5 shows what is watched)"
    }
}

fn cells(row: &Row, now: i64, theme: Theme, zone: &jiff::tz::TimeZone) -> Vec<Cell> {
    let a = &row.attempt;
    let ended = a.t_end.map(|end| row.began().saturating_add(end.saturating_sub(a.t_first)));
    let time =
        if row.is_open { "open".to_owned() } else { clock(ended.unwrap_or(row.began()), zone) };
    let style = if row.is_open { theme.doubtful() } else { theme.outcome(a.outcome) };
    let place = row.view().place.map(|place| Escaped(place.interface).to_string());
    vec![
        Cell::plain(time),
        Cell::styled(outcome(row), style),
        Cell::plain(a.key.client_addr().to_string()),
        Cell::plain(format!("{} {}", theme.arrow(), a.key.server_addr())),
        Cell::plain(row.lasted(now).map_or_else(String::new, |ns| theme.text(duration(ns)))),
        Cell::plain(theme.text(evidence(row, theme))),
        Cell::plain(count(row.retransmits().into())),
        Cell::plain(place.unwrap_or_default()),
    ]
}
