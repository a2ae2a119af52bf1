//! A pseudo-terminal: what the program shows to somebody who sits before it.
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr;

use anyhow::{Context, Result};

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

/// The two ends of a new terminal: what its user holds, and what programs are given.
pub fn open() -> Result<(File, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    let size = libc::winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
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
    use std::os::fd::AsRawFd;
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
