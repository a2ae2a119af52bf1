//! `cargo xtask bench`: what handshake costs, group by group.
//!
//! Each group is a `[[bench]]` of the tests package; what its figures mean is in docs/performance.md.
//! People read stderr; stdout carries one JSON object a figure, on request.
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::{
    build, setup,
    workspace::{cargo, is_root, run, target_dir},
};

/// A group of figures.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq)]
enum Group {
    /// Nanoseconds a packet in the kernel's programs (root)
    Kernel,
    /// Events through the rings, by one and two CPUs (root)
    Ring,
    /// Events a second, memory and stalls of the tracker
    Tracker,
    /// A capture of a million handshakes, read by the program
    Replay,
    /// Connections a second with and without being watched; a SYN flood (root)
    Live,
}

impl Group {
    const ALL: [Self; 5] = [Self::Kernel, Self::Ring, Self::Tracker, Self::Replay, Self::Live];

    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Ring => "ring",
            Self::Tracker => "tracker",
            Self::Replay => "replay",
            Self::Live => "live",
        }
    }

    fn needs_root(self) -> bool {
        matches!(self, Self::Kernel | Self::Ring | Self::Live)
    }
}

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The groups; all of them if none is named
    #[arg(value_enum, value_name = "GROUP")]
    groups: Vec<Group>,
    /// One JSON object a figure on stdout
    #[arg(long)]
    json: bool,
}

/// Builds everything first, then measures one group after the other.
pub(crate) fn main(options: &Options) -> Result<()> {
    let wanted = if options.groups.is_empty() { &Group::ALL[..] } else { &options.groups };
    let (skipped, groups): (Vec<Group>, Vec<Group>) =
        wanted.iter().partition(|group| group.needs_root() && !is_root());
    if groups.contains(&Group::Live) {
        setup::test_packages()?;
    }
    let program = build::program(build::Options { release: true, ..Default::default() })?;
    bench(&groups, &["--no-run"], options, &program)?;
    for group in &groups {
        bench(&[*group], &[], options, &program)
            .with_context(|| format!("the group {} failed", group.name()))?;
    }
    if !skipped.is_empty() {
        let names: Vec<_> = skipped.iter().map(|group| group.name()).collect();
        bail!("not measured, because they need root: {}", names.join(", "));
    }
    Ok(())
}

fn bench(
    groups: &[Group],
    arguments: &[&str],
    options: &Options,
    program: &std::path::Path,
) -> Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    let mut command = cargo();
    command.args(["bench", "--quiet", "--package", "handshake-tests", "--features", "privileged"]);
    command.args(groups.iter().flat_map(|group| ["--bench", group.name()]));
    command.arg("--target-dir").arg(target_dir()).args(arguments);
    if !options.json {
        command.stdout(Stdio::null());
    }
    run(command.env("HANDSHAKE_BIN", program))
}
