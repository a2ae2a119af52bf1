//! One boot of one kernel, with an end whatever happens inside.
use std::{
    io::{self, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;

/// A guest whose console says nothing for this long hangs. Its longest test takes a minute under
/// emulation on an idle machine; a busy one may be several times slower.
const SILENCE: Duration = Duration::from_secs(600);
/// A guest that goes on talking ends after this long all the same.
const AT_MOST: Duration = Duration::from_secs(2400);

/// Boots `kernel` with `initramfs` until it powers off; returns what the console said.
pub(super) fn boot(kernel: &Kernel, initramfs: &Path) -> Result<String> {
    let mut child = Command::new("qemu-system-x86_64")
        // Has RDRAND: without it, nothing that asks for random numbers gets any for minutes.
        .args(["-cpu", "max"])
        .args(["-nographic", "-no-reboot", "-m", "1024", "-nic", "none", "-kernel"])
        .arg(kernel.image()?)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start qemu-system-x86_64")?;
    let console = child.stdout.take().context("qemu has no console")?;
    let (said, heard) = channel();
    let reader = thread::spawn(move || forward(console, &said));
    let mut text = Vec::new();
    let ended = hear(&heard, &mut text);
    end(&mut child)?;
    let read = reader.join();
    let text = String::from_utf8_lossy(&text).into_owned();
    let Ok(read) = read else { bail!("the console's reader died") };
    read.context("cannot read the console")?;
    match ended {
        Ended::PoweredOff => Ok(text),
        Ended::Silent => {
            bail!("the guest said nothing for {SILENCE:?}; its console:\n{}", tail(&text))
        }
        Ended::TooLong => {
            bail!("the guest did not power off within {AT_MOST:?}; its console:\n{}", tail(&text))
        }
    }
}

/// How a guest's console ended.
enum Ended {
    PoweredOff,
    Silent,
    TooLong,
}

/// Sends on what the console says, piece by piece.
fn forward(mut console: ChildStdout, said: &Sender<Vec<u8>>) -> io::Result<()> {
    let mut piece = vec![0; 4096];
    loop {
        let len = console.read(&mut piece)?;
        if len == 0 || said.send(piece[..len].to_vec()).is_err() {
            return Ok(());
        }
    }
}

/// Collects what the console says until it is closed, or there is reason to give up.
fn hear(heard: &Receiver<Vec<u8>>, text: &mut Vec<u8>) -> Ended {
    let deadline = Instant::now() + AT_MOST;
    loop {
        match heard.recv_timeout(SILENCE) {
            Ok(piece) => text.extend(piece),
            Err(RecvTimeoutError::Disconnected) => return Ended::PoweredOff,
            Err(RecvTimeoutError::Timeout) => return Ended::Silent,
        }
        if Instant::now() > deadline {
            return Ended::TooLong;
        }
    }
}

/// Ends the guest if it has not ended by itself.
fn end(child: &mut Child) -> Result<()> {
    if child.try_wait()?.is_none() {
        child.kill()?;
    }
    child.wait()?;
    Ok(())
}

/// The last lines of a console.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
