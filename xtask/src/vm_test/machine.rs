//! One boot of one kernel, with an end whatever happens inside.
use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;

/// Everything in a guest takes a minute and a half under emulation; the rest is for slow machines.
const TIMEOUT: Duration = Duration::from_secs(420);

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
    let mut console = child.stdout.take().context("qemu has no console")?;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        console.read_to_end(&mut bytes).map(|_| bytes)
    });
    let in_time = wait(&mut child)?;
    let Ok(bytes) = reader.join() else { bail!("the console's reader died") };
    let text = String::from_utf8_lossy(&bytes.context("cannot read the console")?).into_owned();
    if !in_time {
        bail!("the guest did not power off within {TIMEOUT:?}; its console:\n{}", tail(&text));
    }
    Ok(text)
}

/// Whether the guest ended by itself; it is ended if not.
fn wait(child: &mut Child) -> Result<bool> {
    let deadline = Instant::now() + TIMEOUT;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

/// The last lines of a console.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
