//! Tells the service manager (`sd_notify(3)`) how `watch` is doing; without `NOTIFY_SOCKET`, nobody.
//!
//! The watchdog is fed by the main loop, after a step of the engine, and by nothing else: a loop
//! that hangs is found out.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::snapshot::Summary;
use crate::stderr::say;

/// How often the status is told at most.
const STATUS: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Service {
    /// Somebody listens.
    listens: bool,
    /// How often the watchdog wants to hear of us, halved so that a late beat does no harm.
    beat: Option<Duration>,
    next_beat: Instant,
    next_status: Instant,
    status: String,
}

impl Service {
    /// As the environment says.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let listens = std::env::var_os("NOTIFY_SOCKET").is_some();
        let beat = sd_notify::watchdog_enabled().filter(|beat| !beat.is_zero());
        Self {
            listens,
            beat: beat.map(|beat| beat / 2),
            next_beat: now,
            next_status: now,
            status: String::new(),
        }
    }

    /// Everything is attached, or the configuration has been read again.
    pub(super) fn ready(&mut self, status: String) {
        self.next_status = Instant::now() + STATUS;
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        self.status = status;
    }

    /// The engine has made a step; `status` is asked for when it is time to tell it again.
    pub(super) fn progressed(&mut self, status: impl FnOnce() -> String) {
        if !self.listens {
            return;
        }
        let now = Instant::now();
        if let Some(beat) = self.beat
            && now >= self.next_beat
        {
            self.next_beat = now + beat;
            self.tell(&[NotifyState::Watchdog]);
        }
        if now >= self.next_status {
            self.next_status = now + STATUS;
            let status = status();
            if status != self.status {
                self.tell(&[NotifyState::Status(&status)]);
                self.status = status;
            }
        }
    }

    /// How long the engine may do nothing: until the watchdog wants to hear of us.
    pub(super) fn patience(&self) -> Duration {
        match self.beat {
            Some(_) if self.listens => self.next_beat.saturating_duration_since(Instant::now()),
            _ => Duration::MAX,
        }
    }

    /// The configuration is about to be read again; [`Service::ready`] says when that is done.
    pub(super) fn reloading(&mut self) {
        // Since systemd 253 the time must be told, too.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// Hooks are about to be detached.
    pub(super) fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("detaching")]);
    }

    /// Nobody hears is said once; watching goes on.
    fn tell(&mut self, states: &[NotifyState<'_>]) {
        if !self.listens {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            self.listens = false;
            say(format_args!("handshake: cannot notify the service manager: {error}"));
        }
    }
}

/// One line for `systemctl status`.
pub(super) fn status<'a>(
    interfaces: impl Iterator<Item = &'a str>,
    awaited: impl FnOnce() -> String,
    summary: &Summary,
) -> String {
    let interfaces: Vec<&str> = interfaces.collect();
    let doing = match interfaces.as_slice() {
        [] => format!("waiting for {}", awaited()),
        interfaces => format!("watching {}", interfaces.join(", ")),
    };
    let (started, open, lost) = (summary.started, summary.open, summary.events.lost);
    format!("{doing}: {started} attempts, {open} open, {lost} events lost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_one_line_with_the_books() {
        let summary = Summary { started: 12, open: 2, ..Summary::default() };
        let said = status(["eth0", "lo"].into_iter(), String::new, &summary);
        assert_eq!(said, "watching eth0, lo: 12 attempts, 2 open, 0 events lost");
        let waiting = status([].into_iter(), || "veth*".to_owned(), &summary);
        assert!(waiting.starts_with("waiting for veth*: 12 attempts"), "{waiting}");
    }
}
