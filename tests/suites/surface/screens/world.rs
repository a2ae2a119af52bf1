//! Attempts made up, and the screen that shows them.

use std::net::{IpAddr, SocketAddr};

use handshake_common::abi::{COUNTERS, Counter, Hook};
use handshake_user::after::{After, Next};
use handshake_user::attempt::{Attempt, Endpoint, IcmpEnd, Key, Nanos, OpenView};
use handshake_user::board::{Board, Glance, Watched};
use handshake_user::outcome::{EndedBy, Outcome, Side};
use handshake_user::output::tui::{self, Action, Theme, Ui};
use handshake_user::pattern::Patterns;
use handshake_user::snapshot::{AttemptView, Place, Role};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

pub(crate) const SECOND: Nanos = 1_000_000_000;
/// 2026-11-23 12:00:00 UTC.
pub(crate) const BEGIN: Nanos = 1_795_435_200 * SECOND;
pub(crate) const MONOCHROME: Theme = Theme { color: false, ascii: false, light: false };

/// See the module. Times are since 1970 throughout.
pub(crate) struct World {
    pub(crate) board: Board,
    pub(crate) now: Nanos,
    pub(crate) interface: String,
    patterns: Patterns,
    /// Open attempts beside those of a scene.
    pub(crate) besides: Vec<OpenView>,
    outcomes: [u64; Outcome::ALL.len()],
    retransmits: u64,
    last_id: u64,
    counters: [[u64; COUNTERS]; Hook::ALL.len()],
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            board: Board::new(BEGIN, 10_000),
            now: BEGIN,
            interface: "rtc0".to_owned(),
            patterns: Patterns::default(),
            besides: Vec::new(),
            outcomes: [0; Outcome::ALL.len()],
            retransmits: 0,
            last_id: 0,
            counters: [[0; COUNTERS]; Hook::ALL.len()],
        }
    }

    /// A handshake that took so long in all, most of it at the server; then both sides send data.
    pub(crate) fn complete(&mut self, client: u16, server: &str, total_ns: u64) {
        self.complete_then(client, server, total_ns, Next::Data);
    }

    /// The same, and what came next.
    pub(crate) fn complete_then(&mut self, client: u16, server: &str, total_ns: u64, next: Next) {
        let total = Nanos::try_from(total_ns).expect("short");
        let mut attempt = self.attempt(client, server, Outcome::Completed, total);
        let begin = attempt.t_first;
        attempt.ended_by = EndedBy::Handshake;
        attempt.t_syn = Some(begin);
        attempt.t_synack = Some(begin + total * 2 / 3);
        attempt.t_ack = Some(begin + total);
        let byte = (next == Next::Data).then_some(1_000_000);
        attempt.after = Some(After {
            next,
            at: 1_000_000,
            synack_retrans: u32::from(next == Next::NotAccepted),
            first_byte_client: byte,
            first_byte_server: byte,
        });
        self.end(&attempt);
    }

    /// A handshake whose client had to send its SYN so many times more.
    pub(crate) fn retry(&mut self, client: u16, server: &str, copies: u32) {
        let total = ((1 << copies) - 1) * SECOND + 400_000;
        let mut attempt = self.attempt(client, server, Outcome::Completed, total);
        attempt.ended_by = EndedBy::Handshake;
        attempt.syn_retrans = copies;
        attempt.t_syn = Some(attempt.t_first);
        attempt.t_synack = Some(attempt.t_first + total - 50_000);
        attempt.t_ack = attempt.t_end;
        self.end(&attempt);
    }

    /// A connect that a router turned back, and its SYN that crossed the router's message.
    pub(crate) fn cross(&mut self, client: u16, server: &str, router: &str) {
        for copies in [2, 0] {
            let mut attempt = self.attempt(client, server, Outcome::IcmpUnreachable, 3 * SECOND);
            let source: IpAddr = router.parse().expect("an address");
            attempt.icmp = Some(IcmpEnd { icmp_type: 3, code: 1, source, quotes: Side::Client });
            attempt.ended_by = EndedBy::Icmp;
            attempt.syn_retrans = copies;
            attempt.isn_repeat = copies == 0;
            attempt.client_isn = u32::from(client);
            self.end(&attempt);
        }
    }

    /// An attempt that failed so, after so long.
    pub(crate) fn fail(
        &mut self,
        client: u16,
        server: &str,
        outcome: Outcome,
        ns: Nanos,
        copies: u32,
    ) {
        let mut attempt = self.attempt(client, server, outcome, ns);
        attempt.t_syn = Some(attempt.t_first);
        let half_open = outcome == Outcome::HalfOpen;
        (attempt.syn_retrans, attempt.synack_retrans) =
            if half_open { (0, copies) } else { (copies, 0) };
        attempt.rst_from = match outcome {
            Outcome::Refused | Outcome::ResetByServer => Some(Side::Server),
            Outcome::Aborted | Outcome::ResetByClient => Some(Side::Client),
            _ => None,
        };
        self.end(&attempt);
    }

    pub(crate) fn unreachable(&mut self, client: u16, server: &str, router: &str, ns: Nanos) {
        let mut attempt = self.attempt(client, server, Outcome::IcmpUnreachable, ns);
        let source: IpAddr = router.parse().expect("an address");
        attempt.icmp = Some(IcmpEnd { icmp_type: 1, code: 1, source, quotes: Side::Client });
        self.end(&attempt);
    }

    fn attempt(&mut self, client: u16, server: &str, outcome: Outcome, ns: Nanos) -> Attempt {
        self.last_id += 1;
        Attempt {
            id: self.last_id,
            t_first: self.now - ns,
            t_end: Some(self.now),
            client_isn: 0xffff_ffff,
            ..Attempt::blank(key(client, server), outcome)
        }
    }

    fn end(&mut self, attempt: &Attempt) {
        let mut ended = [attempt.clone()];
        self.patterns.judge(&mut ended);
        let [attempt] = &ended;
        let place = Place { interface: &self.interface, hook: "tc-ingress", role: Role::Forwarded };
        let view = AttemptView { attempt, place: Some(place), to_wall: 0 };
        self.board.tally(&view);
        if let Some(after) = attempt.after {
            self.board.follow(attempt, after);
        }
        self.board.record(&view, None);
        self.outcomes[attempt.outcome as usize] += 1;
        self.retransmits += u64::from(attempt.syn_retrans + attempt.synack_retrans);
        self.counters[Hook::TcIngress as usize][Counter::Syn as usize] += 1;
        self.counters[Hook::TcEgress as usize][Counter::SynAck as usize] += 1;
        self.counters[Hook::TcIngress as usize][Counter::AckOther as usize] += 17;
    }

    /// An attempt open for so long.
    pub(crate) fn open(
        &self,
        client: u16,
        server: &str,
        ns: Nanos,
        answered: bool,
        copies: u32,
    ) -> OpenView {
        OpenView {
            id: 1_000_000 + u64::from(client),
            key: key(client, server),
            source: 0,
            began: self.now - ns,
            last: self.now,
            client_isn: 1,
            answered,
            two_sided: answered,
            unanswered: if answered { Outcome::HalfOpen } else { Outcome::NoAnswer },
            syn_retrans: if answered { 0 } else { copies },
            synack_retrans: if answered { copies } else { 0 },
        }
    }

    /// A second passes, with these attempts open.
    pub(crate) fn second(&mut self, open: &[OpenView]) {
        self.now += SECOND;
        let place = Place { interface: &self.interface, hook: "tc-ingress", role: Role::Forwarded };
        let glance = Glance {
            now: self.now,
            to_wall: 0,
            started: self.outcomes.iter().sum::<u64>() + open.len() as u64,
            outcomes: self.outcomes,
            retransmits: self.retransmits,
            counters: &self.counters,
            place: &|_| place,
            sampled: None,
            seen: self.patterns.seen(),
        };
        self.board.look(&glance, open.iter().copied());
    }

    /// An open attempt times out.
    pub(crate) fn give_up(&mut self, open: &OpenView) {
        let blank = Attempt::blank(open.key, Outcome::NoAnswer);
        let end = Some(self.now);
        self.end(&Attempt { id: open.id, t_first: open.began, t_end: end, ..blank });
    }

    pub(crate) fn watch(&mut self, name: &str) {
        let watched = Watched {
            name: name.to_owned(),
            ingress: "TCX".to_owned(),
            egress: "TCX".to_owned(),
            reason: "TC because native XDP slows down TCP on veth".to_owned(),
        };
        self.board.watch(watched, self.now);
    }
}

fn key(client: u16, server: &str) -> Key {
    let server: SocketAddr = server.parse().expect("an address and port");
    let v4 = server.is_ipv4();
    let net = client / 200 % 200;
    let host = client % 200 + 1;
    let client = if v4 {
        format!("10.77.{net}.{host}:{}", 40_000 + client)
    } else {
        format!("[fd77:1::{host}]:{}", 40_000 + client)
    };
    let end = |address: SocketAddr| {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let bytes = ip.octets();
        let mut words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_ne_bytes(*word));
        let mut next = || words.next().expect("four words");
        Endpoint { address: [next(), next(), next(), next()], port: address.port() }
    };
    let client: SocketAddr = client.parse().expect("an address");
    Key { client: end(client), server: end(server), ip_version: if v4 { 4 } else { 6 } }
}

pub(crate) fn ui(theme: Theme) -> Ui {
    Ui::new(theme, TimeZone::UTC)
}

/// Presses keys: `\n` is Enter, `\u{1b}` Esc.
pub(crate) fn press(ui: &mut Ui, board: &Board, keys: &str) {
    let _ = pressed(ui, board, keys);
}

/// The same; returns what the last key asks for.
pub(crate) fn pressed(ui: &mut Ui, board: &Board, keys: &str) -> Action {
    let mut action = Action::Draw;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            one => KeyCode::Char(one),
        };
        ui.follow(board);
        action = ui.press(KeyEvent::new(code, KeyModifiers::NONE), board);
    }
    action
}

/// Every colour of letters on the screen.
pub(crate) fn colours(ui: &mut Ui, board: &Board, width: u16, height: u16) -> Vec<Color> {
    ui.follow(board);
    let mut terminal =
        Terminal::new(TestBackend::new(width, height)).expect("a backend without a terminal");
    terminal.draw(|frame| tui::draw(frame, ui, board)).expect("it draws");
    terminal.backend().buffer().content().iter().map(|cell| cell.fg).collect()
}

/// The screen as text.
pub(crate) fn shown(ui: &mut Ui, board: &Board, width: u16, height: u16) -> String {
    ui.follow(board);
    let mut terminal =
        Terminal::new(TestBackend::new(width, height)).expect("a backend without a terminal");
    terminal.draw(|frame| tui::draw(frame, ui, board)).expect("it draws");
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..height {
        let line = (0..width).map(|x| &buffer[(x, y)]);
        let marked = line.clone().any(|cell| cell.modifier.contains(Modifier::REVERSED));
        let mut skipped = 0;
        let symbols: String = line
            .filter(|cell| {
                let hidden = skipped > 0;
                skipped = if hidden {
                    skipped - 1
                } else {
                    ratatui::text::Span::raw(cell.symbol()).width().saturating_sub(1)
                };
                !hidden
            })
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        text.push_str(if marked { ">" } else { " " });
        text.push_str(symbols.trim_end());
        text.push('\n');
    }
    text
}
