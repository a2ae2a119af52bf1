//! Without capabilities, in a user namespace, behind a seccomp filter, at a limit.

use std::fs;
use std::os::unix::process::CommandExt;

use anyhow::Result;
use handshake_tests::watcher::binary;

use crate::patient::{Diagnosis, Folder, Patient};

const NO_PRIVILEGE: Option<i32> = Some(77);
const NOTHING_ATTACHED: Option<i32> = Some(3);

/// As root with these capabilities only.
fn with(kept: &str) -> Result<Diagnosis> {
    let bounding = format!("--bounding-set={kept}");
    let wrapper = ["setpriv", &bounding, "--inh-caps=-all"];
    Patient::new()?.examine_under(&wrapper, &["-i", "lo"])
}

#[test]
fn in_order_everything_is_tried_and_ok() -> Result<()> {
    let found = Patient::with_veth()?.examine("va")?;
    assert_eq!(found.code, Some(0), "{found}");
    for (group, count) in
        [("process", 1), ("kernel", 2), ("programs", 10), ("attaching", 3), ("interface", 6)]
    {
        let checks = found.group(group);
        assert_eq!(checks.len(), count, "{group}: {found}");
        assert!(checks.iter().all(|one| one.verdict() == "ok"), "{group}: {found}");
    }
    found.check("programs", "hs_tc_in").says("ok", &["a SYN passed unchanged, as 1 event"]);
    found.check("attaching", "TC").says("ok", &["TCX"]);
    Ok(())
}

#[test]
fn a_user_without_capabilities_is_granted_them_by_the_command_that_is_named() -> Result<()> {
    let (patient, folder) = (Patient::new()?, Folder::new()?);
    let program = folder.executable("handshake", &fs::read(binary()?)?)?.display().to_string();
    let nobody = || {
        let mut command = patient.namespace.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &program]);
        Diagnosis::of(&command.args(["doctor", "--json", "-i", "lo"]).output()?)
    };
    let found = nobody()?;
    assert_eq!(found.code, NO_PRIVILEGE, "{found}");
    let check = found.check("process", "capabilities");
    check.says("blocked", &["CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON are not effective"]);
    found.assert_nothing_ok_in(&["programs", "attaching"]);
    found.check("interface", "hook").says("unknown", &["auto takes TC"]);
    assert_eq!(found.check("programs", "maps").command(), check.command());
    patient.follow(&check)?;
    let found = nobody()?;
    assert_eq!(found.code, Some(0), "{found}");
    found.check("process", "capabilities").says("ok", &[]);
    found.check("programs", "hs_xdp").says("ok", &["a SYN passed"]);
    // To try that takes CAP_SYS_ADMIN, which watching does not.
    found.check("attaching", "TC").says("unknown", &["not tried"]);
    Ok(())
}

#[test]
fn without_cap_bpf_no_map_is_made() -> Result<()> {
    let found = with("-all,+net_admin,+perfmon")?;
    assert_eq!(found.code, NO_PRIVILEGE, "{found}");
    let check = found.check("process", "capabilities");
    check.says("blocked", &["CAP_BPF is not effective, and the bounding set has no CAP_BPF"]);
    assert!(check.advice().contains("--cap-add BPF"), "{found}");
    found.check("programs", "maps").says("blocked", &["CAP_BPF"]);
    found.assert_nothing_ok_in(&["programs", "attaching"]);
    Ok(())
}

#[test]
fn without_cap_net_admin_maps_are_made_but_no_program_is_loaded() -> Result<()> {
    let found = with("-all,+bpf,+perfmon")?;
    assert_eq!(found.code, NO_PRIVILEGE, "{found}");
    found.check("process", "capabilities").says("blocked", &["CAP_NET_ADMIN is not effective"]);
    found.check("programs", "HS_TABLE").says("ok", &["array"]);
    found.check("programs", "hs_tc_out").says("blocked", &["CAP_NET_ADMIN"]);
    found.assert_nothing_ok_in(&["attaching"]);
    found.check("interface", "TC ingress").says("unknown", &["cannot be read"]);
    Ok(())
}

#[test]
fn without_cap_perfmon_the_verifier_decides() -> Result<()> {
    let found = with("-all,+bpf,+net_admin")?;
    found.check("process", "capabilities").says("degraded", &["CAP_PERFMON"]);
    let program = found.check("programs", "hs_tc_in");
    match found.code {
        NO_PRIVILEGE => program.says("blocked", &["CAP_PERFMON"]),
        _ => program.says("ok", &["a SYN passed"]),
    }
    Ok(())
}

#[test]
fn with_the_three_capabilities_only_what_takes_more_is_unknown() -> Result<()> {
    let found = with("-all,+bpf,+net_admin,+perfmon")?;
    assert_eq!(found.code, Some(0), "{found}");
    found.check("process", "capabilities").says("ok", &[]);
    assert!(found.group("programs").iter().all(|one| one.verdict() == "ok"), "{found}");
    assert!(found.group("attaching").iter().all(|one| one.verdict() == "unknown"), "{found}");
    found.check("interface", "TC ingress").says("ok", &["nobody else"]);
    Ok(())
}

#[test]
fn a_user_namespace_is_said_to_be_in_the_way() -> Result<()> {
    let wrapper = ["unshare", "--user", "--map-root-user", "--net"];
    let found = Patient::new()?.examine_under(&wrapper, &["-i", "lo"])?;
    assert_eq!(found.code, NO_PRIVILEGE, "{found}");
    let check = found.check("process", "capabilities");
    check.says("blocked", &["in a user namespace"]);
    assert!(check.advice().contains("on the host"), "{found}");
    found.assert_nothing_ok_in(&["programs", "attaching"]);
    Ok(())
}

#[test]
fn no_new_privs_is_named_where_sudo_and_setcap_cannot_help() -> Result<()> {
    let wrapper = ["setpriv", "--reuid=65534", "--clear-groups", "--no-new-privs"];
    let found = Patient::new()?.examine_under(&wrapper, &["-i", "lo"])?;
    assert_eq!(found.code, NO_PRIVILEGE, "{found}");
    let check = found.check("process", "capabilities");
    check.says("blocked", &["`no_new_privs` keeps this process from getting them"]);
    assert!(check.advice().contains("NoNewPrivileges"), "{found}");
    Ok(())
}

/// Lets a command, and what it starts, get EPERM from one system call.
fn forbid(command: &mut std::process::Command, call: libc::c_long) {
    let filter = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let give_up = move || {
        // Load the number of the call; if it is that one, the error, else go on.
        let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        let mut steps = [
            filter(0x20, 0, 0, 0),
            filter(0x15, 0, 1, call as u32),
            filter(0x06, 0, 0, refuse),
            filter(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
        // SAFETY: the kernel copies the four steps of the program, which outlives the call.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const program) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure runs between fork and exec; it makes one system call and allocates nothing.
    unsafe { command.pre_exec(give_up) };
}

fn examine_without(call: libc::c_long) -> Result<Diagnosis> {
    let patient = Patient::new()?;
    // A namespace is entered before, so that only the program is without the call.
    let mut command = patient.namespace.command(binary()?);
    command.args(["doctor", "--json", "-i", "lo"]);
    forbid(&mut command, call);
    Diagnosis::of(&command.output()?)
}

#[test]
fn where_seccomp_forbids_bpf_nothing_is_claimed_to_work() -> Result<()> {
    let found = examine_without(libc::SYS_bpf)?;
    assert_eq!(found.code, NO_PRIVILEGE, "{found}");
    found.check("process", "capabilities").says("ok", &[]);
    let check = found.check("programs", "maps");
    check.says("blocked", &["although the capabilities are there", "seccomp"]);
    assert!(check.advice().contains("--privileged"), "{found}");
    found.assert_nothing_ok_in(&["programs", "attaching"]);
    found.check("interface", "hook").says("unknown", &["not tried or failed"]);
    found.check("memory", "maps").says("unknown", &["not made"]);
    Ok(())
}

#[test]
fn where_no_namespace_can_be_made_attaching_is_unknown() -> Result<()> {
    let found = examine_without(libc::SYS_unshare)?;
    assert_eq!(found.code, Some(0), "{found}");
    found.check("programs", "hs_tc_in").says("ok", &["a SYN passed"]);
    for check in found.group("attaching") {
        check.says("unknown", &["not tried: a network namespace"]);
    }
    found.check("interface", "hook").says("unknown", &["not tried or failed"]);
    Ok(())
}

#[test]
fn a_limit_of_open_files_is_named_and_raised_by_what_is_said() -> Result<()> {
    let patient = Patient::new()?;
    let program = binary()?.display().to_string();
    let examine = |remedy: &str| {
        let script = format!("ulimit -S -n 8; {remedy} {program} doctor --json -i lo");
        Diagnosis::of(&patient.shell(&script).output()?)
    };
    let found = examine("")?;
    assert_eq!(found.code, NOTHING_ATTACHED, "{found}");
    let check = found.check("programs", "maps");
    check.says("blocked", &["RLIMIT_NOFILE"]);
    let advice = check.advice();
    let command = advice.split('`').nth(1).expect("a command in the advice");
    let found = examine(&format!("{command};"))?;
    assert_eq!(found.code, Some(0), "{command}: {found}");
    Ok(())
}
