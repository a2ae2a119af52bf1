//! Interfaces come, go and are renamed while watching, and somebody may detach us.

use std::collections::HashSet;

use anyhow::Result;

use super::{Watching, view};
use crate::attempt::Nanos;
use crate::exit::Failure;
use crate::interfaces::{self, Change, Interface};
use crate::loader::State;
use crate::stderr::say;

/// What is said of an interface that is switched off.
const DOWN: &str = "down";

/// Stands for the name of an interface that is not there yet.
const WAITING: &str = "nothing watched";

/// Why no packet passes an interface that is there.
fn link_trouble(interface: &Interface) -> Option<&'static str> {
    match (interface.up, interface.carrier) {
        (false, _) => Some(DOWN),
        (true, false) => Some("no carrier"),
        (true, true) => None,
    }
}

impl Watching<'_> {
    pub(super) fn on_change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::LinkUp(interface) => {
                self.take_up(&interface)?;
                self.follow_route()?;
                self.follow_link(&interface);
            }
            Change::DefaultRoute => self.follow_route()?,
            Change::LinkDown(interface) | Change::Carrier(interface) => {
                self.follow_link(&interface);
            }
            Change::LinkGone { index, name } => {
                let now = self.places.now();
                if self.loader.detach(index) {
                    self.lose_sight(index, &name, now)?;
                }
                self.fought.remove(&index);
                self.links_down.remove(&index);
                self.say_gone(&name, now);
                self.tell_waiting();
            }
            Change::Renamed { from, interface } => {
                self.view.renamed(&from, &interface.name);
                if self.is_watched(interface.index) {
                    say(format_args!("{from} is now called {}", interface.name));
                    self.loader.rename(interface.index, &interface.name);
                    self.places.name(interface.index, &interface.name);
                    self.targets.rename(&from, &interface.name);
                    if let Some(exporter) = &mut self.exporter {
                        exporter.rename(&from, &interface.name);
                    }
                } else {
                    self.take_up(&interface)?;
                }
            }
            Change::AddressesChanged => self.places.refresh_addresses(),
            Change::Overrun => {
                self.places.refresh_addresses();
                self.follow_route()?;
            }
        }
        Ok(())
    }

    /// Takes up what the default route leads through, if that decides.
    fn follow_route(&mut self) -> Result<()> {
        if !self.targets.follows_route() {
            return Ok(());
        }
        let Self { targets, loader, .. } = self;
        let is_watched = |index| loader.attachments().any(|one| one.index == index);
        for interface in targets.follow(&is_watched)? {
            self.take_up(&interface)?;
            self.follow_link(&interface);
        }
        Ok(())
    }

    /// Says on the screen for what it waits, while nothing is watched.
    pub(super) fn tell_waiting(&mut self) {
        if self.loader.attachments().next().is_none() {
            let awaited = format!("waiting for {}", self.targets.awaited());
            self.view.degraded(WAITING, &awaited, self.places.now());
        }
    }

    /// An interface is gone. Where a pattern brought it, others like it come and go, and that is no
    /// trouble.
    fn say_gone(&mut self, name: &str, now: Nanos) {
        let passes = self.targets.passes(name);
        self.view.gone(name, now, passes);
        if passes && let Some(exporter) = &mut self.exporter {
            exporter.gone(name);
        }
    }

    /// An interface we watched is gone, at the earliest since `from`.
    fn lose_sight(&mut self, index: u32, name: &str, from: Nanos) -> Result<()> {
        self.links_down.remove(&index);
        self.engine.note_gap_at(index);
        self.view.gap(name, "interface-gone", from, self.places.now())?;
        say(format_args!("{name} is gone; it is taken up again when it comes back"));
        Ok(())
    }

    /// Says if an interface we watch lets no packet through, and when it does again.
    pub(super) fn follow_link(&mut self, interface: &Interface) {
        let Interface { index, name, .. } = interface;
        if !self.is_watched(*index) {
            return;
        }
        let trouble = link_trouble(interface);
        let before = match trouble {
            Some(trouble) => self.links_down.insert(*index, trouble),
            None => self.links_down.remove(index),
        };
        if before == trouble {
            return;
        }
        self.view.link(name, trouble, self.places.now());
        match trouble {
            Some(DOWN) => say(format_args!("{name} is down")),
            Some(trouble) => say(format_args!("{name} has {trouble}")),
            None => say(format_args!("{name} is up again")),
        }
    }

    /// Interfaces come and go by the thousand where containers do.
    fn forget_gone(&mut self) {
        let watched: HashSet<u32> = self.loader.attachments().map(|one| one.index).collect();
        if self.engine.forget_gone(&watched) {
            self.places.forget_gone(&watched, self.engine.sources());
        }
    }

    fn is_watched(&self, index: u32) -> bool {
        self.loader.attachments().any(|attachment| attachment.index == index)
    }

    /// Has somebody detached us again after we had attached again?
    fn is_left_alone(&self, index: u32) -> bool {
        self.fought.get(&index).is_some_and(|times| *times > 1)
    }

    /// Attaches to an interface that has appeared, if it is one of those asked for.
    fn take_up(&mut self, interface: &Interface) -> Result<()> {
        let index = interface.index;
        if self.is_watched(index) || self.is_left_alone(index) || !self.targets.include(interface) {
            return Ok(());
        }
        match self.loader.attach(interface) {
            Ok(attachment) => {
                // One direction was attached before the other.
                self.engine.note_gap_at(interface.index);
                say(view::sentence(&attachment));
                self.places.name(attachment.index, &attachment.name);
                self.view.attached(&attachment, self.places.now());
                self.view.found(WAITING, self.places.now());
                self.forget_gone();
            }
            Err(error) => {
                self.view.degraded(&interface.name, &error.to_string(), self.places.now());
                say(format_args!("handshake: {error}"));
            }
        }
        Ok(())
    }

    /// Has somebody detached us? Attaches again once, then only says so.
    pub(super) fn check(&mut self) -> Result<()> {
        let last_seen = std::mem::replace(&mut self.checked, self.places.now());
        self.places.refresh_clock();
        self.loader.say_logs();
        for health in self.loader.health() {
            if health.ingress == State::Attached && health.egress == State::Attached {
                continue;
            }
            self.loader.detach(health.index);
            let all = interfaces::list().map_err(Failure::from)?;
            let Some(interface) = all.iter().find(|one| one.index == health.index) else {
                self.lose_sight(health.index, &health.name, last_seen)?;
                let now = self.places.now();
                self.say_gone(&health.name, now);
                continue;
            };
            let now = self.places.now();
            self.engine.note_gap();
            self.view.gap(&health.name, "detached", last_seen, now)?;
            self.view.degraded(&health.name, "somebody detached handshake", now);
            say(format_args!("somebody detached handshake from {}", health.name));
            *self.fought.entry(health.index).or_default() += 1;
            self.take_up(interface)?;
            if self.is_left_alone(health.index) {
                say(format_args!("not attaching to {} again; start anew to watch it", health.name));
            }
        }
        Ok(())
    }
}
