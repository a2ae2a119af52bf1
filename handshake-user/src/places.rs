//! Names for what the engine knows by number: interfaces, the host's part in an attempt, the time
//! of day. Every output of `watch` shows an attempt through [`Places::view`], so that all of them
//! say the same.

use std::collections::HashMap;

use handshake_common::abi::Hook;

use crate::attempt::{Attempt, Key, Nanos, SourceId};
use crate::clock::Clock;
use crate::engine::Sources;
use crate::interfaces::{Addresses, addresses};
use crate::snapshot::{AttemptView, Place, Role};

/// See the module.
#[derive(Debug)]
pub struct Places {
    clock: Clock,
    addresses: Addresses,
    names: HashMap<u32, String>,
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}

impl Places {
    /// No interface yet; the host's addresses and the clock of this moment.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Clock::new(),
            addresses: addresses().unwrap_or_default(),
            names: HashMap::new(),
        }
    }

    /// An interface is called this from now on.
    pub fn name(&mut self, index: u32, name: &str) {
        self.names.insert(index, name.to_owned());
    }

    /// Reads the host's addresses again.
    pub fn refresh_addresses(&mut self) {
        if let Ok(addresses) = addresses() {
            self.addresses = addresses;
        }
    }

    /// Reads the offset of the wall clock again.
    pub fn refresh_clock(&mut self) {
        self.clock.refresh();
    }

    /// Nanoseconds to add to boot time to get nanoseconds since 1970.
    #[must_use]
    pub fn to_wall(&self) -> Nanos {
        Nanos::try_from(self.clock.to_wall(0)).unwrap_or(Nanos::MAX)
    }

    /// Nanoseconds since 1970, now.
    #[must_use]
    pub fn now(&self) -> Nanos {
        Nanos::try_from(Clock::now()).unwrap_or(Nanos::MAX).saturating_add(self.to_wall())
    }

    /// The name of an interface; "?" if it never had one.
    #[must_use]
    pub fn interface(&self, index: u32) -> &str {
        self.names.get(&index).map_or("?", String::as_str)
    }

    /// Where a source is, and the host's part in attempts of `key`.
    #[must_use]
    pub fn place(&self, key: &Key, source: SourceId, sources: &Sources) -> Place<'_> {
        let (index, hook) = sources.of(source).unwrap_or((0, 0));
        Place {
            interface: self.interface(index),
            hook: Hook::from_index(hook).map_or("?", Hook::name),
            role: self.role(key),
        }
    }

    /// An ended attempt as outputs get it.
    #[must_use]
    pub fn view<'a>(&'a self, attempt: &'a Attempt, sources: &Sources) -> AttemptView<'a> {
        let place = Some(self.place(&attempt.key, attempt.source, sources));
        AttemptView { attempt, place, to_wall: self.to_wall() }
    }

    /// The host's part, by its own addresses.
    fn role(&self, key: &Key) -> Role {
        if self.addresses.contains(key.client_addr().ip()) {
            Role::Client
        } else if self.addresses.contains(key.server_addr().ip()) {
            Role::Server
        } else {
            Role::Forwarded
        }
    }
}
