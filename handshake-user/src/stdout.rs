//! Standard output: buffered, and a reader that has gone away ends us quietly. What writes from a
//! loop that must not wait does it through `queue`.

pub mod queue;

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

use serde::Serialize;
use serde_json::Serializer;

use crate::output::escape::TerminalSafe;

/// Is anybody still reading?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Reader {
    /// Yes, or we cannot tell.
    Present,
    /// The pipe is closed.
    Gone,
}

/// A sink for lines of data.
pub struct Output<W: Write> {
    sink: BufWriter<W>,
    /// Somebody looks: each line is handed over at once.
    is_watched: bool,
}

impl Output<io::Stdout> {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let is_watched = stdout.is_terminal();
        Self { is_watched, ..Self::new(stdout) }
    }
}

impl<W: Write> Output<W> {
    /// Any sink.
    pub fn new(sink: W) -> Self {
        Self { sink: BufWriter::with_capacity(1 << 16, sink), is_watched: false }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// If the sink fails for another reason than a closed pipe.
    pub fn line(&mut self, line: &str) -> io::Result<Reader> {
        let written = writeln!(self.sink, "{line}");
        self.end_of_line(written)
    }

    /// Writes one JSON object on a line, harmless for terminals.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn json<T: Serialize>(&mut self, record: &T) -> io::Result<Reader> {
        let mut serializer = Serializer::with_formatter(&mut self.sink, TerminalSafe);
        let written = record
            .serialize(&mut serializer)
            .map_err(io::Error::from)
            .and_then(|()| self.sink.write_all(b"\n"));
        self.end_of_line(written)
    }

    fn end_of_line(&mut self, written: io::Result<()>) -> io::Result<Reader> {
        present(written.and_then(|()| if self.is_watched { self.sink.flush() } else { Ok(()) }))
    }

    /// Writes a text as it is, and hands it to the reader.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn text(&mut self, text: &[u8]) -> io::Result<Reader> {
        match present(self.sink.write_all(text))? {
            Reader::Present => self.flush(),
            Reader::Gone => Ok(Reader::Gone),
        }
    }

    /// Hands everything to the reader.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn flush(&mut self) -> io::Result<Reader> {
        present(self.sink.flush())
    }
}

/// One JSON object without a line break, harmless for terminals.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn json_line<T: Serialize>(record: &T) -> io::Result<String> {
    let mut line = Vec::new();
    record.serialize(&mut Serializer::with_formatter(&mut line, TerminalSafe))?;
    String::from_utf8(line).map_err(io::Error::other)
}

/// Looks whether the reader of standard output is still there, without writing anything: where
/// nothing happens, a pipe that is closed would not be noticed.
pub fn reader() -> Reader {
    let mut stdout = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
    // SAFETY: one descriptor, valid for the call, which does not wait.
    let found = unsafe { libc::poll(&raw mut stdout, 1, 0) };
    // The end of a pipe that is written to has an error when nobody can read any more.
    if found == 1 && stdout.revents & libc::POLLERR != 0 { Reader::Gone } else { Reader::Present }
}

fn present(result: io::Result<()>) -> io::Result<Reader> {
    match result {
        Ok(()) => Ok(Reader::Present),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}
