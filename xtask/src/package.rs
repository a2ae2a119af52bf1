//! `cargo xtask package`: a Debian package of the program.
//!
//! Everything in it is either a file below `packaging/` or made by the program itself (manual
//! pages, completions). `tree` lays the files out, this file turns the tree into a package. The
//! same commit built twice in the same place gives the same bytes: every time in it is that of
//! the commit.
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    build, setup,
    workspace::{output, root, run, target_dir},
};

/// Version of the package beside that of the program: grows when only the packaging changes.
const REVISION: &str = "1";

/// How to package.
#[derive(clap::Args, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Package the program as `cargo xtask build` makes it: quick to make, slow and large
    #[arg(long)]
    debug: bool,
}

/// Builds the program and the package, and says where that is.
pub(crate) fn main(options: Options) -> Result<()> {
    let release = !options.debug;
    let program = build::program(build::Options { release, ..Default::default() })?;
    let package = of(&program, release)?;
    println!("{}", package.display());
    Ok(())
}

/// A package of `program`; small if `release`, else quickly made.
pub(crate) fn of(program: &Path, release: bool) -> Result<PathBuf> {
    setup::package_packages()?;
    let epoch = epoch()?;
    let dir = target_dir().join("debian");
    let staged = dir.join("handshake");
    if staged.exists() {
        fs::remove_dir_all(&staged).context("cannot remove the last tree")?;
    }
    tree::lay_out(program, &staged, &version(), epoch)?;
    control(&dir, &staged)?;
    let architecture = architecture()?;
    let package = dir.join(format!("handshake_{}_{architecture}.deb", version()));
    let compression = if release { ["-Zxz", "-z6"] } else { ["-Zgzip", "-z1"] };
    let mut command = Command::new("dpkg-deb");
    command.env("SOURCE_DATE_EPOCH", epoch.to_string()).args(compression);
    command.args(["--root-owner-group", "--build"]).arg(&staged).arg(&package);
    output(&mut command)?;
    Ok(package)
}

fn version() -> String {
    format!("{}-{REVISION}", env!("CARGO_PKG_VERSION"))
}

fn architecture() -> Result<String> {
    let said = output(Command::new("dpkg").arg("--print-architecture"))?;
    Ok(said.trim().to_owned())
}

/// Seconds since 1970 that stand for now: `SOURCE_DATE_EPOCH`, else the time of the last commit.
fn epoch() -> Result<u64> {
    let said = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(said) => said,
        Err(_) => {
            output(Command::new("git").current_dir(root()).args(["log", "-1", "--format=%ct"]))
                .context("set SOURCE_DATE_EPOCH where there is no git history")?
        }
    };
    said.trim().parse().with_context(|| format!("not a number of seconds: {said:?}"))
}

/// Who answers for the package, in the form that Debian asks for: who builds it, if `DEBFULLNAME` and
/// `DEBEMAIL` say who that is (as Debian's own tools have it), else the author of the last commit.
fn maintainer() -> Result<String> {
    let said = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    if let (Some(name), Some(address)) = (said("DEBFULLNAME"), said("DEBEMAIL")) {
        return Ok(format!("{name} <{address}>"));
    }
    let mut git = Command::new("git");
    let author = output(git.current_dir(root()).args(["log", "-1", "--format=%an <%ae>"]))
        .context("set DEBFULLNAME and DEBEMAIL where there is no git history")?;
    Ok(author.trim().to_owned())
}

/// What stands between two signs and is still to be filled in; addresses have but one.
fn gap(text: &str) -> Option<&str> {
    let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
    let words = text.split('@').skip(1);
    words.filter(|word| !word.is_empty()).find(is_name)
}

/// Writes what dpkg reads: `DEBIAN/control`, the scripts, checksums and the list of conffiles.
fn control(dir: &Path, staged: &Path) -> Result<()> {
    let files = tree::files(staged)?;
    let debian = staged.join("DEBIAN");
    tree::make_dir(&debian)?;
    let bytes = |file: &PathBuf| fs::metadata(staged.join(file)).map_or(0, |data| data.len());
    let kib: u64 = files.iter().map(|file| bytes(file).div_ceil(1024)).sum();
    let packaging = root().join("packaging/debian");
    let text =
        fs::read_to_string(packaging.join("control")).context("no packaging/debian/control")?;
    let text = text
        .replace("@VERSION@", &version())
        .replace("@ARCHITECTURE@", &architecture()?)
        .replace("@SIZE@", &kib.to_string())
        .replace("@MAINTAINER@", &maintainer()?)
        .replace("@DEPENDS@", &depends(dir, &staged.join("usr/bin/handshake"))?);
    if let Some(gap) = gap(&text) {
        bail!("packaging/debian/control: @{gap}@ is not filled in");
    }
    tree::write(&debian.join("control"), &text, 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        tree::copy(&packaging.join(script), &debian.join(script), 0o755)?;
    }
    let etc = files.iter().filter(|file| file.starts_with("etc"));
    let conffiles: String = etc.map(|file| format!("/{}\n", file.display())).collect();
    tree::write(&debian.join("conffiles"), &conffiles, 0o644)?;
    let summed = files.iter().filter(|file| !file.starts_with("etc"));
    let sums = output(Command::new("md5sum").current_dir(staged).args(summed))?;
    tree::write(&debian.join("md5sums"), &sums, 0o644)
}

/// The packages whose libraries the program uses, with the versions it needs.
fn depends(dir: &Path, program: &Path) -> Result<String> {
    // dpkg-shlibdeps wants to be called in a source package.
    let source = dir.join("source");
    fs::create_dir_all(source.join("debian"))?;
    fs::write(
        source.join("debian/control"),
        "Source: handshake\n\nPackage: handshake\nArchitecture: any\n",
    )?;
    let mut command = Command::new("dpkg-shlibdeps");
    let said = output(command.current_dir(&source).arg("-O").arg(program))?;
    let depends = said.trim().strip_prefix("shlibs:Depends=").map(str::to_owned);
    depends.with_context(|| format!("dpkg-shlibdeps said {said:?}"))
}

/// Compresses a file as Debian wants it: small, and without its name and time.
fn gzip(file: &Path) -> Result<()> {
    run(Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_found_and_an_address_is_none() {
        assert_eq!(gap("Version: @VERSION@\n"), Some("VERSION"));
        assert_eq!(gap("Maintainer: A B <a@b.example>\nSize: 5\n"), None);
        assert_eq!(gap("Maintainer: A <a@B.example>, @SIZE@\n"), Some("SIZE"));
    }
}
