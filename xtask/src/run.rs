//! `cargo xtask run`: everything from a fresh clone to a watching program, in one command.
use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

use crate::build;

/// What the program gets.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Arguments for handshake, after `--`; none: watch the default route's interfaces
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// Builds, then becomes the program, so that signals and the exit code are its own.
pub(crate) fn main(options: &Options) -> Result<()> {
    let program = build::program(build::Options { release: true, ..Default::default() })?;
    let error = Command::new(&program).args(&options.args).exec();
    Err(error).with_context(|| format!("could not start {}", program.display()))
}
