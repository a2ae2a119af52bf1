//! The table of attempts: its columns, its title, and what stands there if it is empty.

use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::list::{By, Kind, Line, outcome};
use super::overview::below;
use super::state::Ui;
use super::table::{Cell, Column, Shape, Table, room_below};
use super::text::{clock, count, cut, duration, put, width};
use super::theme::Theme;
use super::words::evidence;
use crate::attempt::Nanos;
use crate::board::{Board, Row};
use crate::output::escape::Escaped;

/// The column of a value. Where completed attempts are listed, how long it took and what was sent twice
/// count for more than where they ended.
fn column(by: By, is_of_all: bool) -> Column {
    let column = |title, least, rank, shape| Column { title, least, rank, shape };
    match by {
        By::Time => column("ended", 8, 2, Shape::Text),
        By::Outcome => column("outcome", 16, 0, Shape::Text),
        By::Client => column("client", 14, if is_of_all { 5 } else { 4 }, Shape::Address),
        By::Server => column("server", 16, 1, Shape::Address),
        By::After | By::Slow => {
            column(if is_of_all { "total" } else { "after" }, 6, 3, Shape::Number)
        }
        By::Retransmits => column("retr", 5, if is_of_all { 4 } else { 6 }, Shape::Number),
        By::Interface => column("iface", 6, 7, Shape::Text),
        By::Evidence => column("evidence", 10, if is_of_all { 6 } else { 5 }, Shape::Rest),
    }
}

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
            Line::Row(row) => {
                let again = ui.list.again(row).len();
                let cell = |by: &By| cell(*by, row, again, shown.now, theme, &zone);
                ui.columns.iter().map(cell).collect()
            }
            Line::More(more) => vec![Cell::styled(more_waiting(more), theme.doubtful())],
        })
        .collect();
    let none = rows.is_empty();
    let by = ui.columns.iter().position(|by| *by == ui.list.by).unwrap_or(usize::MAX);
    let chosen = (!none).then(|| index - top);
    let is_of_all = ui.list.is_of_all();
    let columns: Vec<Column> = ui.columns.iter().map(|by| column(*by, is_of_all)).collect();
    let table = Table { columns: &columns, sort: (by, ui.list.descending), rows, chosen, theme };
    let parts = table.draw(area, buffer, &mut ui.widths);
    ui.note_spots(parts, top);
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
    let waiting = list.waiting() as u64 + list.unlisted;
    if list.kind == Kind::Waiting {
        let which = match list.unlisted {
            0 => format!("waiting: {waiting}"),
            _ => format!("waiting: {waiting}, the oldest {}", list.waiting()),
        };
        return [format!("{which}{place}  w: failed ones"), format!("{which}{place}")];
    }
    let number = number(ui, shown);
    let (long, short) = match (list.is_of_all(), list.kind) {
        (false, _) => ("failed attempts", "failed"),
        (true, Kind::All) => ("ended attempts", "ended"),
        (true, _) => ("none failed; ended attempts", "ended"),
    };
    let mut which = number;
    if waiting > 0 {
        which.push_str(&format!(", waiting: {waiting}"));
    }
    let short = format!("{short}: {which}{place}");
    if list.by == By::Slow {
        which.push_str(", slow ones first");
    }
    which.push_str(&place);
    if list.kind == Kind::All {
        which.push_str("  a: failed ones");
    }
    [format!("{long}: {which}"), short]
}

/// How many ended attempts are listed, and of how many.
fn number(ui: &Ui, shown: &Board) -> String {
    let listed = ui.list.ended();
    let (kept, taken) = if ui.list.is_of_all() {
        let more = shown.slow.since(0).chain(shown.rows.since(0));
        let more = more.filter(|row| row.seq < shown.ended.first()).count();
        (shown.ended.len() + more, shown.ended.taken())
    } else {
        (shown.rows.len(), shown.rows.taken())
    };
    // What is no longer kept has gone without having been looked at by this filter.
    match (taken == kept as u64, ui.is_choosy()) {
        (true, _) => listed.to_string(),
        (false, false) if ui.list.is_of_all() => format!("{listed} kept of {taken}"),
        (false, false) => format!("the last {listed} of {taken}"),
        (false, true) if ui.list.is_of_all() => format!("{listed} of {kept} kept"),
        (false, true) => format!("{listed} of the last {kept}"),
    }
}

/// Why there is no row.
fn nothing(ui: &Ui, board: &Board) -> &'static str {
    if ui.is_choosy() {
        "none passes the filter (Esc: all)"
    } else if ui.list.kind == Kind::Waiting {
        "no open attempt waits"
    } else if board.history.now().started > 0.0 || board.outcomes.iter().any(|count| *count > 0) {
        "no attempt has failed"
    } else {
        "no attempt seen yet: is this the right interface? (5 shows what is watched)"
    }
}

fn cell(by: By, row: &Row, again: usize, now: Nanos, theme: Theme, zone: &TimeZone) -> Cell {
    let a = &row.attempt;
    match by {
        By::Time if row.is_open => Cell::plain("open"),
        By::Time => {
            let ended =
                a.t_end.map(|end| row.began().saturating_add(end.saturating_sub(a.t_first)));
            Cell::plain(clock(ended.unwrap_or(row.began()), zone))
        }
        By::Outcome => {
            let style = if row.is_open { theme.doubtful() } else { theme.outcome(a.outcome) };
            Cell::styled(outcome(row, now), style)
        }
        By::Client => Cell::plain(a.key.client_addr().to_string()),
        By::Server => Cell::plain(format!("{} {}", theme.arrow(), a.key.server_addr())),
        By::After | By::Slow => {
            let lasted = row.lasted(now).map_or_else(String::new, |ns| theme.text(duration(ns)));
            Cell::styled(lasted, if row.is_slow() { theme.doubtful() } else { Style::new() })
        }
        By::Retransmits => {
            let style = if row.is_slow() { theme.doubtful() } else { Style::new() };
            Cell::styled(count(row.retransmits().into()), style)
        }
        By::Interface => {
            let place = row.view().place.map(|place| Escaped(place.interface).to_string());
            Cell::plain(place.unwrap_or_default())
        }
        By::Evidence => Cell::plain(theme.text(evidence(row, again, theme))),
    }
}
