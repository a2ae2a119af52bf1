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

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, bail};
use machine::Pace;
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
fn run(options: Options, tally: &mut Tally) {
    match boot_all(Pace::default()) {
        Ok(guests) => guests.judge(options, tally),
        Err(error) => tally.step("vm-test", Err(error)),
    }
}

/// The same beside something that waits more than it works: until that ends, guests get the time that
/// it leaves.
pub(crate) fn run_beside(
    tally: &mut Tally,
    work: impl FnOnce(&mut Tally) -> Result<()>,
) -> Result<()> {
    let guests = boot_all(Pace::idle());
    let worked = work(tally);
    match guests {
        Ok(guests) => guests.judge(Options::default(), tally),
        Err(error) => tally.step("vm-test", Err(error)),
    }
    worked
}

/// Guests that run.
struct Guests {
    pace: Arc<Pace>,
    /// What the console of each series will have said.
    consoles: Vec<(&'static Series, JoinHandle<Result<String>>)>,
}

/// All boot at the same time, on one CPU each.
fn boot_all(pace: Pace) -> Result<Guests> {
    setup::vm_packages()?;
    let program = build::program(build::Options::default())?;
    let payload = guest::payload(&program)?;
    let pace = Arc::new(pace);
    let mut consoles = Vec::new();
    for series in SERIES {
        let kernel = kernels::ensure(series.name)?;
        let initramfs = guest::pack(&kernel, series, &payload)?;
        println!("== {}: booting {} in QEMU", series.name, kernel.release()?);
        let pace = Arc::clone(&pace);
        consoles.push((series, thread::spawn(move || machine::boot(&kernel, &initramfs, &pace))));
    }
    Ok(Guests { pace, consoles })
}

impl Guests {
    /// Waits for their ends.
    fn judge(self, options: Options, tally: &mut Tally) {
        self.pace.hurry();
        let ended = self.consoles.into_iter().map(|(series, console)| {
            let console = console.join();
            let died = |_| bail!("the thread that booted it panicked");
            (series, console.unwrap_or_else(died))
        });
        judge_all(options, &ended.collect::<Vec<_>>(), tally);
    }
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
