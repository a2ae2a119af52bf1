//! Debian's cloud kernels, fetched once into the per-user cache.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    setup::unpacked,
    workspace::{cache_dir, output},
};

/// An unpacked kernel package.
pub(super) struct Kernel {
    dir: PathBuf,
}

impl Kernel {
    /// What `uname -r` says there, as in `6.1.0-54-cloud-amd64`.
    pub(super) fn release(&self) -> Result<String> {
        let image = self.image()?;
        let name = image.file_name().context("a kernel without a name")?.to_string_lossy();
        Ok(name.trim_start_matches("vmlinuz-").to_owned())
    }

    /// The bootable image.
    pub(super) fn image(&self) -> Result<PathBuf> {
        image(&self.dir).with_context(|| format!("no kernel image in {}", self.dir.display()))
    }

    /// A module's file, perhaps compressed; `name` is its path below `kernel/`, as in
    /// `drivers/net/veth`. None if this kernel has it built in.
    pub(super) fn module(&self, name: &str) -> Result<Option<PathBuf>> {
        let release = self.release()?;
        let dirs = ["lib/modules", "usr/lib/modules"].map(|dir| self.dir.join(dir).join(&release));
        let files = dirs.iter().flat_map(|dir| {
            [".ko", ".ko.xz"].map(|suffix| dir.join("kernel").join(format!("{name}{suffix}")))
        });
        Ok(files.into_iter().find(|file| file.exists()))
    }
}

/// The newest kernel of a series, from the cache if one is there.
pub(super) fn ensure(series: &str) -> Result<Kernel> {
    let dir = cache_dir()?.join("kernels").join(series);
    if image(&dir).is_none() {
        eprintln!("vm-test: fetching a {series} kernel into {} (once)", dir.display());
        let newest = || newest_known(series)?.context("the package lists have none");
        unpacked::fetch(&dir, newest).with_context(|| {
            format!("no {series} kernel: `apt-get` must be able to download linux-image-{series}*")
        })?;
    }
    Ok(Kernel { dir })
}

fn image(dir: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(dir.join("boot")).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|file| file.to_string_lossy().contains("/vmlinuz-")).max()
}

fn newest_known(series: &str) -> Result<Option<String>> {
    let listed = output(Command::new("apt-cache").args([
        "search",
        "--names-only",
        &format!("^linux-image-{}\\.", series.replace('.', "\\.")),
    ]))?;
    Ok(newest(series, &listed).map(str::to_owned))
}

/// The newest bootable cloud kernel in what `apt-cache search` lists.
fn newest<'a>(series: &str, listed: &'a str) -> Option<&'a str> {
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let prefix = format!("linux-image-{series}.");
    names
        .filter(|name| name.starts_with(&prefix) && name.ends_with("-cloud-amd64"))
        .max_by_key(|name| numbers(name))
}

fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_newest_by_number() {
        let listed = "linux-image-6.1.0-9-cloud-amd64 - signed\n\
                      linux-image-6.1.0-54-cloud-amd64 - signed\n\
                      linux-image-6.1.0-56-cloud-amd64-unsigned - unsigned\n\
                      linux-image-6.1.0-55-amd64 - bare metal\n\
                      linux-image-6.12.117+deb12-cloud-amd64 - signed\n\
                      linux-image-6.12-cloud-amd64 - meta-package\n";
        assert_eq!(newest("6.1", listed), Some("linux-image-6.1.0-54-cloud-amd64"));
        assert_eq!(newest("6.12", listed), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest("6.6", listed), None);
    }
}
