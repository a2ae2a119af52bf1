//! `cargo xtask vm-test`: the oldest and the newest kernel of Debian's stable series, in QEMU.
//!
//! In each guest the program loads everything it embeds, then watches one handshake over the
//! loopback device. Emulation, not virtualisation: it needs no `/dev/kvm`, only half a minute.
//! `kernels` fetches them, `guest` packs what runs inside, `machine` boots it.
mod guest;
mod kernels;
mod machine;

use anyhow::{Context, Result, bail};
use guest::Transcript;

use crate::{
    build, setup,
    verifier_table::{self, Counts},
};

/// The first has no TCX and a verifier that prunes less; the second is the current stable one.
const SERIES: &[&str] = &["6.1", "6.12"];

/// How to treat the numbers.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Options {
    /// Make the verified instruction counts of this run the ones in docs/verifier.md
    #[arg(long)]
    bless: bool,
}

/// Boots every kernel, checks what happened there, then the instruction counts.
pub(crate) fn main(options: Options) -> Result<()> {
    setup::vm_packages()?;
    build::object()?;
    let program = guest::build_static()?;
    let mut counts = Counts::new();
    for series in SERIES {
        let kernel = kernels::ensure(series)?;
        println!("== {series}: booting {}", kernel.release()?);
        let initramfs = guest::pack(&kernel, series, &program)?;
        let console = machine::boot(&kernel, &initramfs)?;
        let transcript = Transcript::parse(&console);
        if transcript.exit("verify").is_none() {
            bail!("the guest did not get through `handshake verify`:\n{}", machine::tail(&console));
        }
        check(series, &transcript, &mut counts).with_context(|| format!("on kernel {series}"))?;
    }
    verifier_table::check(&counts, options.bless)
}

fn check(series: &str, transcript: &Transcript, counts: &mut Counts) -> Result<()> {
    for (name, lines) in transcript.sections() {
        lines.iter().for_each(|line| println!("   {name}: {line}"));
    }
    if transcript.exit("verify") != Some(0) {
        bail!("not every program loads");
    }
    let programs: Vec<_> = transcript
        .lines("verify")
        .iter()
        .filter_map(|line| verifier_table::parse_line(line))
        .collect();
    if programs.is_empty() {
        bail!("`handshake verify` named no program");
    }
    for (program, count) in programs {
        counts.insert((program.to_owned(), series.to_owned()), count);
    }
    check_watch(transcript)
}

fn check_watch(transcript: &Transcript) -> Result<()> {
    if transcript.exit("watch") != Some(0) {
        bail!("`handshake watch` failed");
    }
    let completed = |line: &&String| {
        let line = line.replace(' ', "");
        line.contains("\"type\":\"attempt\"") && line.contains("\"outcome\":\"completed\"")
    };
    if transcript.lines("watch").iter().filter(completed).count() == 0 {
        bail!("the handshake over loopback was not reported as completed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_saw_a_handshake_passes() -> Result<()> {
        let console = "=== verify\nok xdp verified=120 jited=9\nok tc verified=90 jited=9\n=== verify exit 0\n=== watch\n\
                       {\"type\":\"attempt\",\"outcome\":\"completed\"}\n=== watch exit 0\n";
        let mut counts = Counts::new();
        check("6.1", &Transcript::parse(console), &mut counts)?;
        assert_eq!(counts.len(), 2);
        Ok(())
    }

    #[test]
    fn a_guest_that_went_silent_fails() {
        let mut counts = Counts::new();
        assert!(check("6.1", &Transcript::parse(""), &mut counts).is_err());
        let refused = "=== verify\nok xdp verified=120 jited=9\n=== verify exit 1\n";
        assert!(check("6.1", &Transcript::parse(refused), &mut counts).is_err());
        let blind = "=== verify\nok xdp verified=120 jited=9\n=== verify exit 0\n=== watch\n=== watch exit 0\n";
        assert!(check("6.1", &Transcript::parse(blind), &mut counts).is_err());
    }
}
