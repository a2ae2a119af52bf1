//! Wires everything for `handshake watch`: interfaces → loader → engine → outputs.

mod asked;
mod changes;
mod ending;
mod exporter;
mod hooks;
mod losses;
mod once;
mod pace;
mod recording;
mod reload;
mod report;
mod screen;
mod service;
mod signals;
mod targets;
mod view;

pub use once::{cleanup, doctor, verify};

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use handshake_common::abi::Hook;
use tokio::time::{Instant, sleep_until};

use crate::attempt::{Nanos, nanos};
use crate::cli::{HookArg, WatchArgs};
use crate::clock::Clock;
use crate::config::Sources;
use crate::engine::Engine;
use crate::evidence::{Evidence, Limits};
use crate::exit::Failure;
use crate::interfaces::{self, Interface, Watch};
use crate::loader::{Files, Loader};
use crate::places::Places;
use crate::query::Query;
use crate::recorder::Recorder;
use crate::selection::Selection;
use crate::snapshot::Summary;
use crate::stderr::say;
use crate::stdout::Reader;
use exporter::{Exporter, Wanted};
use pace::Pace;
use reload::Terminal;
use screen::{Wake, World};
use service::Service;
use signals::{Asked, Signals};
use targets::Targets;
use view::{Format, Look, News, View};

/// How often attachments are checked and the clock is read again.
const CHECK: Duration = Duration::from_secs(2);
/// How often losses are told.
const TELL: Duration = Duration::from_secs(1);

/// Segments of open attempts that are kept for the screen, in bytes.
const EVIDENCE_BYTES: usize = 16 << 20;
/// What is said of an interface that is gone.
const GONE: &str = "the interface is gone";

/// How long `--once` watches unless told otherwise.
const ONCE: Duration = Duration::from_secs(10);

const STDOUT: &str = "cannot write to standard output";

/// `handshake watch`.
///
/// # Errors
/// With a [`Failure`] that carries the exit code.
pub fn watch(args: &WatchArgs, sources: Sources) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        let mut watching = Watching::start(args, sources)?;
        let result = watching.run().await;
        watching.finish().await.and(result)
    });
    // Everything else fails with a `Failure`.
    result.map_err(on_stdout)?;
    Ok(ExitCode::SUCCESS)
}

fn on_stdout(error: anyhow::Error) -> anyhow::Error {
    if error.is::<io::Error>() { error.context(STDOUT) } else { error }
}

/// A run of `watch`.
struct Watching<'a> {
    args: &'a WatchArgs,
    sources: Sources,
    terminal: Terminal,
    loader: Loader,
    engine: Engine,
    places: Places,
    /// Kept for the screen only.
    pace: Pace,
    recorder: Option<Recorder>,
    exporter: Option<Exporter>,
    /// Scrapers that wait for the next step.
    asked: Vec<crate::scrape::Asked>,
    view: View,
    targets: Targets,
    changes: Watch,
    /// How often somebody has detached us, by index: after the first time we attach again.
    fought: HashMap<u32, u32>,
    /// Interfaces that are watched and let no packet through, and why.
    links_down: HashMap<u32, &'static str>,
    /// When attachments were last checked, since 1970.
    checked: Nanos,
    /// When losses were last told, since 1970.
    told: Nanos,
    signals: Signals,
    service: Service,
    started: Instant,
    /// Which of the ended attempts are printed.
    shown: Query,
    printed: u64,
    hidden: u64,
    /// By a signal: then no reader is waited for without end.
    is_asked_to_stop: bool,
    /// When the rings were last read.
    stepped: Instant,
}

impl<'a> Watching<'a> {
    /// Loads, attaches, and says what it does.
    fn start(args: &'a WatchArgs, sources: Sources) -> Result<Self> {
        let format = if args.once { Format::Once } else { Format::choose(args.format)? };
        // First, so that a signal that comes while attaching is not lost.
        let signals = Signals::hear()?;
        // Before the choice, so that nothing falls between.
        let follows_route = args.interfaces.is_empty();
        let changes = if follows_route { Watch::with_routes() } else { interfaces::watch() };
        let changes = changes.map_err(Failure::from)?;
        let (targets, chosen) = Targets::choose(&args.interfaces)?;
        let mut recorder = recording::create(args)?;
        let wanted = args.metrics_listen.map(|address| Wanted {
            address,
            series: args.metrics_series,
            services: args.metrics_services,
        });
        let exporter = wanted.map(|wanted| Exporter::start(&wanted, view::kernel_release()));
        let exporter = exporter.transpose()?;
        let mut loader = Loader::load(&asked::options(args)).map_err(Failure::from)?;
        let rings = loader.take_rings().context("the rings are taken")?;
        if args.self_cost
            && let Err(error) = loader.measure_runs()
        {
            let wanted = "needs CAP_SYS_ADMIN; other costs are shown all the same";
            say(format_args!(
                "handshake: cannot measure the programs' run time ({error}): {wanted}"
            ));
        }
        loader.load_ahead();
        attach_all(&mut loader, &chosen)?;
        let (selection, shown) = Selection::new(&args.ports, &args.nets, &args.filters);
        asked::say_filter(selection.query(), &shown);
        let filter = asked::filter_record(selection.query(), &shown);
        let pace = Pace::new(rings.bells()?).context("cannot wait for the rings")?;
        let mut engine = Engine::new(rings, loader.pending(), asked::config(args), selection);
        engine.watch_after(nanos(args.after));
        let mut view = View::new(format, Look::of(args))?;
        let mut places = Places::new();
        for attachment in loader.attachments() {
            places.name(attachment.index, &attachment.name);
        }
        if let Some(recorder) = &mut recorder {
            engine.keep_evidence(Evidence::new(Limits::default()));
            recorder.begin(loader.attachments().map(recording::link), &places);
        }
        if let Some(exporter) = &exporter {
            engine.tell_begun();
            say(format_args!("metrics at http://{}/metrics", exporter.address()));
        }
        let now = places.now();
        view.start(&loader, filter, now)?;
        tell_degraded(&mut view, &loader, &chosen, args.hook, now);
        if view.has_screen() && recorder.is_none() {
            engine.keep_evidence(Evidence::new(Limits {
                bytes: EVIDENCE_BYTES,
                ..Limits::default()
            }));
        }
        let mut watching = Self {
            args,
            sources,
            terminal: Terminal::now(),
            loader,
            engine,
            places,
            pace,
            recorder,
            exporter,
            asked: Vec::new(),
            view,
            targets,
            changes,
            fought: HashMap::new(),
            links_down: HashMap::new(),
            checked: now,
            told: now,
            signals,
            service: Service::new(),
            started: Instant::now(),
            shown,
            printed: 0,
            hidden: 0,
            is_asked_to_stop: false,
            stepped: Instant::now(),
        };
        chosen.iter().for_each(|interface| watching.follow_link(interface));
        watching.tell_waiting();
        Ok(watching)
    }

    /// Runs until a signal, `--duration`, `--count`, or nobody reads.
    async fn run(&mut self) -> Result<()> {
        self.give_up_privileges();
        self.service.ready(self.status());
        let far = Duration::from_secs(u64::from(u32::MAX));
        let once = self.args.once.then_some(ONCE);
        let asked = self.args.duration.or(once).unwrap_or(far);
        let end = self.started.checked_add(asked).unwrap_or(self.started + far);
        if self.args.once {
            say(format_args!("watching for {asked:?}; then one table follows"));
        }
        let mut next_step = self.started;
        let mut next_check = self.started + CHECK;
        let mut next_tell = self.started + TELL;
        loop {
            // Nothing more is made for a reader that does not read; signals are still heard.
            let is_congested = self.view.queue().is_congested();
            // Not biased: neither many events nor many changes may keep the others waiting.
            tokio::select! {
                asked = self.signals.next() => {
                    if asked == Asked::Stop || self.terminal.has_gone() {
                        self.is_asked_to_stop = true;
                        return Ok(());
                    }
                    self.service.reloading();
                    self.reload()?;
                    self.service.ready(self.status());
                }
                () = sleep_until(end) => return Ok(()),
                change = self.changes.next() => {
                    self.on_change(change.map_err(Failure::from)?)?;
                }
                () = sleep_until(next_check) => {
                    self.check()?;
                    if self.view.reader() == Reader::Gone {
                        return Ok(());
                    }
                    next_check = Instant::now() + CHECK;
                }
                () = sleep_until(next_tell) => {
                    self.tell(is_congested)?;
                    next_tell = Instant::now() + TELL;
                }
                news = self.view.news() => {
                    let reader = match news {
                        News::Read => self.view.flush()?,
                        News::Screen(wake) => self.on_wake(wake)?,
                    };
                    if reader == Reader::Gone {
                        return Ok(());
                    }
                }
                rung = self.pace.rung() => {
                    rung.context("cannot wait for the rings")?;
                    next_step = Instant::now();
                }
                asked = Exporter::asked(&mut self.exporter) => {
                    self.asked.push(asked);
                    if is_congested || self.stepped.elapsed() <= pace::IDLE {
                        self.answer();
                    } else {
                        // What is scraped is of now, however long there was nothing to do.
                        next_step = Instant::now();
                    }
                }
                () = sleep_until(next_step), if !is_congested => {
                    let step = self.engine.step(&self.loader).map_err(Failure::from)?;
                    let (loader, engine, targets) = (&self.loader, &self.engine, &self.targets);
                    self.service.progressed(|| status(loader, engine, targets));
                    self.stepped = Instant::now();
                    if self.show()? == Reader::Gone || self.is_enough() {
                        return Ok(());
                    }
                    let asleep = self.loader.asleep_word();
                    let pause = self.pace.after(step, asleep, Clock::now());
                    let pause = pause.min(self.service.patience());
                    next_step = Instant::now() + pause;
                    self.answer();
                    if pause.is_zero() {
                        // Scrapers are other tasks of this thread.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// The terminal wants something.
    fn on_wake(&mut self, wake: Wake) -> Result<Reader> {
        let Self { engine, loader, places, view, hidden, started, .. } = self;
        let summary = || {
            let summary = Summary { hidden: *hidden, ..engine.summary(loader) };
            let record = view::summary_record(&summary, started.elapsed(), places.now());
            crate::stdout::json_line(&record)
        };
        view.on_wake(wake, &World { engine, places, summary: &summary })
    }

    /// Whatever needs more (files of others, ports below 1024) must have happened before the run
    /// begins. Threads that were started before have none of their own.
    fn give_up_privileges(&mut self) {
        // The recorder makes files later, and the person before a screen may: also in a directory of
        // somebody else.
        let writes = self.recorder.is_some() || self.view.has_screen();
        // SIGHUP reads the configuration again.
        let kept = if self.sources.file.is_some() { Files::Read } else { Files::None };
        let files = if writes { Files::Write } else { kept };
        if let Err(error) = self.loader.shed_privileges(files) {
            say(format_args!("handshake: {error}"));
        }
    }

    /// Says what was lost, left out or not recorded, unless stdout takes nothing now.
    fn tell(&mut self, is_congested: bool) -> Result<()> {
        if is_congested {
            self.view.say_stall();
            self.recorder.iter_mut().for_each(Recorder::flush);
            return Ok(());
        }
        let now = self.places.now();
        let from = std::mem::replace(&mut self.told, now);
        self.view.look(&self.engine, &self.places);
        let (change, count) = self.engine.sampling();
        self.view.sampling(change, count, now)?;
        self.view.losses(&self.engine.losses(), from, now)?;
        if let Some(recorder) = &mut self.recorder {
            recording::tell(recorder, &mut self.view, from, now)?;
        }
        Ok(())
    }

    /// Answers the scrapers that wait.
    fn answer(&mut self) {
        if let Some(exporter) = &mut self.exporter {
            for asked in self.asked.drain(..) {
                let parts = (&self.engine, &self.loader, &self.places);
                exporter.answer(asked, parts, self.stepped, &|| self.targets.awaited());
            }
        }
    }

    fn is_enough(&self) -> bool {
        self.args.count.is_some_and(|count| self.printed >= count)
    }

    fn show(&mut self) -> Result<Reader> {
        let mut reader = Reader::Present;
        if let Some(exporter) = &mut self.exporter {
            exporter.begun(&mut self.engine, &self.places);
        }
        let ended = self.engine.ended();
        for attempt in &ended {
            let view = self.places.view(attempt, self.engine.sources());
            self.view.tally(&view);
            if let Some(exporter) = &mut self.exporter {
                exporter.record(&view);
            }
        }
        for attempt in self.engine.settled(ended) {
            let segments = self.engine.take_evidence(attempt.id);
            let view = self.places.view(&attempt, self.engine.sources());
            if let Some(after) = attempt.after {
                self.view.followed(&attempt, after);
                if let Some(exporter) = &mut self.exporter {
                    exporter.followed(&attempt, after);
                }
            }
            if self.is_enough() || !self.shown.matches_view(&view) {
                self.hidden += 1;
                continue;
            }
            self.printed += 1;
            if let Some(recorder) = &mut self.recorder {
                recorder.attempt(&view, segments.as_ref(), &self.places);
            }
            // Also when nobody reads: the others are recorded.
            if reader == Reader::Present {
                reader = self.view.attempt(&view, segments)?;
            }
        }
        if reader == Reader::Present { Ok(self.view.flush()?) } else { Ok(reader) }
    }

    fn status(&self) -> String {
        status(&self.loader, &self.engine, &self.targets)
    }

    fn summary(&self) -> Summary {
        Summary { hidden: self.hidden, ..self.engine.summary(&self.loader) }
    }
}

/// One line for the service manager.
fn status(loader: &Loader, engine: &Engine, targets: &Targets) -> String {
    let names = loader.attachments().map(|attachment| attachment.name.as_str());
    service::status(names, || targets.awaited(), &engine.summary(loader))
}

/// Attaches to every interface chosen; one that refuses is said, all of them are a failure. None may
/// be there yet.
fn attach_all(loader: &mut Loader, chosen: &[Interface]) -> Result<()> {
    let mut failure = None;
    for interface in chosen {
        match loader.attach(interface) {
            Ok(attachment) => say(view::sentence(&attachment)),
            Err(error) => {
                if chosen.len() > 1 {
                    say(format_args!("handshake: {error}"));
                }
                failure.get_or_insert(Failure::from(error));
            }
        }
    }
    match failure {
        Some(failure) if loader.attachments().next().is_none() => Err(failure.into()),
        _ => Ok(()),
    }
}

/// Does standard output show colours?
#[must_use]
pub fn color() -> bool {
    use io::IsTerminal;
    let setting = |name| std::env::var_os(name).unwrap_or_default();
    io::stdout().is_terminal() && setting("NO_COLOR").is_empty() && setting("TERM") != "dumb"
}

/// Says on the screen which interfaces are not watched as was asked.
fn tell_degraded(
    view: &mut View,
    loader: &Loader,
    chosen: &[Interface],
    hook: HookArg,
    now: Nanos,
) {
    for interface in chosen {
        let attached = loader.attachments().find(|one| one.index == interface.index);
        match attached {
            None => view.degraded(&interface.name, "not watched: it could not be attached to", now),
            Some(one) if hook == HookArg::Xdp && one.ingress.hook != Hook::Xdp => {
                view.degraded(&interface.name, &one.reason, now);
            }
            Some(_) => {}
        }
    }
}
