//! Of which time the numbers are, in words.

use super::state::Ui;
use super::text::{moment, span};
use crate::attempt::Nanos;
use crate::board::Board;
use crate::windows::{Numbers, Window};

/// Shorter than its name says by more than this, a window says how long it is.
const NEARLY: Nanos = 5_000_000_000;

/// The name of the chosen window; with its length if it is shorter, as long as handshake has not run for
/// so long or memory holds no more.
pub(super) fn title(ui: &Ui, board: &Board, numbers: &Numbers) -> String {
    let window = ui.window;
    let name = window.name();
    let seconds = match window {
        Window::TenSeconds => 10,
        Window::Minute => 60,
        Window::FiveMinutes => 300,
        Window::FifteenMinutes => 900,
        Window::Start => {
            let from = board.reset.unwrap_or(board.begun);
            let what = if board.reset.is_some() { "since reset at" } else { "since start at" };
            let at = moment(from, board.now, &ui.zone);
            return format!("{what} {at} ({})", span(board.now.saturating_sub(from)));
        }
    };
    if numbers.span.saturating_add(NEARLY) < seconds * 1_000_000_000 {
        return format!("{name} ({} so far)", span(numbers.span));
    }
    name.to_owned()
}
