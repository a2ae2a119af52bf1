//! One attempt looked at closely: what is known of it, and its segments in order of time.

use handshake_common::event::Event;
use handshake_common::packet::tcp::Flags;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::advice::advice;
use super::list::outcome;
use super::state::{Detail, Ui};
use super::table::{Cell, Column, Shape, Table, Widths, room_below};
use super::text::{broken, count, cut, duration, fine_clock, put};
use super::theme::Theme;
use super::words::evidence;
use crate::attempt::{Attempt, IcmpEnd, Nanos, Opening, ip_addr};
use crate::outcome::Side;
use crate::output::escape::Escaped;
use crate::output::lines::icmp_name;

/// One segment of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// When it passed the hook, since 1970.
    pub at: Nanos,
    /// From the client to the server?
    pub from_client: bool,
    /// Flags of TCP, or what ICMP says.
    pub flags: String,
    /// Sequence number; unknown for what only the attempt's record tells.
    pub seq: Option<u32>,
    /// Acknowledgement number.
    pub ack: Option<u32>,
    /// Window, unscaled.
    pub window: Option<u16>,
    /// Payload in bytes.
    pub len: u32,
    /// Options in words.
    pub options: String,
    /// What the tracker made of it.
    pub verdict: &'static str,
    /// Interface and hook.
    pub place: String,
}

/// The names of the TCP flags that are set.
#[must_use]
pub fn flags(flags: u16) -> String {
    const NAMES: [(u16, &str); 9] = [
        (Flags::SYN, "SYN"),
        (Flags::RST, "RST"),
        (Flags::FIN, "FIN"),
        (Flags::ACK, "ACK"),
        (Flags::PSH, "PSH"),
        (Flags::URG, "URG"),
        (Flags::ECE, "ECE"),
        (Flags::CWR, "CWR"),
        (Flags::AE, "AE"),
    ];
    let set = NAMES.iter().filter(|(bit, _)| Flags(flags).has(*bit));
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

/// Options of a SYN or SYN-ACK in words.
#[must_use]
pub fn options(opening: &Opening) -> String {
    let options = opening.options();
    let mut words = Vec::new();
    words.extend(options.mss.map(|mss| format!("mss {mss}")));
    words.extend(options.window_scale.map(|scale| format!("wscale {scale}")));
    words.extend(options.sack_permitted.then(|| "sack".to_owned()));
    words.extend(options.timestamps.then(|| "ts".to_owned()));
    words.extend(options.fast_open.map(|cookie| format!("tfo {}", cookie.len())));
    words.extend(options.mptcp.map(|_| "mptcp".to_owned()));
    words.join(" ")
}

/// What an ICMP error says, and who.
#[must_use]
pub fn icmp_words(event: &Event) -> String {
    let word = |at: usize| {
        let bytes =
            [event.extra[at], event.extra[at + 1], event.extra[at + 2], event.extra[at + 3]];
        u32::from_ne_bytes(bytes)
    };
    let source = ip_addr([word(0), word(4), word(8), word(12)], event.ip_version);
    // Whose segment it quotes is not said here.
    let (icmp_type, code) = (event.icmp_type, event.icmp_code);
    let icmp = IcmpEnd { icmp_type, code, source, quotes: Side::Client };
    format!("{} from {source}", icmp_name(&icmp))
}

/// What an attempt's record tells of its segments, for when they themselves are no longer known.
#[must_use]
pub fn from_record(attempt: &Attempt, to_wall: Nanos) -> Vec<Segment> {
    let a = attempt;
    let at = |time: Nanos| time.saturating_add(to_wall);
    let segment = |time: Nanos, from_client, name: &str, verdict| Segment {
        at: at(time),
        from_client,
        flags: name.to_owned(),
        seq: None,
        ack: None,
        window: None,
        len: 0,
        options: String::new(),
        verdict,
        place: String::new(),
    };
    let opened = |opening: Option<&Opening>, segment: Segment| match opening {
        None => segment,
        Some(opening) => Segment {
            flags: flags(opening.flags),
            window: Some(opening.window),
            len: opening.payload_len,
            options: options(opening),
            ..segment
        },
    };
    let mut segments = Vec::new();
    segments.extend(a.t_syn.map(|time| {
        let syn = opened(a.syn.as_ref(), segment(time, true, "SYN", "begins"));
        Segment { seq: Some(a.client_isn), ..syn }
    }));
    segments.extend(a.t_syn_last.filter(|_| a.syn_retrans > 0).map(|time| Segment {
        seq: Some(a.client_isn),
        ..segment(time, true, "SYN", "syn-again")
    }));
    segments.extend(a.t_synack.map(|time| {
        let synack = opened(a.synack.as_ref(), segment(time, false, "SYN,ACK", "answers"));
        Segment { seq: a.server_isn, ack: Some(a.client_isn.wrapping_add(1)), ..synack }
    }));
    segments.extend(a.t_synack_last.filter(|_| a.synack_retrans > 0).map(|time| Segment {
        seq: a.server_isn,
        ..segment(time, false, "SYN,ACK", "answers-again")
    }));
    segments.extend(a.t_ack.map(|time| segment(time, true, "ACK", "completes")));
    segments.extend(a.t_end.and_then(|time| {
        let from_client = a.rst_from.map(|side| side == Side::Client);
        let name = if a.icmp.is_some() { "ICMP" } else { "RST" };
        let known = from_client.or_else(|| a.icmp.map(|_| false))?;
        Some(segment(time, known, name, a.outcome.name()))
    }));
    segments.sort_by_key(|segment| segment.at);
    segments
}

const COLUMNS: [Column; 10] = [
    Column { title: "time", least: 9, rank: 2, shape: Shape::Number },
    Column { title: "dir", least: 3, rank: 0, shape: Shape::Text },
    Column { title: "flags", least: 7, rank: 0, shape: Shape::Text },
    Column { title: "seq", least: 10, rank: 3, shape: Shape::Number },
    Column { title: "ack", least: 10, rank: 4, shape: Shape::Number },
    Column { title: "win", least: 5, rank: 6, shape: Shape::Number },
    Column { title: "len", least: 4, rank: 8, shape: Shape::Number },
    Column { title: "verdict", least: 13, rank: 1, shape: Shape::Text },
    Column { title: "options", least: 12, rank: 5, shape: Shape::Text },
    Column { title: "seen at", least: 10, rank: 7, shape: Shape::Text },
];

/// Draws the view.
pub(super) fn draw(ui: &mut Ui, area: Rect, buffer: &mut Buffer) {
    let (theme, zone) = (ui.theme, ui.zone.clone());
    let Some(detail) = &mut ui.detail else { return };
    let mut lines = facts(detail, theme, &zone, usize::from(area.width));
    // At least the head and two segments shall be seen.
    let room = usize::from(area.height.saturating_sub(3)).max(1);
    let table = 2 + detail.segments.len().min(8) + usize::from(room_below(area));
    let spare = usize::from(area.height).saturating_sub(lines.len() + table);
    if spare > 0 {
        let text = theme.text(advice(&detail.row));
        let next = broken(&text, area.width.into(), spare, |rest, wide| cut(rest, wide, theme));
        lines.extend(next.into_iter().map(|text| (text, Style::new())));
    }
    let shown = lines.len().min(room);
    for (y, (text, style)) in lines.iter().take(shown).enumerate() {
        put(buffer, area, 0, y as u16, text, *style);
    }
    let rest =
        Rect { y: area.y + shown as u16, height: area.height.saturating_sub(shown as u16), ..area };
    let page = usize::from((rest.height - room_below(rest)).saturating_sub(1));
    let len = detail.segments.len();
    let index = detail.cursor.index(len, Some);
    let top = detail.cursor.window(index, len, page);
    let began = detail.segments.first().map_or(detail.row.began(), |segment| segment.at);
    let rows = detail.segments.iter().skip(top).take(page);
    let table = Table {
        columns: &COLUMNS,
        sort: (usize::MAX, false),
        rows: rows.map(|segment| cells(segment, began, theme)).collect(),
        chosen: (len > 0).then(|| index - top),
        theme,
    };
    let parts = table.draw(rest, buffer, &mut Widths::new());
    ui.note_spots(parts, top);
}

fn cells(segment: &Segment, began: Nanos, theme: Theme) -> Vec<Cell> {
    let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let direction = match (segment.from_client, theme.ascii) {
        (true, false) => "c→s",
        (false, false) => "c←s",
        (true, true) => "c>s",
        (false, true) => "c<s",
    };
    let since = duration(segment.at.saturating_sub(began));
    vec![
        Cell::plain(theme.text(format!("+{since}"))),
        Cell::plain(direction),
        Cell::styled(segment.flags.clone(), theme.strong()),
        Cell::plain(number(segment.seq)),
        Cell::plain(number(segment.ack)),
        Cell::plain(number(segment.window.map(u32::from))),
        Cell::plain(count(segment.len.into())),
        Cell::plain(segment.verdict),
        Cell::plain(segment.options.clone()),
        Cell::plain(Escaped(&segment.place).to_string()),
    ]
}

/// What is known of the attempt, one line each.
fn facts(detail: &Detail, theme: Theme, zone: &TimeZone, width: usize) -> Vec<(String, Style)> {
    let (row, now) = (&detail.row, detail.at);
    let a = &row.attempt;
    let (client, server) = (a.key.client_addr(), a.key.server_addr());
    let lasted = row.lasted(now).map_or_else(|| "?".to_owned(), duration);
    let mut lines = vec![
        (format!("{client} {} {server}", theme.arrow()), theme.strong()),
        (
            format!("{} after {lasted}: {}", outcome(row, now), evidence(row, detail.again, theme)),
            theme.outcome(a.outcome),
        ),
    ];
    let mut place = format!("began {}", fine_clock(row.began(), zone));
    if let Some(at) = row.view().place {
        let name = Escaped(at.interface);
        place.push_str(&format!(", {} at {name} {}", at.role.name(), at.hook));
    }
    lines.push((format!("{place}, attempt {}", a.id), Style::new()));
    if a.uncertain.is_some() {
        let text = "uncertain: not all was seen while it was open; counts are lower bounds";
        lines.push((text.to_owned(), theme.doubtful()));
    }
    if detail.again > 0 {
        let text = "the client sent its SYN again after that: told as one failed attempt";
        lines.push((text.to_owned(), Style::new()));
    }
    // Only segments have a place.
    if !detail.segments.is_empty() && detail.segments.iter().all(|one| one.place.is_empty()) {
        let text = "segments not kept: this is what the attempt's record tells";
        lines.push((text.to_owned(), theme.doubtful()));
    }
    let parts = [
        ("server", a.latency_server()),
        ("client", a.latency_client()),
        ("total", a.latency_total()),
    ];
    let known: Vec<String> = parts
        .iter()
        .filter_map(|(part, ns)| ns.map(|ns| format!("{part} {}", duration(ns))))
        .collect();
    if !known.is_empty() {
        lines.push((format!("latency: {}", known.join(", ")), Style::new()));
    }
    lines
        .iter_mut()
        .for_each(|(text, _)| *text = cut(&theme.text(std::mem::take(text)), width, theme));
    lines
}
