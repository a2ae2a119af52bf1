//! Limits of memory, and a kernel that hides its types.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use handshake_tests::process::tether;
use handshake_tests::watcher::binary;

use crate::patient::{Diagnosis, Patient};

/// A control group of our own with a limit of memory; gone when dropped, after its processes.
struct Group {
    folder: PathBuf,
    limit: &'static str,
}

impl Group {
    /// Of either version, whichever has the controller.
    fn new(bytes: u64) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let point = |kind: &str, option: &str| {
            let has =
                |options: &str| option.is_empty() || options.split(',').any(|one| one == option);
            mounts.lines().find_map(|line| {
                let fields: Vec<_> = line.split(' ').collect();
                (fields[2] == kind && has(fields[3])).then(|| PathBuf::from(fields[1]))
            })
        };
        let (top, limit) = match point("cgroup", "memory") {
            Some(top) => (top, "memory.limit_in_bytes"),
            None => (point("cgroup2", "").context("no control groups")?, "memory.max"),
        };
        let group =
            Self { folder: top.join(format!("handshake-doctor-{}", std::process::id())), limit };
        fs::create_dir(&group.folder)?;
        fs::write(group.folder.join(limit), bytes.to_string()).context("no memory controller")?;
        Ok(group)
    }

    /// The doctor in this group.
    fn examine(&self) -> Result<Diagnosis> {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.folder.display());
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script, "sh"]).arg(binary()?);
        command.args(["doctor", "--json", "-i", "lo"]).process_group(0);
        Diagnosis::of(&tether(&mut command).output()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.folder));
    }
}

/// In a group of so many bytes this is found; after the remedy it is gone.
#[track_caller]
fn assert_is_raised(bytes: u64, code: i32, verdict: &str, words: &[&str]) -> Result<Diagnosis> {
    let (patient, group) = (Patient::new()?, Group::new(bytes)?);
    let low = group.examine()?;
    assert_eq!(low.code, Some(code), "{low}");
    let check = low.check("memory", "control group");
    check.says(verdict, words);
    let file = group.folder.join(group.limit).display().to_string();
    let command = check.command();
    assert!(command.ends_with(&format!("| sudo tee {file}")), "{command}");
    // The namespace of the patient shows another /sys, so this shell is one of the host.
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).env("PATH", patient.path());
    assert!(shell.output()?.status.success(), "{command}");
    let found = group.examine()?;
    found.check("memory", "control group").says("ok", &["left of"]);
    found.check("programs", "hs_tc_in").says("ok", &["a SYN passed"]);
    Ok(low)
}

#[test]
fn a_control_group_that_is_small_is_named_and_raised_by_the_remedy() -> Result<()> {
    let words = ["left of 48.0 MiB", "a flooded table of attempts takes 64.0 MiB"];
    let found = assert_is_raised(48 << 20, 0, "degraded", &words)?;
    found.check("programs", "hs_tc_in").says("ok", &["a SYN passed"]);
    Ok(())
}

/// Loading there would have the doctor killed before it has said anything.
#[test]
fn a_control_group_that_is_deadly_is_not_tried_and_raised_by_the_remedy() -> Result<()> {
    let words = ["left of 12.0 MiB", "loading takes 24.0 MiB for a moment"];
    let found = assert_is_raised(12 << 20, 3, "blocked", &words)?;
    found.assert_nothing_ok_in(&["programs", "attaching"]);
    found.check("programs", "maps").says("unknown", &["too little memory left"]);
    Ok(())
}

#[test]
fn a_kernel_whose_types_are_hidden_is_watched_all_the_same() -> Result<()> {
    let patient = Patient::with_veth()?;
    patient.run("mount --bind /dev/null /sys/kernel/btf/vmlinux")?;
    let found = patient.examine("va")?;
    assert_eq!(found.code, Some(0), "{found}");
    let check = found.check("kernel", "BTF");
    check.says("degraded", &["is empty", "handshake does without"]);
    found.check("programs", "hs_tc_in").says("ok", &["a SYN passed"]);
    let advice = check.advice();
    let command = advice.split('`').nth(1).expect("a command in the advice");
    patient.run(command)?;
    patient.examine("va")?.check("kernel", "BTF").says("ok", &["can be read"]);
    Ok(())
}
