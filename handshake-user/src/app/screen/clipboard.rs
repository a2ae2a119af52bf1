//! Text for the clipboard of the person's terminal, wherever that runs (OSC 52).

use std::io::{self, Write};

use jiff::tz::TimeZone;

use crate::board::Row;
use crate::output::json;
use crate::output::lines::Lines;
use crate::output::tui::Copy;

/// An attempt as text.
pub(super) fn text(row: &Row, how: Copy) -> String {
    match how {
        Copy::Line => Lines::new(false, TimeZone::system()).line(&row.view()),
        Copy::Json => serde_json::to_string(&json::attempt(&row.view())).unwrap_or_default(),
    }
}

/// Asks the terminal to take this text.
pub(super) fn copy(text: &str, pen: &mut impl Write) -> io::Result<()> {
    write!(pen, "\x1b]52;c;{}\x07", base64(text.as_bytes()))?;
    pen.flush()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            let is_padding = digit > three.len();
            text.push(if is_padding { '=' } else { DIGITS[value as usize] as char });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_base64() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("→", "4oaS"),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded, "{text}");
        }
        let mut written = Vec::new();
        copy("foo", &mut written).expect("a vector takes all");
        assert_eq!(written, b"\x1b]52;c;Zm9v\x07");
    }
}
