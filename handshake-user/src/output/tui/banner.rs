//! What must not be overlooked: loss, degraded attachment, sampling, floods; and what makes the screen
//! show less than there is: filtered. Never left out; on small screens in fewer words. What is frozen has a line of its own.

use jiff::tz::TimeZone;
use ratatui::style::Style;

use super::sheet::who;
use super::state::{Tab, Ui};
use super::text::{count, cut, moment, period, span, width};
use crate::attempt::Nanos;
use crate::board::{Blind, Board, Lost, Sampled, Spell, Who};
use crate::output::escape::Escaped;
use crate::pattern::Flood;

/// Attempts that the recorder left out, as in the loss records.
const NOT_RECORDED: &str = "not-recorded";

/// One thing to be told, in many words and in few.
struct Alarm {
    long: String,
    short: String,
    style: Style,
}

/// The lines of the banner, each not wider than `width`; at most a third of the screen's `height`.
pub(super) fn lines(ui: &Ui, board: &Board, width: usize, height: u16) -> Vec<(String, Style)> {
    let alarms = all(ui, board);
    let most = usize::from(height / 6).max(1);
    let full = arranged(ui, alarms.iter().map(|alarm| (&alarm.long, alarm.style)), width);
    if full.len() <= most && full.iter().all(|(text, _)| super::text::width(text) <= width) {
        return full;
    }
    let short = arranged(ui, alarms.iter().map(|alarm| (&alarm.short, alarm.style)), width);
    let cut = |(text, style): (String, Style)| (cut(&text, width, ui.theme), style);
    let mut short: Vec<_> = short.into_iter().map(cut).collect();
    // Whoever floods many services shall not take the screen.
    let room = usize::from(height / 3).max(1);
    if short.len() > room {
        let more = short.len() - (room - 1);
        short.truncate(room - 1);
        short.push((format!("{more} more lines like these"), ui.theme.alarm()));
    }
    short
}

/// As many on a line as fit, of one style.
fn arranged<'a>(
    ui: &Ui,
    texts: impl Iterator<Item = (&'a String, Style)>,
    most: usize,
) -> Vec<(String, Style)> {
    let dot = ui.theme.dot();
    let mut lines: Vec<(String, Style)> = Vec::new();
    for (text, style) in texts {
        match lines.last_mut() {
            Some((line, of)) if *of == style && width(line) + width(dot) + width(text) <= most => {
                line.push_str(dot);
                line.push_str(text);
            }
            _ => lines.push((text.clone(), style)),
        }
    }
    lines
}

fn all(ui: &Ui, board: &Board) -> Vec<Alarm> {
    let theme = ui.theme;
    let time = |ns| moment(ns, board.now, &ui.zone);
    let mut alarms = Vec::new();
    let mut tell = |long: String, short: String, style| {
        let (long, short) = (theme.text(long), theme.text(short));
        alarms.push(Alarm { long, short, style });
    };
    let told = ui.acknowledged.unknown(&board.alarms);
    for (reason, lost) in &told.lost {
        let (long, short) = losses(reason, lost, board.now, &ui.zone);
        tell(long, short, theme.alarm());
    }
    if let Some((long, short)) = blind(&told.blind, board.now, &ui.zone) {
        tell(long, short, theme.alarm());
    }
    for trouble in told.degraded.iter() {
        let (name, reason) = (Escaped(&trouble.name), Escaped(&trouble.reason));
        let since = period(trouble.since, None, board.now, &ui.zone);
        let short = format!("DEGRADED {name} {}", span(board.now.saturating_sub(trouble.since)));
        tell(format!("DEGRADED {name}: {reason}, {since}"), short, theme.alarm());
    }
    if told.degraded.more() > 0 {
        let text = format!("DEGRADED: {} more", told.degraded.more());
        tell(text.clone(), text, theme.alarm());
    }
    if let Some(sampled) = told.sampled {
        let (long, short) = sampling(sampled, &time(sampled.first));
        tell(long, short, theme.alarm());
    }
    for standing in &board.services {
        if let Some(Flood { start, end: None }) = standing.flood
            && !ui.acknowledged.has_flood(standing.who, start)
        {
            let name = who(standing.who);
            let long = format!("FLOOD of {name} {}", period(start, None, board.now, &ui.zone));
            tell(long, format!("FLOOD {name}"), theme.alarm());
        }
    }
    if let Some(scope) = ui.scope.filter(|_| ui.tab == Tab::Overview) {
        let what = if matches!(scope, Who::Peer(_)) { "clients from" } else { "service" };
        let long = format!("only {what} {} (Esc: all)", who(scope));
        tell(long, format!("only {}", who(scope)), theme.chosen());
    }
    if let Some(filter) = &ui.filter {
        let filter = Escaped(filter);
        let long = format!("only {filter} (Esc: all)");
        tell(long, format!("only {filter}"), theme.chosen());
    }
    alarms
}

/// What was lost for a reason, when last and for how long; in many words and in few.
pub(super) fn losses(reason: &str, lost: &Lost, now: Nanos, zone: &TimeZone) -> (String, String) {
    let until = (!lost.is_going_on(now)).then_some(lost.until);
    let when = period(lost.from, until, now, zone);
    let when = match lost.times {
        1 => when,
        n => format!("{n} times, last {when}"),
    };
    let what = match reason {
        // What was judged and only not written is not uncertain.
        NOT_RECORDED => "",
        "ring-full" => ": some may be unfinished; raise --ring-bytes",
        "filter-evicted-one-sided" | "filter-evicted-two-sided" => {
            ": these may be unfinished; raise --table-entries"
        }
        _ => ": some may be unfinished",
    };
    (
        format!("LOST {} ({reason}) {when}{what}", lost.count),
        format!("LOST {} ({reason}) {when}", count(lost.count)),
    )
}

/// Where nothing can be seen, or could not; in many words and in few.
fn blind(blind: &Blind, now: Nanos, zone: &TimeZone) -> Option<(String, String)> {
    let lasting: Vec<&Spell> = blind.lasting().collect();
    let last = blind.over().max_by_key(|spell| spell.until);
    let (names, spell) = match (lasting.iter().min_by_key(|spell| spell.from), last) {
        (Some(first), _) => (names(&lasting), *first),
        (None, Some(last)) => (names(&[last]), last),
        (None, None) => return None,
    };
    let when = period(spell.from, spell.until, now, zone);
    let mut long = format!("BLIND at {names} {when}: {}", spell.reason);
    let earlier = blind.times().saturating_sub(lasting.len().max(1) as u64);
    match earlier {
        0 => {}
        1 => long.push_str("; once before"),
        n => long.push_str(&format!("; {n} times before")),
    }
    Some((long, format!("BLIND {names} {when}")))
}

/// Some names, and how many more.
fn names(spells: &[&Spell]) -> String {
    const MOST: usize = 3;
    let named: Vec<String> =
        spells.iter().take(MOST).map(|spell| Escaped(&spell.name).to_string()).collect();
    match spells.len().saturating_sub(MOST) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The line between what goes on (above) and what stands still (below), in as many words as fit.
pub(super) fn frozen(board: &Board, since: Nanos, then: &Board, wide: usize, ui: &Ui) -> String {
    let at = moment(since, board.now, &ui.zone);
    let ago = span(board.now.saturating_sub(since));
    let new = board.rows.taken() - then.rows.taken();
    let texts = [
        format!(
            "FROZEN at {at}, {ago} ago: below stands still, above is live; {new} failed since then; f goes on"
        ),
        format!("FROZEN at {at}, {ago} ago: still below, live above; {new} failed since"),
        format!("FROZEN {at}: still below, live above"),
        format!("FROZEN {at}"),
    ];
    let fits = texts.iter().find(|text| width(text) <= wide);
    cut(fits.unwrap_or(&texts[3]), wide, ui.theme)
}

/// That totals are of a part, in many words and in few; also when all flows are followed again.
fn sampling(sampled: Sampled, since: &str) -> (String, String) {
    let now = match sampled.one_in {
        0 | 1 => "now all".to_owned(),
        n => format!("now 1 in {n}"),
    };
    let most = sampled.highest_one_in;
    let long = format!("SAMPLED at most 1 in {most} since {since} ({now}): totals are of a part");
    (long, format!("SAMPLED at most 1 in {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_say_when_and_what_follows() {
        const SECOND: Nanos = 1_000_000_000;
        let lost = |times, until| Lost { count: 12_345, times, from: 0, until: until * SECOND };
        let told = |reason, lost: Lost| losses(reason, &lost, 40 * SECOND, &TimeZone::UTC);
        let (long, short) = told("ring-full", lost(1, 30));
        assert_eq!(short, "LOST 12k (ring-full) 00:00:00–00:00:30 (30s)");
        let remedy = ": some may be unfinished; raise --ring-bytes";
        assert_eq!(long, short.replace("12k", "12345") + remedy);
        let (long, _) = told("filter-evicted-one-sided", lost(1, 30));
        assert!(long.ends_with("; raise --table-entries"), "{long}");
        let (long, _) = told("ring-full", lost(3, 39));
        assert!(long.starts_with("LOST 12345 (ring-full) 3 times, last since 00:00:00 (40s)"));
        let (long, _) = told(NOT_RECORDED, lost(1, 1));
        assert_eq!(long, "LOST 12345 (not-recorded) 00:00:00–00:00:01 (1s)");
    }

    #[test]
    fn a_few_blind_interfaces_are_named_and_the_others_counted() {
        let mut all = Blind::default();
        (0..5).for_each(|n| all.begin(&format!("eth{n}"), "interface-gone", n));
        let told = |all: &Blind| blind(all, 3_000_000_000, &TimeZone::UTC).expect("something");
        let (long, _) = told(&all);
        let names = "eth0, eth1, eth2 and 2 more";
        assert_eq!(long, format!("BLIND at {names} since 00:00:00 (3s): interface-gone"));
        (0..5).for_each(|n| all.end(&format!("eth{n}"), 2_000_000_000));
        let (long, _) = told(&all);
        assert!(long.ends_with("(1s): interface-gone; 4 times before"), "{long}");
        assert_eq!(blind(&Blind::default(), 0, &TimeZone::UTC), None);
    }

    #[test]
    fn that_totals_are_of_a_part_is_told_also_when_all_flows_are_followed_again() {
        let sampled = |one_in| Sampled { one_in, highest_one_in: 64, first: 0 };
        let (during, _) = sampling(sampled(8), "12:00:00");
        let (after, short) = sampling(sampled(1), "12:00:00");
        let told =
            |now| format!("SAMPLED at most 1 in 64 since 12:00:00 ({now}): totals are of a part");
        assert_eq!((during, after), (told("now 1 in 8"), told("now all")));
        assert_eq!(short, "SAMPLED at most 1 in 64");
    }
}
