//! How services and peer networks stand: their numbers by window, since when they fail, floods.

use std::hash::Hash;
use std::net::SocketAddr;

use ahash::AHashMap;
use ipnet::IpNet;

use crate::after::After;
use crate::attempt::{Attempt, Key, Nanos};
use crate::board::incident::{Failing, Incidents, Waiting};
use crate::board::slowness::Slowness;
use crate::outcome::Outcome;
use crate::pattern::{Flood, FloodSigns as Signs, FloodWatch, Seen};
use crate::slow::Slow;
use crate::snapshot::AttemptView;
use crate::windows::{ByWindow, MOST, Numbers, Series, Window, Windows, network};

/// Whose standing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// A server's address and port.
    Service(SocketAddr),
    /// A client's network.
    Peer(IpNet),
    /// All that have no numbers of their own.
    Other,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Whose.
    pub who: Who,
    /// What became of its attempts, by window.
    pub numbers: Box<ByWindow>,
    /// Has any attempt ever completed?
    pub has_completed: bool,
    /// Open now.
    pub open: u64,
    /// Of these answered.
    pub half_open: u64,
    /// The present incident.
    pub failing: Option<Failing>,
    /// Since when it has completed attempts and not served them; a minute without one ends that.
    pub unserved_since: Option<Nanos>,
    /// The last flood.
    pub flood: Option<Flood>,
    /// Since when it has been slow, and how.
    pub slow: Option<(Nanos, Slow)>,
}

impl Standing {
    /// What became of its attempts within a window.
    #[must_use]
    pub fn of(&self, window: Window) -> &Numbers {
        &self.numbers[window as usize]
    }

    /// Open attempts that wait for an answer, if these alone mean that it fails.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.failing.map_or(0, |failing| failing.waiting)
    }

    /// Failures within a window, and attempts that wait if that means failing.
    #[must_use]
    pub fn failed(&self, window: Window) -> u64 {
        self.of(window).service_failed + self.waiting()
    }

    /// Part that completed within a window; attempts that wait have not, if that means failing.
    #[must_use]
    pub fn completion(&self, window: Window) -> Option<f64> {
        self.of(window).completion_beside(self.waiting())
    }
}

/// Attempts open now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) all: u64,
    pub(super) half: u64,
    pub(super) waiting: Waiting,
}

impl Open {
    fn add(&mut self, one: &One) {
        self.all += 1;
        self.half += u64::from(one.is_half);
        if one.is_late && !one.is_half {
            self.waiting.add(one.began);
        }
    }
}

/// One open attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct One {
    /// When it began, since 1970.
    pub(super) began: Nanos,
    /// It was answered.
    pub(super) is_half: bool,
    /// It should have been answered by now.
    pub(super) is_late: bool,
}

/// The same by service and by peer network.
#[derive(Debug, Default)]
pub(super) struct Opens {
    services: AHashMap<SocketAddr, Open>,
    peers: AHashMap<IpNet, Open>,
}

impl Opens {
    /// Counts one. Whoever floods chooses its networks: only so many are told apart.
    pub(super) fn add(&mut self, key: &Key, one: &One) {
        self.services.entry(key.server_addr()).or_default().add(one);
        let peer = network(key.client_addr().ip());
        if let Some(open) = self.peers.get_mut(&peer) {
            open.add(one);
        } else if self.peers.len() < MOST {
            self.peers.entry(peer).or_default().add(one);
        }
    }
}

/// What is followed of services and peers besides their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Trails {
    incidents: Incidents,
    floods: AHashMap<SocketAddr, FloodWatch>,
    unserved: AHashMap<SocketAddr, Unserved>,
    slowness: Slowness,
}

/// Attempts of one service that completed and were not served, without a minute between two of them.
#[derive(Debug, Clone, Copy)]
struct Unserved {
    /// When the first of them began, in the attempts' time.
    since: Nanos,
    /// When the last was told apart.
    last: Nanos,
}

/// After so long without another one it is over.
const UNSERVED_OVER: Nanos = 60_000_000_000;

/// This moment, in both times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Since 1970.
    pub(super) now: Nanos,
    /// Added to the attempts' times to get those since 1970.
    pub(super) to_wall: Nanos,
}

impl Moment {
    /// In the attempts' time.
    pub(super) fn boot(self) -> Nanos {
        self.now.saturating_sub(self.to_wall)
    }
}

impl Trails {
    /// Takes an ended attempt that the windows have already.
    pub(super) fn record(&mut self, view: &AttemptView<'_>, windows: &Windows) {
        let attempt = view.attempt;
        let service = attempt.key.server_addr();
        let peer = network(attempt.key.client_addr().ip());
        if attempt.outcome.is_completed() {
            self.incidents.complete(Who::Service(service));
            self.incidents.complete(Who::Peer(peer));
        } else if attempt.is_service_failure() {
            let end = attempt.t_end.unwrap_or(attempt.t_first);
            let since = |series: Option<&Series>, at| {
                series.map_or(0, |series| series.completed_since(at, end))
            };
            self.incidents.fail(Who::Service(service), attempt, view.to_wall, |at| {
                since(windows.service(&service), at)
            });
            self.incidents
                .fail(Who::Peer(peer), attempt, view.to_wall, |at| since(windows.peer(&peer), at));
        }
    }

    /// Takes what came after a completion.
    pub(super) fn follow(&mut self, attempt: &Attempt, after: After) {
        let service = attempt.key.server_addr();
        let has_room = self.unserved.len() < MOST || self.unserved.contains_key(&service);
        if !after.next.is_unserved() || !has_room {
            return;
        }
        let at = attempt.t_end.unwrap_or(attempt.t_first).saturating_add(after.at);
        let begins = Unserved { since: attempt.t_first, last: at };
        let one = self.unserved.entry(service).or_insert(begins);
        if at.saturating_sub(one.last) > UNSERVED_OVER {
            *one = begins;
        }
        one.last = one.last.max(at);
    }

    /// Once a second: how every service and peer stands, and what is to be said of floods.
    pub(super) fn look(
        &mut self,
        moment: Moment,
        windows: &Windows,
        open: &Opens,
        seen: &Seen,
    ) -> (Vec<Standing>, Vec<Standing>, Vec<String>) {
        self.incidents.look(moment.now);
        let boot = moment.boot();
        self.unserved.retain(|_, one| boot.saturating_sub(one.last) <= UNSERVED_OVER);
        let [others, other_peers] = windows.others(boot);
        let services = windows.services(boot);
        let mut services = self.standings(services, &open.services, moment, Who::Service, others);
        let peers = windows.peers(boot);
        let peers = self.standings(peers, &open.peers, moment, Who::Peer, other_peers);
        let said = self.judge(moment.now, &services);
        for standing in &mut services {
            let Who::Service(service) = standing.who else { continue };
            let known = seen.floods.iter().find(|one| one.service == service);
            let told = known.map(|one| on_wall(one.flood, moment.to_wall));
            let judged = || self.floods.get(&service).and_then(FloodWatch::flood);
            standing.flood = told.or_else(judged);
            let unserved = self.unserved.get(&service);
            standing.unserved_since = unserved.map(|one| one.since.saturating_add(moment.to_wall));
            standing.slow = self.slowness.look(standing, windows, moment);
        }
        self.slowness.keep(windows);
        (services, peers, said)
    }

    /// Every service or peer with numbers or an open attempt.
    fn standings<'a, K: Copy + Eq + Hash>(
        &self,
        known: impl Iterator<Item = (K, &'a Series, ByWindow)>,
        open: &AHashMap<K, Open>,
        moment: Moment,
        who: fn(K) -> Who,
        others: ByWindow,
    ) -> Vec<Standing> {
        let mut left = open.clone();
        let mut all: Vec<Standing> = known
            .map(|(key, series, numbers)| {
                let open = left.remove(&key).unwrap_or_default();
                self.standing(who(key), Some(series), numbers, open, moment)
            })
            .collect();
        let unknown = left.into_iter().take(MOST);
        all.extend(
            unknown.map(|(key, open)| {
                self.standing(who(key), None, ByWindow::default(), open, moment)
            }),
        );
        if others[Window::Start as usize].ended() > 0 {
            all.push(self.standing(Who::Other, None, others, Open::default(), moment));
        }
        all
    }

    fn standing(
        &self,
        who: Who,
        series: Option<&Series>,
        numbers: ByWindow,
        open: Open,
        moment: Moment,
    ) -> Standing {
        let has_completed = series.is_some_and(Series::has_completed);
        let recent = numbers[Window::TenSeconds as usize].completed();
        let is_failing = open.waiting.is_failing(recent, moment.now);
        let completed = |at: Nanos| {
            let at = at.saturating_sub(moment.to_wall);
            series.map_or(0, |series| series.completed_since(at, moment.boot()))
        };
        let failing = self.incidents.of(who, open.waiting, moment.now, is_failing, completed);
        Standing {
            who,
            numbers: Box::new(numbers),
            has_completed,
            open: open.all,
            half_open: open.half,
            failing: failing.filter(|failing| failing.is_told(has_completed)),
            unserved_since: None,
            flood: None,
            slow: None,
        }
    }

    fn judge(&mut self, now: Nanos, services: &[Standing]) -> Vec<String> {
        let mut said = Vec::new();
        for standing in services {
            let Who::Service(service) = standing.who else { continue };
            let numbers = standing.of(Window::TenSeconds);
            let signs = Signs {
                half_open: standing.half_open,
                given_up: numbers.outcomes[Outcome::HalfOpen as usize],
                completed: numbers.completed(),
                is_arriving: true,
            };
            let watch = self.floods.entry(service).or_default();
            match watch.judge(now, signs) {
                Some(Flood { end: None, .. }) => said.push(format!("{service} is being flooded")),
                Some(Flood { start, end: Some(end) }) => {
                    let seconds = end.saturating_sub(start) / 1_000_000_000;
                    said.push(format!("the flood of {service} is over, it lasted {seconds} s"));
                }
                None => {}
            }
        }
        let is_known: ahash::AHashSet<Who> = services.iter().map(|one| one.who).collect();
        self.floods.retain(|service, watch| {
            !watch.is_idle() && is_known.contains(&Who::Service(*service))
        });
        said
    }
}

/// The same with times since 1970.
fn on_wall(flood: Flood, to_wall: Nanos) -> Flood {
    let end = flood.end.map(|end| end.saturating_add(to_wall));
    Flood { start: flood.start.saturating_add(to_wall), end }
}
