//! A service manager's notification socket (`sd_notify(3)`), and what was said to it when.
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::eventually;

/// One assignment of a message, such as `READY=1`.
#[derive(Clone, Debug)]
pub struct Said {
    /// when it came
    pub at: Instant,
    /// its name and value
    pub line: String,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Manager {
    path: PathBuf,
    said: Arc<Mutex<Vec<Said>>>,
    reader: Option<JoinHandle<()>>,
}

impl Manager {
    /// Opens a socket that anybody may write to.
    pub fn listen() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("handshake-notify-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let socket = UnixDatagram::bind(&path).context("cannot bind a notification socket")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        let said = Arc::default();
        let heard = Arc::clone(&said);
        let reader = Some(std::thread::spawn(move || hear(&socket, &heard)));
        Ok(Self { path, said, reader })
    }

    /// Makes a command notify this manager, which will want to hear of it every `watchdog`.
    pub fn manage(&self, command: &mut Command, watchdog: Option<Duration>) {
        command.env("NOTIFY_SOCKET", &self.path);
        if let Some(every) = watchdog {
            command.env("WATCHDOG_USEC", every.as_micros().to_string());
        }
    }

    /// Everything said so far, in order.
    #[must_use]
    pub fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When a line was said that begins with `start`, in order.
    #[must_use]
    pub fn times(&self, start: &str) -> Vec<Instant> {
        let said = self.said();
        said.iter().filter(|said| said.line.starts_with(start)).map(|said| said.at).collect()
    }

    /// Waits for a line that begins with `start`.
    pub fn hears(&self, start: &str, patience: Duration) -> Result<()> {
        eventually(&format!("it says {start}"), patience, || !self.times(start).is_empty())
            .with_context(|| format!("{:?}", self.said()))
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // An empty message ends the reader.
        let ended = UnixDatagram::unbound().and_then(|socket| socket.send_to(&[], &self.path));
        if ended.is_ok() {
            drop(self.reader.take().map(JoinHandle::join));
        }
        drop(std::fs::remove_file(&self.path));
    }
}

fn hear(socket: &UnixDatagram, said: &Mutex<Vec<Said>>) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = socket.recv(&mut bytes) {
        let at = Instant::now();
        let text = String::from_utf8_lossy(&bytes[..length]);
        let lines = text.lines().map(|line| Said { at, line: line.to_owned() });
        said.lock().unwrap_or_else(PoisonError::into_inner).extend(lines);
    }
}
