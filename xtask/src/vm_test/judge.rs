//! What passed in a guest: one step for each section of `init.sh`, and the tests of its suites.
use anyhow::{Result, bail, ensure};

use super::{Series, transcript::Transcript};
use crate::{
    tally::Tally,
    verifier_table::{self, Counts},
};

/// Suites whose own tests are counted.
const SUITES: &[&str] = &["attach", "prog_run"];

/// Beginnings of lines that are shown although their section succeeded.
const SHOWN: &[&str] =
    &["#1 ", "ok ", "watching ", "events: ", "programs ", "removed ", "nothing ", "test result: "];

/// Prints the gist of what succeeded and all of what did not.
pub(super) fn print(series: &Series, transcript: &Transcript) {
    for (name, lines) in transcript.sections() {
        let fine = transcript.exit(name) == Some(0);
        let shown = |line: &&String| !fine || SHOWN.iter().any(|start| line.starts_with(start));
        for line in lines.iter().filter(shown) {
            println!("{} {name}: {line}", series.name);
        }
    }
}

/// Counts what passed and failed; collects what the verifier said.
pub(super) fn judge(
    series: &Series,
    transcript: &Transcript,
    counts: &mut Counts,
    tally: &mut Tally,
) {
    let mut step = |what: &str, result| tally.step(&format!("{}: {what}", series.name), result);
    step("every program loads", verify(series, transcript, counts));
    let tc = if series.tcx { "TCX" } else { "clsact" };
    step("a handshake over loopback", handshake(transcript, "lo", tc, tc));
    step("a handshake over veth", handshake(transcript, "veth", tc, tc));
    step("a handshake over veth by XDP", handshake(transcript, "veth-xdp", "native XDP", tc));
    step("SIGKILL, then cleanup", killed(series, transcript));
    for suite in SUITES {
        let name = format!("{}: {suite}", series.name);
        tally.suite(&name, transcript.lines(suite), transcript.exit(suite));
    }
    let (frames, disagreements) = frames(transcript.lines("prog_run"));
    let compared = format!("{frames} frames compared with {disagreements} disagreements");
    println!("{}: {compared}", series.name);
    let agreed =
        if frames > 0 && disagreements == 0 { Ok(()) } else { Err(anyhow::anyhow!(compared)) };
    tally.step(&format!("{}: frames", series.name), agreed);
}

fn verify(series: &Series, transcript: &Transcript, counts: &mut Counts) -> Result<()> {
    ensure!(transcript.exit("verify") == Some(0), "not every program loads");
    if let Some(booted) = version(transcript) {
        match verifier_table::measured_on(series.name) {
            Some(measured) if measured != booted => println!(
                "{0}: booted {booted}, while the numbers of {0} in docs/verifier.md were measured \
                 on {measured}",
                series.name
            ),
            _ => println!("{}: booted {booted}", series.name),
        }
    }
    let programs: Vec<_> = transcript
        .lines("verify")
        .iter()
        .filter_map(|line| verifier_table::parse_line(line))
        .collect();
    ensure!(!programs.is_empty(), "`handshake verify` named no program");
    for (program, count) in programs {
        counts.insert((program.to_owned(), series.name.to_owned()), count);
    }
    Ok(())
}

/// As in `6.1.192`, from what `uname -v` says on Debian.
fn version(transcript: &Transcript) -> Option<&str> {
    let line = transcript.lines("version").first()?;
    line.split_once("Debian ")?.1.split(['-', ' ']).next()
}

/// One attempt, completed, received and sent as expected.
fn handshake(transcript: &Transcript, section: &str, received: &str, sent: &str) -> Result<()> {
    ensure!(transcript.exit(section) == Some(0), "`handshake watch` failed");
    let lines = transcript.lines(section);
    let how = format!("received by {received}, sent by {sent};");
    ensure!(lines.iter().any(|line| line.contains(&how)), "it was not {how}");
    let completed = |line: &&String| {
        line.contains("\"type\":\"attempt\"") && line.contains("\"outcome\":\"completed\"")
    };
    let count = lines.iter().filter(completed).count();
    ensure!(count == 1, "{count} attempts were reported as completed");
    ensure!(lines.iter().any(|line| line.ends_with("+ 0 lost")), "the books do not close");
    Ok(())
}

/// Without TCX, filters outlive their process until `handshake cleanup` names and removes them.
fn killed(series: &Series, transcript: &Transcript) -> Result<()> {
    ensure!(transcript.exit("killed") == Some(0), "`handshake watch` or `cleanup` failed");
    let lines = transcript.lines("killed");
    let has = |what: &str| lines.iter().any(|line| line == what);
    let removed = lines.iter().filter(|line| line.starts_with("removed filter")).count();
    let left = if series.tcx { 0 } else { 2 };
    ensure!(has("programs watching: 6"), "it did not load the six programs");
    ensure!(has(&format!("programs killed: {left}")), "SIGKILL did not leave {left} programs");
    ensure!(removed == left, "cleanup removed {removed} filters of {left}");
    ensure!(has("programs cleaned: 0"), "cleanup left something");
    if series.tcx && !has("nothing of handshake is left behind") {
        bail!("cleanup did not say that nothing is left");
    }
    Ok(())
}

/// Frames that both worlds saw, and how often they disagreed, in what the prog_run suite prints.
fn frames(lines: &[String]) -> (u64, u64) {
    let before = |line: &str, what: &str| -> Option<u64> {
        line.split_once(what)?.0.split_whitespace().last()?.parse().ok()
    };
    let tallies = lines.iter().filter_map(|line| {
        Some((before(line, " frames compared")?, before(line, " disagreements")?))
    });
    tallies.fold((0, 0), |(frames, all), (compared, one)| (frames + compared, all + one))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Series = Series { name: "6.1", tcx: false };

    const FINE: &str = r#"=== version
#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)
=== end exit 0
=== verify
ok xdp verified=120 jited=9
=== end exit 0
=== lo
{"type":"attempt","outcome":"completed"}
watching lo: received by clsact, sent by clsact; loopback has no native XDP
events: 5 offered = 5 delivered + 0 lost
=== end exit 0
=== veth
{"type":"attempt","outcome":"completed"}
watching va: received by clsact, sent by clsact; why
events: 5 offered = 5 delivered + 0 lost
=== end exit 0
=== veth-xdp
{"type":"attempt","outcome":"completed"}
watching va: received by native XDP, sent by clsact; as asked
events: 5 offered = 5 delivered + 0 lost
=== end exit 0
=== killed
programs watching: 6
programs killed: 2
removed filter "hs_tc_in pid 188" (program 34) from ingress of "va"
removed filter "hs_tc_out pid 188" (program 33) from egress of "va"
programs cleaned: 0
=== end exit 0
=== attach
test result: ok. 29 passed; 0 failed; 2 ignored
=== end exit 0
=== prog_run
hs_xdp       5231 frames compared, 4184 events, refused by the kernel 0 shorter than 14 bytes and 0 others, 0 disagreements
hs_tc_in     9 frames compared, 4 events, refused by the kernel 0 shorter than 14 bytes and 0 others, 0 disagreements
test result: ok. 6 passed; 0 failed; 0 ignored
=== end exit 0
"#;

    /// Passed, failed, and how many counts the verifier gave.
    fn judged(series: &Series, console: &str) -> (u64, u64, usize) {
        let (mut counts, mut tally) = (Counts::new(), Tally::default());
        judge(series, &Transcript::parse(console), &mut counts, &mut tally);
        (tally.passed, tally.failed, counts.len())
    }

    #[test]
    fn a_guest_in_which_all_went_well_passes() {
        assert_eq!(judged(&OLD, FINE), (6 + 29 + 6, 0, 1));
        let transcript = Transcript::parse(FINE);
        assert_eq!(version(&transcript), Some("6.1.192"));
        assert_eq!(frames(transcript.lines("prog_run")), (5240, 0));
    }

    #[test]
    fn a_guest_that_went_silent_fails() {
        assert_eq!(judged(&OLD, ""), (0, 8, 0));
        let half = FINE.split_once("=== prog_run").expect("it is there").0;
        assert_eq!(judged(&OLD, half), (5 + 29, 2, 1));
    }

    #[test]
    fn each_thing_that_went_wrong_is_a_failure() {
        for (fine, wrong) in [
            ("=== verify\nok xdp verified=120 jited=9", "=== verify"),
            ("sent by clsact; loopback", "sent by TCX; loopback"),
            ("received by native XDP", "received by clsact"),
            ("\"completed\"}\nwatching lo", "\"no-answer\"}\nwatching lo"),
            ("programs killed: 2", "programs killed: 0"),
            ("programs cleaned: 0", "programs cleaned: 1"),
            (
                "4 events, refused by the kernel 0 shorter than 14 bytes and 0 others, 0",
                "1 others, 1",
            ),
        ] {
            assert!(FINE.contains(fine), "{fine}");
            assert_eq!(judged(&OLD, &FINE.replace(fine, wrong)).1, 1, "{wrong}");
        }
    }

    #[test]
    fn with_tcx_nothing_may_be_left() {
        let series = Series { name: "6.12", tcx: true };
        let console = FINE.replace("clsact", "TCX");
        assert_eq!(judged(&series, &console).1, 1);
        let console = console.replace("programs killed: 2", "programs killed: 0");
        let words = |line: &&str| !line.starts_with("removed");
        let console: String =
            console.lines().filter(words).map(|line| format!("{line}\n")).collect();
        let console = console.replace(
            "programs cleaned: 0",
            "nothing of handshake is left behind\nprograms cleaned: 0",
        );
        assert_eq!(judged(&series, &console).1, 0);
    }
}
