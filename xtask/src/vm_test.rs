//! `cargo xtask vm-test`: the oldest and the newest kernel of Debian's stable series, in QEMU.
//!
//! In each guest the program loads everything it embeds, watches handshakes over the loopback
//! device and a veth pair, is killed and cleaned up after; then two of the privileged suites run
//! there. Emulation, not virtualisation: it needs no `/dev/kvm`, only a minute or two.
//! `kernels` fetches them, `guest` packs what runs inside, `machine` boots it, `judge` says what
//! passed.
mod guest;
mod judge;
mod kernels;
mod machine;
mod transcript;

use std::{path::PathBuf, thread};

use anyhow::{Context, Result, bail};
use kernels::Kernel;
use transcript::Transcript;

use crate::{
    build, setup,
    tally::Tally,
    verifier_table::{self, Counts},
};

/// A series of kernels, and what its members can do.
struct Series {
    name: &'static str,
    tcx: bool,
}

/// The first has no TCX and a verifier that prunes less; the second is the current stable one.
const SERIES: &[Series] = &[Series { name: "6.1", tcx: false }, Series { name: "6.12", tcx: true }];

/// How to treat the numbers.
#[derive(clap::Args, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Make the verified instruction counts of this run the ones in docs/verifier.md
    #[arg(long)]
    bless: bool,
}

/// Boots every kernel and prints the sum.
pub(crate) fn main(options: Options) -> Result<()> {
    let mut tally = Tally::default();
    run(options, &mut tally);
    for name in &tally.failures {
        println!("failed: {name}");
    }
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed > 0 {
        bail!("some tests failed");
    }
    Ok(())
}

/// Boots every kernel and counts what passed there; without QEMU or a kernel, that is a failure.
pub(crate) fn run(options: Options, tally: &mut Tally) {
    match boot_all() {
        Ok(guests) => judge_all(options, &guests, tally),
        Err(error) => tally.step("vm-test", Err(error)),
    }
}

/// A guest that is ready to boot.
struct Guest {
    kernel: Kernel,
    initramfs: PathBuf,
}

/// What the console of each series said; all boot at the same time, on one CPU each.
fn boot_all() -> Result<Vec<(&'static Series, Result<String>)>> {
    setup::vm_packages()?;
    let program = build::program(build::Options::default())?;
    let payload = guest::payload(&program)?;
    let mut guests = Vec::new();
    for series in SERIES {
        let kernel = kernels::ensure(series.name)?;
        let initramfs = guest::pack(&kernel, series, &payload)?;
        println!("== {}: booting {} in QEMU", series.name, kernel.release()?);
        guests.push(Guest { kernel, initramfs });
    }
    let boot = |guest: &Guest| machine::boot(&guest.kernel, &guest.initramfs);
    let consoles = thread::scope(|scope| {
        let running: Vec<_> = guests.iter().map(|guest| scope.spawn(move || boot(guest))).collect();
        running.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let consoles = consoles
        .into_iter()
        .map(|joined| joined.unwrap_or_else(|_| bail!("the thread that booted it panicked")));
    Ok(SERIES.iter().zip(consoles).collect())
}

fn judge_all(options: Options, guests: &[(&Series, Result<String>)], tally: &mut Tally) {
    let mut counts = Counts::new();
    for (series, console) in guests {
        match console {
            Ok(console) => {
                let transcript = Transcript::parse(console);
                judge::print(series, &transcript);
                judge::judge(series, &transcript, &mut counts, tally);
                if transcript.exit("prog_run").is_none() {
                    println!("the console of {} ends with:", series.name);
                    println!("{}", machine::tail(console));
                }
            }
            Err(error) => {
                let failed = Err(anyhow::anyhow!("{error:#}"));
                tally.step(&format!("{}: boot", series.name), failed);
            }
        }
    }
    let checked = verifier_table::check(&counts, options.bless);
    tally.step("verified instructions on 6.1 and 6.12", checked.context("docs/verifier.md"));
}
