//! Debian packages that are unpacked into the per-user cache instead of being installed: nothing of
//! theirs is configured or started, and no root is needed.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::packages;
use crate::workspace::{cache_dir, executable, is_executable, output, run};

/// Where Prometheus and promtool are, and whether they had to be fetched first.
pub(super) fn prometheus() -> Result<(PathBuf, bool)> {
    programs("prometheus", &["prometheus", "promtool"], "usr/bin")
}

/// Where a daemon is (haproxy, nginx), and whether it had to be fetched first. The libraries it is
/// linked with are installed: they start nothing.
pub(super) fn daemon(name: &str) -> Result<(PathBuf, bool)> {
    let (dir, fetched) = programs(name, &[name], "usr/sbin")?;
    let works = || output(Command::new(dir.join(name)).arg("-v"));
    if works().is_err() {
        let depends = output(Command::new("apt-cache").args(["depends", name]))?;
        packages::install(&format!("libraries of {name}"), &libraries(&depends))?;
        works().with_context(|| format!("{name} does not start"))?;
    }
    Ok((dir, fetched))
}

/// The libraries among what `apt-cache depends` says.
fn libraries(depends: &str) -> Vec<&str> {
    let depends = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    depends.filter(|name| name.starts_with("lib")).collect()
}

/// The directory of programs that a package brings, whose service must not be started: installed, or
/// unpacked first if they are not there; and whether that was done.
fn programs(package: &str, names: &[&str], within: &str) -> Result<(PathBuf, bool)> {
    let is_there = |dir: &Path| names.iter().all(|name| is_executable(&dir.join(name)));
    let installed = executable(names[0]).and_then(|file| Some(file.parent()?.to_owned()));
    if let Some(dir) = installed.filter(|dir| is_there(dir)) {
        return Ok((dir, false));
    }
    let dir = cache_dir()?.join(package);
    let programs = dir.join(within);
    if is_there(&programs) {
        return Ok((programs, false));
    }
    eprintln!("setup: fetching Debian's {package} into {} (once)", dir.display());
    fetch(&dir, || Ok(package.to_owned())).with_context(|| {
        format!(
            "no {package}: `apt-get` must be able to download it, or it must be installed in PATH"
        )
    })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_from_what_configures_a_service() {
        let depends = "haproxy\n  PreDepends: init-system-helpers\n  Depends: libc6\n  Depends: \
                       liblua5.3-0\n |Depends: libelogind0\n  Depends: adduser\n  Suggests: libx\n";
        assert_eq!(libraries(depends), ["libc6", "liblua5.3-0"]);
    }
}
