//! Texts that fit: put into cells, cut at the end or in the middle, numbers in few digits.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use super::theme::Theme;
use crate::attempt::Nanos;
use crate::output::lines;

/// Cells that a text takes.
pub(super) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { Span::raw(text).width() }
}

/// Cuts a text at its end.
pub(super) fn cut(text: &str, most: usize, theme: Theme) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut short = head(text, most.saturating_sub(1)).to_owned();
    if most > 0 {
        short.push_str(theme.ellipsis());
    }
    short
}

/// Cuts a text in its middle: of an address, the port stays.
pub(super) fn cut_middle(text: &str, most: usize, theme: Theme) -> String {
    if width(text) <= most || most < 8 {
        return cut(text, most, theme);
    }
    let tail = tail(text, (most - 1) * 2 / 3);
    let head = head(text, most - 1 - width(tail));
    format!("{head}{}{tail}", theme.ellipsis())
}

/// As much of the beginning as fits.
fn head(text: &str, most: usize) -> &str {
    let end = text.char_indices().map(|(at, one)| at + one.len_utf8());
    let fits = end.take_while(|end| width(&text[..*end]) <= most).last();
    &text[..fits.unwrap_or(0)]
}

/// As much of the end as fits.
fn tail(text: &str, most: usize) -> &str {
    let start = text.char_indices().rev().map(|(at, _)| at);
    let fits = start.take_while(|start| width(&text[*start..]) <= most).last();
    &text[fits.unwrap_or(text.len())..]
}

/// Writes a text into a line of `area`, cut to it; returns the cells used.
pub(super) fn put(
    buffer: &mut Buffer,
    area: Rect,
    x: u16,
    y: u16,
    text: &str,
    style: Style,
) -> u16 {
    if y >= area.height || x >= area.width {
        return 0;
    }
    let (from, line) = (area.x + x, area.y + y);
    let (end, _) = buffer.set_stringn(from, line, text, usize::from(area.width - x), style);
    end - from
}

/// A count in at most five cells.
pub(super) fn count(number: u64) -> String {
    let scaled = |unit: u64, letter| {
        let value = number as f64 / unit as f64;
        if value < 10.0 { format!("{value:.1}{letter}") } else { format!("{value:.0}{letter}") }
    };
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => scaled(1_000, 'k'),
        1_000_000..1_000_000_000 => scaled(1_000_000, 'M'),
        1_000_000_000..1_000_000_000_000 => scaled(1_000_000_000, 'G'),
        _ => scaled(1_000_000_000_000, 'T'),
    }
}

/// A rate in at most five cells.
pub(super) fn rate(number: f64) -> String {
    if number <= 0.0 {
        "0".to_owned()
    } else if number < 0.1 {
        "<0.1".to_owned()
    } else if number < 100.0 {
        format!("{number:.1}")
    } else {
        count(number.round() as u64)
    }
}

/// A part of a whole. Never "100%" while something is missing.
pub(super) fn percent(part: Option<f64>) -> String {
    match part {
        None => "-".to_owned(),
        Some(0.0) => "0%".to_owned(),
        Some(1.0) => "100%".to_owned(),
        Some(part) if part >= 0.999 => "99.9%".to_owned(),
        Some(part) => format!("{:.1}%", part * 100.0),
    }
}

/// A latency of a histogram that has samples.
pub(super) fn latency(samples: u64, ns: u64) -> String {
    if samples == 0 { "-".to_owned() } else { duration(Nanos::try_from(ns).unwrap_or(Nanos::MAX)) }
}

/// A latency.
pub(super) fn duration(ns: Nanos) -> String {
    lines::duration(ns)
}

/// How long something lasted, in whole seconds and larger units.
pub(super) fn span(ns: Nanos) -> String {
    let seconds = ns.max(0) / 1_000_000_000;
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    match seconds {
        0 => "<1s".to_owned(),
        1..120 => format!("{seconds}s"),
        120..7_200 => format!("{minutes}m{:02}s", seconds % 60),
        7_200..172_800 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{}d{:02}h", hours / 24, hours % 24),
    }
}

/// When something was, as seen from `now`: the day is said if it may be another one.
pub(super) fn moment(ns: Nanos, now: Nanos, zone: &TimeZone) -> String {
    const TWENTY_HOURS: Nanos = 20 * 3_600 * 1_000_000_000;
    let is_today = now.saturating_sub(ns) < TWENTY_HOURS;
    formatted(ns, zone, if is_today { "%H:%M:%S" } else { "%m-%d %H:%M:%S" })
}

/// From when until when, and for how long; "since" what lasts.
pub(super) fn period(from: Nanos, until: Option<Nanos>, now: Nanos, zone: &TimeZone) -> String {
    let since = moment(from, now, zone);
    let lasted = span(until.unwrap_or(now).saturating_sub(from));
    match until {
        None => format!("since {since} ({lasted})"),
        Some(until) => {
            let day = |ns| formatted(ns, zone, "%F");
            let is_same_day = day(from) == day(until);
            let until = if is_same_day { clock(until, zone) } else { moment(until, now, zone) };
            format!("{since}–{until} ({lasted})")
        }
    }
}

/// Breaks a text into at most so many lines, between words if it can; what is left is cut.
pub(super) fn broken(
    text: &str,
    wide: usize,
    lines: usize,
    cut: impl Fn(&str, usize) -> String,
) -> Vec<String> {
    let mut broken = Vec::new();
    let mut rest = text;
    while broken.len() + 1 < lines && width(rest) > wide {
        let line = head(rest, wide);
        // Of a word longer than half a line, as much as fits.
        let blank = line.rfind(' ').filter(|at| *at >= line.len() / 2);
        let line = blank.map_or(line, |at| &line[..at]);
        if line.is_empty() {
            break;
        }
        broken.push(line.to_owned());
        rest = rest[line.len()..].trim_start();
    }
    broken.push(cut(rest, wide));
    broken
}

/// Time of day to the second.
pub(super) fn clock(ns: Nanos, zone: &TimeZone) -> String {
    formatted(ns, zone, "%H:%M:%S")
}

/// Time of day to the millisecond.
pub(super) fn fine_clock(ns: Nanos, zone: &TimeZone) -> String {
    formatted(ns, zone, "%H:%M:%S%.3f")
}

fn formatted(ns: Nanos, zone: &TimeZone, format: &str) -> String {
    match Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(time) => time.to_zoned(zone.clone()).strftime(format).to_string(),
        Err(_) => format!("{ns}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEME: Theme = Theme { color: false, ascii: false, light: false };

    #[test]
    fn texts_are_cut_to_cells_not_to_letters() {
        assert_eq!(cut("abcdef", 6, THEME), "abcdef");
        assert_eq!(cut("abcdef", 4, THEME), "abc…");
        assert_eq!(cut("名前名前", 5, THEME), "名前…");
        assert_eq!(cut("名前名前", 4, THEME), "名…");
        assert_eq!(cut("abc", 0, THEME), "");
        for most in 0..50 {
            let short = cut_middle("[fd77:2::1234:5678:9abc:def0]:65535", most, THEME);
            assert!(width(&short) <= most, "{short}");
        }
        assert_eq!(cut_middle("[fd77:2::1234:5678:9abc]:65535", 15, THEME), "[fd77…bc]:65535");
    }

    #[test]
    fn spans_and_periods_say_from_when_to_when_and_for_how_long() {
        const SECOND: Nanos = 1_000_000_000;
        for (seconds, text) in [
            (0, "<1s"),
            (1, "1s"),
            (119, "119s"),
            (120, "2m00s"),
            (7_199, "119m59s"),
            (7_200, "2h00m"),
            (200_000, "2d07h"),
        ] {
            assert_eq!(span(seconds * SECOND), text);
        }
        let zone = TimeZone::UTC;
        let told = |until, now| period(60 * SECOND, until, now * SECOND, &zone);
        assert_eq!(told(None, 100), "since 00:01:00 (40s)");
        let day = 86_400 * SECOND;
        assert_eq!(told(Some(day), 90_000), "01-01 00:01:00–00:00:00 (23h59m)");
        assert_eq!(told(Some(day), 190_000), "01-01 00:01:00–01-02 00:00:00 (23h59m)");
        assert_eq!(told(Some(75 * SECOND), 100), "00:01:00–00:01:15 (15s)");
        assert_eq!(told(Some(75 * SECOND), 90_000), "01-01 00:01:00–00:01:15 (15s)");
    }

    #[test]
    fn a_message_is_broken_between_words_and_keeps_its_end() {
        let cut_to =
            |text: &str, wide| broken(text, wide, 2, |rest, wide| cut_middle(rest, wide, THEME));
        let text = "wrote 12 attempts to /var/lib/somewhere/deep/handshake-20261123-120000.json";
        assert_eq!(cut_to(text, 80), [text]);
        assert_eq!(
            cut_to(text, 40),
            ["wrote 12 attempts to", "/var/lib/some…shake-20261123-120000.json"]
        );
        assert_eq!(cut_to("名前名前名前", 5), ["名前", "名前…"]);
        for wide in 0..90 {
            let lines = cut_to(text, wide);
            assert!(lines.len() <= 2 && lines.iter().all(|line| width(line) <= wide), "{wide}");
        }
    }

    #[test]
    fn numbers_take_few_cells() {
        for (number, text) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10k"),
            (999_400, "999k"),
            (1_500_000, "1.5M"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(
            [rate(0.0), rate(0.04), rate(12.34), rate(1234.5)],
            ["0", "<0.1", "12.3", "1235"]
        );
        assert_eq!(percent(Some(0.99999)), "99.9%");
        assert_eq!(percent(Some(1.0)), "100%");
        assert_eq!([percent(Some(0.25)), percent(Some(0.0))], ["25.0%", "0%"]);
    }
}
