//! `cargo xtask verify`: loads every eBPF program on the running kernel, attaching none.
use std::process::Command;

use anyhow::{Context, Result};

use crate::{build, workspace::run};

/// Builds, and lets the program load what it embeds.
pub(crate) fn main() -> Result<()> {
    let program = build::program(build::Options { release: true, ..Default::default() })?;
    run(Command::new(program).arg("verify")).context("this kernel does not take every program")
}
