//! What colour the terminal's background has (OSC 11). It is asked for once, and the answer is taken out of
//! the keys whenever it comes: nothing waits for it, and nothing of it is taken for a key.

use std::io::{self, Write};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

const QUESTION: &[u8] = b"\x1b]11;?\x1b\\";
/// How an answer begins, after the bytes that make `]` with Alt of it.
const HEAD: &str = "11;rgb:";
/// No answer is longer.
const MOST: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) enum Background {
    /// It was not asked for, or is known.
    Settled,
    /// Asked for.
    Asked,
    /// This much of the answer has come.
    Coming(String),
}

/// What a key was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A key that somebody pressed.
    Key,
    /// A part of the answer.
    Part,
    /// The answer's end: the background is light, or not.
    Light(bool),
}

/// Does this terminal know the question, as far as one can tell?
pub(super) fn is_known_to(term: &str) -> bool {
    !matches!(term, "" | "dumb" | "linux" | "vt100" | "vt220" | "cons25")
}

impl Background {
    /// Asks, if that makes sense.
    pub(super) fn ask(pen: &mut impl Write, is_wanted: bool) -> io::Result<Self> {
        if !is_wanted || !is_known_to(&std::env::var("TERM").unwrap_or_default()) {
            return Ok(Self::Settled);
        }
        pen.write_all(QUESTION)?;
        pen.flush()?;
        Ok(Self::Asked)
    }

    /// Takes a key; what belongs to the answer is none.
    pub(super) fn take(&mut self, key: KeyEvent) -> Meaning {
        match self {
            Self::Settled => Meaning::Key,
            Self::Asked => {
                let is_head = key.modifiers.contains(KeyModifiers::ALT);
                if is_head && key.code == KeyCode::Char(']') {
                    *self = Self::Coming(String::new());
                    return Meaning::Part;
                }
                Meaning::Key
            }
            Self::Coming(text) => {
                let (code, held) = (key.code, key.modifiers);
                let is_bell = held.contains(KeyModifiers::CONTROL) && code == KeyCode::Char('g');
                let is_end = held.contains(KeyModifiers::ALT) && code == KeyCode::Char('\\');
                if is_bell || is_end {
                    let light = is_light(text).unwrap_or(false);
                    *self = Self::Settled;
                    return Meaning::Light(light);
                }
                match code {
                    KeyCode::Char(one) if text.len() < MOST && could_follow(text, one) => {
                        text.push(one);
                        Meaning::Part
                    }
                    // It was none.
                    _ => {
                        *self = Self::Asked;
                        Meaning::Key
                    }
                }
            }
        }
    }
}

fn could_follow(text: &str, one: char) -> bool {
    match HEAD.chars().nth(text.len()) {
        Some(head) => head == one,
        None => one.is_ascii_hexdigit() || one == '/',
    }
}

/// `11;rgb:ffff/ffff/ffff`: brighter than the middle?
fn is_light(text: &str) -> Option<bool> {
    let mut parts = text.strip_prefix(HEAD)?.split('/').map(|part| {
        let value = f64::from(u32::from_str_radix(part, 16).ok()?);
        let most = 16_f64.powi(i32::try_from(part.len()).ok()?) - 1.0;
        Some(value / most)
    });
    let mut next = || parts.next().flatten();
    let (red, green, blue) = (next()?, next()?, next()?);
    Some(0.299 * red + 0.587 * green + 0.114 * blue > 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that the library makes of an answer.
    fn keys(text: &str, end: KeyEvent) -> Vec<KeyEvent> {
        let alt = KeyEvent::new(KeyCode::Char(']'), KeyModifiers::ALT);
        let plain = text.chars().map(|one| KeyEvent::new(KeyCode::Char(one), KeyModifiers::NONE));
        std::iter::once(alt).chain(plain).chain([end]).collect()
    }

    const BELL: KeyEvent = KeyEvent::new(KeyCode::Char('g'), KeyModifiers::CONTROL);
    const END: KeyEvent = KeyEvent::new(KeyCode::Char('\\'), KeyModifiers::ALT);

    #[test]
    fn an_answer_is_no_key_whenever_it_comes() {
        let pressed = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        for (text, end, light) in [
            ("11;rgb:ffff/ffff/ffff", END, true),
            ("11;rgb:1e1e/1e1e/1e1e", BELL, false),
            ("11;rgb:fd/f6/e3", BELL, true),
            ("11;rgb:0000/0000/ffff", END, false),
        ] {
            let mut background = Background::Asked;
            assert_eq!(background.take(pressed), Meaning::Key);
            let taken: Vec<_> =
                keys(text, end).into_iter().map(|key| background.take(key)).collect();
            let (last, parts) = taken.split_last().expect("keys");
            assert!(parts.iter().all(|one| *one == Meaning::Part), "{text}");
            assert_eq!(*last, Meaning::Light(light), "{text}");
            assert_eq!(background.take(END), Meaning::Key);
        }
    }

    #[test]
    fn what_is_no_answer_stays_a_key() {
        let mut background = Background::Asked;
        let key = |code, held| KeyEvent::new(KeyCode::Char(code), held);
        assert_eq!(background.take(key(']', KeyModifiers::NONE)), Meaning::Key);
        assert_eq!(background.take(key(']', KeyModifiers::ALT)), Meaning::Part);
        assert_eq!(background.take(key('q', KeyModifiers::NONE)), Meaning::Key);
        assert_eq!(background.take(key('1', KeyModifiers::NONE)), Meaning::Key);
        let mut settled = Background::Settled;
        assert_eq!(settled.take(key(']', KeyModifiers::ALT)), Meaning::Key);
        assert!(is_known_to("xterm-256color") && !is_known_to("linux") && !is_known_to(""));
    }
}
