//! `cargo xtask demo`: a network of its own, with failures in it, being watched.
//!
//! Thin: the network and its clients and servers are `handshake_tests::demo`.
use anyhow::Result;

use crate::build;

/// What the demo gets.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Arguments for `handshake watch`, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

/// Builds, and hands the program to the demo.
pub(crate) fn main(options: &Options) -> Result<()> {
    let program = build::program(build::Options { release: true })?;
    handshake_tests::demo::run(&program, &options.args)
}
