//! `--once`: a board that nobody looks at until the end, and then the services as one table.

use jiff::tz::TimeZone;

use super::screen;
use crate::after::After;
use crate::attempt::{Attempt, Nanos};
use crate::board::Board;
use crate::engine::Engine;
use crate::output::tui::{self, Theme};
use crate::places::Places;
use crate::snapshot::AttemptView;
use crate::terminal;

/// See the module.
pub(super) struct Report {
    board: Board,
    top: usize,
}

impl Report {
    /// Of so many services.
    pub(super) fn new(now: Nanos, top: usize) -> Self {
        // No attempt is shown.
        Self { board: Board::new(now, 1), top }
    }

    pub(super) fn tally(&mut self, view: &AttemptView<'_>) {
        self.board.tally(view);
    }

    pub(super) fn followed(&mut self, attempt: &Attempt, after: After) {
        self.board.follow(attempt, after);
    }

    /// Once a second.
    pub(super) fn look(&mut self, engine: &Engine, places: &Places) {
        screen::look(&mut self.board, engine, places);
    }

    pub(super) fn text(&self) -> String {
        let theme = Theme { color: false, ascii: terminal::is_ascii(), light: false };
        tui::once(&self.board, self.top, theme, TimeZone::system())
    }
}
