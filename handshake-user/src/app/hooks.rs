//! The hooks of interfaces as the metrics endpoint shows them: those that are attached, and those
//! that were; only so many interfaces by name.

use crate::loader::{Attachment, Loader};
use crate::places::Places;
use crate::snapshot::metrics::HookRow;

/// Interfaces shown by name.
const INTERFACES: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    /// Two for each interface.
    rows: Vec<HookRow>,
    others: u64,
}

impl Hooks {
    /// What is shown.
    pub(super) fn rows(&self) -> &[HookRow] {
        &self.rows
    }

    /// Hooks attached that are not shown.
    pub(super) fn others(&self) -> u64 {
        self.others
    }

    /// An interface has another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.rows.retain(|row| row.interface != to);
        for row in self.rows.iter_mut().filter(|row| row.interface == from) {
            to.clone_into(&mut row.interface);
        }
    }

    /// An interface is not told any more.
    pub(super) fn forget(&mut self, name: &str) {
        self.rows.retain(|row| row.interface != name);
    }

    /// Takes what is attached now.
    pub(super) fn update(&mut self, loader: &Loader, places: &Places) {
        let attached = loader.attachments();
        let now: Vec<[HookRow; 2]> =
            attached.map(|one| rows(one, places.interface(one.index))).collect();
        self.take(now);
    }

    fn take(&mut self, now: Vec<[HookRow; 2]>) {
        self.rows.iter_mut().for_each(|row| row.attached = false);
        let is_known = |rows: &[HookRow], pair: &[HookRow; 2]| {
            rows.iter().any(|row| row.interface == pair[0].interface)
        };
        let (known, new): (Vec<_>, Vec<_>) =
            now.into_iter().partition(|pair| is_known(&self.rows, pair));
        for pair in known {
            self.rows.retain(|row| row.interface != pair[0].interface);
            self.rows.extend(pair);
        }
        self.others = 0;
        for pair in new {
            if self.rows.len() >= 2 * INTERFACES
                && let Some(gone) = self.rows.iter().find(|row| !row.attached)
            {
                let name = gone.interface.clone();
                self.rows.retain(|row| row.interface != name);
            }
            if self.rows.len() < 2 * INTERFACES {
                self.rows.extend(pair);
            } else {
                self.others += 2;
            }
        }
        self.rows.sort_by(|a, b| (&a.interface, a.hook).cmp(&(&b.interface, b.hook)));
    }
}

fn rows(attachment: &Attachment, name: &str) -> [HookRow; 2] {
    [attachment.ingress, attachment.egress].map(|placement| HookRow {
        interface: name.to_owned(),
        hook: placement.hook.name(),
        mode: placement.how.name(),
        attached: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> [HookRow; 2] {
        ["tc-ingress", "tc-egress"].map(|hook| HookRow {
            interface: name.to_owned(),
            hook,
            mode: "TCX",
            attached: true,
        })
    }

    fn told(hooks: &Hooks) -> Vec<(&str, bool)> {
        let rows = hooks.rows().iter().filter(|row| row.hook == "tc-egress");
        rows.map(|row| (row.interface.as_str(), row.attached)).collect()
    }

    #[test]
    fn who_is_gone_is_told_until_the_place_is_needed() {
        let mut hooks = Hooks::default();
        hooks.take(vec![pair("a"), pair("b")]);
        hooks.take(vec![pair("b")]);
        assert_eq!(told(&hooks), [("a", false), ("b", true)]);
        let many: Vec<_> = (0..20).map(|n| pair(&format!("veth{n}"))).collect();
        hooks.take([vec![pair("b")], many].concat());
        assert_eq!(hooks.rows().len(), 2 * INTERFACES);
        assert!(hooks.rows().iter().all(|row| row.attached), "{hooks:?}");
        assert_eq!(hooks.others() as usize, 2 * (21 - INTERFACES));
    }

    #[test]
    fn what_is_forgotten_is_told_no_more() {
        let mut hooks = Hooks::default();
        hooks.take(vec![pair("a"), pair("veth1")]);
        hooks.forget("veth1");
        hooks.take(vec![pair("a")]);
        assert_eq!(told(&hooks), [("a", true)]);
    }

    #[test]
    fn a_renamed_interface_has_no_series_under_its_old_name() {
        let mut hooks = Hooks::default();
        hooks.take(vec![pair("a")]);
        hooks.rename("a", "b");
        hooks.take(vec![pair("b")]);
        assert_eq!(told(&hooks), [("b", true)]);
    }
}
