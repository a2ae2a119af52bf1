//! The terminal UI: from what a [`Board`] holds and a person has chosen ([`Ui`]) to cells.
//!
//! Pure: keys and boards go in, frames come out. It asks the tracker nothing and does no I/O; the
//! terminal itself belongs to `app::screen`. One file a view; `table` leaves out the columns that do not
//! fit; nothing is told by colour alone; strings from outside are escaped where they are formatted.

mod banner;
mod cursor;
mod help;
mod interfaces;
mod keys;
mod latency;
mod list;
mod overview;
mod sheet;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod theme;
pub mod timeline;
mod words;

pub use keys::Action;
pub use state::{Tab, Ui};
pub use theme::Theme;
pub use timeline::flags;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::attempt::Nanos;
use crate::board::Board;
use crate::output::escape::Escaped;
use text::{clock, cut, put, width};

/// For so long a message stays on the last line.
const FRESH: Nanos = 10_000_000_000;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, ui: &mut Ui, board: &Board) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.height < 4 || area.width < 12 {
        put(buffer, area, 0, 0, "too small", ui.theme.strong());
        return;
    }
    let line = |y| Rect { y, height: 1, ..area };
    tabs(ui, board, line(area.y), buffer);
    let alarms = banner::lines(ui, board, usize::from(area.width), area.height);
    let room = usize::from(area.height - 2);
    for (y, (text, style)) in alarms.iter().take(room).enumerate() {
        let line = line(area.y + 1 + y as u16);
        buffer.set_style(line, *style);
        put(buffer, line, 0, 0, text, *style);
    }
    let used = 1 + alarms.len().min(room) as u16;
    let body = Rect { y: area.y + used, height: area.height - used - 1, ..area };
    // Rows that are frozen stand still; numbers go on.
    let frozen = ui.frozen.take();
    let shown = frozen.as_ref().map_or(board, |(_, frozen)| frozen);
    if ui.help.is_some() {
        help::draw(ui, body, buffer);
    } else if ui.detail.is_some() {
        timeline::draw(ui, board, body, buffer);
    } else {
        match ui.tab {
            Tab::Overview => overview::draw(ui, board, shown, body, buffer),
            Tab::Services | Tab::Peers => sheet::draw(ui, shown, body, buffer),
            Tab::Latency => latency::draw(ui, shown, body, buffer),
            Tab::Interfaces => interfaces::draw(ui, shown, body, buffer),
        }
    }
    ui.frozen = frozen;
    foot(ui, board, line(area.bottom() - 1), buffer);
}

/// The views, and the time.
fn tabs(ui: &Ui, board: &Board, area: Rect, buffer: &mut Buffer) {
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
        x += put(buffer, area, x, 0, title, style);
    }
    let label = format!("handshake  {clock}");
    for text in [label, clock] {
        let wide = width(&text) as u16;
        if x + wide < area.width {
            put(buffer, area, area.width - wide, 0, &text, theme.faint());
            break;
        }
    }
}

/// The last line: what is being typed, what was said, or which keys there are.
fn foot(ui: &Ui, board: &Board, area: Rect, buffer: &mut Buffer) {
    let theme = ui.theme;
    let most = usize::from(area.width);
    if let Some(prompt) = &ui.prompt {
        let x = put(buffer, area, 0, 0, "filter: ", theme.strong());
        let room = most.saturating_sub(usize::from(x) + 1);
        let typed = Escaped(&prompt.text).to_string();
        // The end is where one types.
        let skipped = width(&typed).saturating_sub(room);
        let typed: String = typed.chars().skip(skipped).collect();
        let x = x + put(buffer, area, x, 0, &typed, theme.strong());
        put(buffer, area, x, 0, " ", theme.chosen());
        if prompt.text.is_empty() {
            let hint = "port:443 host:10.0.0.0/8 outcome:refused /text/";
            put(buffer, area, x + 2, 0, &cut(hint, room.saturating_sub(2), theme), theme.faint());
        }
        return;
    }
    let fresh = board.words.back().filter(|said| board.now.saturating_sub(said.at) < FRESH);
    let said = ui.note.as_ref().or(fresh.map(|said| &said.text));
    if let Some(said) = said {
        let text = theme.text(Escaped(said).to_string());
        put(buffer, area, 0, 0, &cut(&text, most, theme), theme.doubtful());
        return;
    }
    put(buffer, area, 0, 0, &keys_line(ui, most), theme.faint());
}

/// The keys that matter here, as many as fit, the way to help always.
fn keys_line(ui: &Ui, most: usize) -> String {
    let mut keys = vec!["? help", "q quit"];
    if ui.help.is_some() || ui.detail.is_some() {
        keys.insert(0, "Esc back");
    } else {
        keys.push("/ filter");
        match ui.tab {
            Tab::Overview => keys.push("Enter segments"),
            Tab::Services | Tab::Peers => keys.push("Enter failures"),
            Tab::Latency | Tab::Interfaces => {}
        }
        keys.push(if ui.frozen.is_some() { "f go on" } else { "f freeze" });
        if matches!(ui.tab, Tab::Overview | Tab::Services | Tab::Peers) {
            keys.push("s sort");
            keys.push("r reverse");
        }
    }
    keys.push("e export");
    let mut line = String::new();
    for key in keys {
        let gap = if line.is_empty() { 0 } else { 2 };
        if width(&line) + gap + width(key) > most {
            break;
        }
        line.push_str(&" ".repeat(gap));
        line.push_str(key);
    }
    line
}
