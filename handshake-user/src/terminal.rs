//! A terminal taken over and given back: raw mode, the alternate screen, and a thread that writes, so
//! that a terminal that reads slowly, or not at all, keeps nobody from draining the rings.
//!
//! Given back by being dropped, and before a panic says anything. Whoever takes it or gives it back
//! does not wait for a terminal that takes nothing: all bytes go through that thread. What is drawn is
//! `output::tui`'s.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};

use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// How long a slow terminal may take to show what was drawn before it is given back.
const PATIENCE: Duration = Duration::from_millis(500);

/// The terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Writes that the terminal has not taken yet.
static PENDING: AtomicUsize = AtomicUsize::new(0);
/// The mouse is reported to us.
static MOUSE: AtomicBool = AtomicBool::new(false);
/// Buttons and the wheel, in the form that has no limit of columns; and no longer so.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";
/// The way to the first pen's thread.
static WRITER: OnceLock<Sender<Vec<u8>>> = OnceLock::new();

/// Why standard output is no terminal for a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It is a file or a pipe.
    NoTerminal,
    /// It cannot move its cursor: `TERM` has this value.
    Dumb(String),
}

/// Can standard output show a screen?
///
/// # Errors
/// With what is in the way.
pub fn fitness() -> Result<(), Unfit> {
    if !io::stdout().is_terminal() {
        return Err(Unfit::NoTerminal);
    }
    match std::env::var("TERM").unwrap_or_default() {
        term if term.is_empty() || term == "dumb" => Err(Unfit::Dumb(term)),
        _ => Ok(()),
    }
}

/// Does the locale ask for something else than UTF-8? (Nothing said is no answer.)
#[must_use]
pub fn is_ascii() -> bool {
    let setting = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(setting);
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    })
}

/// Shall the mouse be reported to us while the terminal is ours? If not, it stays the terminal's.
pub fn use_mouse(is_wanted: bool) {
    MOUSE.store(is_wanted, Ordering::SeqCst);
}

/// The terminal, ours until this is dropped.
#[derive(Debug)]
pub struct Taken(());

impl Taken {
    /// Takes the terminal: raw mode at once, and the alternate screen when `pen` has written it.
    ///
    /// # Errors
    /// If there is no terminal to read keys from, or it refuses.
    pub fn take(pen: &mut impl Write) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                previous(panic);
            }));
        });
        let taken = Self(());
        taken.retake(pen)?;
        Ok(taken)
    }

    /// Takes it again, whatever others have made of it meanwhile.
    ///
    /// # Errors
    /// As [`Taken::take`].
    pub fn retake(&self, pen: &mut impl Write) -> io::Result<()> {
        if TAKEN.load(Ordering::SeqCst) {
            disable_raw_mode()?;
        }
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        queue!(pen, EnterAlternateScreen, Hide)?;
        if MOUSE.load(Ordering::SeqCst) {
            pen.write_all(MOUSE_ON)?;
        }
        pen.flush()
    }

    /// Gives it back for a while.
    pub fn give_back(&self) {
        give_back();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, once.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut leave = Vec::new();
    if MOUSE.load(Ordering::SeqCst) {
        leave.extend(MOUSE_OFF);
    }
    let _ = queue!(leave, Show, LeaveAlternateScreen);
    if let Some(writer) = WRITER.get() {
        hand_over(writer, leave);
    }
    // Who does not take the bytes would keep us for ever.
    let until = Instant::now() + PATIENCE;
    while PENDING.load(Ordering::SeqCst) > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = disable_raw_mode();
}

/// Gives bytes to a pen's thread; false if it has ended.
fn hand_over(writer: &Sender<Vec<u8>>, bytes: Vec<u8>) -> bool {
    PENDING.fetch_add(1, Ordering::SeqCst);
    let is_taken = writer.send(bytes).is_ok();
    if !is_taken {
        PENDING.fetch_sub(1, Ordering::SeqCst);
    }
    is_taken
}

/// Writes to standard output from a thread of its own.
#[derive(Debug)]
pub struct Pen {
    bytes: Vec<u8>,
    to: Sender<Vec<u8>>,
    state: PenState,
}

/// How the writing goes.
#[derive(Debug, Clone)]
pub struct PenState(Arc<AtomicBool>);

impl PenState {
    /// The terminal has not yet taken what was last drawn.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        PENDING.load(Ordering::SeqCst) > 0
    }

    /// The terminal is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Pen {
    /// A pen for standard output.
    ///
    /// # Errors
    /// If there is no other descriptor for it, or no thread.
    pub fn new() -> io::Result<Self> {
        let mut terminal = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let (to, pages) = channel::<Vec<u8>>();
        let state = PenState(Arc::default());
        let gone = state.clone();
        crate::loader::spawn_without_privileges("screen", move || {
            for page in pages {
                if terminal.write_all(&page).is_err() {
                    gone.0.store(true, Ordering::SeqCst);
                }
                PENDING.fetch_sub(1, Ordering::SeqCst);
            }
        })?;
        // There is one terminal: another pen's thread would write to the same.
        WRITER.get_or_init(|| to.clone());
        Ok(Self { bytes: Vec::new(), to, state })
    }

    /// To ask how it goes.
    #[must_use]
    pub fn state(&self) -> PenState {
        self.state.clone()
    }
}

impl Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        if !hand_over(&self.to, std::mem::take(&mut self.bytes)) {
            self.state.0.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Stops this process as the terminal's stop key does, until somebody continues it; at once if nobody
/// could.
pub fn stop() {
    // SAFETY: both structures are plain data that the calls fill or read; the signal's disposition is put
    // back as it was found before anybody else can change it, because one thread handles signals here.
    unsafe {
        let mut found: libc::sigaction = std::mem::zeroed();
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        if libc::sigaction(libc::SIGTSTP, &raw const default, &raw mut found) == 0 {
            libc::raise(libc::SIGTSTP);
            libc::sigaction(libc::SIGTSTP, &raw const found, std::ptr::null_mut());
        }
    }
}

/// Asks everybody in the foreground to stop, this process too (its handler then calls [`stop`]): whoever
/// started it, `sudo` for example, must stop with it.
pub fn ask_all_to_stop() {
    // SAFETY: sends a signal to the own process group; touches no memory.
    unsafe {
        libc::kill(0, libc::SIGTSTP);
    }
}
