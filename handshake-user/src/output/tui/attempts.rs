//! The table of attempts: its columns, its title, and what stands there if it is empty.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::list::{By, Line, outcome};
use super::overview::below;
use super::state::Ui;
use super::table::{Cell, Column, Shape, Table, room_below};
use super::text::{clock, count, cut, duration, put, width};
use super::theme::Theme;
use super::words::evidence;
use crate::board::{Board, Row};
use crate::output::escape::Escaped;

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

/// Draws the table; `now` is the board as it is, `shown` as it was frozen.
pub(super) fn draw(ui: &mut Ui, shown: &Board, now: &Board, area: Rect, buffer: &mut Buffer) {
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
