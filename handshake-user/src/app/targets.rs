//! Which interfaces are to be watched: those asked for, or those of the default route; now, and when
//! they come (back).

use crate::exit::Failure;
use crate::interfaces::{ANY, Interface, default_route, list, select_or_wait};
use crate::stderr::say;

/// Names that are remembered of interfaces that were chosen by the default route.
const MOST_NAMES: usize = 64;
/// What is waited for if nothing is named.
const ANOTHER: &str = "an interface other than loopback that is up";

/// See the module.
#[derive(Debug)]
pub(super) enum Targets {
    /// Names and globs that an interface must match.
    Patterns(Vec<String>),
    /// What the default route leads through, or ever did: one that comes later is taken, and what
    /// was taken is kept, since a route often goes only to come back.
    DefaultRoute {
        /// Names of those that were taken.
        taken: Vec<String>,
        /// There has been one: then its absence does not mean everything that is up.
        was_routed: bool,
    },
}

impl Targets {
    /// The interfaces that match `patterns`, or those of the default route. Says what was chosen
    /// and for what it waits.
    pub(super) fn choose(patterns: &[String]) -> Result<(Self, Vec<Interface>), Failure> {
        if patterns.is_empty() {
            let mut route = Self::DefaultRoute { taken: Vec::new(), was_routed: false };
            let chosen = route.follow(&|_| false)?;
            if chosen.is_empty() {
                say(format_args!(
                    "no interface named, and none but loopback is up; waiting for {ANOTHER} (to \
                     watch loopback: -i lo)"
                ));
            }
            return Ok((route, chosen));
        }
        let selected = select_or_wait(&list()?, patterns)?;
        for one in &selected.waiting {
            say(format_args!("{}; waiting for one", one.yet()));
        }
        Ok((Self::Patterns(patterns.to_vec()), selected.interfaces))
    }

    /// Interfaces that the default route leads through now and that are not watched; says so. None
    /// if they were named.
    pub(super) fn follow(
        &mut self,
        is_watched: &dyn Fn(u32) -> bool,
    ) -> Result<Vec<Interface>, Failure> {
        let Self::DefaultRoute { was_routed, .. } = self else { return Ok(Vec::new()) };
        let chosen = default_route()?;
        if !chosen.is_routed && *was_routed {
            return Ok(Vec::new());
        }
        *was_routed |= chosen.is_routed;
        let new = chosen.interfaces.into_iter().filter(|one| !is_watched(one.index));
        let new: Vec<Interface> = new.collect();
        let names: Vec<&str> = new.iter().map(|one| one.name.as_str()).collect();
        if !names.is_empty() {
            say(format_args!("no interface named; chose {}: {}", names.join(", "), chosen.reason));
        }
        new.iter().for_each(|one| self.take(&one.name));
        Ok(new)
    }

    /// Does the default route decide?
    pub(super) fn follows_route(&self) -> bool {
        matches!(self, Self::DefaultRoute { .. })
    }

    /// Is this interface one of those asked for?
    pub(super) fn include(&self, interface: &Interface) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.iter().any(|one| interface.matches(one)),
            Self::DefaultRoute { taken, .. } => taken.contains(&interface.name),
        }
    }

    /// Was it a pattern that brought this interface, so that others like it come and go?
    pub(super) fn passes(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => !patterns.iter().any(|one| one == name),
            Self::DefaultRoute { .. } => false,
        }
    }

    /// What is waited for while nothing is watched.
    pub(super) fn awaited(&self) -> String {
        match self {
            Self::Patterns(patterns) => match patterns.as_slice() {
                [any] if any == ANY => "an interface that is up".to_owned(),
                names if !names.iter().any(|one| one.contains(['*', '?'])) => names.join(" or "),
                patterns => format!("an interface that matches {}", patterns.join(" or ")),
            },
            Self::DefaultRoute { taken, .. } if taken.is_empty() => ANOTHER.to_owned(),
            Self::DefaultRoute { taken, .. } => format!("{} or a default route", taken.join(", ")),
        }
    }

    /// An interface we watch has another name: it is the new one that comes back.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let (Self::Patterns(names) | Self::DefaultRoute { taken: names, .. }) = self;
        if let Some(name) = names.iter_mut().find(|name| *name == from) {
            to.clone_into(name);
        }
    }

    fn take(&mut self, name: &str) {
        let Self::DefaultRoute { taken, .. } = self else { return };
        if taken.iter().any(|known| known == name) {
            return;
        }
        if taken.len() >= MOST_NAMES {
            taken.remove(0);
        }
        taken.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_remembered_by_name_and_bounded() {
        let mut route = Targets::DefaultRoute { taken: Vec::new(), was_routed: true };
        assert_eq!(route.awaited(), ANOTHER);
        for n in 0..1_000 {
            route.take(&format!("ppp{n}"));
        }
        route.take("ppp999");
        route.rename("ppp999", "wan0");
        let Targets::DefaultRoute { taken, .. } = &route else { panic!("{route:?}") };
        assert_eq!((taken.len(), taken.last().map(String::as_str)), (MOST_NAMES, Some("wan0")));
    }

    #[test]
    fn only_what_a_pattern_brought_passes() {
        let targets = Targets::Patterns(vec!["eth0".to_owned(), "*".to_owned()]);
        assert!(targets.passes("veth7") && !targets.passes("eth0"));
    }

    #[test]
    fn what_is_waited_for_is_said() {
        let awaited = |patterns: &[&str]| {
            Targets::Patterns(patterns.iter().map(|&one| one.to_owned()).collect()).awaited()
        };
        assert_eq!(awaited(&["veth*", "cali*"]), "an interface that matches veth* or cali*");
        assert_eq!(awaited(&["eth0", "eth1"]), "eth0 or eth1");
        assert_eq!(awaited(&["any"]), "an interface that is up");
    }
}
