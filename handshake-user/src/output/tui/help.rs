//! Help for the view that is open: its keys and what its columns say.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Widget, Wrap};

use super::advice::advice;
use super::state::{Tab, Ui};
use super::theme::Theme;

const EVERYWHERE: &[&str] = &[
    "*Keys in every view",
    "1-5, Tab, arrows left and right: another view",
    "up, down, PgUp, PgDn, Home, End or k, j, g, G: another row. What has no column or is cut of the \
     chosen row stands below the table",
    "t, T: numbers of the next, previous window: last 10 s, minute, 5 min, 15 min, since start. z: those \
     since the start begin anew",
    "/: filter, as --filter: port:443 host:10.0.0.0/8 outcome:refused /text/",
    "f or Space: freeze, and go on. What stands below the line FROZEN stands still; numbers and alarms \
     above it go on, and nothing is missed",
    "x: acknowledge the alarms: they leave the top until something new happens; 5 still lists them. Again: \
     they are back",
    "e: write what is listed, or the attempts of the chosen service, to a file of JSON lines, as --format \
     json. What is still open has the outcome unfinished",
    "y: copy the chosen attempt as one line, Y: as JSON, through the terminal (OSC 52). Mouse: the wheel goes \
     through rows, a click chooses a row, again opens it; a view, a column to sort by. Selecting text: with \
     Shift. --no-mouse leaves the mouse to the terminal",
    "Esc: back, out of the detail, the service, the filter",
    "? help, Ctrl-L draw anew, Ctrl-Z suspend, q or Ctrl-C quit",
];

const OVERVIEW: &[&str] = &[
    "*Overview",
    "Numbers are of the window that the first line names (t), sparklines by the second. Completed: of those \
     that completed or failed, without what clients cancelled. Connect: SYN to third ACK, retransmissions \
     included. SYN retr: SYNs and SYN-ACKs sent again. Lost: events and table entries since the start.",
    "Fails: services with a failure within a minute. Since: when the first failing attempt began. Its counts \
     and its completed part are since then. Unanswered: still open, and late.",
    "The table has the latest failed attempts, or all ended ones while none has failed; above them open ones \
     that wait: for more than a second, or that had to be repeated. After: from the first packet to the end. \
     Retr: SYNs and SYN-ACKs sent again.",
    "a: all ended attempts, completed ones too, and back. o: of these the slow ones first: something was sent \
     twice, or 0.5 s and more. w: all open ones that wait, and back. A filter such as retrans:yes or \
     latency:>500ms applies to each.",
    "Enter: the segments of an attempt, and what to check next. s, S: sort by the next, previous column. r: \
     reverse.",
    "gave up?: the client should have sent its SYN again by now. SYN again: the client went on with the same \
     connect after that end; its attempts are told as one.",
    "Outcomes: refused: RST to the SYN. no-answer: nothing came. half-open: SYN-ACK, no third ACK. \
     icmp-unreachable: a router or host says so. aborted: the client gave up first. reset-by-...: after the \
     SYN-ACK. The segments of an attempt say what to check next.",
];

const SERVICES: &[&str] = &[
    "*Services",
    "One line for each server address and port, of the window that the first line names (t). compl: \
     completed of those that completed or failed. failed: without what clients cancelled (cancel). since: \
     when the present incident began (no minute without a failure). half: half-open now. srv: SYN to \
     SYN-ACK, cli: SYN-ACK to third ACK, of attempts in which nothing was sent twice; retr: the part in \
     which something was.",
    "flood: at least 50 half-open handshakes, now or given up within ten seconds, and less than half \
     completing; over when less than 25, or 70% completing, for five seconds.",
    "Enter: the failures of this service. s, S: sort by the next, previous column. r: reverse.",
    "A filter leaves services of which an attempt would pass it.",
];

const PEERS: &[&str] = &[
    "*Peers",
    "One line for each network of clients (/24, or /48 of IPv6). Columns as for services.",
    "Enter: the failures of this network. s, S: sort by the next, previous column. r: reverse.",
];

const LATENCY: &[&str] = &[
    "*Latency",
    "Completed handshakes in which nothing was sent twice. server: SYN to SYN-ACK. client: SYN-ACK to \
     third ACK. total: both. Each line counts those from its time to the next line's.",
    "e: write the summary as JSON.",
];

const INTERFACES: &[&str] = &[
    "*Interfaces",
    "What is watched and how, the attempts there by this host's part, then packets by class and hook: \
     in all, and in the last second. Losses stand first. At the end what was wrong and is over, and what \
     handshake said.",
    "e: write the summary as JSON.",
];

const DETAIL: &[&str] = &[
    "*One attempt",
    "Its segments in order of time. c\u{2192}s: from client to server. Numbers as on the wire, the window \
     unscaled. verdict: what it meant to the tracker.",
    "e: write this attempt to a file.",
];

/// Draws the help of the present view.
pub(super) fn draw(ui: &mut Ui, area: Rect, buffer: &mut Buffer) {
    let view = match ui.tab {
        _ if ui.detail.is_some() => DETAIL,
        Tab::Overview => OVERVIEW,
        Tab::Services => SERVICES,
        Tab::Peers => PEERS,
        Tab::Latency => LATENCY,
        Tab::Interfaces => INTERFACES,
    };
    let theme = ui.theme;
    // What to check next comes first: on a small screen the detail has no room for it.
    let next = ui.detail.as_ref().map(|detail| advice(&detail.row));
    let next = next.as_deref().map_or(Vec::new(), |text| vec!["*What to check next", text]);
    let texts: Vec<&str> =
        next.into_iter().chain(view.iter().copied()).chain(EVERYWHERE.iter().copied()).collect();
    let lines: Vec<Line<'_>> = texts.iter().map(|text| line(text, theme)).collect();
    let paragraph = Paragraph::new(lines).wrap(Wrap { trim: true });
    let height = wrapped(&texts, area.width);
    let page = usize::from(area.height);
    ui.scrollable = (height, page);
    let scroll = ui.help.unwrap_or(0).min(height.saturating_sub(page));
    ui.help = Some(scroll);
    paragraph.scroll((scroll as u16, 0)).render(area, buffer);
}

fn line(text: &str, theme: Theme) -> Line<'_> {
    match text.strip_prefix('*') {
        Some(title) => Line::styled(title, theme.strong().add_modifier(Modifier::UNDERLINED)),
        None => Line::styled(theme.text(text.to_owned()), Style::new()),
    }
}

/// Lines that the texts take at this width: words are never broken, none is longer than a screen.
fn wrapped(texts: &[&str], wide: u16) -> usize {
    let lines = |text: &str| {
        let (mut lines, mut used) = (1, 0);
        for word in text.trim_start_matches('*').split_whitespace() {
            let length = super::text::width(word);
            let gap = usize::from(used > 0);
            if used + gap + length > usize::from(wide) {
                (lines, used) = (lines + 1, length);
            } else {
                used += gap + length;
            }
        }
        lines
    };
    texts.iter().map(|text| lines(text)).sum()
}
