//! What is in the package, without installing it.
use anyhow::Result;

use super::{package, said};

/// Every file of the package but manual pages of commands.
const FILES: [&str; 13] = [
    "-rw-r--r-- root/root ./etc/handshake/handshake.toml",
    "-rwxr-xr-x root/root ./usr/bin/handshake",
    "-rw-r--r-- root/root ./usr/lib/systemd/system/handshake.service",
    "-rw-r--r-- root/root ./usr/share/bash-completion/completions/handshake",
    "-rw-r--r-- root/root ./usr/share/doc/handshake/changelog.Debian.gz",
    "-rw-r--r-- root/root ./usr/share/doc/handshake/changelog.gz",
    "-rw-r--r-- root/root ./usr/share/doc/handshake/copyright",
    "-rw-r--r-- root/root ./usr/share/doc/handshake/examples/handshake.json",
    "-rw-r--r-- root/root ./usr/share/doc/handshake/examples/handshake.rules.yml",
    "-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/handshake.fish",
    "-rw-r--r-- root/root ./usr/share/lintian/overrides/handshake",
    "-rw-r--r-- root/root ./usr/share/man/man1/handshake.1.gz",
    "-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_handshake",
];

#[test]
fn it_has_the_files_that_it_should_and_no_others() -> Result<()> {
    let listed = said("dpkg-deb", &["--contents"], &package()?)?;
    let files: Vec<String> = listed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| !words[0].starts_with('d') && !words[5].contains("man1/handshake-"))
        .map(|words| [words[0], words[1], words[5]].join(" "))
        .collect();
    assert_eq!(files, FILES);
    assert!(listed.contains("/man1/handshake-watch.1.gz"), "{listed}");
    Ok(())
}

#[test]
fn it_says_what_it_depends_on() -> Result<()> {
    let package = package()?;
    let field = |name| said("dpkg-deb", &["--field", "--", &package.to_string_lossy()], name);
    let depends = field("Depends".as_ref())?;
    assert!(depends.contains("libc6 (>= 2."), "{depends}");
    assert!(field("Version".as_ref())?.starts_with(concat!(env!("CARGO_PKG_VERSION"), "-")));
    let maintainer = field("Maintainer".as_ref())?;
    let (name, address) = maintainer.trim().split_once(" <").unwrap_or_default();
    assert!(!name.is_empty() && address.ends_with('>') && address.contains('@'), "{maintainer}");
    assert!(!maintainer.contains("@MAINTAINER@"), "{maintainer}");
    assert!(field("Installed-Size".as_ref())?.trim().parse::<u64>()? > 1000);
    Ok(())
}
