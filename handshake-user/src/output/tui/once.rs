//! `--once`: what happens now and the services, as one text.

use jiff::tz::TimeZone;

use super::happening;
use super::sheet::{failures, unserved, who};
use super::state::Ui;
use super::text::{count, latency, percent, width};
use super::theme::Theme;
use super::window;
use crate::board::{Board, Standing};
use crate::windows::Window;

/// Lines of what happens now, at most.
const HAPPENING: usize = 10;

/// Names stand at the left of their column, numbers at the right, the last one has no end.
const TITLES: [&str; 8] =
    ["service", "ended", "compl", "failed", "unserved", "p50", "p99", "failures"];

/// All since the start: a title, what happens now, and the first `top` services, those that fail first.
#[must_use]
pub fn once(board: &Board, top: usize, theme: Theme, zone: TimeZone) -> String {
    let mut ui = Ui::new(theme, zone);
    ui.window = Window::Start;
    let all = board.of(ui.window);
    let completed = all.completion().map(|part| format!(", {} completed", percent(Some(part))));
    let mut text = format!(
        "{}: {} attempts ended{}, {} open\n",
        window::title(&ui, board, all),
        count(all.ended()),
        completed.unwrap_or_default(),
        count(board.open),
    );
    for line in happening::lines(&ui, board, HAPPENING) {
        text.push_str(&line);
        text.push('\n');
    }
    let services = ui.standings(board);
    if services.is_empty() {
        return text;
    }
    let rows: Vec<_> = services.iter().take(top).map(|one| cells(one, theme)).collect();
    text.push('\n');
    table(&rows, &mut text);
    let left_out = services.len().saturating_sub(top);
    if left_out > 0 {
        text.push_str(&format!("and {left_out} more: --top {} shows all\n", services.len()));
    }
    theme.text(text)
}

fn cells(one: &Standing, theme: Theme) -> [String; TITLES.len()] {
    let numbers = one.of(Window::Start);
    let felt = numbers.felt;
    let mut what = failures(&numbers.outcomes, theme);
    let not_served = unserved(numbers, theme);
    if !not_served.is_empty() {
        let gap = if what.is_empty() { "" } else { ", " };
        what.push_str(&format!("{gap}completed, then {not_served}"));
    }
    [
        who(one.who),
        count(numbers.ended()),
        percent(one.completion(Window::Start)),
        count(one.failed(Window::Start)),
        count(numbers.not_served()),
        latency(felt.count, felt.p50_ns),
        latency(felt.count, felt.p99_ns),
        what,
    ]
}

fn table(rows: &[[String; TITLES.len()]], text: &mut String) {
    let titles = TITLES.map(str::to_owned);
    let all = || [&titles].into_iter().chain(rows);
    let widths: [usize; TITLES.len()] =
        std::array::from_fn(|at| all().map(|row| width(&row[at])).max().unwrap_or(0));
    for row in all() {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[at] - width(cell));
            match at {
                0 => line.push_str(&format!("{cell}{gap}")),
                7 => line.push_str(&format!("  {cell}")),
                _ => line.push_str(&format!("  {gap}{cell}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
