//! The terminal UI: from what a [`Board`] holds and a person has chosen ([`Ui`]) to cells.
//!
//! Pure: keys and boards go in, frames come out. It asks the tracker nothing and does no I/O; the
//! terminal itself belongs to `app::screen`. One file a view; `table` leaves out the columns that do not
//! fit; nothing is told by colour alone; strings from outside are escaped where they are formatted.

mod acknowledged;
mod advice;
mod attempts;
mod banner;
mod cursor;
mod foot;
mod happening;
mod help;
mod interfaces;
mod keys;
mod latency;
mod list;
mod mouse;
mod numbers;
mod once;
mod overview;
mod sheet;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod theme;
pub mod timeline;
mod window;
mod words;

pub use keys::{Action, Copy};
pub use list::By;
pub use once::once;
pub use sheet::By as ServiceBy;
pub use state::{Tab, Ui};
pub use theme::Theme;
pub use timeline::flags;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::board::Board;
use mouse::Spot;
use text::{clock, put, width};

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, ui: &mut Ui, board: &Board) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.height < 4 || area.width < 12 {
        put(buffer, area, 0, 0, "too small", ui.theme.strong());
        return;
    }
    let line = |y| Rect { y, height: 1, ..area };
    ui.spots.clear();
    tabs(ui, board, line(area.y), buffer);
    let alarms = banner::lines(ui, board, usize::from(area.width), area.height);
    let room = usize::from(area.height - 2);
    for (y, (text, style)) in alarms.iter().take(room).enumerate() {
        bar(text, *style, line(area.y + 1 + y as u16), buffer);
    }
    let used = 1 + alarms.len().min(room) as u16;
    let said = foot::said(ui, board, area);
    let height = area.height.saturating_sub(used + foot::height(ui, &said, area));
    body(ui, board, Rect { y: area.y + used, height, ..area }, buffer);
    foot::draw(ui, board, &said, area, buffer);
}

/// The view. What is frozen stands below a line that says so; what goes on stands above it.
fn body(ui: &mut Ui, board: &Board, mut area: Rect, buffer: &mut Buffer) {
    ui.scrollable = (0, 0);
    let is_overview = ui.tab == Tab::Overview && ui.help.is_none() && ui.detail.is_none();
    if is_overview {
        let used = numbers::draw(ui, board, area, buffer);
        area = overview::below(area, used);
    }
    let frozen = ui.frozen.take();
    if let Some((since, frozen)) = &frozen {
        let text = banner::frozen(board, *since, frozen, usize::from(area.width), ui);
        if area.height > 0 {
            bar(&text, ui.theme.chosen(), Rect { height: 1, ..area }, buffer);
        }
        area = overview::below(area, 1);
    }
    let shown = frozen.as_ref().map_or(board, |(_, frozen)| frozen);
    if ui.help.is_some() {
        help::draw(ui, area, buffer);
    } else if ui.detail.is_some() {
        timeline::draw(ui, area, buffer);
    } else {
        match ui.tab {
            Tab::Overview => overview::draw(ui, board, shown, area, buffer),
            Tab::Services | Tab::Peers => sheet::draw(ui, shown, area, buffer),
            Tab::Latency => latency::draw(ui, shown, area, buffer),
            Tab::Interfaces => interfaces::draw(ui, shown, area, buffer),
        }
    }
    ui.frozen = frozen;
}

/// A line of one style from edge to edge.
fn bar(text: &str, style: Style, line: Rect, buffer: &mut Buffer) {
    buffer.set_style(line, style);
    put(buffer, line, 0, 0, text, style);
}

/// The views, and the time.
fn tabs(ui: &mut Ui, board: &Board, area: Rect, buffer: &mut Buffer) {
    let theme = ui.theme;
    let clock = clock(board.now, &ui.zone);
    let name = |short: bool, tab: Tab| if short { tab.short_name() } else { tab.name() };
    let titles = |short: bool| -> Vec<String> {
        let numbered = Tab::ALL.iter().enumerate();
        numbered.map(|(index, tab)| format!(" {} {} ", index + 1, name(short, *tab))).collect()
    };
    let fits = |titles: &[String]| {
        titles.iter().map(|title| width(title)).sum::<usize>() <= usize::from(area.width)
    };
    let long = titles(false);
    let titles = if fits(&long) { long } else { titles(true) };
    let mut x = 0;
    for (tab, title) in Tab::ALL.into_iter().zip(&titles) {
        let style = if tab == ui.tab { theme.chosen() } else { theme.strong() };
        let wide = put(buffer, area, x, 0, title, style);
        let spot = Rect { x: area.x + x, width: wide, ..area };
        ui.spots.push((spot, Spot::Tab(tab as usize)));
        x += wide;
    }
    // Beside rows that stand still it is said of the clock that it does not.
    let live = if ui.frozen.is_some() { "live " } else { "" };
    for text in [format!("handshake  {live}{clock}"), format!("{live}{clock}"), clock] {
        let wide = width(&text) as u16;
        if x + wide < area.width {
            put(buffer, area, area.width - wide, 0, &text, theme.faint());
            break;
        }
    }
}
