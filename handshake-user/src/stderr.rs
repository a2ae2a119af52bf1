//! Standard error: words for people, one message a line, harmless for terminals.
//!
//! A closed standard error is no reason to stop: `eprintln!` would panic. While a screen has the
//! terminal, words wait ([`hold`]): the screen shows them, and they are said when it is gone.

use std::collections::VecDeque;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::output::escape::Escaped;

/// Words that wait at most; the oldest give way.
const MOST_HELD: usize = 1_000;

/// How long a reader of standard error may take for a line, the first time that it does not.
const PATIENCE_MS: i32 = 200;
/// Messages that nobody took.
static LEFT_OUT: AtomicUsize = AtomicUsize::new(0);

/// Words that wait.
#[derive(Debug, Default)]
struct Held {
    /// To be said when the screen is gone; nothing if standard error is not the screen.
    later: VecDeque<String>,
    forgotten: usize,
    /// Not yet shown.
    news: Vec<String>,
    is_terminal: bool,
}

impl Held {
    fn take(&mut self, message: String) {
        self.news.push(message.clone());
        if !self.is_terminal {
            write(&message);
            return;
        }
        if self.later.len() >= MOST_HELD {
            self.later.pop_front();
            self.forgotten += 1;
        }
        self.later.push_back(message);
    }
}

static HELD: Mutex<Option<Held>> = Mutex::new(None);

/// Says one message on a line of its own; controls in it, line breaks too, are escaped.
pub fn say(message: impl Display) {
    match &mut *HELD.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(held) => held.take(message.to_string()),
        None => write(message),
    }
}

/// Writes a line, unless nobody takes it: a reader that has stopped must not stop us.
fn write(message: impl Display) {
    let patience_ms = if LEFT_OUT.load(Ordering::Relaxed) == 0 { PATIENCE_MS } else { 0 };
    if !takes_a_line(patience_ms) {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let mut text = String::new();
    let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
    if left_out > 0 {
        text = format!("({left_out} messages are left out: nobody read standard error)\n");
    }
    let _ = writeln!(text, "{}", Escaped(message));
    // At once: a pipe that takes anything takes a page.
    drop(io::stderr().write_all(text.as_bytes()));
}

/// Does standard error take a line without making us wait for longer?
fn takes_a_line(patience_ms: i32) -> bool {
    let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one descriptor, valid for the call; a closed one is answered with POLLNVAL.
    unsafe { libc::poll(&raw mut stderr, 1, patience_ms) != 0 }
}

/// Says a text of our own that may have several lines.
pub fn say_lines(text: impl Display) {
    for line in text.to_string().lines() {
        say(line);
    }
}

/// From now on words wait, where they would be written over a screen.
pub fn hold() {
    let is_terminal = io::stderr().is_terminal();
    let held = Held { is_terminal, ..Held::default() };
    *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
}

/// What was said since the last call while words wait.
pub fn news() -> Vec<String> {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.as_mut().map(|held| std::mem::take(&mut held.news)).unwrap_or_default()
}

/// Says all that has waited.
pub fn release() {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(held) = held else { return };
    if held.forgotten > 0 {
        write(format_args!("({} earlier messages are left out)", held.forgotten));
    }
    held.later.into_iter().for_each(write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_words_give_way_and_are_counted() {
        let mut held = Held { is_terminal: true, ..Held::default() };
        (0..MOST_HELD + 3).for_each(|number| held.take(number.to_string()));
        assert_eq!((held.later.len(), held.forgotten), (MOST_HELD, 3));
        assert_eq!(held.later.front().map(String::as_str), Some("3"));
        assert_eq!(held.news.len(), MOST_HELD + 3);
    }
}
