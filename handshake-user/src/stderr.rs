//! Standard error: words for people, one message a line, harmless for terminals.
//!
//! A closed standard error is no reason to stop: `eprintln!` would panic. While a screen has the
//! terminal, words wait ([`hold`]): the screen shows them, and they are said when it is gone.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use crate::output::escape::Escaped;

/// Words that wait at most; the oldest give way.
const MOST_HELD: usize = 1_000;

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

fn write(message: impl Display) {
    drop(writeln!(io::stderr(), "{}", Escaped(message)));
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
