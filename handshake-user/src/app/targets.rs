//! Which interfaces the user asked for, now and when they come back.

use crate::exit::Failure;
use crate::interfaces::{Interface, default_route, list, select};
use crate::stderr::say;

/// Names and globs that an interface must match.
#[derive(Debug)]
pub(super) struct Targets(Vec<String>);

impl Targets {
    /// The interfaces that match `patterns`, or those of the default route.
    pub(super) fn choose(patterns: &[String]) -> Result<(Self, Vec<Interface>), Failure> {
        if !patterns.is_empty() {
            let chosen = select(&list()?, patterns)?;
            return Ok((Self(patterns.to_vec()), chosen));
        }
        let chosen = default_route()?;
        let names: Vec<String> = chosen.interfaces.iter().map(|one| one.name.clone()).collect();
        if !names.is_empty() {
            say(format_args!("no interface named; chose {}: {}", names.join(", "), chosen.reason));
        }
        Ok((Self(names), chosen.interfaces))
    }

    /// Is this interface one of those asked for?
    pub(super) fn include(&self, interface: &Interface) -> bool {
        self.0.iter().any(|pattern| interface.matches(pattern))
    }

    /// An interface we watch has another name: it is the new one that comes back.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(name) = self.0.iter_mut().find(|pattern| *pattern == from) {
            to.clone_into(name);
        }
    }
}
