//! The files of the package, where they will be installed.
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::gzip;
use crate::workspace::{output, root, run};

/// What the package's configuration says instead of the template's defaults: nothing on stdout, which
/// nobody reads, and metrics for whoever is on this host.
const CONFIGURED: [(&str, &str); 2] = [
    ("#format = \"auto\"\n", "format = \"none\"\n"),
    ("#metrics-listen = \"\"\n", "metrics-listen = \"127.0.0.1:9435\"\n"),
];

/// Fills `staged` with everything but `DEBIAN`.
pub(super) fn lay_out(program: &Path, staged: &Path, version: &str, epoch: u64) -> Result<()> {
    let packaging = root().join("packaging");
    let binary = staged.join("usr/bin/handshake");
    copy(program, &binary, 0o755)?;
    let unit = staged.join("usr/lib/systemd/system/handshake.service");
    copy(&packaging.join("handshake.service"), &unit, 0o644)?;
    write(&staged.join("etc/handshake/handshake.toml"), &configuration(program)?, 0o644)?;
    generated(program, &staged.join("usr/share"))?;
    let overrides = staged.join("usr/share/lintian/overrides/handshake");
    copy(&packaging.join("debian/lintian-overrides"), &overrides, 0o644)?;
    documents(&staged.join("usr/share/doc/handshake"), version, epoch)?;
    for example in ["grafana/handshake.json", "prometheus/handshake.rules.yml"] {
        let name = Path::new(example).file_name().context("a file")?;
        let to = staged.join("usr/share/doc/handshake/examples").join(name);
        copy(&packaging.join(example), &to, 0o644)?;
    }
    // Last: what it says of itself needs nothing of what goes here.
    let sections = ["--remove-section=.comment", "--remove-section=.note"];
    run(Command::new("strip").arg("--strip-unneeded").args(sections).arg(&binary))
}

/// The program's own template, with what a service needs.
fn configuration(program: &Path) -> Result<String> {
    let mut template = output(Command::new(program).arg("config"))?;
    for (default, ours) in CONFIGURED {
        ensure!(template.contains(default), "`handshake config` does not say {default:?}");
        template = template.replace(default, ours);
    }
    Ok(template)
}

/// Manual pages and completions, by the program itself.
fn generated(program: &Path, share: &Path) -> Result<()> {
    let pages = share.join("man/man1");
    make_dir(&pages)?;
    output(Command::new(program).args(["man", "--directory"]).arg(&pages))?;
    for page in files(&pages)? {
        set_mode(&pages.join(&page), 0o644)?;
        gzip(&pages.join(page))?;
    }
    for (shell, file) in [
        ("bash", "bash-completion/completions/handshake"),
        ("zsh", "zsh/vendor-completions/_handshake"),
        ("fish", "fish/vendor_completions.d/handshake.fish"),
    ] {
        let script = output(Command::new(program).args(["completions", shell]))?;
        write(&share.join(file), &script, 0o644)?;
    }
    Ok(())
}

fn documents(dir: &Path, version: &str, epoch: u64) -> Result<()> {
    copy(&root().join("packaging/debian/copyright"), &dir.join("copyright"), 0o644)?;
    copy(&root().join("CHANGELOG.md"), &dir.join("changelog"), 0o644)?;
    let date = format!("--date=@{epoch}");
    let date = output(Command::new("date").args(["--utc", "--rfc-email", &date]))?;
    let maintainer = super::maintainer()?;
    let debian = format!(
        "handshake ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n \
         -- {maintainer}  {date}"
    );
    write(&dir.join("changelog.Debian"), &debian, 0o644)?;
    gzip(&dir.join("changelog"))?;
    gzip(&dir.join("changelog.Debian"))
}

/// Every file below `dir`, relative to it, in order.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("no {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(dir)?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Makes a directory and those above it, all of which anybody may enter, whatever the umask.
pub(super) fn make_dir(dir: &Path) -> Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|one| !one.exists()).collect();
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    missing.into_iter().try_for_each(|one| set_mode(one, 0o755))
}

/// Copies a file, with the directories above it.
pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    make_dir(to.parent().context("a file has a directory")?)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    set_mode(to, mode)
}

/// Writes a file, with the directories above it.
pub(super) fn write(to: &Path, text: &str, mode: u32) -> Result<()> {
    make_dir(to.parent().context("a file has a directory")?)?;
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))?;
    set_mode(to, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_in_order_and_anybody_may_read_them() -> Result<()> {
        let dir = std::env::temp_dir().join(format!("handshake-tree-{}", std::process::id()));
        write(&dir.join("b/two"), "2", 0o644)?;
        write(&dir.join("a/one"), "1", 0o755)?;
        assert_eq!(files(&dir)?, [PathBuf::from("a/one"), PathBuf::from("b/two")]);
        let mode = |path: &str| fs::metadata(dir.join(path)).map(|data| data.permissions().mode());
        assert_eq!((mode("a")? & 0o777, mode("a/one")? & 0o777), (0o755, 0o755));
        fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
