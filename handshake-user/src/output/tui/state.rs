//! What the person before the screen has chosen: view, order, filter, row. Changed by `keys`, drawn by
//! the views.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;
use ratatui::layout::Rect;

use super::acknowledged::Acknowledged;
use super::cursor::Cursor;
use super::list::{By, List};
use super::mouse::Spot;
use super::sheet::{By as ServiceBy, Sheet};
use super::table::Widths;
use super::theme::Theme;
use crate::attempt::{Attempt, Nanos};
use crate::board::{Board, Row, Standing, Who};
use crate::outcome::Outcome;
use crate::output::tui::timeline::Segment;
use crate::query::Query;
use crate::snapshot::AttemptView;
use crate::windows::{Window, network};

/// The views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// Numbers, and failed attempts.
    Overview,
    /// By server.
    Services,
    /// By client's network.
    Peers,
    /// Distribution of latencies.
    Latency,
    /// What is watched, and what its hooks saw.
    Interfaces,
}

impl Tab {
    /// Every view in its order.
    pub const ALL: [Self; 5] =
        [Self::Overview, Self::Services, Self::Peers, Self::Latency, Self::Interfaces];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Services => "Services",
            Self::Peers => "Peers",
            Self::Latency => "Latency",
            Self::Interfaces => "Interfaces",
        }
    }

    pub(super) fn short_name(self) -> &'static str {
        match self {
            Self::Overview => "All",
            Self::Services => "Srv",
            Self::Peers => "Peer",
            Self::Latency => "Lat",
            Self::Interfaces => "If",
        }
    }
}

/// The filter as it is being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) text: String,
    /// What is wrong with it.
    pub(super) error: Option<String>,
}

/// One attempt, looked at closely.
pub(super) struct Detail {
    pub(super) row: Arc<Row>,
    pub(super) segments: Vec<Segment>,
    /// The chosen segment, by its place.
    pub(super) cursor: Cursor<usize>,
    /// When it was looked at.
    pub(super) at: Nanos,
    /// So many attempts of the same connect came after it.
    pub(super) again: usize,
}

/// See the module.
pub struct Ui {
    pub(super) theme: Theme,
    pub(super) zone: TimeZone,
    pub(super) tab: Tab,
    /// Over which time numbers are taken.
    pub(super) window: Window,
    pub(super) help: Option<usize>,
    pub(super) detail: Option<Detail>,
    pub(super) prompt: Option<Prompt>,
    pub(super) filter: Option<Query>,
    /// Only the failures of this service or peer.
    pub(super) scope: Option<Who>,
    /// The board as it was, and when.
    pub(super) frozen: Option<(Nanos, Box<Board>)>,
    pub(super) list: List,
    /// The columns of the list.
    pub(super) columns: Vec<By>,
    /// Alarms that the person knows.
    pub(super) acknowledged: Acknowledged,
    pub(super) cursor: Cursor<u64>,
    pub(super) widths: Widths,
    pub(super) services: Sheet,
    pub(super) peers: Sheet,
    pub(super) scroll: usize,
    /// Lines that can be scrolled, and lines of the screen, when last drawn.
    pub(super) scrollable: (usize, usize),
    /// What can be clicked, as last drawn.
    pub(super) spots: Vec<(Rect, Spot)>,
    /// Said until the next key, or for a while since then.
    pub(super) note: Option<(Nanos, String)>,
}

impl Ui {
    /// The first screen. Times are shown in `zone`.
    #[must_use]
    pub fn new(theme: Theme, zone: TimeZone) -> Self {
        Self {
            theme,
            zone,
            tab: Tab::Overview,
            window: Window::default(),
            help: None,
            detail: None,
            prompt: None,
            filter: None,
            scope: None,
            frozen: None,
            list: List::default(),
            columns: By::ALL.to_vec(),
            acknowledged: Acknowledged::default(),
            cursor: Cursor::default(),
            widths: Widths::new(),
            services: Sheet::services(),
            peers: Sheet::peers(),
            scroll: 0,
            scrollable: (0, 0),
            spots: Vec::new(),
            note: None,
        }
    }

    /// Columns of the attempts, each once, and the one by which they are sorted at first.
    pub fn arrange(&mut self, columns: &[By], sort: By) {
        self.columns.clear();
        for column in columns {
            if !self.columns.contains(column) {
                self.columns.push(*column);
            }
        }
        self.list.sort(sort, true);
    }

    /// The same of services and client networks.
    pub fn arrange_services(&mut self, columns: &[ServiceBy], sort: ServiceBy) {
        self.services.arrange(columns, sort);
        self.peers.arrange(columns, sort);
    }

    /// The terminal's background is light: colours that are readable there.
    pub fn on_light_background(&mut self) {
        self.theme.light = true;
    }

    /// Says something until the next key, or for a while from `now` on.
    pub fn note(&mut self, note: String, now: Nanos) {
        self.note = Some((now, note));
    }

    /// The attempt that is looked at, if it is open and shall be followed.
    #[must_use]
    pub fn open_detail(&self) -> Option<u64> {
        let detail = self.detail.as_ref().filter(|_| self.frozen.is_none())?;
        detail.row.is_open.then_some(detail.row.attempt.id)
    }

    /// What is known `now` of the attempt that is looked at.
    pub fn look_at(&mut self, row: Arc<Row>, segments: Vec<Segment>, now: Nanos) {
        if let Some(detail) = &mut self.detail {
            (detail.row, detail.segments, detail.at) = (row, segments, now);
        }
    }

    /// What the views show: the board, or what it was when it was frozen.
    pub(super) fn shown<'a>(&'a self, board: &'a Board) -> &'a Board {
        self.frozen.as_ref().map_or(board, |(_, frozen)| frozen)
    }

    /// The segments of the attempt that is looked at.
    pub fn show_segments(&mut self, segments: Vec<Segment>) {
        if let Some(detail) = &mut self.detail {
            detail.segments = segments;
        }
    }

    /// Brings the list up to date. Frozen, nothing changes but the filter.
    pub fn follow(&mut self, board: &Board) {
        let (filter, scope) = (&self.filter, &self.scope);
        let shown = self.frozen.as_ref().map_or(board, |(_, frozen)| frozen);
        self.list.follow(shown, |row| {
            scope.is_none_or(|who| concerns(row, who))
                && filter.as_ref().is_none_or(|filter| filter.matches_view(&row.view()))
        });
        // Nobody knows which of those that are not listed would pass.
        let is_choosy = filter.is_some() || scope.is_some();
        let unlisted = shown.all_waiting.saturating_sub(shown.waiting.len() as u64);
        self.list.unlisted = if is_choosy { 0 } else { unlisted };
    }

    /// Is every ended attempt listed, not only failed ones?
    #[must_use]
    pub fn lists_all(&self) -> bool {
        self.list.is_of_all()
    }

    /// Are only some attempts wanted?
    pub(super) fn is_choosy(&self) -> bool {
        self.filter.is_some() || self.scope.is_some()
    }

    /// Another filter or scope, or other rows: the list is made anew.
    pub(super) fn refilter(&mut self, board: &Board) {
        self.list.forget();
        self.follow(board);
    }

    /// Does a service or peer pass the filter? One does if an attempt of its own with one of its
    /// outcomes would, of which nothing else is known.
    pub(super) fn admits(&self, standing: &Standing) -> bool {
        let Some(filter) = &self.filter else { return true };
        let Some(key) = key_of(standing.who) else { return false };
        let mut had = Outcome::ALL.into_iter().filter(|outcome| {
            let open = *outcome == Outcome::HalfOpen && standing.half_open > 0;
            let numbers = standing.of(Window::Start);
            open || numbers.outcomes[*outcome as usize] > 0
        });
        had.any(|outcome| {
            let attempt = Attempt::blank(key, outcome);
            filter.matches_view(&AttemptView { attempt: &attempt, place: None, to_wall: 0 })
        })
    }

    /// The attempts that are listed, also those for which there is no room.
    #[must_use]
    pub fn listed(&self) -> Vec<Arc<Row>> {
        self.list.rows()
    }

    /// The attempts of a service or peer that pass the filter: open ones first.
    pub(super) fn attempts_of(&self, who: Who, board: &Board) -> Vec<Arc<Row>> {
        let board = self.shown(board);
        let filter = self.filter.as_ref();
        let ended = if self.list.is_of_all() { &board.ended } else { &board.rows };
        let all = board.waiting.iter().chain(ended.since(0).rev());
        let passes = |row: &&Arc<Row>| {
            concerns(row, who) && filter.is_none_or(|filter| filter.matches_view(&row.view()))
        };
        all.filter(passes).cloned().collect()
    }
}

fn concerns(row: &Row, who: Who) -> bool {
    let key = &row.attempt.key;
    match who {
        Who::Service(service) => key.server_addr() == service,
        Who::Peer(net) => network(key.client_addr().ip()) == net,
        Who::Other => false,
    }
}

/// A key in which only this service or peer is known.
fn key_of(who: Who) -> Option<crate::attempt::Key> {
    use crate::attempt::{Endpoint, Key};
    let endpoint = |address: SocketAddr| {
        let ip = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            std::net::IpAddr::V6(ip) => ip,
        };
        let bytes = ip.octets();
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Endpoint { address: [word(0), word(4), word(8), word(12)], port: address.port() }
    };
    let (client, server) = match who {
        Who::Service(server) => (SocketAddr::new(unspecified(server.is_ipv4()), 0), server),
        Who::Peer(net) => {
            let server = SocketAddr::new(unspecified(net.addr().is_ipv4()), 0);
            (SocketAddr::new(net.network(), 0), server)
        }
        Who::Other => return None,
    };
    let ip_version = if server.is_ipv4() { 4 } else { 6 };
    Some(Key { client: endpoint(client), server: endpoint(server), ip_version })
}

fn unspecified(v4: bool) -> std::net::IpAddr {
    if v4 { std::net::Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() }
}
