//! The Debian package: what is in it, what installing and removing does, and the service as systemd
//! runs it. Needs root, and a package (`cargo xtask package --debug`).
#![cfg(target_os = "linux")]

#[path = "package/contents.rs"]
mod contents;
#[path = "package/installed.rs"]
mod installed;
#[path = "package/service.rs"]
mod service;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use handshake_tests::machine::Machine;

/// The package under test: `HANDSHAKE_DEB`, else the newest one in the workspace's target directory.
fn package() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HANDSHAKE_DEB") {
        return Ok(std::path::absolute(path)?);
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debian");
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let packages = files.filter(|path| path.extension().is_some_and(|end| end == "deb"));
    let newest = packages.max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok());
    newest.context("there is no package to test: run `cargo xtask package --debug`")
}

/// What a command on the host prints.
fn said(program: &str, arguments: &[&str], file: &Path) -> Result<String> {
    let output = Command::new(program).args(arguments).arg(file).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Installs the package.
fn install(machine: &Machine) -> Result<String> {
    std::fs::copy(package()?, machine.path("/run/handshake.deb"))?;
    machine.run(&["dpkg", "--install", "/run/handshake.deb"])
}
