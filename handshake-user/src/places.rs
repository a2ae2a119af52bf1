//! Names for what the engine knows by number: interfaces, the host's part in an attempt, the time
//! of day. Every output of `watch` shows an attempt through [`Places::view`], so that all of them
//! say the same, and the same at any time: the host's part is that of when the attempt began.

mod held;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use handshake_common::abi::Hook;

use crate::attempt::{Attempt, Key, Nanos, SourceId};
use crate::clock::Clock;
use crate::engine::Sources;
use crate::interfaces::addresses;
use crate::snapshot::{AttemptView, Place, Role};
use held::Held;

/// See the module.
#[derive(Debug)]
pub struct Places {
    clock: Clock,
    addresses: Held,
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
            addresses: Held::new(addresses().unwrap_or_default().iter()),
            names: HashMap::new(),
        }
    }

    /// An interface is called this from now on.
    pub fn name(&mut self, index: u32, name: &str) {
        self.names.insert(index, name.to_owned());
    }

    /// Forgets the names of interfaces that are neither `watched` nor among the sources.
    pub fn forget_gone(&mut self, watched: &HashSet<u32>, sources: &Sources) {
        let known: HashSet<u32> = sources.interfaces().collect();
        self.names.retain(|index, _| watched.contains(index) || known.contains(index));
    }

    /// Interfaces that have a name.
    #[must_use]
    pub fn named(&self) -> usize {
        self.names.len()
    }

    /// Reads the host's addresses again.
    pub fn refresh_addresses(&mut self) {
        if let Ok(addresses) = addresses() {
            let now = Nanos::try_from(Clock::now()).unwrap_or(Nanos::MAX);
            self.addresses.update(addresses.iter(), now);
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

    /// Where a source is: interface and hook.
    #[must_use]
    pub fn seen_at(&self, source: SourceId, sources: &Sources) -> (&str, &'static str) {
        let Some((index, hook)) = sources.of(source) else { return ("?", "?") };
        (self.interface(index), Hook::from_index(hook).map_or("?", Hook::name))
    }

    /// Where an attempt was first seen, and the host's part in it; it began at `began` (boot time).
    #[must_use]
    pub fn place(&self, key: &Key, began: Nanos, source: SourceId, sources: &Sources) -> Place<'_> {
        let (interface, hook) = self.seen_at(source, sources);
        Place { interface, hook, role: self.role(key, began) }
    }

    /// An ended attempt as outputs get it.
    #[must_use]
    pub fn view<'a>(&'a self, attempt: &'a Attempt, sources: &Sources) -> AttemptView<'a> {
        let place = self.place(&attempt.key, attempt.t_first, attempt.source, sources);
        AttemptView { attempt, place: Some(place), to_wall: self.to_wall() }
    }

    /// The host's part, by its own addresses of that time.
    fn role(&self, key: &Key, began: Nanos) -> Role {
        let is_ours = |address: IpAddr| {
            address.to_canonical().is_loopback() || self.addresses.had(address, began)
        };
        if is_ours(key.client_addr().ip()) {
            Role::Client
        } else if is_ours(key.server_addr().ip()) {
            Role::Server
        } else {
            Role::Forwarded
        }
    }
}
