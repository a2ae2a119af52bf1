//! What happens now, in a few lines of the first screen: services that fail and since when, clients that
//! cancel; and where nothing fails, the busiest services.

use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::sheet::{failures, unserved, who};
use super::state::Ui;
use super::text::{clock, count, cut, latency, percent, put, rate, span};
use super::theme::Theme;
use crate::attempt::Nanos;
use crate::board::{Board, Failing, Standing};
use crate::pattern::ProbeView;
use crate::slow::Why;
use crate::windows::{Numbers, Window};

/// One line for so many of the screen.
const LINES_A_LINE: u16 = 4;
/// A smaller part completed is marked.
const POOR: f64 = 0.9;
/// A failure longer ago than this is told with its age.
const RECENT: Nanos = 5_000_000_000;

/// Scans, health checks and services named on a line, or line by line.
const MOST_NAMED: usize = 3;
/// Fewer attempts that were completed and not served are not told.
const FEWEST_UNSERVED: u64 = 3;
/// A scan that has been quiet for longer is told no more.
const LATELY: Nanos = 60_000_000_000;

type Line = (String, Style);

/// Draws them; returns the lines used.
pub(super) fn draw(ui: &Ui, board: &Board, area: Rect, buffer: &mut Buffer) -> u16 {
    if area.height < 5 {
        return 0;
    }
    let theme = ui.theme;
    let most = usize::from(area.height / LINES_A_LINE);
    let lines = if area.height < 12 { few(ui, board) } else { many(ui, board, most) };
    for (y, (text, style)) in lines.iter().enumerate() {
        let text = cut(&theme.text(text.clone()), area.width.into(), theme);
        put(buffer, area, 0, y as u16, &text, *style);
    }
    lines.len() as u16
}

/// Services that fail: first those that used to complete, then by failures now.
fn failing(board: &Board) -> Vec<(&Standing, Failing)> {
    let all = board.services.iter();
    let mut failing: Vec<(&Standing, Failing)> =
        all.filter_map(|standing| Some((standing, standing.failing?))).collect();
    failing.sort_by_key(|(standing, failing)| {
        (Reverse((standing.has_completed, failing.count() + failing.waiting)), standing.who)
    });
    failing
}

/// On a small screen one line: the service that fails most, and how many others do.
fn few(ui: &Ui, board: &Board) -> Vec<Line> {
    let failing = failing(board);
    let Some((standing, first)) = failing.first() else {
        if let Some(line) = slow(board).first().and_then(|standing| slow_line(standing, ui)) {
            return vec![(line, ui.theme.doubtful())];
        }
        if let Some(line) = unserving(ui, board).into_iter().next() {
            return vec![(line, ui.theme.bad())];
        }
        let busiest = busiest(ui, board, 1);
        return busiest.into_iter().map(|line| (line, Style::new())).collect();
    };
    let what = told(first, ui.theme);
    let others = match failing.len() {
        1 => String::new(),
        all => format!("{all} "),
    };
    let since = clock(first.since, &ui.zone);
    let text = format!("{others}fail: {} {what} since {since}", who(standing.who));
    vec![(text, style(first, board, ui.theme))]
}

/// The same as text.
pub(super) fn lines(ui: &Ui, board: &Board, most: usize) -> Vec<String> {
    many(ui, board, most).into_iter().map(|(text, _)| text).collect()
}

fn many(ui: &Ui, board: &Board, most: usize) -> Vec<Line> {
    let theme = ui.theme;
    let failing = failing(board);
    let slow = slow(board);
    let unserving = unserving(ui, board);
    let mut lines = Vec::new();
    let title = match failing.len() {
        0 if !unserving.is_empty() => "no service fails, but:".to_owned(),
        0 => "no service fails; the busiest:".to_owned(),
        1 => "1 service fails".to_owned(),
        all => format!("{all} services fail (2 shows all)"),
    };
    lines.push((title, theme.strong()));
    for (standing, failing) in failing.iter().take(most) {
        lines.push((
            format!("  {}", failure(standing, failing, ui, board)),
            style(failing, board, theme),
        ));
    }
    if failing.is_empty() && unserving.is_empty() {
        let busiest = busiest(ui, board, most);
        if busiest.is_empty() {
            lines[0].0 = "no service fails".to_owned();
        }
        lines.extend(busiest.into_iter().map(|line| (format!("  {line}"), Style::new())));
    }
    let told = unserving.iter().take(most.div_ceil(2));
    lines.extend(told.map(|line| (format!("  {line}"), theme.bad())));
    for standing in slow.iter().take(most.div_ceil(2)) {
        lines.extend(slow_line(standing, ui).map(|line| (line, theme.doubtful())));
    }
    if slow.len() > most.div_ceil(2) {
        let text = format!("{} more slow services (2 shows all)", slow.len() - most.div_ceil(2));
        lines.push((text, theme.doubtful()));
    }
    let others = patterns(ui, board).into_iter().chain(cancelled(ui, board));
    lines.extend(others.map(|line| (line, Style::new())));
    lines
}

/// What has just failed, and mostly does, is red.
fn style(failing: &Failing, board: &Board, theme: Theme) -> Style {
    let is_now = board.now.saturating_sub(failing.last) <= RECENT;
    if is_now && failing.completion() < POOR { theme.bad() } else { theme.doubtful() }
}

/// What failed, and what waits, by number.
fn told(failing: &Failing, theme: Theme) -> String {
    let mut what = failures(&failing.outcomes, theme);
    if failing.waiting > 0 {
        let gap = if what.is_empty() { "" } else { ", " };
        what.push_str(&format!("{gap}unanswered {}{}", theme.times(), count(failing.waiting)));
    }
    what
}

/// "10.0.0.1:443 since 12:00:00: refused ×3; 0% completed".
fn failure(standing: &Standing, failing: &Failing, ui: &Ui, board: &Board) -> String {
    let what = told(failing, ui.theme);
    let ago = board.now.saturating_sub(failing.last);
    let ago = if ago > RECENT { format!("; last {} ago", span(ago)) } else { String::new() };
    format!(
        "{} since {}: {what}; {} completed{ago}",
        who(standing.who),
        clock(failing.since, &ui.zone),
        percent(Some(failing.completion())),
    )
}

/// Services that are slow, the longest first.
fn slow(board: &Board) -> Vec<&Standing> {
    let mut slow: Vec<&Standing> = board.services.iter().filter(|one| one.slow.is_some()).collect();
    slow.sort_by_key(|one| (one.slow.map(|(since, _)| since), one.who));
    slow
}

/// "slow: 10.0.0.1:443 server side since 12:00:00: p99 210ms, usually 1.20ms".
fn slow_line(standing: &Standing, ui: &Ui) -> Option<String> {
    let (since, slow) = standing.slow?;
    let why = match slow.why {
        Why::P99 => {
            let usual = slow.usual_p99_ns.map(|ns| format!(", usually {}", latency(1, ns)));
            format!("p99 {}{}", latency(1, slow.p99_ns), usual.unwrap_or_default())
        }
        Why::Retransmitted => format!(
            "{} of {} connects this minute only after something was sent again, usually {}",
            count(slow.retransmitted),
            count(slow.completed),
            percent(Some(slow.usual_retransmitted_part)),
        ),
    };
    let (name, half) = (who(standing.who), slow.half.name());
    Some(format!("slow: {name} {half} side since {}: {why}", clock(since, &ui.zone)))
}

/// Services that complete handshakes and do not serve most of them: within the window, or just now; the
/// most first.
fn unserving(ui: &Ui, board: &Board) -> Vec<String> {
    let window = ui.window;
    let is_unserving = |numbers: &Numbers| {
        let number = numbers.not_served();
        number >= FEWEST_UNSERVED && number * 2 >= numbers.followed
    };
    let is_told =
        |one: &&Standing| is_unserving(one.of(window)) || is_unserving(one.of(Window::TenSeconds));
    let mut services: Vec<&Standing> = board.services.iter().filter(is_told).collect();
    services.sort_by_key(|one| (Reverse(one.of(window).not_served()), one.who));
    let line = |one: &Standing| {
        let numbers = one.of(window);
        let what = unserved(numbers, ui.theme);
        let all = count(numbers.followed);
        let since = one.unserved_since.map(|since| format!(" since {}", clock(since, &ui.zone)));
        let since = since.unwrap_or_default();
        format!("not served after completing: {}{since}: {what} of {all}", who(one.who))
    };
    services.into_iter().map(line).collect()
}

/// The busiest services of the window.
fn busiest(ui: &Ui, board: &Board, most: usize) -> Vec<String> {
    let window = ui.window;
    let mut services: Vec<&Standing> =
        board.services.iter().filter(|standing| standing.of(window).ended() > 0).collect();
    services.sort_by_key(|standing| (Reverse(standing.of(window).ended()), standing.who));
    let line = |standing: &Standing| {
        let numbers = standing.of(window);
        let felt = numbers.felt;
        format!(
            "{}: {}/s, {} completed, p50 {} p99 {}",
            who(standing.who),
            rate(numbers.rate(numbers.ended())),
            percent(numbers.completion()),
            latency(felt.count, felt.p50_ns),
            latency(felt.count, felt.p99_ns),
        )
    };
    services.into_iter().take(most).map(line).collect()
}

/// Attempts that clients ended themselves, within the window: no failure of a service.
fn cancelled(ui: &Ui, board: &Board) -> Option<String> {
    let window = ui.window;
    let all = board.of(window).cancelled;
    if all == 0 {
        return None;
    }
    let mut services: Vec<&Standing> =
        board.services.iter().filter(|one| one.of(window).cancelled > 0).collect();
    services.sort_by_key(|one| (Reverse(one.of(window).cancelled), one.who));
    let times = ui.theme.times();
    let text =
        |one: &&Standing| format!("{} {times}{}", who(one.who), count(one.of(window).cancelled));
    let texts: Vec<String> = services.iter().take(MOST_NAMED).map(text).collect();
    let more = more(services.len());
    Some(format!("cancelled by clients: {} ({}{more})", count(all), texts.join(", ")))
}

/// How many are not named.
fn more(all: usize) -> String {
    match all.saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

/// Scans, a line each, and health checks in one line: no failure of a service.
fn patterns(ui: &Ui, board: &Board) -> Vec<String> {
    let (seen, times) = (&board.seen, ui.theme.times());
    let is_recent = |last: Nanos| board.now.saturating_sub(board.wall(last)) <= LATELY;
    let scans: Vec<_> = seen.scans.iter().filter(|scan| is_recent(scan.last)).collect();
    let mut lines: Vec<String> = scans
        .iter()
        .take(MOST_NAMED)
        .map(|scan| {
            let since = clock(board.wall(scan.since), &ui.zone);
            let hosts = if scan.hosts == 1 { "host" } else { "hosts" };
            format!(
                "scan by {} since {since}: {} services of {} {hosts} within 10 s, {} attempts",
                scan.client,
                count(scan.services),
                count(scan.hosts),
                count(scan.count)
            )
        })
        .collect();
    if scans.len() > MOST_NAMED {
        lines.push(format!("{} more scans", scans.len() - MOST_NAMED));
    }
    if !seen.probes.is_empty() {
        let probe = |probe: &ProbeView| {
            let pace = latency(1, probe.interval_ns);
            format!("{} of {} every {pace} {times}{}", probe.client, probe.service, probe.count)
        };
        let texts: Vec<String> = seen.probes.iter().take(MOST_NAMED).map(probe).collect();
        lines.push(format!("health checks: {}{}", texts.join(", "), more(seen.probes.len())));
    }
    lines
}
