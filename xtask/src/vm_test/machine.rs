//! One boot of one kernel, with an end whatever happens inside.
use std::{
    io::{self, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;

/// A guest whose console says nothing for this long hangs. Its longest test takes a minute under
/// emulation on an idle machine; a busy one may be several times slower.
const SILENCE: Duration = Duration::from_secs(900);
/// A guest that goes on talking ends after this long all the same.
const AT_MOST: Duration = Duration::from_secs(3600);

/// How eagerly guests run.
#[derive(Default)]
pub(super) struct Pace(Mutex<Running>);

#[derive(Default)]
struct Running {
    /// Only while nobody else wants the CPU.
    is_idle: bool,
    pids: Vec<u32>,
}

impl Pace {
    /// Guests run only while nobody else wants the CPU, until [`Pace::hurry`].
    pub(super) fn idle() -> Self {
        Self(Mutex::new(Running { is_idle: true, pids: Vec::new() }))
    }

    /// From now on they run as everybody does.
    pub(super) fn hurry(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.is_idle = false;
        for pid in &running.pids {
            // Fails only if it has ended.
            let mut command = Command::new("chrt");
            command.args(["--all-tasks", "--other", "--pid", "0", &pid.to_string()]);
            drop(command.stderr(Stdio::null()).status());
        }
    }

    fn spawn(&self, arguments: &Command) -> io::Result<Child> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = Command::new("chrt");
        command.args([if running.is_idle { "--idle" } else { "--other" }, "0"]);
        command.arg(arguments.get_program()).args(arguments.get_args());
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        running.pids.push(child.id());
        Ok(child)
    }
}

/// Boots `kernel` with `initramfs` until it powers off; returns what the console said.
pub(super) fn boot(kernel: &Kernel, initramfs: &Path, pace: &Pace) -> Result<String> {
    let mut command = Command::new("qemu-system-x86_64");
    command
        // Has RDRAND: without it, nothing that asks for random numbers gets any for minutes.
        .args(["-cpu", "max"])
        .args(["-nographic", "-no-reboot", "-m", "1024", "-nic", "none", "-kernel"])
        .arg(kernel.image()?)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1"]);
    let mut child = pace.spawn(&command).context("could not start qemu-system-x86_64")?;
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
