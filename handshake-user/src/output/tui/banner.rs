//! What must not be overlooked: loss, degraded attachment, sampling, floods; and what makes the screen
//! show less than there is: frozen, filtered. Never left out; on small screens in fewer words.

use ratatui::style::Style;

use super::sheet::who;
use super::state::{Tab, Ui};
use super::text::{clock, count, cut, width};
use crate::board::{Board, Flood, Sampled, Who};
use crate::output::escape::Escaped;

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
    let time = |ns| clock(ns, &ui.zone);
    let mut alarms = Vec::new();
    let mut tell = |long: String, short: String, style| {
        let (long, short) = (theme.text(long), theme.text(short));
        alarms.push(Alarm { long, short, style });
    };
    for (reason, lost) in &board.alarms.lost {
        let since = if lost.first == lost.last {
            format!("at {}", time(lost.first))
        } else {
            format!("{} to {}", time(lost.first), time(lost.last))
        };
        let (long, short) = match lost.count {
            0 => (format!("BLIND {since} ({reason})"), format!("BLIND ({reason})")),
            n => (
                format!("LOST {n} ({reason}) {since}: attempts then open are uncertain"),
                format!("LOST {} ({reason})", count(n)),
            ),
        };
        tell(long, short, theme.alarm());
    }
    for (name, reason) in board.alarms.degraded.iter() {
        let name = Escaped(name);
        let long = format!("DEGRADED {name}: {}", Escaped(reason));
        tell(long, format!("DEGRADED {name}"), theme.alarm());
    }
    if board.alarms.degraded.more() > 0 {
        let text = format!("DEGRADED: {} more", board.alarms.degraded.more());
        tell(text.clone(), text, theme.alarm());
    }
    if let Some(sampled) = board.alarms.sampled {
        let (long, short) = sampling(sampled, &time(sampled.first));
        tell(long, short, theme.alarm());
    }
    for standing in &board.services {
        if let Some(Flood { start, end: None }) = standing.flood {
            let name = who(standing.who);
            let long = format!("FLOOD of {name} since {}", time(start));
            tell(long, format!("FLOOD {name}"), theme.alarm());
        }
    }
    if let Some((since, frozen)) = &ui.frozen {
        let new = board.rows.next() - frozen.rows.next();
        let long = format!("FROZEN since {}; {new} failed since then; f goes on", time(*since));
        tell(long, format!("FROZEN {}", time(*since)), theme.chosen());
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
    if let Some(error) = ui.prompt.as_ref().and_then(|prompt| prompt.error.as_ref()) {
        let text = format!("no such filter: {}", Escaped(error));
        tell(text.clone(), text, theme.alarm());
    }
    alarms
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
