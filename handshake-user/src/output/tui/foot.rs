//! The last lines: what was said, and below it what is being typed or which keys there are.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::list::Kind;
use super::state::{Prompt, Tab, Ui};
use super::text::{broken, cut, cut_middle, put, width};
use crate::attempt::Nanos;
use crate::board::Board;
use crate::output::escape::Escaped;

/// For so long a message stays.
const FRESH: Nanos = 10_000_000_000;
/// Lines of the screen from which on a message has lines of its own, and two of them.
const ONE_LINE: u16 = 8;
const TWO_LINES: u16 = 12;

/// What was said and is still fresh, or is wrong with the filter, in lines that are not wider than the
/// screen.
pub(super) fn said(ui: &Ui, board: &Board, area: Rect) -> Vec<String> {
    let lines = if area.height < TWO_LINES { 1 } else { 2 };
    let wrong = wrong(ui).map(|error| format!("no such filter: {error}"));
    let Some(said) = wrong.as_deref().or_else(|| last_said(ui, board)) else { return Vec::new() };
    let said = ui.theme.text(Escaped(said).to_string());
    // Of a path, the name stays.
    broken(&said, area.width.into(), lines, |rest, wide| cut_middle(rest, wide, ui.theme))
}

/// Lines at the bottom of the screen that this takes.
pub(super) fn height(ui: &Ui, said: &[String], area: Rect) -> u16 {
    if area.height < ONE_LINE && wrong(ui).is_none() { 1 } else { 1 + said.len() as u16 }
}

/// What is wrong with the filter that was typed.
fn wrong(ui: &Ui) -> Option<&str> {
    ui.prompt.as_ref()?.error.as_deref()
}

/// Draws them at the bottom of the screen, after the view.
pub(super) fn draw(ui: &Ui, board: &Board, said: &[String], area: Rect, buffer: &mut Buffer) {
    let theme = ui.theme;
    let height = height(ui, said, area);
    let style = if wrong(ui).is_some() { theme.alarm() } else { theme.doubtful() };
    let foot = Rect { y: area.bottom() - height, height, ..area };
    for (y, text) in said.iter().enumerate() {
        put(buffer, foot, 0, y as u16, text, style);
    }
    let last = Rect { y: area.bottom() - 1, height: 1, ..area };
    match &ui.prompt {
        Some(prompt) => type_line(ui, prompt, last, buffer),
        // There may be only this one line.
        None if height == 1 && !said.is_empty() => {}
        None => {
            let keys = keys_line(ui, board, area.width.into());
            put(buffer, last, 0, 0, &keys, theme.faint());
        }
    }
}

/// What was said last, unless that is long ago.
fn last_said<'a>(ui: &'a Ui, board: &'a Board) -> Option<&'a str> {
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
fn keys_line(ui: &Ui, board: &Board, most: usize) -> String {
    let mut line = String::new();
    for key in keys(ui, board) {
        let gap = if line.is_empty() { 0 } else { 2 };
        if width(&line) + gap + width(&key) > most {
            break;
        }
        line.push_str(&" ".repeat(gap));
        line.push_str(&key);
    }
    line
}

/// Keys and what they do here, the most important first.
fn keys(ui: &Ui, board: &Board) -> Vec<String> {
    let mut keys = vec!["? help", "q quit"];
    let freeze = if ui.frozen.is_some() { "f go on" } else { "f freeze" };
    if ui.help.is_some() || ui.detail.is_some() {
        keys.insert(0, "Esc back");
        keys.extend(["e export", freeze]);
    } else {
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
            keys.push(if ui.list.kind == Kind::All { "a failed" } else { "a all" });
            keys.push("o slow first");
            keys.extend((ui.list.kind == Kind::Waiting).then_some("w failed"));
            keys.extend((waiting && ui.list.kind != Kind::Waiting).then_some("w waiting"));
        }
        keys.extend((ui.acknowledged.told(board) > 0).then_some("x acknowledge"));
        keys.push("e export");
        keys.extend(enter.and(Some("s sort")));
        keys.extend(enter.and(Some("r reverse")));
    }
    let more = below(ui).map(|lines| format!("{} {lines} more", ui.theme.down()));
    more.into_iter().chain(keys.into_iter().map(str::to_owned)).collect()
}

/// Lines of a text that stand below the screen.
fn below(ui: &Ui) -> Option<usize> {
    let scroll = match (ui.help, ui.tab) {
        (Some(scroll), _) => scroll,
        (None, Tab::Latency | Tab::Interfaces) if ui.detail.is_none() => ui.scroll,
        _ => return None,
    };
    let (all, page) = ui.scrollable;
    all.checked_sub(scroll + page).filter(|lines| *lines > 0)
}
