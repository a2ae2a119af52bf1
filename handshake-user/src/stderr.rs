//! Standard error: words for people, one message a line, harmless for terminals.
//!
//! A closed standard error is no reason to stop: `eprintln!` would panic.

use std::fmt::Display;
use std::io::{self, Write};

use crate::output::escape::Escaped;

/// Says one message on a line of its own; controls in it, line breaks too, are escaped.
pub fn say(message: impl Display) {
    drop(writeln!(io::stderr(), "{}", Escaped(message)));
}

/// Says a text of our own that may have several lines.
pub fn say_lines(text: impl Display) {
    for line in text.to_string().lines() {
        say(line);
    }
}
