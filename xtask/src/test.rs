//! `cargo xtask test`: sets up, builds, and runs every test there is.
//!
//! Needs root for the suites that load programs into the kernel. Without root the others still
//! run, and the command fails at the end naming what did not: tests never pass by not running.
//! As root it ends with the older kernels of `vm_test`. `suites` knows which suites are which,
//! `tally` reads what cargo test prints.
mod suites;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use suites::Suite;

use crate::{
    build, package, setup,
    tally::Tally,
    tidy, vm_test,
    workspace::{cargo, is_root, output, target_dir},
};

/// Packages with unit tests; the eBPF crate is tested through the program that embeds it.
const UNIT_TESTED: &[&str] = &["handshake-common", "handshake-user", "xtask"];

/// What to test.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Only what needs neither root nor a BPF toolchain
    #[arg(long)]
    pub(crate) quick: bool,
    /// Boot no other kernels (as root, without filters, `vm-test` is part of this)
    #[arg(long)]
    pub(crate) no_vm: bool,
    /// Run the tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

/// Runs the tests and prints the sum.
pub(crate) fn main(options: &Options) -> Result<()> {
    let suites = suites::read()?;
    let mut tally = Tally::default();
    if options.filters.is_empty() {
        tally.step("tidy", tidy::main());
    }
    let root = is_root();
    if options.quick {
        quick(options, &mut tally)?;
    } else {
        full(options, &suites, root, &mut tally)?;
    }
    let mut skipped = if options.quick || root { vec![] } else { suites::privileged(&suites) };
    if !options.quick && options.filters.is_empty() {
        match (options.no_vm, root) {
            (true, _) => println!("\nleft out, as asked: vm-test"),
            (false, true) => vm_test::run(vm_test::Options::default(), &mut tally),
            (false, false) => skipped.push("vm-test"),
        }
    }
    conclude(&tally, &skipped, !options.filters.is_empty())
}

fn full(options: &Options, suites: &[Suite], root: bool, tally: &mut Tally) -> Result<()> {
    if root {
        setup::test_packages()?;
    }
    let program = build::program(build::Options::default())?;
    let mut command = cargo_test(&program);
    command.args(packages()).args(["--package", "handshake-tests"]);
    tally.run(command.arg("--").args(&options.filters))?;
    let privileged = suites::privileged(suites);
    if root && !privileged.is_empty() {
        run_privileged(options, &program, &privileged, tally)?;
    }
    Ok(())
}

/// The privileged suites, one test at a time: they share one kernel.
fn run_privileged(
    options: &Options,
    program: &PathBuf,
    names: &[&str],
    tally: &mut Tally,
) -> Result<()> {
    let mut command = cargo_test(program);
    command.env("HANDSHAKE_PROMETHEUS", setup::prometheus()?);
    for daemon in setup::DAEMONS {
        command.env(format!("HANDSHAKE_{}", daemon.to_uppercase()), setup::daemon(daemon)?);
    }
    command.args(["--package", "handshake-tests", "--features", "privileged"]);
    command.args(names.iter().flat_map(|name| ["--test", name]));
    command.env("HANDSHAKE_DEB", package::of(program, false)?);
    tally.run(command.args(["--", "--test-threads=1"]).args(&options.filters))
}

/// The test programs of privileged suites, built for the host but not run: name and file.
pub(crate) fn suites_built(names: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--message-format=json-render-diagnostics", "--target-dir"]);
    command.arg(target_dir());
    command.args(["--package", "handshake-tests", "--features", "privileged"]);
    command.args(names.iter().flat_map(|name| ["--test", name]));
    let said = output(&mut command).context("the suites do not build")?;
    let built: Vec<_> = said.lines().filter_map(suites::built).collect();
    match names.iter().find(|name| !built.iter().any(|(built, _)| built == *name)) {
        Some(name) => bail!("cargo does not say where it built {name}"),
        None => Ok(built),
    }
}

/// Without a BPF toolchain the program is built around a placeholder, if there is no object yet.
fn quick(options: &Options, tally: &mut Tally) -> Result<()> {
    let object = target_dir().join("bpf/handshake.o");
    let object = if object.exists() { object } else { placeholder()? };
    build_around(&object)?;
    let mut command = cargo_test(&target_dir().join("debug/handshake"));
    command.args(packages()).args(["--package", "handshake-tests"]);
    command.env("HANDSHAKE_EBPF_OBJECT", &object);
    tally.run(command.arg("--").args(&options.filters))
}

fn build_around(object: &PathBuf) -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--package", "handshake-user", "--target-dir"]).arg(target_dir());
    crate::workspace::run(command.env("HANDSHAKE_EBPF_OBJECT", object))
}

fn placeholder() -> Result<PathBuf> {
    let file = target_dir().join("no-bpf-object");
    fs::write(&file, "built without the eBPF object: run `cargo xtask build`\n")
        .with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("test: no eBPF object yet; this build cannot watch, only replay");
    Ok(file)
}

fn packages() -> impl Iterator<Item = &'static str> {
    UNIT_TESTED.iter().flat_map(|name| ["--package", name])
}

/// `cargo test` for suites that start `program`, which they find by `HANDSHAKE_BIN`.
fn cargo_test(program: &PathBuf) -> Command {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast", "--target-dir"]).arg(target_dir());
    command.env("HANDSHAKE_BIN", program);
    command
}

/// Prints the sum; a part asked for by name may succeed alone.
fn conclude(tally: &Tally, skipped: &[&str], filtered: bool) -> Result<()> {
    for name in &tally.failures {
        println!("failed: {name}");
    }
    if !skipped.is_empty() {
        println!("\nNOT RUN, because they need root: {}", skipped.join(", "));
        println!("run them with `sudo -E env \"PATH=$PATH\" cargo xtask test`");
    }
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed > 0 {
        bail!("some tests failed");
    }
    if tally.passed == 0 {
        bail!("no test ran: is there one whose name contains the filter?");
    }
    if !skipped.is_empty() && !filtered {
        bail!("not every suite was run (`cargo xtask test --quick` leaves them out on purpose)");
    }
    Ok(())
}
