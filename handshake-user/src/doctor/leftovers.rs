//! What killed runs left: classic TC filters, on kernels without TCX. Everything else goes with
//! its process.

use super::{Check, Group, Verdict};
use crate::interfaces::{InterfacesError, list};
use crate::loader::neighbours::{Left, left_on};

pub(super) fn check() -> Check {
    match found() {
        Ok(found) => judge(&found),
        Err(error) => check_of(Verdict::Unknown, error.to_string()),
    }
}

/// On all interfaces: a killed run may have watched any.
fn found() -> Result<Vec<Left>, InterfacesError> {
    let mut found = Vec::new();
    for interface in list()? {
        found.extend(left_on(&interface)?);
    }
    Ok(found)
}

fn check_of(verdict: Verdict, finding: impl Into<String>) -> Check {
    Check::new(Group::Leftovers, "TC filters", verdict, finding)
}

fn cleanup() -> String {
    format!("sudo {} cleanup", super::program())
}

fn judge(found: &[Left]) -> Check {
    let those = |lives: bool| {
        let those = found.iter().filter(|one| one.lives == lives);
        those.map(|one| one.what.clone()).collect::<Vec<_>>()
    };
    let (dead, living) = (those(false), those(true));
    if !dead.is_empty() {
        let finding = format!("a killed handshake left {}", dead.join(", "));
        return check_of(Verdict::Degraded, finding).command(cleanup());
    }
    if living.is_empty() {
        return check_of(Verdict::Ok, "none of ours is left on any interface");
    }
    check_of(Verdict::Ok, format!("only those of a running handshake: {}", living.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Remedy;

    #[test]
    fn only_the_dead_leave_something_behind() {
        let left = |lives| Left { what: "filter \"hs_tc_in\"".to_owned(), lives };
        assert_eq!(judge(&[]).verdict, Verdict::Ok);
        assert_eq!(judge(&[left(true)]).verdict, Verdict::Ok);
        let check = judge(&[left(true), left(false)]);
        assert_eq!(check.verdict, Verdict::Degraded);
        assert_eq!(check.remedy, Some(Remedy::Command(cleanup())));
    }
}
