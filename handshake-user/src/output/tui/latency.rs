//! How long handshakes take: percentiles and a histogram for each part.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::state::Ui;
use super::text::{count, cut, duration, latency, put, width};
use super::theme::Theme;
use super::window;
use crate::attempt::Nanos;
use crate::board::{Board, Bucket};
use crate::metrics::PARTS;
use crate::snapshot::Percentiles;
use crate::windows::Numbers;

/// Cells of a step's name.
const STEP: u16 = 7;
/// Cells of a count.
const COUNT: u16 = 6;

/// Draws the view.
pub(super) fn draw(ui: &mut Ui, board: &Board, area: Rect, buffer: &mut Buffer) {
    let theme = ui.theme;
    let mut y = 0;
    let mut line = |buffer: &mut Buffer, text: &str, style| {
        let text = cut(&theme.text(text.to_owned()), area.width.into(), theme);
        put(buffer, area, 0, y, &text, style);
        y += 1;
    };
    let numbers = board.of(ui.window);
    let buckets = &board.spreads[ui.window as usize].buckets;
    line(buffer, &window::title(ui, board, numbers), theme.strong());
    if numbers.felt.count == 0 {
        line(buffer, "no completed handshake within this time", theme.faint());
    }
    for text in percentiles(numbers, area.width) {
        line(buffer, &text, theme.strong());
    }
    let again = numbers.again;
    if again.count > 0 {
        let text = format!(
            "with retransmissions (not below): total p50 {} p99 {} of {}",
            latency(again.count, again.p50_ns),
            latency(again.count, again.p99_ns),
            count(again.count)
        );
        line(buffer, &text, theme.doubtful());
    }
    let used = y.min(area.height);
    let rest = Rect { y: area.y + used, height: area.height - used, ..area };
    histogram(ui, buckets, rest, buffer);
}

/// A line for each part that has samples.
fn percentiles(numbers: &Numbers, wide: u16) -> Vec<String> {
    let parts: [Percentiles; PARTS.len()] = [numbers.server, numbers.client, numbers.total];
    let known = PARTS.iter().zip(parts).filter(|(_, p)| p.count > 0);
    known
        .map(|(part, p)| {
            let show = |ns| latency(p.count, ns);
            let (p50, p90, p99, max) =
                (show(p.p50_ns), show(p.p90_ns), show(p.p99_ns), show(p.max_ns));
            if wide < 44 {
                return format!("{part:<7}p50 {p50:<6} p99 {p99:<6} all <{max}");
            }
            if wide < 70 {
                return format!("{part:<7}p50 {p50:<7} p99 {p99:<7} all <{max}");
            }
            format!(
                "{part:<7}p50 {p50:<7} p90 {p90:<7} p99 {p99:<7} all below {max:<7} of {}",
                count(p.count)
            )
        })
        .collect()
}

/// A line for each step, a bar for each part that has room.
fn histogram(ui: &mut Ui, buckets: &[Bucket], area: Rect, buffer: &mut Buffer) {
    let theme = ui.theme;
    if area.height < 2 || buckets.is_empty() {
        return;
    }
    let page = usize::from(area.height) - 1;
    ui.scrollable = (buckets.len(), page);
    ui.scroll = ui.scroll.min(buckets.len().saturating_sub(page));
    let left = area.width.saturating_sub(STEP);
    let parts = (left / 18).clamp(1, PARTS.len() as u16);
    let column = left / parts;
    // On a narrow screen the total is what counts.
    let chosen: Vec<usize> = match parts {
        1 => vec![2],
        2 => vec![0, 1],
        _ => vec![0, 1, 2],
    };
    put(buffer, area, 0, 0, "from", theme.head());
    for (place, part) in chosen.iter().enumerate() {
        put(buffer, area, STEP + place as u16 * column, 0, PARTS[*part], theme.head());
    }
    for (y, bucket) in buckets.iter().skip(ui.scroll).take(page).enumerate() {
        let y = y as u16 + 1;
        let from = theme.text(duration(Nanos::try_from(bucket.from_ns).unwrap_or(Nanos::MAX)));
        put(buffer, area, 0, y, &step(&from), Style::new());
        for (place, part) in chosen.iter().enumerate() {
            let most = buckets.iter().map(|bucket| bucket.counts[*part]).max().unwrap_or(0);
            let x = STEP + place as u16 * column;
            bar(bucket.counts[*part], most, (x, y), column, area, buffer, theme);
        }
    }
}

/// "10.0µs" is "10µs": steps are round.
fn step(text: &str) -> String {
    let digits = text.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.split_once('.').map_or(number, |(whole, _)| whole);
    format!("{number}{unit}")
}

fn bar(
    samples: u64,
    most: u64,
    (x, y): (u16, u16),
    column: u16,
    area: Rect,
    buffer: &mut Buffer,
    theme: Theme,
) {
    let number = count(samples);
    let indent = COUNT.saturating_sub(width(&number) as u16 + 1);
    let style = if samples > 0 { Style::new() } else { theme.faint() };
    put(buffer, area, x + indent, y, &number, style);
    let room = u64::from(column.saturating_sub(COUNT + 1));
    // What is there shows, however little it is.
    let cells = if samples == 0 { 0 } else { (samples * room / most.max(1)).max(1) };
    let bar = theme.block().repeat(cells as usize);
    put(buffer, area, x + COUNT, y, &bar, theme.good());
}
