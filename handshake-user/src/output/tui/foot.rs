//! The last lines: what was said, and below it what is being typed or which keys there are.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::state::{Prompt, Tab, Ui};
use super::text::{broken, cut, put, width};
use crate::attempt::Nanos;
use crate::board::Board;
use crate::output::escape::Escaped;

/// For so long a message stays.
const FRESH: Nanos = 10_000_000_000;
/// Lines of the screen from which on a message has lines of its own, and two of them.
const ONE_LINE: u16 = 8;
const TWO_LINES: u16 = 12;

/// Draws them at the bottom of the screen; returns how many lines they take.
pub(super) fn draw(ui: &Ui, board: &Board, area: Rect, buffer: &mut Buffer) -> u16 {
    let theme = ui.theme;
    let last = Rect { y: area.bottom() - 1, height: 1, ..area };
    let wide = usize::from(area.width);
    let lines = match area.height {
        TWO_LINES.. => 2,
        _ => 1,
    };
    let said = said(ui, board).map(|said| theme.text(Escaped(said).to_string()));
    let said = said.map_or_else(Vec::new, |said| broken(&said, wide, lines, theme));
    if area.height < ONE_LINE && ui.prompt.is_none() && !said.is_empty() {
        // There is only this one line.
        put(buffer, last, 0, 0, &said[0], theme.doubtful());
        return 1;
    }
    let above = if area.height < ONE_LINE { 0 } else { said.len() as u16 };
    for (y, text) in said.iter().take(above.into()).enumerate() {
        let line = Rect { y: last.y - above + y as u16, ..last };
        put(buffer, line, 0, 0, text, theme.doubtful());
    }
    match &ui.prompt {
        Some(prompt) => type_line(ui, prompt, last, buffer),
        None => drop(put(buffer, last, 0, 0, &keys_line(ui, wide), theme.faint())),
    }
    above + 1
}

/// What was said last, unless that is long ago.
fn said<'a>(ui: &'a Ui, board: &'a Board) -> Option<&'a str> {
    let word = board.words.back().map(|said| (said.at, said.text.as_str()));
    let note = ui.note.as_ref().map(|(at, text)| (*at, text.as_str()));
    let fresh = |(at, _): &(Nanos, &str)| board.now.saturating_sub(*at) < FRESH;
    note.filter(fresh).or_else(|| word.filter(fresh)).map(|(_, text)| text)
}

fn type_line(ui: &Ui, prompt: &Prompt, area: Rect, buffer: &mut Buffer) {
    let theme = ui.theme;
    let x = put(buffer, area, 0, 0, "filter: ", theme.strong());
    let room = usize::from(area.width).saturating_sub(usize::from(x) + 1);
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
}

/// The keys that matter here, as many as fit, the way to help always.
fn keys_line(ui: &Ui, most: usize) -> String {
    let mut line = String::new();
    for key in keys(ui) {
        let gap = if line.is_empty() { 0 } else { 2 };
        if width(&line) + gap + width(key) > most {
            break;
        }
        line.push_str(&" ".repeat(gap));
        line.push_str(key);
    }
    line
}

/// Keys and what they do here, the most important first.
fn keys(ui: &Ui) -> Vec<&'static str> {
    let mut keys = vec!["? help", "q quit"];
    let freeze = if ui.frozen.is_some() { "f go on" } else { "f freeze" };
    if ui.help.is_some() || ui.detail.is_some() {
        keys.insert(0, "Esc back");
        keys.extend(["e export", freeze]);
        return keys;
    }
    keys.push("/ filter");
    let enter = match ui.tab {
        Tab::Overview => Some("Enter segments"),
        Tab::Services | Tab::Peers => Some("Enter failures"),
        Tab::Latency | Tab::Interfaces => None,
    };
    keys.extend(enter);
    keys.push(freeze);
    if ui.tab == Tab::Overview {
        let waiting = ui.list.waiting() > 0;
        keys.extend(ui.list.is_waiting_only.then_some("w failed"));
        keys.extend((waiting && !ui.list.is_waiting_only).then_some("w waiting"));
    }
    keys.push("e export");
    if enter.is_some() {
        keys.extend(["s sort", "r reverse"]);
    }
    keys
}
