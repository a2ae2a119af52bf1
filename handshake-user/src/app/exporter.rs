//! The metrics endpoint of `watch`: counts for it, and answers when a scraper asks.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::hooks::Hooks;
use crate::after::After;
use crate::attempt::{Attempt, Nanos};
use crate::census::{Begun, Census};
use crate::clock::Clock;
use crate::engine::Engine;
use crate::exit::{Failure, RUNTIME};
use crate::http::{self, Limits};
use crate::loader::Loader;
use crate::outcome::Outcome;
use crate::pattern::Pattern;
use crate::places::Places;
use crate::process;
use crate::scrape::{self, Asked, Desk};
use crate::series::Series;
use crate::snapshot::metrics::{Health, PatternRow, Reason, Rows, Scrape, TableRow};
use crate::snapshot::{AttemptView, Summary};
use handshake_common::abi::Counter;
use tokio::time::Instant;

/// What is asked of the endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Where to listen.
    pub(super) address: SocketAddr,
    /// Series at most.
    pub(super) series: usize,
    /// Services with series of their own at most.
    pub(super) services: usize,
}

/// See the module.
pub(super) struct Exporter {
    address: SocketAddr,
    server: JoinHandle<()>,
    desk: Desk,
    series: Series,
    hooks: Hooks,
    kernel: String,
    since: Nanos,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Exporter {
    /// Listens, and from now on serves whoever asks.
    ///
    /// # Errors
    /// If nobody can listen there, with the next step.
    pub(super) fn start(wanted: &Wanted, kernel: String) -> Result<Self, Failure> {
        let listener = listen(wanted.address).map_err(|error| refusal(wanted.address, &error))?;
        let address = listener.local_addr().map_err(|error| refusal(wanted.address, &error))?;
        let (desk, pages) = scrape::desk();
        Ok(Self {
            address,
            server: tokio::spawn(http::serve(listener, Limits::default(), pages)),
            desk,
            series: Series::new(wanted.series, wanted.services),
            hooks: Hooks::default(),
            kernel,
            since: Places::new().now(),
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes what has begun since the last call.
    pub(super) fn begun(&mut self, engine: &mut Engine, places: &Places) {
        let now = Nanos::try_from(Clock::now()).unwrap_or(Nanos::MAX);
        for Begun { key, began, source } in engine.begun() {
            let place = places.place(&key, began, source, engine.sources());
            self.series.begun(place.interface, place.role, &key.server_addr(), now);
        }
    }

    /// Takes an ended attempt.
    pub(super) fn record(&mut self, view: &AttemptView<'_>) {
        self.series.record(view);
    }

    /// Takes what came after the completion of an attempt.
    pub(super) fn followed(&mut self, attempt: &Attempt, after: After) {
        self.series.followed(attempt, after);
    }

    /// An interface has another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.series.rename(from, to);
        self.hooks.rename(from, to);
    }

    /// An interface is gone, and nobody is to be told.
    pub(super) fn gone(&mut self, name: &str) {
        self.hooks.forget(name);
    }

    /// Waits until a scraper asks; for ever if there is no endpoint.
    pub(super) async fn asked(exporter: &mut Option<Self>) -> Asked {
        match exporter {
            Some(exporter) => exporter.desk.asked().await,
            None => std::future::pending().await,
        }
    }

    /// Answers. `stepped` is when the rings were last read; `awaited` what is waited for if nothing
    /// is watched.
    pub(super) fn answer(
        &mut self,
        asked: Asked,
        (engine, loader, places): (&Engine, &Loader, &Places),
        stepped: Instant,
        awaited: &dyn Fn() -> String,
    ) {
        let Self { desk, series, hooks, kernel, since, .. } = self;
        desk.answer(asked, || {
            hooks.update(loader, places);
            let mut scrape = scrape(engine, loader, places, hooks);
            scrape.kernel.clone_from(kernel);
            scrape.since = *since;
            scrape.health.since_step = stepped.elapsed();
            scrape.health.awaited = (scrape.health.attached == 0).then(awaited);
            let now = Nanos::try_from(Clock::now()).unwrap_or(Nanos::MAX);
            let none = Census::default();
            let census = engine.tracker().census().unwrap_or(&none);
            scrape.rows = series.rows(now, scrape.fixed(), census);
            scrape.half_open = census.all().half_open;
            scrape
        });
    }
}

/// Everything but the rows.
fn scrape(engine: &Engine, loader: &Loader, places: &Places, hooks: &Hooks) -> Scrape {
    let counters = engine.counters();
    let summary = engine.summary(loader);
    let lost = [Counter::EventsLost, Counter::EventsNoRing];
    Scrape {
        version: env!("CARGO_PKG_VERSION"),
        kernel: String::new(),
        since: 0,
        half_open: 0,
        patterns: patterns(engine),
        lost: lost
            .map(|counter| Reason { reason: counter.name(), count: counters.total(counter) })
            .to_vec(),
        rows: Rows::default(),
        hooks: hooks.rows().to_vec(),
        other_hooks: hooks.others(),
        tables: tables(engine, loader, &summary),
        kernel_memory_bytes: loader.kernel_memory_bytes(),
        summary,
        process: process::cost(places.to_wall()),
        health: Health {
            attached: loader.attachments().count(),
            awaited: None,
            since_step: std::time::Duration::ZERO,
        },
    }
}

fn patterns(engine: &Engine) -> Vec<PatternRow> {
    let (totals, seen) = (engine.patterns().totals(), engine.patterns().seen());
    let rows = Pattern::ALL.into_iter().map(|pattern| PatternRow {
        pattern: pattern.name(),
        attempts: totals[pattern as usize].iter().sum(),
        active: match pattern {
            Pattern::Probe => seen.probes.len(),
            Pattern::Scan => seen.scans.len(),
            Pattern::Flood => seen.floods.iter().filter(|one| one.flood.end.is_none()).count(),
        } as u64,
    });
    rows.collect()
}

fn tables(engine: &Engine, loader: &Loader, summary: &Summary) -> Vec<TableRow> {
    let tracker = engine.tracker();
    let most = tracker.max_attempts() as u64;
    let evicted = [Counter::EvictedOneSided, Counter::EvictedTwoSided];
    let evicted = evicted.map(|counter| engine.counters().total(counter)).iter().sum();
    vec![
        TableRow {
            table: "attempts",
            entries: Some(tracker.open() as u64),
            capacity: most,
            evictions: Some(tracker.stats().of(Outcome::Evicted)),
        },
        TableRow {
            table: "remembered",
            entries: Some(tracker.remembered() as u64),
            capacity: most,
            evictions: None,
        },
        TableRow {
            table: "filter",
            entries: summary.self_cost.as_ref().map(|cost| cost.table_entries),
            capacity: loader.pending().capacity(),
            evictions: Some(evicted),
        },
    ]
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn refusal(address: SocketAddr, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let next = match error.kind() {
        ErrorKind::AddrInUse => {
            let port = address.port();
            format!(
                "`ss -ltnp 'sport = :{port}'` shows who has it; choose another port with \
                 --metrics-listen"
            )
        }
        ErrorKind::AddrNotAvailable => {
            "no interface has this address; `ip address` shows those there are".to_owned()
        }
        ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE; choose a \
                                        higher one"
            .to_owned(),
        _ => "choose another address with --metrics-listen".to_owned(),
    };
    Failure::new(RUNTIME, format!("cannot serve metrics at {address}: {error}; {next}"))
}
