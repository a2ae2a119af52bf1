//! The program as a guest: other people's programs keep their place and see every packet, traffic is
//! what it would be without us, and nothing stays behind however we end.
use std::time::Duration;

use anyhow::{Result, bail};
use handshake_tests::bpf::{Counter, Hook, attachments, programs};
use handshake_tests::capture::{Capture, Packet};
use handshake_tests::judge::{assert_balanced, assert_lossless};
use handshake_tests::lab::{Family, Lab, Namespace};
use handshake_tests::process::eventually;
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::Watcher;

const SOON: Duration = Duration::from_secs(1);

/// Every way to attach.
const WAYS: [&[&str]; 3] =
    [&["--hook", "tc"], &["--hook", "xdp"], &["--hook", "xdp", "--xdp-mode", "generic"]];

fn assert_clean(namespace: &Namespace, device: &str) -> Result<()> {
    let clean = || attachments(namespace, device).is_ok_and(|found| found.is_empty());
    let result = eventually("nothing is attached", SOON, clean);
    assert!(result.is_ok(), "left on {device}: {:?}", attachments(namespace, device));
    Ok(())
}

/// Starts to watch in each way, ends by `end`, and looks for what is left.
fn leave(end: impl Fn(Watcher) -> Result<()>) -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    for way in WAYS {
        let watcher = Watcher::start(&lab.server, &[&["-i", "srv0"], way].concat())?;
        let attached = attachments(&lab.server, "srv0")?;
        assert_eq!(attached.len(), 2, "one program each way: {attached:?}");
        traffic::complete(&lab, Family::V4, 3)?;
        end(watcher)?;
        assert_clean(&lab.server, "srv0")?;
        assert_clean(&lab.client, "cli0")?;
    }
    Ok(())
}

#[test]
fn ctrl_c_leaves_nothing_behind() -> Result<()> {
    leave(|watcher| {
        assert_lossless(&watcher.stop()?);
        Ok(())
    })
}

#[test]
fn sigterm_leaves_nothing_behind_and_ends_well() -> Result<()> {
    leave(|watcher| {
        watcher.signal(libc::SIGTERM)?;
        assert_lossless(&watcher.finish()?);
        Ok(())
    })
}

#[test]
fn sigkill_leaves_nothing_behind() -> Result<()> {
    leave(|watcher| {
        watcher.signal(libc::SIGKILL)?;
        watcher.finish().map(drop)
    })
}

#[test]
fn the_end_of_its_duration_leaves_nothing_behind() -> Result<()> {
    let lab = Lab::direct()?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--duration", "1s"])?;
    assert_lossless(&watcher.finish()?);
    assert_clean(&lab.server, "srv0")
}

#[test]
fn the_attempt_it_was_asked_to_count_to_is_the_last() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--count", "5"])?;
    traffic::complete(&lab, Family::V4, 5)?;
    let report = watcher.finish()?;
    assert_balanced(&report);
    let ended = report.attempts.iter().filter(|attempt| attempt["outcome"] == "completed");
    assert_eq!(ended.count(), 5);
    assert_clean(&lab.server, "srv0")
}

#[test]
fn a_foreign_xdp_program_stays_and_sees_every_packet() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let foreign = Counter::attach(&lab.server, "srv0", Hook::Xdp)?;
    let before = programs(&lab.server, "srv0", Hook::Xdp)?;
    for hook in ["auto", "tc", "xdp"] {
        let started = Watcher::start(&lab.server, &["-i", "srv0", "--hook", hook]);
        assert_eq!(programs(&lab.server, "srv0", Hook::Xdp)?, before, "--hook {hook}");
        let (seen, capture) = (foreign.packets()?, Capture::start(&lab.client, "cli0")?);
        traffic::complete(&lab, Family::V6, 10)?;
        let sent = from_client(&lab, &capture.stop()?);
        let counted = foreign.packets()? - seen;
        assert!(counted >= sent, "{counted} of {sent}, --hook {hook}");
        let Ok(watcher) = started else {
            // To be asked for XDP only, and not to get it, is a reason to refuse.
            let refusal = format!("{:#}", started.unwrap_err());
            assert!(hook == "xdp" && refusal.contains(&before[0].to_string()), "{refusal}");
            continue;
        };
        let report = watcher.stop()?;
        assert_lossless(&report);
        assert_eq!(report.attempts.len(), 10, "--hook {hook}");
        if hook == "xdp" {
            assert!(report.stderr.contains(&before[0].to_string()), "{}", report.stderr);
        }
    }
    assert_eq!(programs(&lab.server, "srv0", Hook::Xdp)?, before);
    Ok(())
}

fn from_client(lab: &Lab, packets: &[Packet]) -> u64 {
    let client = lab.client_ip(Family::V6);
    packets.iter().filter(|packet| packet.segment.from.ip() == client).count() as u64
}

/// What several programs have counted, read when no packet passed in between: the kernel sends some
/// of its own (neighbour discovery, multicast reports), and two counters cannot be read at once.
fn at_rest<const N: usize>(counters: [&Counter; N]) -> Result<[u64; N]> {
    let read = || -> Result<[u64; N]> {
        let mut counts = [0; N];
        for (count, counter) in counts.iter_mut().zip(counters) {
            *count = counter.packets()?;
        }
        Ok(counts)
    };
    let mut before = read()?;
    for _ in 0..500 {
        std::thread::sleep(Duration::from_millis(10));
        let now = read()?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    bail!("packets never stopped: {before:?}")
}

#[test]
fn foreign_tc_programs_on_either_side_see_the_same_packets() -> Result<()> {
    let lab = Lab::direct()?;
    let services = Services::start(&lab)?;
    let pair = || -> Result<_> {
        let ingress = Counter::attach(&lab.server, "srv0", Hook::TcIngress)?;
        Ok([ingress, Counter::attach(&lab.server, "srv0", Hook::TcEgress)?])
    };
    let older = pair()?;
    let place = programs(&lab.server, "srv0", Hook::TcIngress)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--hook", "tc"])?;
    assert_eq!(programs(&lab.server, "srv0", Hook::TcIngress)?.len(), 2);
    let newer = pair()?;
    let all = [&older[0], &older[1], &newer[0], &newer[1]];
    let before = at_rest(all)?;
    traffic::complete(&lab, Family::V4, 20)?;
    let after = at_rest(all)?;
    let [old_in, old_out, new_in, new_out] = std::array::from_fn(|n| after[n] - before[n]);
    assert_eq!([old_in, old_out], [new_in, new_out]);
    assert!(new_in >= 20 * 4 && new_out >= 20 * 3, "{new_in} in, {new_out} out");
    assert_eq!(services.answered(), 20);
    let report = watcher.stop()?;
    assert_lossless(&report);
    assert_eq!(report.attempts.len(), 20);
    drop(newer);
    assert_eq!(programs(&lab.server, "srv0", Hook::TcIngress)?, place);
    Ok(())
}

#[test]
fn a_classic_filter_and_its_clsact_stay() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    lab.server.run(&["tc", "qdisc", "add", "dev", "srv0", "clsact"])?;
    let before = attachments(&lab.server, "srv0")?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    traffic::complete(&lab, Family::V4, 5)?;
    let report = watcher.stop()?;
    assert_lossless(&report);
    assert_eq!(report.attempts.len(), 5);
    assert_eq!(attachments(&lab.server, "srv0")?, before);
    Ok(())
}

#[test]
fn two_watchers_see_the_same_and_leave_each_other_alone() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let first = Watcher::start(&lab.server, &["-i", "srv0"])?;
    let second = Watcher::start(&lab.server, &["-i", "srv0"])?;
    traffic::complete(&lab, Family::V4, 10)?;
    let second = second.stop()?;
    traffic::complete(&lab, Family::V4, 10)?;
    let first = first.stop()?;
    assert_lossless(&first);
    assert_lossless(&second);
    assert_eq!((first.attempts.len(), second.attempts.len()), (20, 10));
    assert_clean(&lab.server, "srv0")
}

/// What a packet says, without its time.
fn says(packets: Vec<Packet>) -> Vec<String> {
    let mut said: Vec<_> =
        packets.into_iter().map(|packet| format!("{:?}", packet.segment)).collect();
    said.sort_unstable();
    said
}

#[test]
fn the_other_end_gets_every_packet_unchanged() -> Result<()> {
    let lab = Lab::direct()?;
    let services = Services::start(&lab)?;
    for (turn, way) in (1..).zip(WAYS) {
        let watcher = Watcher::start(&lab.server, &[&["-i", "srv0"], way].concat())?;
        let near = Capture::start(&lab.server, "srv0")?;
        let far = Capture::start(&lab.client, "cli0")?;
        for family in Family::BOTH {
            traffic::complete(&lab, family, 25)?;
            traffic::refused(&lab, family)?;
        }
        let (near, far) = (near.stop()?, far.stop()?);
        let syns = far.iter().filter(|packet| packet.segment.flags & 0x3f == 2).count();
        assert_eq!(syns, 52, "nothing is sent twice: {way:?}");
        assert_eq!(says(near), says(far), "{way:?}");
        assert_eq!(services.answered(), turn * 50);
        assert_lossless(&watcher.stop()?);
    }
    Ok(())
}

/// A watcher whose stdout is a pipe that is closed after one line.
fn read_by_head(lab: &Lab) -> Result<Watcher> {
    let binary = handshake_tests::watcher::binary()?;
    let script = format!("{} watch -i srv0 --format json 2>&1 >&3 | cat >&2", binary.display());
    let mut command = lab.server.command("sh");
    command.args(["-c", &format!("{{ {script}; }} 3>&1 | head -n 1")]);
    let watcher = Watcher::spawn(&mut command)?;
    watcher.await_stderr("srv0", Duration::from_secs(20))?;
    Ok(watcher)
}

fn assert_ends_quietly(watcher: Watcher, lab: &Lab) -> Result<()> {
    let report = watcher.finish()?;
    assert!(!report.stderr.contains("roken pipe"), "{}", report.stderr);
    assert!(!report.stderr.contains("panicked"), "{}", report.stderr);
    assert_clean(&lab.server, "srv0")
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    // `head` ends at once; the next line meets a closed pipe.
    let watcher = read_by_head(&lab)?;
    eventually("it is attached", Duration::from_secs(20), || {
        attachments(&lab.server, "srv0").is_ok_and(|found| found.len() == 2)
    })?;
    for _ in 0..5 {
        traffic::complete(&lab, Family::V4, 2)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_ends_quietly(watcher, &lab)
}

/// Nothing is written that could meet the closed pipe.
#[test]
fn a_reader_that_goes_away_ends_it_also_where_nothing_happens() -> Result<()> {
    let lab = Lab::direct()?;
    let watcher = read_by_head(&lab)?;
    assert_ends_quietly(watcher, &lab)
}
