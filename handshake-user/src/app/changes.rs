//! Interfaces come, go and are renamed while watching, and somebody may detach us.

use anyhow::Result;

use super::{Watching, view};
use crate::exit::Failure;
use crate::interfaces::{self, Change, Interface};
use crate::loader::State;
use crate::stderr::say;

impl Watching<'_> {
    pub(super) fn on_change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::LinkUp(interface) => self.take_up(&interface)?,
            Change::LinkGone { index, name } => {
                if self.loader.detach(index) {
                    self.engine.note_gap_at(index);
                    self.view.gap("interface-gone", self.places.now())?;
                    say(format_args!("{name} is gone; it is taken up again when it comes back"));
                }
                self.view.gone(&name);
            }
            Change::Renamed { from, interface } => {
                self.view.renamed(&from, &interface.name);
                if self.is_watched(interface.index) {
                    say(format_args!("{from} is now called {}", interface.name));
                    self.loader.rename(interface.index, &interface.name);
                    self.places.name(interface.index, &interface.name);
                    self.books.rename(&from, &interface.name);
                    self.targets.rename(&from, &interface.name);
                    if let Some(exporter) = &mut self.exporter {
                        exporter.rename(&from, &interface.name);
                    }
                } else {
                    self.take_up(&interface)?;
                }
            }
            Change::LinkDown(interface) => {
                if self.is_watched(interface.index) {
                    say(format_args!("{} is down", interface.name));
                }
            }
            Change::AddressesChanged | Change::Overrun => self.places.refresh_addresses(),
        }
        Ok(())
    }

    fn is_watched(&self, index: u32) -> bool {
        self.loader.attachments().any(|attachment| attachment.index == index)
    }

    /// Attaches to an interface that has appeared, if it is one of those asked for.
    fn take_up(&mut self, interface: &Interface) -> Result<()> {
        if self.is_watched(interface.index) || !self.targets.include(interface) {
            return Ok(());
        }
        match self.loader.attach(interface) {
            Ok(attachment) => {
                // One direction was attached before the other.
                self.engine.note_gap_at(interface.index);
                say(view::sentence(&attachment));
                self.places.name(attachment.index, &attachment.name);
                self.view.attached(&attachment);
            }
            Err(error) => {
                self.view.degraded(&interface.name, &error.to_string());
                say(format_args!("handshake: {error}"));
            }
        }
        Ok(())
    }

    /// Has somebody detached us? Attaches again once, then only says so.
    pub(super) fn check(&mut self) -> Result<()> {
        self.places.refresh_clock();
        self.loader.say_logs();
        for health in self.loader.health() {
            if health.ingress == State::Attached && health.egress == State::Attached {
                continue;
            }
            self.loader.detach(health.index);
            let all = interfaces::list().map_err(Failure::from)?;
            let Some(interface) = all.iter().find(|one| one.index == health.index) else {
                self.engine.note_gap_at(health.index);
                self.view.gap("interface-gone", self.places.now())?;
                self.view.gone(&health.name);
                say(format_args!(
                    "{} is gone; it is taken up again when it comes back",
                    health.name
                ));
                continue;
            };
            self.engine.note_gap();
            self.view.gap("detached", self.places.now())?;
            self.view.degraded(&health.name, "somebody detached handshake");
            say(format_args!("somebody detached handshake from {}", health.name));
            if self.fought.insert(health.index) {
                self.take_up(interface)?;
            } else {
                say(format_args!("not attaching to {} again; start anew to watch it", health.name));
            }
        }
        Ok(())
    }
}
