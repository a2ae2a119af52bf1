//! The unit by itself: what systemd's own tools say of it, and whether its capabilities are enough
//! and none too many. How systemd runs it is tested in the suite `package`.
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::judge::assert_balanced;
use handshake_tests::lab::{Family, Lab};
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::{Report, Watcher, binary};

const UNIT: &str = include_str!("../../../packaging/handshake.service");
/// As `systemd-analyze security` counts, 0 to 100.
const MOST_EXPOSED: u32 = 18;
const NOBODY: &str = "65534";
const PRIVILEGE_MISSING: i32 = 77;

/// The values of a setting, in order.
fn setting(name: &str) -> Vec<&'static str> {
    let values = UNIT.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.flat_map(str::split_whitespace).collect()
}

/// A copy of the program where anybody may run it, and of the unit, which runs that.
struct Copy {
    dir: PathBuf,
}

impl Copy {
    fn new(name: &str) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("handshake-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755))?;
        let copy = Self { dir };
        std::fs::copy(binary()?, copy.program())?;
        let unit = UNIT.replace("/usr/bin/handshake", &copy.program().to_string_lossy());
        std::fs::write(copy.unit(), unit)?;
        Ok(copy)
    }

    fn program(&self) -> PathBuf {
        self.dir.join("handshake")
    }

    fn unit(&self) -> PathBuf {
        self.dir.join("handshake.service")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

#[test]
fn systemd_understands_every_line() -> Result<()> {
    let copy = Copy::new("verify")?;
    let mut verify = Command::new("systemd-analyze");
    let output = verify.args(["verify", "--man=no"]).arg(copy.unit()).output()?;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    Ok(())
}

#[test]
fn its_exposure_stays_as_small_as_it_is() -> Result<()> {
    let copy = Copy::new("security")?;
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager"]);
    let output = security.arg(format!("--threshold={MOST_EXPOSED}")).arg(copy.unit()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let level = said.lines().find(|line| line.contains("Overall exposure level"));
    ensure!(output.status.success(), "{level:?}");
    println!("{}", level.context("no level")?);
    Ok(())
}

/// `watch` as nobody, with these capabilities and what else of the unit needs no manager.
fn watch_with(lab: &Lab, copy: &Copy, capabilities: &[&str]) -> Command {
    let names = capabilities.iter().map(|name| name.trim_start_matches("CAP_").to_lowercase());
    let set = names.fold("-all".to_owned(), |set, name| format!("{set},+{name}"));
    let mut command = lab.server.command("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs"]);
    command.args(["--inh-caps", &set, "--ambient-caps", &set, "--bounding-set", &set]);
    command.arg(copy.program()).args(["watch", "-i", "srv0", "--format", "json"]);
    command
}

fn connect_and_stop(lab: &Lab, watcher: Watcher) -> Result<Report> {
    watcher.await_stderr("watching srv0", Duration::from_secs(20))?;
    // It has attached, but may not have said that it follows.
    std::thread::sleep(Duration::from_millis(500));
    traffic::complete(lab, Family::V4, 5)?;
    watcher.await_attempts(5, Duration::from_secs(5))?;
    watcher.stop()
}

#[test]
fn its_capabilities_are_enough_and_each_is_needed() -> Result<()> {
    let ambient = setting("AmbientCapabilities");
    assert!(!ambient.is_empty());
    assert_eq!(ambient, setting("CapabilityBoundingSet"));
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let copy = Copy::new("capabilities")?;
    let watcher = Watcher::spawn(&mut watch_with(&lab, &copy, &ambient))?;
    assert_balanced(&connect_and_stop(&lab, watcher)?);
    for left_out in &ambient {
        let rest: Vec<&str> = ambient.iter().filter(|one| *one != left_out).copied().collect();
        let report = Watcher::spawn(&mut watch_with(&lab, &copy, &rest))?.finish()?;
        assert_eq!(report.status.code(), Some(PRIVILEGE_MISSING), "{left_out}: {}", report.stderr);
        assert!(report.stderr.contains(left_out), "{left_out}: {}", report.stderr);
    }
    Ok(())
}
