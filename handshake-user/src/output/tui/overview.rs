//! The first screen: how it goes and what happens now, above the table of attempts.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::list::Kind;
use super::state::Ui;
use super::{attempts, happening};
use crate::board::Board;

/// Draws what stands below the numbers; `now` is the board as it is, `shown` as it was frozen.
pub(super) fn draw(ui: &mut Ui, now: &Board, shown: &Board, area: Rect, buffer: &mut Buffer) {
    let has_room = ui.list.kind == Kind::Failed;
    let used = if has_room { happening::draw(ui, shown, area, buffer) } else { 0 };
    attempts::draw(ui, shown, now, below(area, used), buffer);
}

/// What is left of an area below its first lines.
pub(super) fn below(area: Rect, used: u16) -> Rect {
    let used = used.min(area.height);
    Rect { y: area.y + used, height: area.height - used, ..area }
}
