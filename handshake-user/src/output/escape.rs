//! Strings from outside, made harmless for terminals: a name that somebody else chose must not
//! move the cursor, change colours or reorder the text around it.
//!
//! Escaped are the C0 controls, DEL, the C1 controls and the bidirectional controls. Text gets
//! `\u{1b}`, as `{:?}` writes it; JSON gets `\u001b`, which every reader turns back into the same
//! string. `stderr::say` and `stdout::Output::json` apply both, so that no caller can forget.

use std::fmt::{self, Display, Write as _};
use std::io;

use serde_json::ser::{CompactFormatter, Formatter};

/// Would a terminal do something else than show this character?
#[must_use]
pub fn is_control(one: char) -> bool {
    // Cc is C0, DEL and C1; the others are Bidi_Control of the Unicode Character Database.
    one.is_control()
        || matches!(one, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Shows anything with its controls escaped, line breaks included.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// What is written to it arrives escaped.
struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in pieces(text) {
            match piece {
                Piece::Plain(text) => self.0.write_str(text)?,
                Piece::Control(one) => write!(self.0, "{}", one.escape_unicode())?,
            }
        }
        Ok(())
    }
}

/// Compact JSON in which strings hold no control character as it is. (`serde_json` itself escapes
/// C0 only, as JSON demands.)
#[derive(Debug, Clone, Copy, Default)]
pub struct TerminalSafe;

impl Formatter for TerminalSafe {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        for piece in pieces(fragment) {
            match piece {
                Piece::Plain(text) => CompactFormatter.write_string_fragment(writer, text)?,
                // All of them are below U+10000: no surrogates.
                Piece::Control(one) => write!(writer, "\\u{:04x}", u32::from(one))?,
            }
        }
        Ok(())
    }
}

enum Piece<'a> {
    Plain(&'a str),
    Control(char),
}

/// Runs of plain text, and each control by itself.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    text.split_inclusive(is_control).flat_map(|run| {
        let control = run.chars().next_back().filter(|one| is_control(*one));
        let plain = &run[..run.len() - control.map_or(0, char::len_utf8)];
        let plain = (!plain.is_empty()).then_some(Piece::Plain(plain));
        plain.into_iter().chain(control.map(Piece::Control))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, TerminalSafe);
        text.serialize(&mut serializer).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, escaped) in [
            ("eth0", "eth0"),
            ("", ""),
            ("\x1b[31mred", r"\u{1b}[31mred"),
            ("a\nb\r\tc\0", r"a\u{a}b\u{d}\u{9}c\u{0}"),
            ("\x7f\u{9b}2J", r"\u{7f}\u{9b}2J"),
            ("\u{202e}gpj.exe\u{202c}", r"\u{202e}gpj.exe\u{202c}"),
            ("\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}", r"\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}"),
            ("größe→名前 🦀", "größe→名前 🦀"),
        ] {
            assert_eq!(Escaped(text).to_string(), escaped);
        }
    }

    #[test]
    fn every_control_is_escaped_in_text_and_json_and_json_gives_it_back() {
        let controls = ('\0'..=char::MAX).filter(|one| is_control(*one));
        let all: String = controls.flat_map(|one| ['a', one, 'ä']).collect();
        assert_eq!(all.chars().count(), 3 * (32 + 1 + 32 + 12));
        assert!(!Escaped(&all).to_string().contains(is_control));
        let json = json(&all);
        assert!(!json.contains(is_control), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), all);
    }

    #[test]
    fn json_is_otherwise_as_serde_writes_it() {
        for text in ["", "plain", "quote\" back\\slash", "größe 🦀", "tab\tnewline\n"] {
            assert_eq!(json(text), serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn bidirectional_controls_are_those_of_unicode() {
        // PropList.txt, Bidi_Control.
        let expected = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
                        \u{2066}\u{2067}\u{2068}\u{2069}";
        let found = ('\0'..=char::MAX).filter(|one| is_control(*one) && !one.is_control());
        assert_eq!(found.collect::<String>(), expected);
    }
}
