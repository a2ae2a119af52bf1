//! When nothing could be seen at an interface: from when until when, and why. What is over is kept,
//! because what was open then is uncertain.

use std::collections::VecDeque;

use crate::attempt::Nanos;

/// Spells kept.
const MOST: usize = 50;

/// Nothing was seen at one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spell {
    /// Its name, not escaped.
    pub name: String,
    /// Why: as in the loss records.
    pub reason: &'static str,
    /// Since when at the earliest.
    pub from: Nanos,
    /// When it was seen again; `None` while it is not.
    pub until: Option<Nanos>,
    /// Interfaces like this one come and go, so that this is not told for long.
    passes: bool,
}

/// See the module. Those that are over give way first to newer ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blind {
    /// Oldest first.
    spells: VecDeque<Spell>,
    times: u64,
}

impl Blind {
    /// An interface is no longer seen, at the earliest since `from`.
    pub fn begin(&mut self, name: &str, reason: &'static str, from: Nanos) {
        if self.lasting().any(|spell| spell.name == name) {
            return;
        }
        if self.spells.len() >= MOST {
            let over = self.spells.iter().position(|spell| spell.until.is_some());
            self.spells.remove(over.unwrap_or(0));
        }
        self.times += 1;
        self.spells.push_back(Spell {
            name: name.to_owned(),
            reason,
            from,
            until: None,
            passes: false,
        });
    }

    /// It is seen again.
    pub fn end(&mut self, name: &str, now: Nanos) {
        let lasting = |spell: &&mut Spell| spell.name == name && spell.until.is_none();
        if let Some(spell) = self.spells.iter_mut().find(lasting) {
            spell.until = Some(now.max(spell.from));
        }
    }

    /// What is not seen now of this interface is not told for long.
    pub fn pass(&mut self, name: &str) {
        let lasting = |spell: &&mut Spell| spell.name == name && spell.until.is_none();
        self.spells.iter_mut().filter(lasting).for_each(|spell| spell.passes = true);
    }

    /// Forgets what passes and was so until then.
    pub fn expire(&mut self, until: Nanos) {
        let is_over = |spell: &Spell| spell.until.unwrap_or(spell.from) <= until;
        self.spells.retain(|spell| !(spell.passes && is_over(spell)));
    }

    /// An interface has another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        let named = self.spells.iter_mut().filter(|spell| spell.name == from);
        named.for_each(|spell| to.clone_into(&mut spell.name));
    }

    /// Those that last, oldest first.
    pub fn lasting(&self) -> impl Iterator<Item = &Spell> {
        self.spells.iter().filter(|spell| spell.until.is_none())
    }

    /// Those that are over, in order of their beginning.
    pub fn over(&self) -> impl DoubleEndedIterator<Item = &Spell> {
        self.spells.iter().filter(|spell| spell.until.is_some())
    }

    /// Leaves out what those others have, too.
    pub fn forget(&mut self, others: &Self) {
        let is_among = |spell: &Spell| {
            others.spells.iter().any(|one| (&one.name, one.from) == (&spell.name, spell.from))
        };
        self.spells.retain(|spell| !is_among(spell));
    }

    /// How many there have been.
    #[must_use]
    pub fn times(&self) -> u64 {
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spell_has_a_beginning_and_an_end() {
        let mut blind = Blind::default();
        blind.begin("eth0", "interface-gone", 5);
        blind.begin("eth0", "interface-gone", 6);
        blind.begin("eth1", "detached", 7);
        blind.end("eth2", 8);
        blind.rename("eth0", "wan0");
        assert_eq!(
            blind.lasting().map(|one| (&*one.name, one.from)).collect::<Vec<_>>(),
            [("wan0", 5), ("eth1", 7)]
        );
        blind.end("wan0", 9);
        blind.end("wan0", 10);
        assert_eq!(blind.over().map(|one| one.until).collect::<Vec<_>>(), [Some(9)]);
        blind.begin("wan0", "interface-gone", 11);
        assert_eq!((blind.lasting().count(), blind.over().count(), blind.times()), (2, 1, 3));
    }

    #[test]
    fn what_passes_is_forgotten_and_nothing_else() {
        let mut blind = Blind::default();
        blind.begin("eth0", "interface-gone", 1);
        for (name, from) in [("veth0", 5), ("veth1", 5), ("veth2", 9)] {
            blind.begin(name, "interface-gone", from);
            blind.pass(name);
        }
        blind.end("veth1", 6);
        blind.expire(5);
        let told = |blind: &Blind| blind.spells.iter().map(|one| one.from).collect::<Vec<_>>();
        assert_eq!(told(&blind), [1, 5, 9], "veth1 was seen again at 6");
        blind.expire(9);
        assert_eq!((told(&blind), blind.times()), (vec![1], 4));
    }

    #[test]
    fn those_that_are_over_give_way_and_all_are_counted() {
        let mut blind = Blind::default();
        blind.begin("eth0", "detached", 0);
        for n in 0..1_000 {
            blind.begin("veth0", "interface-gone", n);
            blind.end("veth0", n + 1);
        }
        assert_eq!((blind.spells.len(), blind.times()), (MOST, 1_001));
        assert!(blind.lasting().any(|spell| spell.name == "eth0"));
        for n in 0..1_000 {
            blind.begin(&format!("veth{n}"), "interface-gone", n);
        }
        assert_eq!(blind.spells.len(), MOST);
    }
}
