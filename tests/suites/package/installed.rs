//! Installing and removing, in a machine of its own.
use std::io::Read;

use anyhow::{Context, Result};
use handshake_tests::lab::Namespace;
use handshake_tests::machine::Machine;

use super::install;

/// What dpkg itself writes, its triggers, and `deb-systemd-helper` with its empty directory.
fn is_of_dpkg(path: &str) -> bool {
    let helper = "/var/lib/systemd/deb-systemd-helper-enabled";
    ["/var/lib/dpkg/", "/var/log/", "/var/cache/man/", "/var/cache/ldconfig/", helper]
        .iter()
        .any(|dir| path.starts_with(dir))
}

fn changes(machine: &Machine) -> Result<Vec<String>> {
    let changes = machine.changes()?;
    let known = ["/usr/sbin/policy-rc.d", "/var/lib/man-db/auto-update"];
    Ok(changes.into_iter().filter(|path| !is_of_dpkg(path) && !known.contains(&&**path)).collect())
}

#[test]
fn installed_it_works_and_purged_nothing_is_left() -> Result<()> {
    let namespace = Namespace::new()?;
    let machine = Machine::idle(&namespace)?;
    let before = changes(&machine)?;
    install(&machine)?;
    let version = machine.run(&["handshake", "--version"])?;
    assert_eq!(version, concat!("handshake ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(machine.run(&["which", "handshake"])?, "/usr/bin/handshake\n");
    machine.run(&["dpkg", "--verify", "handshake"])?;
    assert_eq!(machine.run(&["dpkg", "--audit"])?, "");
    machine.run(&["bash", "-n", "/usr/share/bash-completion/completions/handshake"])?;
    let schema = machine.run(&["handshake", "schema"])?;
    serde_json::from_str::<serde_json::Value>(&schema)?;
    machine.run(&["dpkg", "--remove", "handshake"])?;
    let kept: Vec<String> =
        changes(&machine)?.into_iter().filter(|path| !before.contains(path)).collect();
    assert!(kept.contains(&"/etc/handshake/handshake.toml".to_owned()), "{kept:?}");
    machine.run(&["dpkg", "--purge", "handshake"])?;
    assert_eq!(changes(&machine)?, before);
    Ok(())
}

#[test]
fn every_command_has_a_page_that_man_takes_without_a_warning() -> Result<()> {
    let namespace = Namespace::new()?;
    let machine = Machine::idle(&namespace)?;
    install(&machine)?;
    let help = machine.run(&["handshake", "--help"])?;
    let commands = help.split("Commands:\n").nth(1).context("a list of commands")?;
    let commands = commands.lines().take_while(|line| !line.trim().is_empty());
    let names = commands.filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    assert!(names.contains(&"watch") && names.contains(&"replay"), "{help}");
    let pages = names.iter().map(|name| format!("handshake-{name}"));
    for page in pages.chain(["handshake".to_owned()]) {
        let file = format!("/usr/share/man/man1/{page}.1.gz");
        let mut man = machine.command("env");
        let arguments = ["LC_ALL=C.UTF-8", "MANWIDTH=80", "man", "--warnings", "-l", "-Tutf8"];
        let output = man.args(arguments).arg(&file).output()?;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
        assert!(output.stdout.len() > 500, "{page}: {output:?}");
    }
    Ok(())
}

#[test]
fn a_changed_configuration_outlives_an_upgrade() -> Result<()> {
    let namespace = Namespace::new()?;
    let machine = Machine::idle(&namespace)?;
    install(&machine)?;
    let file = machine.path("/etc/handshake/handshake.toml");
    std::fs::write(&file, "interface = [\"lo\"]\n")?;
    install(&machine)?;
    let mut kept = String::new();
    std::fs::File::open(&file)?.read_to_string(&mut kept)?;
    assert_eq!(kept, "interface = [\"lo\"]\n");
    Ok(())
}
