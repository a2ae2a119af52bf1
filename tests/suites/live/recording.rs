//! What `--record` keeps: files that tshark reads without a complaint, that replay to the attempts
//! of the live run, that hold the bytes of the wire, and that stay within their bounds.
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_common::flow::Keys;
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::{Parsed, SliceFrame, parse};
use handshake_tests::capture::Capture;
use handshake_tests::frame::{ACK, RST, Segment};
use handshake_tests::judge::assert_lossless;
use handshake_tests::lab::{Family, Lab, Namespace};
use handshake_tests::process::eventually;
use handshake_tests::socket::FrameSocket;
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::{Report, Watcher, replay};
use handshake_user::capture::{CaptureReader, Status};
use serde_json::Value;

const TIMEOUT: &str = "2s";
const VERDICT: Duration = Duration::from_secs(12);
/// How long clients wait for what does not answer: less than until their first retransmission.
const BRIEF: Duration = Duration::from_millis(400);

/// A directory of its own, removed in the end.
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    pub(super) fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("handshake-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// The names of all files, sorted.
    fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.0)?.collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<_> =
            entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// One packet as tshark shows it.
#[derive(Debug)]
struct Shown {
    comment: String,
    interface: String,
    direction: String,
    protocols: String,
}

/// Every packet of a file; a word of complaint is an error.
fn tshark(file: &str) -> Result<Vec<Shown>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r", file, "-T", "fields", "-E", "separator=|"]);
    for field in
        ["frame.comment", "frame.interface_name", "frame.packet_flags_direction", "frame.protocols"]
    {
        command.args(["-e", field]);
    }
    let output = command.output().context("cannot start tshark")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    // It says that it should not run as root.
    let complaints = complaints.lines().filter(|line| !line.starts_with("Running as user"));
    let complaints: Vec<_> = complaints.collect();
    ensure!(output.status.success() && complaints.is_empty(), "{file}: {complaints:?}");
    let text = String::from_utf8(output.stdout)?;
    let shown = |line: &str| {
        let mut fields = line.split('|').map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        Shown { comment: next(), interface: next(), direction: next(), protocols: next() }
    };
    Ok(text.lines().map(shown).collect())
}

/// The frames of a capture file that was read to its end.
fn frames(file: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut reader = CaptureReader::new(file);
    let mut frames = Vec::new();
    while let Some(record) = reader.next_record() {
        frames.push(record.bytes.to_vec());
    }
    ensure!(reader.end().status() == Status::Ok, "{:?}", reader.end());
    Ok(frames)
}

/// What both live and replay tell of an attempt, without its number.
fn told(attempt: &Value) -> Value {
    let mut told = attempt.clone();
    let fields = told.as_object_mut().expect("a record");
    for field in ["type", "schema", "id", "iface", "hook", "role", "uncertain", "frames"] {
        fields.remove(field);
    }
    told
}

fn sorted(attempts: &[Value]) -> Vec<String> {
    let mut all: Vec<_> = attempts.iter().map(|attempt| told(attempt).to_string()).collect();
    all.sort();
    all
}

/// The file says the same of every one of these attempts, and tells of no others.
fn assert_same(live: &[Value], file: &str) -> Result<()> {
    let replayed = replay(&fs::read(file)?, &[])?;
    let (live, replayed) = (sorted(live), sorted(&replayed));
    for (live, replayed) in live.iter().zip(&replayed) {
        assert_eq!(live, replayed);
    }
    assert_eq!(live.len(), replayed.len(), "{live:#?}\n{replayed:#?}");
    Ok(())
}

/// Every packet has a comment, the last one of each attempt its outcome, once.
fn assert_explained(attempts: &[Value], shown: &[Shown]) {
    let mut outcomes = HashMap::new();
    for packet in shown {
        let rest = packet.comment.strip_prefix("attempt ").expect(&packet.comment);
        let (id, words) = rest.split_once(": ").expect(rest);
        assert!(!words.contains("rebuilt") && !words.contains("left out"), "{packet:?}");
        assert!(!outcomes.contains_key(id), "behind the last packet: {packet:?}");
        if let Some((_, outcome)) = words.split_once(" Outcome: ") {
            outcomes.insert(id.to_owned(), outcome.to_owned());
        }
    }
    assert_eq!(outcomes.len(), attempts.len(), "{shown:#?}");
    for attempt in attempts {
        let (id, outcome) = (attempt["id"].to_string(), attempt["outcome"].as_str().unwrap());
        let ended_by = attempt["ended_by"].as_str().unwrap();
        let said = &outcomes[&id];
        assert!(said.starts_with(&format!("{outcome}, ended by {ended_by}")), "{said}: {attempt}");
    }
}

fn is_failure(attempt: &&Value) -> bool {
    let known = ["completed", "completed-partial", "simultaneous-open", "unfinished", "evicted"];
    !known.contains(&attempt["outcome"].as_str().unwrap_or_default())
}

/// Something of every kind, in both families; returns how many attempts that makes at least.
fn everything(lab: &Lab) -> Result<usize> {
    for family in Family::BOTH {
        traffic::complete(lab, family, 1)?;
        traffic::refused(lab, family)?;
        traffic::silent(lab, family, BRIEF)?;
        traffic::rejected(lab, family)?;
        traffic::scanned(lab, family)?;
        traffic::aborted(lab, family)?;
        traffic::reset_by_server(lab, family)?;
        traffic::crossed(lab, family)?;
        traffic::half_open(lab, family, Duration::from_millis(1300))?;
    }
    Ok(18)
}

/// Records everything at a place, with tcpdump beside it; returns what was said.
fn record_at(
    lab: &Lab,
    (namespace, pattern, device): (&Arc<Namespace>, &str, &str),
    file: &str,
    arguments: &[&str],
    provoke: impl Fn(&Lab) -> Result<usize>,
) -> Result<(Report, Vec<u8>)> {
    let _services = Services::start(lab)?;
    let words = ["-i", pattern, "--timeout", TIMEOUT, "--record", file];
    let watcher = Watcher::start(namespace, &[&words[..], arguments].concat())?;
    let capture = Capture::start(namespace, device)?;
    let expected = provoke(lab)?;
    let all = watcher.await_attempts(expected, VERDICT);
    let captured = capture.into_file()?;
    let report = watcher.stop()?;
    all.with_context(|| format!("{:?}", report.attempts))?;
    assert_lossless(&report);
    Ok((report, captured))
}

const ALL: [&str; 2] = ["--record-outcome", "all"];

/// Everything at a place: readable, explained, the same by replay. Returns the packets.
fn assert_recorded_at(lab: &Lab, place: (&Arc<Namespace>, &str, &str)) -> Result<Vec<Shown>> {
    let directory = Directory::new(&format!("everything-{}", place.2))?;
    let file = directory.file("all.pcapng");
    let (report, captured) = record_at(lab, place, &file, &ALL, everything)?;
    assert_same(&report.attempts, &file)?;
    let shown = tshark(&file)?;
    assert_explained(&report.attempts, &shown);
    let said = format!("recorded {} attempts in {file}", report.attempts.len());
    assert!(report.stderr.contains(&said), "{}", report.stderr);
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    assert_wire(&fs::read(&file)?, &captured, lab.router.is_some())?;
    Ok(shown)
}

/// Every recorded frame stands in tcpdump's capture, byte for byte; of a router, which is captured
/// on one side only, some do.
fn assert_wire(recorded: &[u8], captured: &[u8], is_half: bool) -> Result<()> {
    let (recorded, captured) = (frames(recorded)?, frames(captured)?);
    let summed: Vec<_> = captured.iter().map(|frame| without_sum(frame)).collect();
    let stands = |frame: &&Vec<u8>| {
        captured.iter().any(|other| other.starts_with(frame))
            || summed.iter().any(|other| other.starts_with(&without_sum(frame)))
    };
    let missing: Vec<_> = recorded.iter().filter(|frame| !stands(frame)).collect();
    let most = if is_half { recorded.len() * 3 / 4 } else { 0 };
    assert!(missing.len() <= most, "{} of {}: {missing:02x?}", missing.len(), recorded.len());
    Ok(())
}

/// A sent frame of a layer-3 link without its TCP checksum: a device that cannot sum gets its frames
/// summed by the kernel, behind the hook and before tcpdump.
fn without_sum(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let slice = SliceFrame::new(&frame, frame.len());
    if let Parsed::Segment(segment) = parse(&slice, Link::Ip, &Keys { low: 0, high: 0 })
        && let Some(sum) = frame.get_mut(segment.tcp_offset + 16..segment.tcp_offset + 18)
    {
        sum.fill(0);
    }
    frame
}

#[test]
fn everything_at_the_server_is_recorded_and_replays_to_the_same_attempts() -> Result<()> {
    let lab = Lab::direct()?;
    let shown = assert_recorded_at(&lab, (&lab.server, "srv0", "srv0"))?;
    assert!(shown.iter().all(|packet| packet.interface == "srv0"));
    for (direction, kind) in
        [("0x00000001", "begins an attempt"), ("0x00000002", "SYN-ACK answers")]
    {
        let mut matching = shown.iter().filter(|packet| packet.comment.contains(kind));
        assert!(matching.clone().count() > 4, "{shown:#?}");
        assert!(matching.all(|packet| packet.direction == direction), "{shown:#?}");
    }
    Ok(())
}

#[test]
fn a_router_s_two_interfaces_are_named_and_copies_are_left_out() -> Result<()> {
    let lab = Lab::routed()?;
    let router = lab.router.as_ref().context("no router")?;
    let shown = assert_recorded_at(&lab, (router, "rt*0", "rtc0"))?;
    for device in ["rtc0", "rts0"] {
        assert!(shown.iter().any(|packet| packet.interface == device), "{device}");
    }
    Ok(())
}

#[test]
fn a_layer_3_link_is_recorded_without_ethernet() -> Result<()> {
    let lab = Lab::tunnelled()?;
    let shown = assert_recorded_at(&lab, (&lab.server, "tuns", "tuns"))?;
    assert!(shown.iter().all(|packet| packet.protocols.starts_with("raw:ip")), "{shown:#?}");
    Ok(())
}

#[test]
fn loopback_is_recorded_once_a_packet() -> Result<()> {
    let lab = Lab::loopback()?;
    let directory = Directory::new("loopback")?;
    let file = directory.file("lo.pcapng");
    let some = |lab: &Lab| {
        for family in Family::BOTH {
            traffic::complete(lab, family, 2)?;
            traffic::refused(lab, family)?;
        }
        Ok(6)
    };
    let place = (&lab.server, "lo", "lo");
    let (report, captured) = record_at(&lab, place, &file, &ALL, some)?;
    assert_same(&report.attempts, &file)?;
    let shown = tshark(&file)?;
    assert_explained(&report.attempts, &shown);
    assert_wire(&fs::read(&file)?, &captured, false)
}

/// A frame with an 802.1ad and an 802.1Q tag, both with a priority.
fn tagged(segment: &Segment) -> Vec<u8> {
    let mut frame = segment.frame([2, 0, 0, 0, 0, 1], [0xff; 6]);
    frame.splice(12..12, [0x88, 0xa8, 0x60, 100, 0x81, 0x00, 0xa0, 7]);
    frame
}

/// The kernel takes the outer tag out of what is received before the hook sees it: it stands in the
/// file again, with its kind and priority.
#[test]
fn a_tag_that_was_taken_out_is_put_back() -> Result<()> {
    let lab = Lab::direct()?;
    let directory = Directory::new("vlan")?;
    let file = directory.file("vlan.pcapng");
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--record", &file])?;
    let client = SocketAddr::new(lab.client_ip(Family::V4), 40_000);
    let server = lab.server(Family::V4, 81);
    let asks = tagged(&traffic::syn(client, server, 7));
    let refuses = tagged(&Segment::new(server, client, RST | ACK, 0, 8));
    lab.client.enter(|| FrameSocket::new("cli0")?.send(&asks))??;
    std::thread::sleep(Duration::from_millis(20));
    lab.server.enter(|| FrameSocket::new("srv0")?.send(&refuses))??;
    watcher.await_attempts(1, VERDICT)?;
    let report = watcher.stop()?;
    assert_eq!(report.attempts[0]["encap"], serde_json::json!(["vlan:100", "vlan:7"]));
    assert_same(&report.attempts, &file)?;
    assert_explained(&report.attempts, &tshark(&file)?);
    assert_eq!(frames(&fs::read(&file)?)?, [asks, refuses]);
    Ok(())
}

#[test]
fn only_failures_are_recorded_unless_told_otherwise() -> Result<()> {
    let lab = Lab::direct()?;
    let directory = Directory::new("chosen")?;
    let (failed, chosen) = (directory.file("failed.pcapng"), directory.file("chosen.pcapng"));
    let _services = Services::start(&lab)?;
    let common = ["-i", "srv0", "--timeout", TIMEOUT, "--record"];
    let first = Watcher::start(&lab.server, &[&common[..], &[&failed]].concat())?;
    let wanted = ["--record-outcome", "refused,completed"];
    let second = Watcher::start(&lab.server, &[&common[..], &[&chosen], &wanted[..]].concat())?;
    let expected = everything(&lab)?;
    first.await_attempts(expected, VERDICT)?;
    second.await_attempts(expected, VERDICT)?;
    let (first, second) = (first.stop()?, second.stop()?);
    let failures: Vec<_> = first.attempts.iter().filter(is_failure).cloned().collect();
    assert!(failures.len() > 10 && failures.len() < first.attempts.len());
    assert_same(&failures, &failed)?;
    assert_explained(&failures, &tshark(&failed)?);
    let of = |attempt: &&Value| {
        ["refused", "completed"].contains(&attempt["outcome"].as_str().unwrap_or_default())
    };
    let wanted: Vec<_> = second.attempts.iter().filter(of).cloned().collect();
    assert_eq!(wanted.len(), 4);
    assert_same(&wanted, &chosen)
}

#[test]
fn a_superseded_attempt_keeps_its_outcome() -> Result<()> {
    let lab = Lab::direct()?;
    let directory = Directory::new("superseded")?;
    let file = directory.file("superseded.pcapng");
    let place = (&lab.server, "srv0", "srv0");
    let once = |lab: &Lab| traffic::superseded(lab, Family::V4).map(|_| 2);
    let (report, _) = record_at(&lab, place, &file, &[], once)?;
    // How it ended is not in the packets: the comment alone says "superseded".
    let mut expected = report.attempts;
    assert_eq!(expected[0]["ended_by"], "superseded");
    expected[0]["ended_by"] = "timeout".into();
    assert_same(&expected, &file)
}

#[test]
fn what_was_still_open_is_recorded_as_unfinished() -> Result<()> {
    let lab = Lab::direct()?;
    let directory = Directory::new("unfinished")?;
    let file = directory.file("unfinished.pcapng");
    let _services = Services::start(&lab)?;
    let arguments = ["-i", "srv0", "--record", &file, "--record-outcome", "unfinished,failed"];
    let watcher = Watcher::start(&lab.server, &arguments)?;
    traffic::silent(&lab, Family::V4, BRIEF)?;
    traffic::refused(&lab, Family::V4)?;
    watcher.await_attempts(1, VERDICT)?;
    let report = watcher.stop()?;
    assert_eq!(report.attempts.len(), 2);
    assert_same(&report.attempts, &file)
}

/// Refuses `count` connections and waits until they are told.
fn refuse(lab: &Lab, watcher: &Watcher, count: usize) -> Result<()> {
    let before = watcher.attempts().len();
    for _ in 0..count {
        traffic::refused(lab, Family::V4)?;
    }
    watcher.await_attempts(before + count, VERDICT)
}

#[test]
fn files_rotate_and_no_attempt_is_divided() -> Result<()> {
    let lab = Lab::direct()?;
    let directory = Directory::new("rotation")?;
    let file = directory.file("r.pcapng");
    let foreign = directory.file("r_00003.pcapng");
    fs::write(&foreign, "somebody's")?;
    let bounds = ["--record-size", "8192", "--record-files", "3"];
    let words = ["-i", "srv0", "--record", &file];
    let watcher = Watcher::start(&lab.server, &[&words[..], &bounds[..]].concat())?;
    refuse(&lab, &watcher, 120)?;
    let report = watcher.stop()?;
    let names = directory.names()?;
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(fs::read_to_string(&foreign)?, "somebody's");
    let mut recorded = Vec::new();
    for name in names.iter().filter(|name| *name != "r_00003.pcapng") {
        let file = directory.file(name);
        let bytes = fs::read(&file)?;
        assert!(bytes.len() <= 8192, "{name}: {}", bytes.len());
        let attempts = replay(&bytes, &[])?;
        let shown = tshark(&file)?;
        assert!(attempts.len() > 5, "{name}: {}", attempts.len());
        assert_eq!(shown.len(), 2 * attempts.len(), "{name}");
        recorded.extend(attempts);
    }
    // The last ones, and each whole.
    let last = &report.attempts[report.attempts.len() - recorded.len()..];
    assert_eq!(sorted(last), sorted(&recorded));
    assert!(report.stderr.contains("recorded 120 attempts in "), "{}", report.stderr);
    assert!(report.stderr.contains(" older files were removed)"), "{}", report.stderr);
    Ok(())
}

/// Starts `watch --record` and expects it to refuse.
fn assert_refused(namespace: &Namespace, file: &str, words: &[&str]) -> Result<()> {
    let mut command = namespace.command(handshake_tests::watcher::binary()?);
    command.args(["watch", "-i", "lo", "--record", file]);
    let report = Watcher::spawn(&mut command)?.finish()?;
    assert_eq!(report.status.code(), Some(2), "{}", report.stderr);
    for word in words {
        assert!(report.stderr.contains(word), "no {word:?} in {}", report.stderr);
    }
    Ok(())
}

#[test]
fn a_file_that_exists_is_refused_and_stays_as_it_is() -> Result<()> {
    let namespace = Namespace::new()?;
    let directory = Directory::new("exists")?;
    let file = directory.file("mine.pcapng");
    fs::write(&file, "precious")?;
    assert_refused(&namespace, &file, &["exists and is not overwritten", "mv "])?;
    assert_eq!(fs::read_to_string(&file)?, "precious");
    let missing = directory.file("sub/new.pcapng");
    assert_refused(&namespace, &missing, &["cannot create", "mkdir -p "])
}

#[test]
fn nothing_is_left_behind_where_nothing_could_be_watched() -> Result<()> {
    let namespace = Namespace::new()?;
    let directory = Directory::new("nothing")?;
    let mut command = namespace.command(handshake_tests::watcher::binary()?);
    command.args(["watch", "-i", "lo", "--record", &directory.file("none.pcapng")]);
    // Without a capability it fails after the file was made.
    handshake_tests::process::without_capabilities(&mut command);
    let report = Watcher::spawn(&mut command)?.finish()?;
    assert_ne!(report.status.code(), Some(0), "{}", report.stderr);
    assert_eq!(directory.names()?, Vec::<String>::new(), "{}", report.stderr);
    Ok(())
}

#[test]
fn a_full_disk_ends_recording_and_not_watching() -> Result<()> {
    let lab = Lab::direct()?;
    // Only the watcher's mount namespace has this disk.
    lab.server.run(&["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", "/mnt"])?;
    let words = ["-i", "srv0", "--record", "/mnt/full.pcapng"];
    let watcher = Watcher::start(&lab.server, &words)?;
    refuse(&lab, &watcher, 60)?;
    watcher.await_stderr("recording has ended, watching goes on", VERDICT)?;
    refuse(&lab, &watcher, 10)?;
    let inside = format!("/proc/{}/root/mnt/full.pcapng", watcher.pid());
    let bytes = fs::read(inside)?;
    let report = watcher.stop()?;
    let said = "cannot write to /mnt/full.pcapng: No space left on device";
    assert_eq!(report.stderr.matches(said).count(), 1, "{}", report.stderr);
    let recorded = replay(&bytes, &[])?.len() as u64;
    let missed: u64 = report
        .losses
        .iter()
        .filter(|loss| loss["reason"] == "not-recorded")
        .filter_map(|loss| loss["count"].as_u64())
        .sum();
    assert_eq!(report.attempts.len(), 70);
    assert_eq!(recorded + missed, 70, "{recorded} recorded, {missed} missed: {}", report.stderr);
    assert!(missed >= 10 && report.status.success(), "{}", report.stderr);
    Ok(())
}

#[test]
fn a_killed_process_leaves_a_file_that_can_be_read() -> Result<()> {
    let lab = Lab::direct()?;
    let directory = Directory::new("killed")?;
    let file = directory.file("killed.pcapng");
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--record", &file])?;
    refuse(&lab, &watcher, 30)?;
    let written = || fs::metadata(&file).is_ok_and(|data| data.len() > 30 * 2 * 100);
    eventually("the attempts are in the file", Duration::from_secs(3), written)?;
    watcher.signal(libc::SIGKILL)?;
    let report = watcher.finish()?;
    assert_eq!(report.attempts.len(), 30);
    assert_same(&report.attempts, &file)?;
    assert_explained(&report.attempts, &tshark(&file)?);
    Ok(())
}

#[test]
fn a_run_without_failures_leaves_an_empty_capture() -> Result<()> {
    let namespace = Namespace::new()?;
    let directory = Directory::new("empty")?;
    let file = directory.file("empty.pcapng");
    let report = Watcher::start(&namespace, &["-i", "lo", "--record", &file])?.stop()?;
    assert!(report.stderr.contains("recorded 0 attempts in "), "{}", report.stderr);
    assert!(tshark(&file)?.is_empty() && replay(&fs::read(&file)?, &[])?.is_empty());
    assert!(Path::new(&file).exists());
    Ok(())
}
