//! What this process may.

use super::{Check, Group, Remedy, Verdict};
use crate::loader::Capabilities;

/// Are the capabilities there? Whether the kernel honours them is for `programs` to find out.
pub(super) fn capabilities() -> Check {
    match Capabilities::now() {
        Some(found) => judge(&found),
        None => check(Verdict::Unknown, "/proc/self/status does not tell")
            .advice("mount /proc: `sudo mount -t proc proc /proc`"),
    }
}

fn check(verdict: Verdict, finding: impl Into<String>) -> Check {
    Check::new(Group::Process, "capabilities", verdict, finding)
}

fn judge(found: &Capabilities) -> Check {
    if found.missing.is_empty() {
        if found.in_user_namespace {
            let finding = "all are effective, but in a user namespace (rootless container), where \
                           the kernel grants no eBPF";
            let check = check(Verdict::Blocked, finding);
            return Check { lacks_privilege: true, ..check }
                .advice("run it on the host with `sudo`");
        }
        return check(Verdict::Ok, "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are effective");
    }
    // Without CAP_PERFMON the verifier is stricter; whether it minds is found out by trying.
    let verdict = match found.missing.as_slice() {
        ["CAP_PERFMON"] => Verdict::Degraded,
        _ => Verdict::Blocked,
    };
    remedied(found, Check { lacks_privilege: true, ..check(verdict, missing(found)) })
}

fn missing(found: &Capabilities) -> String {
    let list = found.missing.join(", ");
    let are = if found.missing.len() == 1 { "is" } else { "are" };
    format!("{list} {are} not effective")
}

fn remedied(found: &Capabilities, mut check: Check) -> Check {
    if found.no_new_privs {
        check.finding.push_str(", and `no_new_privs` keeps this process from getting them");
    } else if !found.out_of_reach.is_empty() {
        let list = found.out_of_reach.join(", ");
        check.finding.push_str(&format!(", and the bounding set has no {list}"));
    }
    Check { remedy: Some(remedy(found)), ..check }
}

/// What can be done about missing capabilities.
pub(super) fn remedy(found: &Capabilities) -> Remedy {
    if found.no_new_privs {
        let words = "start it from a session or service without `NoNewPrivileges`";
        return Remedy::Advice(words.to_owned());
    }
    if found.out_of_reach.is_empty() {
        return Remedy::Command(found.grant.clone());
    }
    let words = "outside of this container or service: `--cap-add BPF --cap-add NET_ADMIN \
                 --cap-add PERFMON` for a container, `CapabilityBoundingSet=CAP_BPF \
                 CAP_NET_ADMIN CAP_PERFMON` for a service";
    Remedy::Advice(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(missing: &[&'static str]) -> Capabilities {
        Capabilities {
            missing: missing.to_vec(),
            out_of_reach: Vec::new(),
            no_new_privs: false,
            in_user_namespace: false,
            grant: "sudo setcap x".to_owned(),
        }
    }

    #[test]
    fn the_remedy_is_one_that_can_work() {
        let check = judge(&found(&["CAP_BPF"]));
        assert_eq!((check.verdict, check.lacks_privilege), (Verdict::Blocked, true));
        assert_eq!(check.remedy, Some(Remedy::Command("sudo setcap x".to_owned())));
        let stuck = Capabilities { no_new_privs: true, ..found(&["CAP_BPF"]) };
        assert!(judge(&stuck).finding.contains("no_new_privs"));
        let bounded = Capabilities { out_of_reach: vec!["CAP_BPF"], ..found(&["CAP_BPF"]) };
        assert!(matches!(judge(&bounded).remedy, Some(Remedy::Advice(_))));
    }

    #[test]
    fn perfmon_alone_is_for_the_verifier_to_judge() {
        assert_eq!(judge(&found(&["CAP_PERFMON"])).verdict, Verdict::Degraded);
        assert_eq!(judge(&found(&[])).verdict, Verdict::Ok);
        let nested = Capabilities { in_user_namespace: true, ..found(&[]) };
        assert_eq!(judge(&nested).verdict, Verdict::Blocked);
    }
}
