//! `cargo xtask`: sets up, builds, runs and tests handshake.
//!
//! This file only dispatches; each verb has a file of its own. What they share is in `workspace`
//! (paths, clean environments, running commands) and in `setup` (toolchain and packages).
#![forbid(unsafe_code)]

mod bench;
mod build;
mod ci;
mod demo;
mod package;
mod run;
mod setup;
mod tally;
mod test;
mod tidy;
mod verifier_table;
mod verify;
mod vm_test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sets up, builds, runs and tests handshake.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find or install what compiles eBPF programs (and, on request, what the tests call)
    Setup(setup::Options),
    /// Build the eBPF object and the program that embeds it
    Build(build::Options),
    /// Set up, build, and run the program with the arguments after `--`
    Run(run::Options),
    /// Make network namespaces with real clients and servers, and watch them
    Demo(demo::Options),
    /// Set up, build, and run every test; as root the privileged suites too
    Test(test::Options),
    /// Measure what handshake costs
    Bench(bench::Options),
    /// Load every eBPF program on this kernel, attaching none
    Verify,
    /// Boot older kernels in QEMU; load, watch, compare frames and clean up there
    VmTest(vm_test::Options),
    /// Make a Debian package: program, service, manual pages, completions
    Package(package::Options),
    /// Check the rules of the house that no compiler knows
    Tidy,
    /// Formatting, tidy, clippy, then every test
    Ci(ci::Options),
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Setup(options) => setup::main(options),
        Verb::Build(options) => build::main(options),
        Verb::Run(options) => run::main(&options),
        Verb::Demo(options) => demo::main(&options),
        Verb::Test(options) => test::main(&options),
        Verb::Bench(options) => bench::main(&options),
        Verb::Verify => verify::main(),
        Verb::VmTest(options) => vm_test::main(options),
        Verb::Package(options) => package::main(options),
        Verb::Tidy => tidy::main(),
        Verb::Ci(options) => ci::main(options),
    }
}
