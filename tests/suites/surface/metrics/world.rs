//! Fixed books: a tracker fed with events made here, and what the metrics endpoint makes of them.

use std::net::SocketAddr;
use std::time::Duration;

use handshake_common::abi::COUNTERS;
use handshake_common::event::{Event, kind};
use handshake_common::packet::tunnel::Layers;
use handshake_user::after::{After, Next};
use handshake_user::attempt::{Nanos, Observation};
use handshake_user::census::{Begun, Census};
use handshake_user::metrics::Metrics;
use handshake_user::outcome::Outcome;
use handshake_user::series::Series;
use handshake_user::snapshot::metrics::{
    Health, HookRow, PatternRow, ProcessCost, Reason, Rows, Scrape, TableRow,
};
use handshake_user::snapshot::{AttemptView, EventCounts, Place, ProgramCost, Role, SelfCost};
use handshake_user::tracker::{Config, Tracker};

const MS: Nanos = 1_000_000;

/// Where attempts are seen, by number of their source.
const PLACES: [(&str, Role); 3] =
    [("eth0", Role::Server), ("eth0", Role::Client), ("wg0", Role::Forwarded)];

/// What becomes of an attempt; times in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Story {
    /// SYN, SYN-ACK after the first time, ACK after the second.
    Completed(i64, i64),
    /// The same, but the first SYN was lost and repeated after a second.
    Repeated(i64, i64),
    Refused,
    /// Only a SYN, so far.
    Silent,
    /// SYN and SYN-ACK, so far.
    HalfOpen,
}

/// See the module.
pub(crate) struct World {
    tracker: Tracker,
    metrics: Metrics,
    pub(crate) series: Series,
    pub(crate) now: Nanos,
    names: Vec<String>,
}

fn words(address: SocketAddr) -> [u32; 4] {
    let SocketAddr::V4(v4) = address else { panic!("only IPv4 here: {address}") };
    [0, 0, u32::from_be(0xffff), u32::from_ne_bytes(v4.ip().octets())]
}

impl World {
    pub(crate) fn new(series: usize, services: usize) -> Self {
        let config = Config { timeout: 10_000 * MS, linger: 1000 * MS, max_attempts: 65_536 };
        let mut tracker = Tracker::new(config);
        tracker.keep_census(Census::default());
        Self {
            tracker,
            metrics: Metrics::new(),
            series: Series::new(series, services),
            now: 1_000_000 * MS,
            names: PLACES.map(|(name, _)| name.to_owned()).to_vec(),
        }
    }

    fn see(&mut self, source: u32, event: Event) {
        let layers = Layers::NONE;
        self.tracker.observe(&Observation { event, source, frame: 0, layers });
        self.record();
    }

    /// The place of a source; those beyond the named ones are interfaces of containers.
    fn place_of(names: &mut Vec<String>, source: u32) -> Place<'_> {
        let source = source as usize;
        while names.len() <= source {
            names.push(format!("veth{}", names.len()));
        }
        let role = PLACES.get(source).map_or(Role::Server, |(_, role)| *role);
        Place { interface: &names[source], hook: "tc-ingress", role }
    }

    fn record(&mut self) {
        let census = self.tracker.census_mut().expect("a census is kept");
        for Begun { key, source, .. } in census.take_begun().collect::<Vec<_>>() {
            let place = Self::place_of(&mut self.names, source);
            self.series.begun(place.interface, place.role, &key.server_addr(), self.now);
        }
        let ended: Vec<_> = self.tracker.drain().collect();
        for attempt in ended {
            let place = Some(Self::place_of(&mut self.names, attempt.source));
            self.metrics.record(&attempt);
            self.series.record(&AttemptView { attempt: &attempt, place, to_wall: 0 });
            if attempt.outcome.is_completed() {
                self.series.followed(&attempt, ANSWERED);
            }
        }
    }

    /// An attempt at the place of this number.
    pub(crate) fn attempt(&mut self, source: u32, client: &str, server: &str, story: Story) {
        let [client, server] = [client, server].map(|text| text.parse().expect("an address"));
        self.attempt_of(source, client, server, story);
    }

    pub(crate) fn attempt_of(
        &mut self,
        source: u32,
        client: SocketAddr,
        server: SocketAddr,
        story: Story,
    ) {
        let time_ns = self.now as u64;
        let at = |ms: i64| time_ns + (ms * MS) as u64;
        let base = Event { ip_version: 4, time_ns, ..Event::ZERO };
        let sent = |kind: u8, tcp_flags: u16, seq: u32, ack: u32, time_ns: u64| Event {
            kind,
            source: words(client),
            dest: words(server),
            source_port: client.port(),
            dest_port: server.port(),
            tcp_flags,
            seq,
            ack,
            time_ns,
            ..base
        };
        let answered = |kind, tcp_flags, seq, time_ns| Event {
            source: words(server),
            dest: words(client),
            source_port: server.port(),
            dest_port: client.port(),
            ..sent(kind, tcp_flags, seq, 101, time_ns)
        };
        let syn = |time| sent(kind::SYN, 2, 100, 0, time);
        let synack = |time| answered(kind::SYN_ACK, 0x12, 500, time);
        let ack = |time| sent(kind::ACK, 0x10, 101, 501, time);
        let events = match story {
            Story::Completed(a, b) => vec![syn(at(0)), synack(at(a)), ack(at(a + b))],
            Story::Repeated(a, b) => {
                let again = [synack(at(1000 + a)), ack(at(1000 + a + b))];
                [vec![syn(at(0)), syn(at(1000))], again.to_vec()].concat()
            }
            Story::Refused => vec![syn(at(0)), answered(kind::RST, 0x14, 0, at(1))],
            Story::Silent => vec![syn(at(0))],
            Story::HalfOpen => vec![syn(at(0)), synack(at(2))],
        };
        for event in events {
            self.now = self.now.max(event.time_ns as Nanos);
            self.see(source, event);
        }
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, ms: i64) {
        self.now += ms * MS;
        while self.tracker.expire(self.now) {}
        self.record();
    }

    /// An interface has another name.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        for name in self.names.iter_mut().filter(|name| *name == from) {
            to.clone_into(name);
        }
        self.series.rename(from, to);
    }

    /// What is scraped now.
    pub(crate) fn scrape(&mut self) -> Scrape {
        let mut counters = [[0_u64; COUNTERS]; 3];
        counters[1].iter_mut().zip(10..).for_each(|(counter, value)| *counter = value);
        let events = EventCounts { delivered: 60, late: 1, filtered: 2, ..EventCounts::default() };
        let mut scrape = Scrape {
            version: "1.2.3",
            kernel: "6.1.0-test".to_owned(),
            since: 1_700_000_000_000_000_000,
            summary: self.metrics.summary(&self.tracker, &counters, events),
            half_open: 0,
            patterns: vec![
                PatternRow { pattern: "probe", attempts: 8, active: 1 },
                PatternRow { pattern: "flood", attempts: 0, active: 0 },
            ],
            lost: vec![Reason { reason: "ring-full", count: 26 }],
            rows: Rows::default(),
            hooks: vec![HookRow {
                interface: self.names[0].clone(),
                hook: "tc-ingress",
                mode: "TCX",
                attached: true,
            }],
            other_hooks: 0,
            tables: vec![TableRow {
                table: "attempts",
                entries: Some(self.tracker.open() as u64),
                capacity: 65_536,
                evictions: Some(self.tracker.stats().of(Outcome::Evicted)),
            }],
            kernel_memory_bytes: 2_456_200,
            process: ProcessCost {
                cpu_seconds: 0.25,
                resident_bytes: 21_000_000,
                virtual_bytes: 27_000_000,
                open_fds: 26,
                max_fds: 1024,
                start_seconds: 1_700_000_000.5,
            },
            health: Health { attached: 1, awaited: None, since_step: Duration::ZERO },
        };
        scrape.summary.self_cost = Some(SelfCost {
            programs: vec![ProgramCost {
                name: "hs_tc_in".to_owned(),
                runs: Some(1000),
                time_ns: Some(250_000),
            }],
            kernel_memory_bytes: 2_456_200,
            rings: 2,
            ring_bytes: 1_048_576,
            ring_used_bytes: 256,
            ring_highest_bytes: 4096,
            table_entries: 3,
            table_capacity: 16_384,
            cpu_user_ns: 0,
            cpu_system_ns: 0,
            cpu_per_attempt_ns: None,
            resident_highest_bytes: 0,
        });
        let census = self.tracker.census().expect("a census is kept");
        scrape.rows = self.series.rows(self.now, scrape.fixed(), census);
        scrape.half_open = census.all().half_open;
        scrape
    }
}

/// What came after every completion.
const ANSWERED: After = After {
    next: Next::Data,
    at: 3 * MS,
    synack_retrans: 0,
    first_byte_client: Some(MS),
    first_byte_server: Some(3 * MS),
};

/// A little of everything.
pub(crate) fn everything() -> World {
    let mut world = World::new(400, 3);
    for n in 1..=40_i64 {
        let client = format!("10.0.0.{n}:4000");
        world.attempt(0, &client, "10.9.0.1:443", Story::Completed(n, 2));
        world.pass(10);
    }
    for n in 1..=5 {
        let client = format!("10.0.1.{n}:4000");
        world.attempt(1, &client, "10.9.0.2:8080", Story::Refused);
        world.attempt(2, &client, "10.9.0.3:5432", Story::Repeated(30, 1));
        world.pass(1500);
    }
    world.attempt(1, "10.0.2.1:4000", "10.9.0.4:25", Story::Silent);
    world.pass(20_000);
    world.attempt(0, "10.0.2.2:4000", "10.9.0.1:443", Story::Silent);
    world.attempt(0, "10.0.2.3:4000", "10.9.0.1:443", Story::HalfOpen);
    world.pass(100);
    world
}
