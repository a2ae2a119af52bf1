//! Debian packages that are unpacked into the per-user cache instead of being installed: nothing of
//! theirs is configured or started, and no root is needed.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::workspace::{cache_dir, executable, is_executable, run};

/// Where Prometheus and promtool are: installed, or unpacked first if they are not there; and
/// whether that was done. (Debian's package would start a service.)
pub(super) fn prometheus() -> Result<(PathBuf, bool)> {
    let is_there =
        |dir: &Path| ["prometheus", "promtool"].iter().all(|name| is_executable(&dir.join(name)));
    let installed = executable("prometheus").and_then(|file| Some(file.parent()?.to_owned()));
    if let Some(dir) = installed.filter(|dir| is_there(dir)) {
        return Ok((dir, false));
    }
    let dir = cache_dir()?.join("prometheus");
    let programs = dir.join("usr/bin");
    if is_there(&programs) {
        return Ok((programs, false));
    }
    eprintln!("setup: fetching Debian's prometheus into {} (once)", dir.display());
    fetch(&dir, || Ok("prometheus".to_owned())).context(
        "no prometheus: `apt-get` must be able to download it, or it must be installed in PATH",
    )?;
    Ok((programs, true))
}

/// Unpacks a package into `dir`. Package lists that are absent or old know no package, or one that
/// is no longer there: then they are fetched, and `package` is asked again.
pub(crate) fn fetch(dir: &Path, package: impl Fn() -> Result<String>) -> Result<()> {
    // Not `with_extension`: to a path, the 1 of 6.1 is one.
    let name = dir.file_name().context("no name to unpack under")?.to_string_lossy();
    let partial = dir.with_file_name(format!("{name}.partial"));
    fs::remove_dir_all(&partial).or_else(not_there)?;
    fs::create_dir_all(&partial)?;
    if download(&package, &partial).is_err() {
        eprintln!("setup: running apt-get update first");
        run(Command::new("apt-get").args(["--quiet", "update"]))?;
        download(&package, &partial)?;
    }
    unpack(&partial)?;
    fs::remove_dir_all(dir).or_else(not_there)?;
    fs::rename(&partial, dir).with_context(|| format!("cannot write {}", dir.display()))
}

fn download(package: &impl Fn() -> Result<String>, into: &Path) -> Result<()> {
    run(Command::new("apt-get").args(["--quiet", "download", &package()?]).current_dir(into))
}

fn unpack(dir: &Path) -> Result<()> {
    let is_deb = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "deb");
    let deb = fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path())).find(is_deb);
    let Some(deb) = deb else { bail!("apt-get downloaded nothing") };
    run(Command::new("dpkg").arg("-x").arg(&deb).arg(dir))?;
    fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))
}

fn not_there(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
