//! Standard output for a loop that must not wait for its reader.
//!
//! A pipe that nobody empties blocks whoever writes to it, so a thread of its own does. What is
//! not written yet waits here, all of it, so that it can be counted if it never is. The loop asks
//! [`Queue::is_congested`] before it makes more: the queue is bounded by that and by what one step
//! of the loop can make. `O_NONBLOCK` would be simpler, but it belongs to the open file, which
//! other programs share with us.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::loader::spawn_without_privileges;

/// Waiting bytes above which the loop shall make no more.
const CONGESTED: usize = 1 << 20;
/// Bytes handed over at once: `PIPE_BUF`, which a pipe takes as a whole or not at all, so that what
/// a blocked write holds is known.
const PIECE: usize = 4096;
/// Before another try, if somebody made the output non-blocking and it is full.
const RETRY: Duration = Duration::from_millis(5);

/// The end that is written to. Nothing here waits, but for the thread's few copies.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// All is written, there is room again, or writing failed.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// From the first byte that is not written.
    waiting: VecDeque<u8>,
    /// Bytes written.
    written: u64,
    /// Writing failed: error number of the system.
    failed: Option<i32>,
}

impl Queue {
    /// Standard output, and a thread that writes to it.
    ///
    /// # Errors
    /// If standard output is closed, or there can be no thread.
    pub fn stdout() -> io::Result<Self> {
        Self::start(File::from(io::stdout().as_fd().try_clone_to_owned()?))
    }

    /// Any file; its thread ends with the process, or with writing.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(file: File) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            news: Notify::new(),
        });
        let queue = Self(Arc::clone(&shared));
        // The file is open.
        spawn_without_privileges("stdout", move || shared.write_all(file))?;
        Ok(queue)
    }

    /// Does so much wait that the loop shall make no more?
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.0.lock().waiting.len() > CONGESTED
    }

    /// Waits for news: all is written, there is room again, or writing failed. They may be old.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// Is everything written, or nothing more can be?
    #[must_use]
    pub fn is_done(&self) -> bool {
        let state = self.0.lock();
        state.waiting.is_empty() || state.failed.is_some()
    }

    /// Bytes written so far: does the reader move?
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.lock().written
    }

    /// Lines of which the end is not written.
    #[must_use]
    pub fn unwritten_lines(&self) -> usize {
        self.0.lock().waiting.iter().filter(|byte| **byte == b'\n').count()
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        state.check()?;
        state.waiting.extend(bytes);
        drop(state);
        self.0.filled.notify_one();
        Ok(bytes.len())
    }

    /// Does not wait: [`Queue::is_done`] says when it is written.
    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().check()
    }
}

impl State {
    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock left whole bytes behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: writes what waits until writing fails.
    fn write_all(&self, mut file: File) {
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            self.next_piece(&mut piece);
            match file.write(&piece) {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
                Err(error) => {
                    self.lock().failed = Some(error.raw_os_error().unwrap_or(libc::EIO));
                    self.news.notify_one();
                    return;
                }
            }
        }
    }

    /// Copies what is to be written next; it stays in the queue until it is.
    fn next_piece(&self, piece: &mut Vec<u8>) {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        piece.clear();
        // The first slice of what is not empty is not empty.
        let (first, _) = state.waiting.as_slices();
        piece.extend_from_slice(&first[..first.len().min(PIECE)]);
    }

    fn advance(&self, written: usize) {
        let mut state = self.lock();
        let before = state.waiting.len();
        state.waiting.drain(..written);
        state.written += written as u64;
        let left = state.waiting.len();
        drop(state);
        if left == 0 || (before > CONGESTED && left <= CONGESTED) {
            self.news.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    fn queue(writer: impl Into<OwnedFd>) -> Queue {
        Queue::start(File::from(writer.into())).unwrap()
    }

    #[track_caller]
    fn eventually(done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(10), "not within ten seconds");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_is_written_arrives_in_order() {
        let (mut reader, writer) = pipe().unwrap();
        let mut queue = queue(writer);
        let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
        let expected = text.clone();
        let length = text.len();
        let read = std::thread::spawn(move || {
            let mut all = vec![0; length];
            reader.read_exact(&mut all).unwrap();
            String::from_utf8(all).unwrap()
        });
        for piece in text.as_bytes().chunks(777) {
            queue.write_all(piece).unwrap();
        }
        assert!(read.join().unwrap() == expected);
        eventually(|| queue.is_done());
        assert_eq!((queue.written(), queue.unwritten_lines()), (length as u64, 0));
    }

    /// Written and unwritten lines are all lines, and nothing waited for the reader.
    #[test]
    fn a_reader_that_never_reads_blocks_nobody_and_what_it_misses_is_known() {
        let (mut reader, writer) = pipe().unwrap();
        let mut queue = queue(writer);
        let line = [&[b'x'; 99][..], b"\n"].concat();
        for _ in 0..20_000 {
            queue.write_all(&line).unwrap();
        }
        assert!(queue.is_congested());
        let mut before = u64::MAX;
        eventually(|| queue.written() > 0);
        while std::mem::replace(&mut before, queue.written()) != before {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!queue.is_done());
        let written = queue.written();
        let unwritten = queue.unwritten_lines() as u64;
        assert_eq!(written / 100 + unwritten, 20_000);
        // What the pipe holds is what is said to be written, to the byte.
        let mut held = vec![0; usize::try_from(written).unwrap()];
        reader.read_exact(&mut held).unwrap();
        assert_eq!(held.iter().filter(|byte| **byte == b'\n').count() as u64, written / 100);
    }

    #[test]
    fn there_is_news_of_room_and_of_failure() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut reader, writer) = pipe().unwrap();
        let mut queue = queue(writer);
        queue.write_all(&vec![b'x'; 2 * CONGESTED]).unwrap();
        assert!(queue.is_congested());
        let news = |queue: &Queue| {
            let news = async { tokio::time::timeout(Duration::from_secs(10), queue.news()).await };
            runtime.block_on(news).expect("news");
        };
        reader.read_exact(&mut vec![0; CONGESTED + (1 << 17)]).unwrap();
        news(&queue);
        assert!(!queue.is_congested() && !queue.is_done());
        drop(reader);
        news(&queue);
        assert!(queue.is_done());
        assert_eq!(queue.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(queue.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_disk_is_told() {
        let mut queue = queue(File::options().write(true).open("/dev/full").unwrap());
        queue.write_all(b"line\n").unwrap();
        eventually(|| queue.is_done());
        assert_eq!(queue.flush().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }
}
