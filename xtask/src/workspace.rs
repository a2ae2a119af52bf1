//! Where things are, and how commands are run: the ground every verb stands on.
//!
//! Knows nothing about BPF or tests. Commands started here never see the environment that the
//! outer `cargo run` made for xtask itself.
use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir.parent().map_or(manifest_dir.clone(), Path::to_path_buf)
}

/// The build directory, always inside the workspace whatever `CARGO_TARGET_DIR` says, because
/// `handshake-user/build.rs` looks for the eBPF object there.
pub(crate) fn target_dir() -> PathBuf {
    root().join("target")
}

/// What outlives a clone: tools and kernels that take long to make or fetch, kept per user.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .filter(|dir| Path::new(dir).is_absolute())
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context(
            "neither HOME nor XDG_CACHE_HOME is set: set one to say where tools may be kept",
        )?;
    Ok(base.join("handshake"))
}

/// Whether this process has root's user id.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Every executable called `name` in `PATH`, then in the directories of system administration
/// that an ordinary user's `PATH` leaves out.
pub(crate) fn executables(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
    {
        let file = dir.join(name);
        if is_executable(&file) && !found.contains(&file) {
            found.push(file);
        }
    }
    found
}

/// The first executable called `name`.
pub(crate) fn executable(name: &str) -> Option<PathBuf> {
    executables(name).into_iter().next()
}

/// Whether `file` exists and may be executed by someone.
pub(crate) fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The cargo that runs xtask, for the host's crates: same toolchain, workspace root, and
/// without the variables that describe the xtask package.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in env::vars_os() {
        if describes_package(&name) {
            command.env_remove(name);
        }
    }
    command
}

/// A command of another toolchain: nothing that selects or configures this one reaches it.
pub(crate) fn foreign_toolchain(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in env::vars_os() {
        if selects_toolchain(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "CARGO_PRIMARY_PACKAGE"
}

fn selects_toolchain(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let kept = ["CARGO_HOME", "CARGO_BUILD_JOBS", "RUST_BACKTRACE", "RUSTUP_HOME"];
    let kept_prefixes = ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_TERM_"];
    let ours = name.starts_with("CARGO") || name.starts_with("RUST") || name == "LD_LIBRARY_PATH";
    ours && !kept.contains(&&*name) && !kept_prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Runs `command` with our own input and output; an error names the command and its status.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = displayed(command);
    let status = command.status().with_context(|| format!("could not start `{name}`"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// Runs `command` and returns what it printed; its standard error goes into the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = displayed(command);
    let output = command.output().with_context(|| format!("could not start `{name}`"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` failed ({}): {}", output.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn displayed(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_toolchain_keeps_the_network_settings_only() {
        for leak in ["CARGO", "RUSTC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS"] {
            assert!(selects_toolchain(OsStr::new(leak)), "{leak}");
        }
        for kept in ["CARGO_HOME", "CARGO_NET_OFFLINE", "PATH", "RUSTUP_HOME", "HOME"] {
            assert!(!selects_toolchain(OsStr::new(kept)), "{kept}");
        }
    }

    #[test]
    fn the_same_toolchain_forgets_the_package_only() {
        assert!(describes_package(OsStr::new("CARGO_PKG_NAME")));
        assert!(describes_package(OsStr::new("CARGO_MANIFEST_DIR")));
        assert!(!describes_package(OsStr::new("RUSTUP_TOOLCHAIN")));
        assert!(!describes_package(OsStr::new("CARGO_HOME")));
    }

    #[test]
    fn a_command_is_displayed_without_its_directory() {
        assert_eq!(displayed(Command::new("/usr/bin/apt-get").arg("update")), "apt-get update");
    }
}
