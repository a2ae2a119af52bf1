//! Maps made, programs loaded and run, attachments tried: all by `loader::trial`, on nobody's
//! interface.

use handshake_common::abi::name;

use super::memory::bytes;
use super::{Check, Group, Verdict};
use crate::loader::trial::{MapReport, ProgramTrial, Ran, Trial, TrialError, Tried};
use crate::loader::{
    AttachError, Capabilities, HookChoice, How, LoadError, Options, XdpModeChoice,
};

/// Name of the check of an attachment by TC, without which nothing can be watched.
const TC: &str = "TC";
const SYSCTL_JIT: &str = "sudo sysctl net.core.bpf_jit_enable=1";

/// The checks, and what was loaded for them.
pub(super) fn checks() -> (Vec<Check>, Option<Trial>) {
    match Trial::load(&Options::default()) {
        Ok(mut trial) => {
            let mut checks: Vec<_> = trial.maps().iter().map(map).collect();
            checks
                .extend(name::PROGRAMS.into_iter().map(|name| program(name, trial.program(name))));
            checks.extend(attachments(&mut trial));
            (checks, Some(trial))
        }
        Err(error) => (without_maps(&error), None),
    }
}

/// Did an attachment by TC come about?
pub(super) fn is_attachable(checks: &[Check]) -> bool {
    let works = |verdict| matches!(verdict, Verdict::Ok | Verdict::Degraded);
    let is_tc = |check: &&Check| check.group == Group::Attaching && check.name == TC;
    checks.iter().find(is_tc).is_some_and(|check| works(check.verdict))
}

fn without_maps(error: &LoadError) -> Vec<Check> {
    let mut checks = vec![load_failed("maps", error)];
    checks.extend(untried("the maps could not be made"));
    checks
}

/// The checks where trying would have this process killed.
pub(super) fn spared() -> Vec<Check> {
    let why = "the control group has too little memory left (see memory)";
    let maps = Check::new(Group::Programs, "maps", Verdict::Unknown, format!("not tried: {why}"));
    [vec![maps], untried(why)].concat()
}

fn untried(why: &str) -> Vec<Check> {
    let unknown =
        |group, name: &str| Check::new(group, name, Verdict::Unknown, format!("not tried: {why}"));
    let programs = name::PROGRAMS.map(|name| unknown(Group::Programs, name));
    let ways = WAYS.map(|(name, ..)| unknown(Group::Attaching, name));
    programs.into_iter().chain(ways).collect()
}

fn load_failed(name: &str, error: &LoadError) -> Check {
    failed(Group::Programs, name, &error.to_string(), matches!(error, LoadError::Privilege(_)))
}

/// An error, with the command that grants what is missing if that can help.
fn failed(group: Group, name: &str, error: &str, lacks_privilege: bool) -> Check {
    let check = Check::failed(group, name, error, lacks_privilege);
    match Capabilities::now() {
        Some(found) if lacks_privilege && !found.missing.is_empty() => {
            Check { remedy: Some(super::process::remedy(&found)), ..check }
        }
        _ => check,
    }
}

fn map(report: &MapReport) -> Check {
    let MapReport { name, kind, count, bytes: size } = report;
    let what = if *count == 1 { (*kind).to_owned() } else { format!("{count} × {kind}") };
    Check::new(Group::Programs, name, Verdict::Ok, format!("{what}, {}", bytes(*size)))
}

fn program(name: &str, trial: Result<ProgramTrial, LoadError>) -> Check {
    let ProgramTrial { verified, ran } = match trial {
        Ok(trial) => trial,
        Err(error) => return load_failed(name, &error),
    };
    let check = |verdict, finding: String| Check::new(Group::Programs, name, verdict, finding);
    let loaded = match verified.verified_instructions {
        Some(count) => format!("loaded ({count} instructions verified)"),
        None => "loaded".to_owned(),
    };
    match ran {
        Ran::Right if verified.jited_bytes == 0 => {
            let finding = format!("{loaded}; a SYN passed, but by the interpreter: slow");
            check(Verdict::Degraded, finding).command(SYSCTL_JIT)
        }
        Ran::Right => check(Verdict::Ok, format!("{loaded}; a SYN passed unchanged, as 1 event")),
        Ran::Wrong(wrong) => check(Verdict::Blocked, format!("{loaded}; run on a SYN, {wrong}"))
            .advice("this is a bug of handshake: please report it with this output"),
        Ran::Refused(error) => {
            check(Verdict::Unknown, format!("{loaded}; the kernel would not run it: {error}"))
        }
    }
}

/// Ways to attach: name, hook and mode.
const WAYS: [(&str, HookChoice, XdpModeChoice); 3] = [
    (TC, HookChoice::Tc, XdpModeChoice::Auto),
    ("native XDP", HookChoice::Xdp, XdpModeChoice::Native),
    ("generic XDP", HookChoice::Xdp, XdpModeChoice::Generic),
];

fn attachments(trial: &mut Trial) -> Vec<Check> {
    WAYS.map(|(name, hook, mode)| attachment(name, trial.attach(hook, mode))).into()
}

fn attachment(name: &str, tried: Result<Tried, TrialError>) -> Check {
    let check = |verdict, finding: String| Check::new(Group::Attaching, name, verdict, finding);
    match tried {
        Ok(tried) => attached(name, &tried),
        Err(TrialError::Attach(error)) => {
            let refused = matches!(
                error,
                AttachError::Privilege(_) | AttachError::Load(LoadError::Privilege(_))
            );
            failed(Group::Attaching, name, &error.to_string(), refused)
        }
        Err(error) => {
            check(Verdict::Unknown, format!("not tried: {error}")).command(as_root("doctor"))
        }
    }
}

/// This program with its arguments, by sudo.
fn as_root(arguments: &str) -> String {
    format!("sudo {} {arguments}", super::program())
}

fn attached(name: &str, tried: &Tried) -> Check {
    let check = |verdict, finding: String| Check::new(Group::Attaching, name, verdict, finding);
    let where_tried = "on a veth pair of its own";
    match (name, tried.ingress, tried.egress) {
        (TC, How::Tcx, How::Tcx) => {
            check(Verdict::Ok, format!("TCX, both directions, {where_tried}"))
        }
        (TC, ..) => {
            let finding = format!(
                "clsact filters, both directions, {where_tried}; a killed process leaves them"
            );
            check(Verdict::Degraded, finding).advice(
                "Linux 6.6 or later has TCX; until then `sudo handshake cleanup` after a kill",
            )
        }
        (_, How::NativeXdp | How::GenericXdp, _) => {
            check(Verdict::Ok, format!("{} {where_tried}", tried.ingress))
        }
        _ => {
            let finding = format!("{} {where_tried}: {}", tried.ingress, tried.reason);
            check(Verdict::Degraded, finding).advice("TC sees the same packets: nothing to do")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::loader::Verified;

    fn tried(ingress: How, egress: How) -> Tried {
        Tried { ingress, egress, reason: "why".to_owned() }
    }

    fn ran(ran: Ran, jited_bytes: u32) -> Verdict {
        let verified = Verified { verified_instructions: Some(7), jited_bytes };
        program("hs_xdp", Ok(ProgramTrial { verified, ran })).verdict
    }

    #[test]
    fn only_a_right_run_is_ok() {
        assert_eq!(ran(Ran::Right, 1), Verdict::Ok);
        assert_eq!(ran(Ran::Right, 0), Verdict::Degraded);
        assert_eq!(ran(Ran::Wrong("it returned 1".to_owned()), 1), Verdict::Blocked);
        assert_eq!(ran(Ran::Refused(io::ErrorKind::Unsupported.into()), 1), Verdict::Unknown);
    }

    #[test]
    fn filters_instead_of_tcx_are_said_to_stay() {
        assert_eq!(attached(TC, &tried(How::Tcx, How::Tcx)).verdict, Verdict::Ok);
        let check = attached(TC, &tried(How::Clsact, How::Clsact));
        assert_eq!(check.verdict, Verdict::Degraded);
        assert!(is_attachable(&[check]));
    }

    #[test]
    fn xdp_that_became_tc_is_not_ok() {
        assert_eq!(attached("native XDP", &tried(How::NativeXdp, How::Tcx)).verdict, Verdict::Ok);
        let check = attached("native XDP", &tried(How::Tcx, How::Tcx));
        assert_eq!((check.verdict, check.finding.contains("why")), (Verdict::Degraded, true));
    }

    #[test]
    fn what_was_not_tried_is_unknown() {
        let checks = without_maps(&LoadError::Object("broken".to_owned()));
        assert_eq!(checks.len(), 1 + 6 + 3);
        assert_eq!(checks[0].verdict, Verdict::Blocked);
        assert!(checks[1..].iter().all(|check| check.verdict == Verdict::Unknown));
        assert!(!is_attachable(&checks));
        let error = TrialError::Namespace(io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(attachment(TC, Err(error)).verdict, Verdict::Unknown);
    }
}
