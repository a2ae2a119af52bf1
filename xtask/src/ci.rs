//! `cargo xtask ci`: everything a change must survive, cheapest first.
//!
//! A tool that the machine lacks is named and left out; nothing else is.
use anyhow::{Context, Result};

use crate::{
    build, setup, test, tidy,
    workspace::{cargo, output, run, target_dir},
};

/// What to leave out.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Options {
    /// Boot no other kernels
    #[arg(long)]
    no_vm: bool,
}

/// Formatting, tidy, clippy for both sides of the kernel boundary, then every test.
pub(crate) fn main(options: Options) -> Result<()> {
    format()?;
    tidy::main()?;
    build::object(false)?;
    clippy()?;
    clippy_ebpf()?;
    test::main(&test::Options { no_vm: options.no_vm, ..test::Options::default() })
}

fn format() -> Result<()> {
    if lacks("fmt", "rustfmt") {
        return Ok(());
    }
    run(cargo().args(["fmt", "--all", "--check"])).context("run `cargo fmt --all`")
}

fn clippy() -> Result<()> {
    if lacks("clippy", "clippy") {
        return Ok(());
    }
    let mut command = cargo();
    command.args(["clippy", "--workspace", "--exclude", "handshake-ebpf", "--all-targets"]);
    command.args(["--all-features", "--target-dir"]).arg(target_dir());
    run(command.args(["--", "-Dwarnings"])).context("clippy found something")
}

fn clippy_ebpf() -> Result<()> {
    let toolchain = setup::toolchain()?;
    if !toolchain.compiler.has_clippy() {
        eprintln!(
            "ci: SKIPPED clippy of handshake-ebpf: {} has none (rustup: `rustup component add \
             clippy --toolchain nightly`; Debian: package rust-web-clippy)",
            toolchain.compiler
        );
        return Ok(());
    }
    let mut command = build::ebpf_cargo(&toolchain, "clippy");
    command.arg("--target-dir").arg(target_dir().join("bpf"));
    run(command.args(["--", "-Dwarnings"])).context("clippy found something in handshake-ebpf")
}

fn lacks(subcommand: &str, component: &str) -> bool {
    let lacks = output(cargo().args([subcommand, "--version"])).is_err();
    if lacks {
        eprintln!(
            "ci: SKIPPED {subcommand}: this toolchain has no {component} (`rustup component add \
             {component}`)"
        );
    }
    lacks
}
