//! Interfaces that are not watched as they should be, and why: some by name, the others counted.

/// Interfaces told by name, at most.
pub const MOST_DEGRADED: usize = 8;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    reason: String,
    is_gone: bool,
}

/// See the module. Where containers come and go, those that are gone give way first to newer ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Degraded {
    /// Oldest first.
    entries: Vec<Entry>,
    more: u64,
}

impl Degraded {
    /// An interface is not watched as it should be.
    pub fn insert(&mut self, name: String, reason: String) {
        self.add(Entry { name, reason, is_gone: false });
    }

    /// An interface is gone.
    pub fn insert_gone(&mut self, name: String, reason: String) {
        self.add(Entry { name, reason, is_gone: true });
    }

    fn add(&mut self, entry: Entry) {
        self.remove(&entry.name);
        if self.entries.len() >= MOST_DEGRADED {
            let gone = self.entries.iter().position(|one| one.is_gone);
            self.entries.remove(gone.unwrap_or(0));
            self.more += 1;
        }
        self.entries.push(entry);
    }

    /// It is watched as it should be (again).
    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|one| one.name != name);
    }

    /// An interface has another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        if self.get(from).is_some() {
            self.remove(to);
        }
        for one in self.entries.iter_mut().filter(|one| one.name == from) {
            to.clone_into(&mut one.name);
        }
    }

    /// Why this one is not watched as it should be, if it is told by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(of, _)| *of == name).map(|(_, reason)| reason)
    }

    /// Names and reasons, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|one| (one.name.as_str(), one.reason.as_str()))
    }

    /// How often one had to give way: no longer told by name.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_gone_give_way_and_are_counted() {
        let mut degraded = Degraded::default();
        degraded.insert("eth0".to_owned(), "detached".to_owned());
        for n in 0..100 {
            degraded.insert_gone(format!("veth{n}"), "gone".to_owned());
        }
        assert_eq!(degraded.iter().count(), MOST_DEGRADED);
        assert_eq!(degraded.more(), 101 - MOST_DEGRADED as u64);
        assert_eq!(degraded.get("eth0"), Some("detached"));
        assert_eq!((degraded.get("veth0"), degraded.get("veth99")), (None, Some("gone")));
        degraded.remove("veth99");
        assert_eq!(degraded.iter().count(), MOST_DEGRADED - 1);
    }

    #[test]
    fn the_same_one_is_told_once_with_its_last_reason() {
        let mut degraded = Degraded::default();
        for _ in 0..20 {
            degraded.insert("eth0".to_owned(), "detached".to_owned());
            degraded.insert_gone("eth0".to_owned(), "gone".to_owned());
        }
        degraded.rename("eth0", "wan0");
        assert_eq!(degraded.iter().collect::<Vec<_>>(), [("wan0", "gone")]);
        assert_eq!(degraded.more(), 0);
    }
}
