//! The mouse: the wheel goes through rows, a click chooses a row, opens the chosen one, turns to a view or
//! sorts by a column. What is where is noted when it is drawn.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::cursor::Step;
use super::keys::Action;
use super::state::{Tab, Ui};
use super::table::Part;
use crate::board::Board;

/// Rows that a turn of the wheel goes.
const TURN: usize = 3;

/// Something on the screen that can be clicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// The name of a view.
    Tab(usize),
    /// The head of a column.
    Head(usize),
    /// A row, by its place in all that is listed.
    Row(usize),
}

impl Spot {
    /// Of a part of a table whose first visible row has this place.
    pub(super) fn of(part: Part, top: usize) -> Self {
        match part {
            Part::Head(column) => Self::Head(column),
            Part::Row(row) => Self::Row(top + row),
        }
    }
}

impl Ui {
    /// Takes what the mouse did.
    pub fn point(&mut self, event: MouseEvent, board: &Board) -> Action {
        if self.prompt.is_some() {
            return Action::Draw;
        }
        match event.kind {
            MouseEventKind::ScrollUp => (0..TURN).for_each(|_| self.go(Step::Up, board)),
            MouseEventKind::ScrollDown => (0..TURN).for_each(|_| self.go(Step::Down, board)),
            MouseEventKind::Down(MouseButton::Left) => {
                let at = Position::new(event.column, event.row);
                let spot = self.spots.iter().rev().find(|(area, _)| area.contains(at));
                if let Some((_, spot)) = spot.copied() {
                    return self.click(spot, board);
                }
            }
            _ => {}
        }
        Action::Draw
    }

    fn click(&mut self, spot: Spot, board: &Board) -> Action {
        self.note = None;
        match spot {
            Spot::Tab(tab) => self.turn_to(tab),
            Spot::Head(column) => self.sort_on(column),
            Spot::Row(index) => return self.click_row(index, board),
        }
        Action::Draw
    }

    /// Chooses a row; the chosen one is opened.
    fn click_row(&mut self, index: usize, board: &Board) -> Action {
        if let Some(detail) = &mut self.detail {
            let len = detail.segments.len();
            let from = detail.cursor.index(len, Some);
            detail.cursor.choose(index, from, Some(index));
            return Action::Draw;
        }
        let (from, is_chosen) = match self.tab {
            Tab::Overview => {
                let from = self.cursor.index(self.list.len(), |id| self.list.place(id));
                (from, from == index)
            }
            Tab::Services | Tab::Peers => {
                let keys = self.names(board);
                let sheet = self.sheet();
                let from = sheet.index(&keys);
                sheet.choose(index, &keys);
                (from, from == index)
            }
            Tab::Latency | Tab::Interfaces => return Action::Draw,
        };
        if is_chosen {
            return self.enter(board);
        }
        if self.tab == Tab::Overview {
            self.cursor.choose(index, from, self.list.id(index));
        }
        Action::Draw
    }

    /// Notes what of a table can be clicked.
    pub(super) fn note_spots(&mut self, parts: Vec<(Rect, Part)>, top: usize) {
        self.spots.extend(parts.into_iter().map(|(area, part)| (area, Spot::of(part, top))));
    }
}
