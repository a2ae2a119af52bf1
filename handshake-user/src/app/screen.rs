//! The terminal UI at work: keys, the rhythm of drawing, suspension, files that the person asks for.
//!
//! What is shown is `board`, how is `output::tui`. Drawing never waits for the terminal
//! ([`crate::terminal::Pen`]) and happens only when something has changed: at once after a key, else a
//! few times a second.

mod background;
mod clipboard;
mod export;
mod segments;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use ratatui::layout::{Position, Rect};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::view::Look;
use crate::after::After;
use crate::attempt::{Attempt, Nanos};
use crate::board::{Board, DEFAULT_ROWS, Glance, Watched};
use crate::engine::{Engine, Loss};
use crate::evidence::Segments;
use crate::loader::{Attachment, spawn_without_privileges};
use crate::output::tui::{self, Action, Theme, Ui};
use crate::places::Places;
use crate::snapshot::AttemptView;
use crate::stderr;
use crate::stdout::Reader;
use crate::terminal::{self, Pen, PenState, Taken};
use background::{Background, Meaning};

/// How often everything is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Between two drawings for which nobody pressed a key, at least.
const PAUSE: Duration = Duration::from_millis(200);
/// A pause is so many times as long as drawing took: on a slow machine drawing is rare.
const REST: u32 = 20;
/// Keys that wait to be taken.
const KEYS: usize = 256;

/// What the engine has, for a look.
pub(super) struct World<'a> {
    pub(super) engine: &'a Engine,
    pub(super) places: &'a Places,
    /// The summary as a JSON record, if it is wanted.
    pub(super) summary: &'a dyn Fn() -> io::Result<String>,
}

/// What happened at the terminal.
pub(super) enum Wake {
    /// A key, or another size; `None` when the terminal is gone.
    Input(Option<Event>),
    /// We are to stop.
    Stop,
    /// We go on after a stop.
    Continue,
    /// A second has passed.
    Look,
    /// There is something new to draw.
    Draw,
    /// A file was written, or not.
    Exported(String),
}

/// See the module.
pub(super) struct Screen {
    board: Board,
    ui: Ui,
    terminal: Terminal<CrosstermBackend<Pen>>,
    pen: PenState,
    taken: Taken,
    background: Background,
    input: Receiver<Event>,
    stop: Signal,
    go_on: Signal,
    exports: (UnboundedSender<String>, UnboundedReceiver<String>),
    is_stale: bool,
    next_draw: Instant,
    next_look: Instant,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open(now: Nanos, color: bool, look: &Look) -> Result<Self> {
        let stop = signal(SignalKind::from_raw(libc::SIGTSTP)).context("cannot handle SIGTSTP")?;
        let go_on = signal(SignalKind::from_raw(libc::SIGCONT)).context("cannot handle SIGCONT")?;
        let pen = Pen::new().context("cannot write to the terminal")?;
        let state = pen.state();
        let backend = CrosstermBackend::new(pen);
        let mut terminal =
            Terminal::new(backend).context("cannot ask the terminal for its size")?;
        terminal::use_mouse(look.mouse);
        let taken = Taken::take(terminal.backend_mut()).context("cannot take the terminal")?;
        let background = Background::ask(terminal.backend_mut(), color)
            .context("cannot write to the terminal")?;
        let input = read_input()?;
        stderr::hold();
        let theme = Theme { color, ascii: terminal::is_ascii(), light: false };
        let mut ui = Ui::new(theme, TimeZone::system());
        ui.arrange(&look.columns, look.sort);
        ui.arrange_services(&look.service_columns, look.service_sort);
        let started = Instant::now();
        Ok(Self {
            board: Board::new(now, DEFAULT_ROWS),
            ui,
            terminal,
            pen: state,
            taken,
            background,
            input,
            stop,
            go_on,
            exports: unbounded_channel(),
            is_stale: true,
            next_draw: started,
            next_look: started,
        })
    }

    /// Something is watched from now on.
    pub(super) fn watch(&mut self, attachment: &Attachment, now: Nanos) {
        let Attachment { name, ingress, egress, reason, .. } = attachment;
        let watched = Watched {
            name: name.clone(),
            ingress: ingress.how.to_string(),
            egress: egress.how.to_string(),
            reason: reason.clone(),
        };
        self.board.watch(watched, now);
        self.is_stale = true;
    }

    /// Something is not watched as it should be.
    pub(super) fn degrade(&mut self, name: &str, reason: &str, now: Nanos) {
        self.board.alarms.degraded.insert(name, reason, now);
        self.is_stale = true;
    }

    /// It is as it should be again.
    pub(super) fn find(&mut self, name: &str, now: Nanos) {
        self.board.alarms.degraded.remove(name, now);
        self.is_stale = true;
    }

    /// An interface is down for this reason, or is up (again).
    pub(super) fn link(&mut self, name: &str, reason: Option<&str>, now: Nanos) {
        self.board.alarms.degraded.link(name, reason, now);
        self.is_stale = true;
    }

    /// Nothing is seen at an interface, at the earliest since `from`.
    pub(super) fn blind(&mut self, name: &str, reason: &'static str, from: Nanos) {
        self.board.alarms.blind.begin(name, reason, from);
        self.is_stale = true;
    }

    /// An interface is gone; is it one of many that come and go?
    pub(super) fn gone(&mut self, name: &str, reason: &str, now: Nanos, passes: bool) {
        self.board.gone(name, reason, now);
        if passes {
            self.board.passes(name);
        }
        self.is_stale = true;
    }

    /// An interface has another name.
    pub(super) fn renamed(&mut self, from: &str, to: &str) {
        self.board.renamed(from, to);
        self.is_stale = true;
    }

    /// Counts an ended attempt, listed or not.
    pub(super) fn tally(&mut self, view: &AttemptView<'_>) {
        self.board.tally(view);
    }

    /// Counts what came after a completion.
    pub(super) fn followed(&mut self, attempt: &Attempt, after: After) {
        self.board.follow(attempt, after);
    }

    /// Takes an ended attempt and its segments.
    pub(super) fn record(&mut self, view: &AttemptView<'_>, segments: Option<Segments>) {
        self.board.record(view, segments);
        self.is_stale |= view.attempt.outcome.is_failure() || self.ui.lists_all();
    }

    /// Something was lost, since `from` at the earliest.
    pub(super) fn lose(&mut self, loss: Loss, from: Nanos, now: Nanos) {
        self.board.lose(loss.reason, loss.count, from, now);
        self.is_stale = true;
    }

    /// Waits for whatever comes next. Safe to be dropped and called again.
    pub(super) async fn wake(&mut self) -> Wake {
        let draw = if self.is_stale { self.next_draw } else { self.next_look };
        tokio::select! {
            input = self.input.recv() => Wake::Input(input),
            _ = self.stop.recv() => Wake::Stop,
            _ = self.go_on.recv() => Wake::Continue,
            Some(text) = self.exports.1.recv() => Wake::Exported(text),
            () = sleep_until(self.next_look) => Wake::Look,
            () = sleep_until(draw) => Wake::Draw,
        }
    }

    /// Does what is to be done. Tells whether the person is still there and wants to go on.
    pub(super) fn on_wake(&mut self, wake: Wake, world: &World<'_>) -> Result<Reader> {
        if self.pen.is_gone() {
            return Ok(Reader::Gone);
        }
        match wake {
            Wake::Input(input) => return self.on_input(input, world),
            Wake::Look => {
                self.look(world);
                self.next_look = Instant::now() + LOOK;
                self.is_stale = true;
            }
            Wake::Draw => {
                if self.is_stale {
                    self.draw(world)?;
                }
            }
            Wake::Stop => self.suspend(world)?,
            Wake::Continue => self.redraw(world)?,
            Wake::Exported(text) => {
                self.board.say(world.places.now(), text);
                self.draw(world)?;
            }
        }
        Ok(Reader::Present)
    }

    /// Takes all keys that wait, then draws once.
    fn on_input(&mut self, first: Option<Event>, world: &World<'_>) -> Result<Reader> {
        let Some(first) = first else { return Ok(Reader::Gone) };
        let mut inputs = VecDeque::from([first]);
        while let Some(input) = inputs.pop_front() {
            let reader = match input {
                Event::Key(key) => self.press(key, world)?,
                Event::Mouse(event) => {
                    self.ui.follow(&self.board);
                    let action = self.ui.point(event, &self.board);
                    self.act(action, world)?
                }
                _ => Reader::Present,
            };
            if reader == Reader::Gone {
                return Ok(Reader::Gone);
            }
            inputs.extend(self.input.try_recv().ok());
        }
        self.draw(world)?;
        Ok(Reader::Present)
    }

    fn press(&mut self, key: event::KeyEvent, world: &World<'_>) -> Result<Reader> {
        match self.background.take(key) {
            Meaning::Key => {}
            Meaning::Part | Meaning::Light(false) => return Ok(Reader::Present),
            Meaning::Light(true) => {
                self.ui.on_light_background();
                return Ok(Reader::Present);
            }
        }
        self.ui.follow(&self.board);
        let action = self.ui.press(key, &self.board);
        self.act(action, world)
    }

    fn act(&mut self, action: Action, world: &World<'_>) -> Result<Reader> {
        match action {
            Action::Draw => {}
            Action::Quit => return Ok(Reader::Gone),
            Action::Suspend => terminal::ask_all_to_stop(),
            Action::Redraw => self.redraw(world)?,
            Action::Export(rows) => {
                let rows = export::ended(rows, &self.board, world);
                export::attempts(rows, self.board.now, &self.exports.0);
            }
            Action::ExportSummary => {
                export::summary((world.summary)()?, self.board.now, &self.exports.0);
            }
            Action::Reset => self.board.reset(world.places.now()),
            Action::Copy(row, how) => {
                let rows = export::ended(vec![row], &self.board, world);
                let text = rows.first().map(|row| clipboard::text(row, how)).unwrap_or_default();
                self.copy(&text, world)?;
            }
            Action::CopyText(text) => self.copy(&text, world)?,
            Action::Segments(row) => {
                // What was open a moment ago may have ended since.
                let row =
                    if row.is_open { self.board.row(row.attempt.id).unwrap_or(row) } else { row };
                let segments = segments::of(&row, &self.board, world);
                self.ui.look_at(row, segments, world.places.now());
            }
        }
        Ok(Reader::Present)
    }

    fn copy(&mut self, text: &str, world: &World<'_>) -> io::Result<()> {
        clipboard::copy(text, self.terminal.backend_mut())?;
        self.ui
            .note(format!("sent to the terminal's clipboard (OSC 52): {text}"), world.places.now());
        Ok(())
    }

    fn look(&mut self, world: &World<'_>) {
        for text in stderr::news() {
            self.board.say(world.places.now(), text);
        }
        look(&mut self.board, world.engine, world.places);
        self.follow_detail(world);
    }

    /// An open attempt that is looked at goes on, and ends.
    fn follow_detail(&mut self, world: &World<'_>) {
        let Some(id) = self.ui.open_detail() else { return };
        if let Some(row) = self.board.row(id) {
            let segments = segments::of(&row, &self.board, world);
            self.ui.look_at(row, segments, self.board.now);
        }
    }

    fn draw(&mut self, world: &World<'_>) -> io::Result<()> {
        let started = Instant::now();
        if self.pen.is_busy() {
            // A slow terminal is not given more than it takes.
            self.is_stale = true;
            self.next_draw = started + PAUSE / 4;
            return Ok(());
        }
        for text in stderr::news() {
            self.board.say(world.places.now(), text);
        }
        // Rows end between two looks: the clock shall not be behind them.
        self.board.now = world.places.now();
        self.board.expire(self.board.now);
        self.ui.follow(&self.board);
        let (ui, board) = (&mut self.ui, &self.board);
        self.terminal.draw(|frame| tui::draw(frame, ui, board))?;
        self.is_stale = false;
        self.next_draw = started + PAUSE.max(started.elapsed() * REST);
        Ok(())
    }

    /// Others may have written over the screen, or changed the terminal's modes.
    fn redraw(&mut self, world: &World<'_>) -> Result<()> {
        self.taken.retake(self.terminal.backend_mut()).context("cannot take the terminal again")?;
        // Not `clear`: that asks the terminal where its cursor is, and the answer goes to `keys`.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))?;
        // The clearing itself is being written: draw as soon as it is.
        self.is_stale = true;
        self.next_draw = Instant::now();
        self.draw(world)?;
        Ok(())
    }

    fn suspend(&mut self, world: &World<'_>) -> Result<()> {
        self.taken.give_back();
        terminal::stop();
        self.redraw(world)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Else it does so itself, after the terminal was given back.
        let _ = self.terminal.show_cursor();
        self.taken.give_back();
        stderr::release();
    }
}

/// Reads keys and sizes in a thread that ends with the process: crossterm cannot be told to stop.
fn read_input() -> Result<Receiver<Event>> {
    let (to, input) = channel(KEYS);
    let read = move || {
        while let Ok(event) = event::read() {
            if to.blocking_send(event).is_err() {
                return;
            }
        }
    };
    spawn_without_privileges("keys", read).context("cannot read keys")?;
    Ok(input)
}

/// How everything stands now.
pub(super) fn look(board: &mut Board, engine: &Engine, places: &Places) {
    let stats = engine.stats();
    let glance = Glance {
        now: places.now(),
        to_wall: places.to_wall(),
        started: stats.started,
        outcomes: stats.outcomes,
        retransmits: stats.syn_retrans + stats.synack_retrans,
        counters: &engine.counters().0,
        place: &|view| places.place(&view.key, view.began, view.source, engine.sources()),
        sampled: engine.sampled(),
        seen: engine.patterns().seen(),
    };
    board.look(&glance, engine.open_attempts());
}
