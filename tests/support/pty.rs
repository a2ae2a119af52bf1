//! A pseudo-terminal: what the program shows to somebody who sits before it.
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{GLANCE, signal, wait};

/// Which of the program's outputs are the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// stdout and stderr
    Both,
    /// stdout; stderr goes nowhere
    Stdout,
    /// stderr; stdout goes nowhere
    Stderr,
}

/// Runs a command, which ends by itself, on a terminal of 100 columns; returns how it ended and all
/// that the terminal was told.
pub fn run(command: Command, terminal: Terminal) -> Result<(ExitStatus, String)> {
    run_watching(command, terminal, |_| {})
}

/// [`run`], which hands over what is shown as soon as it is.
pub fn run_watching(
    mut command: Command,
    terminal: Terminal,
    watch: impl FnMut(&[u8]),
) -> Result<(ExitStatus, String)> {
    let (master, slave) = open()?;
    let on_terminal = || -> Result<Stdio> { Ok(slave.try_clone()?.into()) };
    let stdout = if terminal == Terminal::Stderr { Stdio::null() } else { on_terminal()? };
    let stderr = if terminal == Terminal::Stdout { Stdio::null() } else { on_terminal()? };
    command.stdout(stdout).stderr(stderr);
    let mut child: Child = command.spawn().context("cannot start the program under test")?;
    // The terminal ends when nobody holds its other side any longer.
    drop((command, slave));
    let shown = read(master, watch)?;
    Ok((child.wait()?, shown))
}

/// A program before which somebody sits: it has a terminal of its own, its keys and its screen, and
/// never outlives this.
#[derive(Debug)]
pub struct Session {
    child: Child,
    master: File,
    /// The terminal's other side, so that its modes can be asked for at any time.
    slave: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    /// Starts a command as the leader of a session on a terminal of so many columns and lines.
    pub fn start(mut command: Command, columns: u16, lines: u16) -> Result<Self> {
        let (master, slave) = open_sized(columns, lines)?;
        let end = || -> Result<Stdio> { Ok(slave.try_clone()?.into()) };
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        // SAFETY: two system calls that allocate nothing; descriptor 0 is the terminal.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().context("cannot start the program under test")?;
        drop(command);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, to) = (master.try_clone()?, Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                to.lock().unwrap_or_else(PoisonError::into_inner).extend(&buffer[..count]);
            }
        });
        Ok(Self { child, master, slave, shown })
    }

    /// Types.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.master.write_all(keys.as_bytes())?)
    }

    /// Makes the terminal larger or smaller.
    pub fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the pointer is to a size that lives until the call returns.
        match unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()).context("cannot resize the terminal"),
        }
    }

    /// Everything that the terminal was told until now.
    #[must_use]
    pub fn shown(&self) -> Vec<u8> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what was shown is enough.
    pub fn until(&self, patience: Duration, enough: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let until = Instant::now() + patience;
        loop {
            let shown = self.shown();
            if enough(&shown) {
                return Ok(shown);
            }
            if Instant::now() > until {
                bail!("not within {patience:?}: {}", String::from_utf8_lossy(&shown));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// The modes of the terminal, to be compared: all but what the kernel counts.
    pub fn modes(&self) -> Result<[libc::tcflag_t; 4]> {
        // SAFETY: zeroes are a valid structure, which the call fills.
        unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(self.slave.as_raw_fd(), &raw mut modes) != 0 {
                return Err(io::Error::last_os_error()).context("cannot ask the terminal");
            }
            Ok([modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag])
        }
    }

    /// Sends a signal to the program.
    pub fn signal(&self, number: i32) -> Result<()> {
        signal(&self.child, number)
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        wait(&mut self.child, patience)
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The two ends of a new terminal: what its user holds, and what programs are given.
pub fn open() -> Result<(File, OwnedFd)> {
    open_sized(100, 40)
}

fn open_sized(columns: u16, lines: u16) -> Result<(File, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointers are to two integers and a size, or null where openpty allows it.
    let opened = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            ptr::null_mut(),
            ptr::null(),
            &raw const size,
        )
    };
    if opened != 0 {
        return Err(io::Error::last_os_error()).context("cannot open a pseudo-terminal");
    }
    // SAFETY: openpty has just made these two, and nobody else owns them.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    for end in [&master, &slave] {
        close_on_exec(end)?;
    }
    Ok((master.into(), slave))
}

/// Other children must not hold the terminal open.
fn close_on_exec(end: &impl AsFd) -> Result<()> {
    // SAFETY: fcntl with these arguments touches no memory; the descriptor is open.
    match unsafe { libc::fcntl(end.as_fd().as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("cannot mark a descriptor"),
    }
}

/// Reads until the terminal is closed, which Linux tells with EIO.
fn read(mut master: File, mut watch: impl FnMut(&[u8])) -> Result<String> {
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match master.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                watch(&buffer[..count]);
                shown.extend_from_slice(&buffer[..count]);
            }
            Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot read from the pseudo-terminal"),
        }
    }
    Ok(String::from_utf8_lossy(&shown).into_owned())
}
