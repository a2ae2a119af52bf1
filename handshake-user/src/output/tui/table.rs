//! A table that fits any width: columns have a rank, and those that do not fit are left out, never
//! squeezed into garbage. What is left out or cut of the chosen row stands below the table.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::text::{broken, cut, cut_middle, put, width};
use super::theme::Theme;

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Cells it needs at least.
    pub(super) least: u16,
    /// Columns of a lower rank are kept longer.
    pub(super) rank: u8,
    pub(super) shape: Shape,
}

/// How a cell's text lies in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// At the left; too long is cut at the end.
    Text,
    /// At the left; too long is cut in the middle.
    Address,
    /// At the right.
    Number,
    /// At the left, the last column: it takes what the others leave.
    Rest,
}

/// One cell.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new() }
    }

    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// What is to be drawn.
pub(super) struct Table<'a> {
    pub(super) columns: &'a [Column],
    /// Column sorted by, and whether largest first.
    pub(super) sort: (usize, bool),
    /// Cells of the rows that are visible, all columns; or one, which takes the whole line.
    pub(super) rows: Vec<Vec<Cell>>,
    /// Which of these is chosen.
    pub(super) chosen: Option<usize>,
    pub(super) theme: Theme,
}

/// A part of a table that can be clicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The head of a column.
    Head(usize),
    /// A visible row.
    Row(usize),
}

/// Lines below a table of so many lines, its head among them, for what is left out of the chosen row:
/// fixed, so that nothing jumps while another row is chosen.
pub(super) fn room_below(area: Rect) -> u16 {
    match (area.height, area.width) {
        (..6, _) => 0,
        (height, ..60) => 3.min((height - 1) / 2),
        (16.., ..100) => 2,
        _ => 1,
    }
}

/// A text of more cells shall not push others out.
const LONG: usize = 24;

/// Cells of each column, as wide as they ever were: columns shall not jump about.
pub(super) type Widths = Vec<u16>;

impl Table<'_> {
    /// Draws head and rows, and below them what is left out of the chosen one; tells where what is.
    pub(super) fn draw(
        &self,
        area: Rect,
        buffer: &mut Buffer,
        widths: &mut Widths,
    ) -> Vec<(Rect, Part)> {
        self.widen(widths);
        let widths = fit(self.columns, widths, area.width);
        let below = room_below(area);
        self.draw_below(below, &widths, area, buffer);
        let area = Rect { height: area.height - below, ..area };
        let head: Vec<Cell> = (0..self.columns.len()).map(|column| self.head(column)).collect();
        self.line(0, &head, &widths, area, buffer, self.theme.head());
        let room = usize::from(area.height.saturating_sub(1));
        for (index, row) in self.rows.iter().enumerate().take(room) {
            let chosen = self.chosen == Some(index);
            let base = if chosen { self.theme.chosen() } else { Style::new() };
            self.line(index as u16 + 1, row, &widths, area, buffer, base);
        }
        self.parts(&widths, area)
    }

    fn parts(&self, widths: &[Option<u16>], area: Rect) -> Vec<(Rect, Part)> {
        let mut parts = Vec::new();
        let line = |y: usize| Rect { y: area.y + y as u16, height: 1, ..area };
        let mut x = area.x;
        for (column, wide) in widths.iter().enumerate() {
            let Some(wide) = *wide else { continue };
            let head = Rect { x, width: wide + 1, ..line(0) }.intersection(area);
            parts.push((head, Part::Head(column)));
            x += wide + 1;
        }
        let room = usize::from(area.height.saturating_sub(1));
        let rows = 0..self.rows.len().min(room);
        parts.extend(rows.map(|row| (line(row + 1), Part::Row(row))));
        parts
    }

    fn draw_below(&self, lines: u16, widths: &[Option<u16>], area: Rect, buffer: &mut Buffer) {
        let text = self.left_out(widths);
        let broken = broken(&text, area.width.into(), lines.into(), |rest, wide| {
            cut(rest, wide, self.theme)
        });
        let lines = broken.into_iter().take(lines.into());
        for (y, text) in lines.enumerate() {
            let y = area.height - room_below(area) + y as u16;
            put(buffer, area, 0, y, &text, self.theme.doubtful());
        }
    }

    /// The order, if its column does not show; then of the chosen row what does not show or is cut, in
    /// order of rank, but what is long last.
    fn left_out(&self, widths: &[Option<u16>]) -> String {
        let mut words = Vec::new();
        // By the first column, largest first, is the natural order.
        if self.sort != (0, true) && widths.get(self.sort.0).is_some_and(Option::is_none) {
            words.push(format!("by {}", self.head(self.sort.0).text));
        }
        let row = self.chosen.and_then(|chosen| self.rows.get(chosen));
        let row = row.filter(|row| row.len() == self.columns.len());
        let mut by_rank: Vec<usize> = (0..self.columns.len()).collect();
        let is_long = |index: usize| row.is_some_and(|row| width(&row[index].text) > LONG);
        by_rank.sort_by_key(|index| (is_long(*index), self.columns[*index].rank));
        for (index, row) in by_rank.into_iter().filter_map(|index| Some((index, row?))) {
            let text = row[index].text.trim();
            let shows = widths[index].is_some_and(|wide| width(text) <= usize::from(wide));
            if !shows && !text.is_empty() && text != "-" {
                words.push(format!("{}: {text}", self.columns[index].title));
            }
        }
        words.join("  ")
    }

    fn head(&self, column: usize) -> Cell {
        let title = self.columns[column].title;
        let (sorted, descending) = self.sort;
        let mark = if sorted == column { self.theme.order(descending) } else { "" };
        Cell::plain(format!("{title}{mark}"))
    }

    fn widen(&self, widths: &mut Widths) {
        widths.resize(self.columns.len(), 0);
        for (index, column) in self.columns.iter().enumerate() {
            let rows = self.rows.iter().filter(|row| row.len() == self.columns.len());
            let cells = rows.map(|row| width(&row[index].text)).max().unwrap_or(0);
            // A mark of the order may follow the title.
            let wanted = cells.max(width(column.title) + 1) as u16;
            widths[index] = widths[index].max(wanted).max(column.least);
        }
    }

    fn line(
        &self,
        y: u16,
        cells: &[Cell],
        widths: &[Option<u16>],
        area: Rect,
        buffer: &mut Buffer,
        base: Style,
    ) {
        if y >= area.height {
            return;
        }
        let line = Rect { y: area.y + y, height: 1, ..area };
        buffer.set_style(line, base);
        if let ([cell], true) = (cells, self.columns.len() > 1) {
            let text = cut(&cell.text, area.width.into(), self.theme);
            put(buffer, area, 0, y, &text, base.patch(cell.style));
            return;
        }
        let mut x = 0;
        for ((cell, column), wide) in cells.iter().zip(self.columns).zip(widths) {
            let Some(wide) = *wide else { continue };
            let most = usize::from(wide);
            let text = match column.shape {
                Shape::Address => cut_middle(&cell.text, most, self.theme),
                Shape::Text | Shape::Number | Shape::Rest => cut(&cell.text, most, self.theme),
            };
            let indent = match column.shape {
                Shape::Number => wide.saturating_sub(width(&text) as u16),
                Shape::Text | Shape::Address | Shape::Rest => 0,
            };
            put(buffer, area, x + indent, y, &text, base.patch(cell.style));
            x += wide + 1;
        }
    }
}

/// Widths of the columns that fit; the first in rank is always among them.
fn fit(columns: &[Column], wanted: &[u16], width: u16) -> Vec<Option<u16>> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|index| columns[*index].rank);
    let mut widths = vec![None; columns.len()];
    let mut left = width;
    for (place, index) in by_rank.iter().enumerate() {
        let gap = u16::from(place > 0);
        let least =
            if place == 0 { columns[*index].least.min(width) } else { columns[*index].least };
        if least + gap > left {
            continue;
        }
        widths[*index] = Some(least);
        left -= least + gap;
    }
    // Names and addresses come before what may be of any length.
    by_rank.sort_by_key(|index| columns[*index].shape == Shape::Rest);
    for index in by_rank {
        if let Some(width) = &mut widths[index] {
            let more = wanted[index].saturating_sub(*width).min(left);
            *width += more;
            left -= more;
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "time", least: 8, rank: 2, shape: Shape::Text },
        Column { title: "outcome", least: 9, rank: 0, shape: Shape::Text },
        Column { title: "server", least: 10, rank: 1, shape: Shape::Address },
    ];

    #[test]
    fn columns_go_by_rank_and_grow_by_rank() {
        let wanted = [8, 16, 21];
        for (width, widths) in [
            (4, [None, Some(4), None]),
            (9, [None, Some(9), None]),
            (18, [Some(8), Some(9), None]),
            (20, [None, Some(9), Some(10)]),
            (29, [Some(8), Some(9), Some(10)]),
            (30, [Some(8), Some(10), Some(10)]),
            (47, [Some(8), Some(16), Some(21)]),
            (99, [Some(8), Some(16), Some(21)]),
        ] {
            assert_eq!(fit(&COLUMNS, &wanted, width), widths, "{width}");
        }
    }
}
