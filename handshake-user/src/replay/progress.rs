//! How far a long file has been read: one line on a terminal, erased at the end.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Read, Write};

use crate::output::escape::Escaped;

/// Files below this size are read before anybody wonders.
const LONG_FILE_BYTES: u64 = 8 << 20;
/// Back to the start of the line, and erase it.
const ERASE: &str = "\r\x1b[K";

/// The file itself; what is read is shown if it is a long regular file and standard error is a
/// terminal.
pub(super) fn shown(file: File, name: &str) -> Box<dyn Read> {
    let data = file.metadata().ok();
    let size = data.filter(Metadata::is_file).map_or(0, |data| data.len());
    if size < LONG_FILE_BYTES || !io::stderr().is_terminal() {
        return Box::new(file);
    }
    let name = Escaped(name).to_string();
    Box::new(Shown { input: file, sink: io::stderr(), name, read: 0, size, next: 0 })
}

struct Shown<R, W: Write> {
    input: R,
    sink: W,
    name: String,
    read: u64,
    size: u64,
    /// Bytes read at which the line changes.
    next: u64,
}

impl<R: Read, W: Write> Read for Shown<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read += count as u64;
        if self.read >= self.next {
            self.show();
        }
        Ok(count)
    }
}

impl<R, W: Write> Shown<R, W> {
    /// Writes when the percentage changes, a hundred times a file.
    fn show(&mut self) {
        // A file may grow while it is read.
        let percent = self.read.min(self.size) * 100 / self.size;
        self.next = match percent {
            100.. => u64::MAX,
            percent => (self.size * (percent + 1)).div_ceil(100),
        };
        // The name last, where a narrow terminal may cut it; that nobody sees it is no failure.
        drop(write!(self.sink, "{ERASE}{percent:>3}% of {}", self.name));
    }
}

impl<R, W: Write> Drop for Shown<R, W> {
    fn drop(&mut self) {
        drop(write!(self.sink, "{ERASE}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_percentage_is_shown_once_and_the_line_is_erased() {
        let (bytes, mut sink) = (vec![0; 100_003], Vec::new());
        let size = bytes.len() as u64;
        let mut shown =
            Shown { input: &bytes[..], sink: &mut sink, name: "x".into(), read: 0, size, next: 0 };
        let mut byte = [0; 1];
        while shown.read(&mut byte).expect("memory") > 0 {}
        drop(shown);
        let shown = String::from_utf8(sink).expect("UTF-8");
        let lines: Vec<_> = shown.split(ERASE).collect();
        assert_eq!((lines.first(), lines.last()), (Some(&""), Some(&"")));
        let expected: Vec<_> = (0..=100).map(|percent| format!("{percent:>3}% of x")).collect();
        assert_eq!(lines[1..lines.len() - 1], expected);
    }
}
