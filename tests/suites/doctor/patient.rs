//! A namespace to be examined, what the doctor says of it, and a way to follow what it says.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use handshake_tests::lab::Namespace;
use handshake_tests::watcher::binary;
use handshake_user::output::json;
use serde_json::Value;

/// Stands for sudo, which a test machine need not have: the suite is root.
const SUDO: &str = "#!/bin/sh\nexec \"$@\"\n";

/// A directory that everybody can read; gone when dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("handshake-doctor-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0)?;
        fs::set_permissions(&folder.0, Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    /// Puts an executable into it.
    pub(crate) fn executable(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

pub(crate) struct Patient {
    pub(crate) namespace: Namespace,
    bin: Folder,
}

impl Patient {
    /// An empty namespace with `lo` up.
    pub(crate) fn new() -> Result<Self> {
        let bin = Folder::new()?;
        bin.executable("sudo", SUDO.as_bytes())?;
        Ok(Self { namespace: Namespace::new()?, bin })
    }

    /// One with `va` and its peer `vb`, both up.
    pub(crate) fn with_veth() -> Result<Self> {
        let patient = Self::new()?;
        patient.run("ip link add va type veth peer name vb")?;
        for device in ["va", "vb"] {
            patient.namespace.up(device)?;
        }
        patient.namespace.await_carrier("va")?;
        Ok(patient)
    }

    pub(crate) fn run(&self, line: &str) -> Result<String> {
        let words: Vec<_> = line.split_whitespace().collect();
        self.namespace.run(&words)
    }

    /// `doctor -i INTERFACE`.
    pub(crate) fn examine(&self, interface: &str) -> Result<Diagnosis> {
        self.examine_under(&[], &["-i", interface])
    }

    /// `doctor …` started by `wrapper`.
    pub(crate) fn examine_under(&self, wrapper: &[&str], arguments: &[&str]) -> Result<Diagnosis> {
        let binary = binary()?.display().to_string();
        let words = [wrapper, &[&*binary, "doctor", "--json"], arguments].concat();
        Diagnosis::of(&self.namespace.command(words[0]).args(&words[1..]).output()?)
    }

    /// A shell in the namespace in which `sudo` is something that root has no need for.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = self.namespace.command("sh");
        command.args(["-c", script]).env("PATH", self.path());
        command
    }

    /// Where `sudo` is that, and everything else is where it was.
    pub(crate) fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.bin.0.display())
    }

    /// Runs what the doctor said, as it was said.
    pub(crate) fn follow(&self, check: &Check) -> Result<()> {
        let command = check.command();
        let output = self.shell(&command).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{command}: {said}");
        Ok(())
    }
}

/// What the doctor said.
pub(crate) struct Diagnosis {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    checks: Vec<Value>,
}

impl Diagnosis {
    /// Reads it, and holds it against the schema.
    pub(crate) fn of(output: &Output) -> Result<Self> {
        let code = output.status.code();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!stderr.contains("panicked"), "{stderr}");
        if output.stdout.is_empty() {
            return Ok(Self { code, stderr, checks: Vec::new() });
        }
        let record: Value = serde_json::from_slice(&output.stdout)?;
        let schema: Value = serde_json::from_str(&json::schema())?;
        let validator = jsonschema::validator_for(&schema)?;
        let errors: Vec<_> = validator.iter_errors(&record).map(|one| one.to_string()).collect();
        ensure!(errors.is_empty(), "{record}: {errors:?}");
        ensure!(record["exit_code"].as_i64() == code.map(i64::from), "{record}: {code:?}");
        let checks = record["checks"].as_array().context("no checks")?.clone();
        Ok(Self { code, stderr, checks })
    }

    /// The check of that name in a group.
    #[track_caller]
    pub(crate) fn check(&self, group: &str, name: &str) -> Check {
        let is_it = |one: &&Value| one["group"] == group && one["name"] == name;
        let mut found = self.checks.iter().filter(is_it);
        let first = found.next().unwrap_or_else(|| panic!("no {group}: {name} in {self}"));
        assert!(found.next().is_none(), "two of {group}: {name} in {self}");
        Check(first.clone())
    }

    /// All checks of a group.
    pub(crate) fn group(&self, group: &str) -> Vec<Check> {
        let found = self.checks.iter().filter(|one| one["group"] == group);
        found.cloned().map(Check).collect()
    }

    /// Panics unless all of these groups were looked at and nothing in them is said to be fine.
    #[track_caller]
    pub(crate) fn assert_nothing_ok_in(&self, groups: &[&str]) {
        for group in groups {
            let checks = self.group(group);
            assert!(!checks.is_empty(), "nothing about {group} in {self}");
            assert!(checks.iter().all(|one| one.verdict() != "ok"), "{group}: {self}");
        }
    }
}

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit code {:?}, {}", self.code, self.stderr)?;
        self.checks.iter().try_for_each(|check| writeln!(f, "{check}"))
    }
}

/// One line of it.
#[derive(Debug)]
pub(crate) struct Check(Value);

impl Check {
    fn text(&self, field: &str) -> String {
        self.0[field].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn verdict(&self) -> String {
        self.text("verdict")
    }

    /// The command that it says helps.
    #[track_caller]
    pub(crate) fn command(&self) -> String {
        let command = self.text("command");
        assert!(!command.is_empty(), "no command in {}", self.0);
        command
    }

    pub(crate) fn advice(&self) -> String {
        self.text("advice")
    }

    /// Panics unless it has this verdict and these words in its finding.
    #[track_caller]
    pub(crate) fn says(&self, verdict: &str, words: &[&str]) {
        let finding = self.text("finding");
        assert_eq!(self.verdict(), verdict, "{}", self.0);
        for word in words {
            assert!(finding.contains(word), "no {word:?} in {}", self.0);
        }
    }
}
