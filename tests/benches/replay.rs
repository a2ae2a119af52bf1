//! `cargo xtask bench replay`: reads a capture of a million handshakes with the program under test.
//!
//! The capture is ours and seeded: 90 of 100 handshakes go well, 4 lose their first SYN, 3 are
//! refused, for 2 nobody answers, 1 stays half-open. Every count of the summary must be right, or
//! the bench fails; times and memory are told. Other tools get a smaller capture of the same kind,
//! because they need minutes for this one; their figures are scaled to it. Slower captures, one
//! four times as long as the other, show what memory depends on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use handshake_tests::figures::{Quartiles, tell};
use handshake_tests::frame::{ACK, PSH, RST, SYN, Segment};
use handshake_tests::process::{Usage, wait_measured};
use handshake_tests::random::Random;
use handshake_tests::watcher::binary;

const HANDSHAKES: u32 = 1_000_000;
/// For tools that are slower.
const SAMPLE: u32 = 100_000;
const ROUNDS: usize = 3;
/// One begins every so often: 100,000 a second.
const PACE_NS: u64 = 10_000;
/// 2,500 a second: the shorter of the slow captures lasts longer than anything is remembered.
const SLOW_PACE_NS: u64 = 400_000;
const SLOW: [u32; 2] = [250_000, 1_000_000];
/// Most memory for the longer one, relative to the shorter.
const GROWTH: f64 = 1.15;
/// So long after the last begins, the capture has one more packet: whatever waits has waited too long.
const END_NS: u64 = 290_000_000_000;
const MEGABYTE: f64 = 1e6;

fn main() -> Result<()> {
    let capture = Temporary::new()?;
    let written = write(&capture.0, HANDSHAKES, PACE_NS)?;
    eprintln!(
        "replay: {HANDSHAKES} handshakes, {} packets, {:.0} MB; median (quartiles)",
        written.packets,
        written.bytes as f64 / MEGABYTE
    );
    let read: Vec<_> = (0..=ROUNDS).map(|_| read_only(&capture.path())).collect::<Result<_>>()?;
    tell("replay", "reading the file only", "s", &read[1..], &[]);
    let summary = replay("summary", ROUNDS, &capture.path(), &written)?;
    replay("json", 1, &capture.path(), &written)?;
    drop(capture);
    memory_by_length()?;
    let sample = Temporary::new()?;
    write(&sample.0, SAMPLE, PACE_NS)?;
    others(&sample.path(), summary)
}

/// Peak memory for a capture and for one four times as long, with as many a second.
fn memory_by_length() -> Result<()> {
    let mut peaks = Vec::new();
    for handshakes in SLOW {
        let capture = Temporary::new()?;
        let written = write(&capture.0, handshakes, SLOW_PACE_NS)?;
        for format in ["summary", "json"] {
            let mut command = command(format, &capture.path())?;
            let (_, usage, said) = time(&mut command)?;
            if format == "summary" {
                written.check(&said)?;
            }
            let seconds = f64::from(handshakes) * SLOW_PACE_NS as f64 / 1e9;
            let case = format!("{seconds:.0} s of 2,500 a second, {format}");
            let (peak, file) = (usage.peak_bytes as f64, written.bytes as f64);
            tell("replay", &case, "peak MB", &[peak / MEGABYTE], &[("file MB", file / MEGABYTE)]);
            peaks.push(peak);
        }
    }
    let [short, short_json, long, long_json] = peaks[..] else { unreachable!("two of two") };
    ensure!(long < short * GROWTH, "memory grows with the file: {short} to {long} bytes");
    ensure!(long_json < short_json * GROWTH, "JSON: {short_json} to {long_json} bytes");
    Ok(())
}

fn command(format: &str, capture: &Path) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(["replay", "--format", format]).arg(capture);
    let is_summary = format == "summary";
    command.stdout(if is_summary { Stdio::piped() } else { Stdio::null() });
    Ok(command)
}

/// The program itself; median seconds of CPU time.
fn replay(format: &str, rounds: usize, capture: &Path, written: &Written) -> Result<f64> {
    let (mut seconds, mut memory, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (took, usage, said) = time(&mut command(format, capture)?)?;
        if format == "summary" {
            written.check(&said)?;
        }
        seconds.push(took);
        cpu.push(usage.cpu.as_secs_f64());
        memory.push(usage.peak_bytes as f64 / MEGABYTE);
    }
    let median = Quartiles::of(&seconds).median;
    let rate = written.packets as f64 / median / 1e6;
    let memory = Quartiles::of(&memory).median;
    let cpu = Quartiles::of(&cpu).median;
    let beside = [("CPU s", cpu), ("million packets/s", rate), ("peak MB", memory)];
    tell("replay", &format!("handshake, {format}"), "s", &seconds, &beside);
    Ok(cpu)
}

/// What else there is on this machine, each at what comes nearest.
fn others(sample: &Path, ours: f64) -> Result<()> {
    let fields = "-n -T fields -e frame.time_epoch -e tcp.stream -e tcp.flags \
                  -e tcp.analysis.initial_rtt -e tcp.analysis.retransmission -r";
    let scale = f64::from(HANDSHAKES / SAMPLE);
    for (tool, arguments) in [("tshark", fields), ("tcptrace", "-n -l")] {
        let mut command = Command::new(tool);
        command.args(arguments.split_whitespace()).arg(sample).stdout(Stdio::null());
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("replay: {tool} is not installed");
            continue;
        }
        let (took, usage, _) = time(&mut command)?;
        let (took, memory) = (took * scale, usage.peak_bytes as f64 / MEGABYTE);
        let cpu = usage.cpu.as_secs_f64() * scale;
        let beside = [
            ("scaled by", scale),
            ("CPU s", cpu),
            ("times handshake's CPU", cpu / ours),
            ("peak MB of the sample alone", memory),
        ];
        tell("replay", tool, "s", &[took], &beside);
    }
    Ok(())
}

/// Runs a command to its end: seconds, what it used, what it printed.
fn time(command: &mut Command) -> Result<(f64, Usage, String)> {
    let start = Instant::now();
    let mut child = command.stderr(Stdio::null()).spawn().context("cannot start a program")?;
    let mut said = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut said)?;
    }
    let usage = wait_measured(child)?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(usage.status.success(), "{:?} ended with {}", command.get_program(), usage.status);
    Ok((seconds, usage, said))
}

fn read_only(capture: &Path) -> Result<f64> {
    let (start, mut file) = (Instant::now(), File::open(capture)?);
    let mut chunk = vec![0; 1 << 20];
    while file.read(&mut chunk)? > 0 {}
    Ok(start.elapsed().as_secs_f64())
}

/// A file without a name: it goes with this process, however that ends.
struct Temporary(File);

impl Temporary {
    fn new() -> Result<Self> {
        let name = format!("handshake-bench-{}.pcap", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        std::fs::remove_file(&path)?;
        Ok(Self(file))
    }

    /// Where this process and its children find it.
    fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

/// What a handshake comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    SynLost,
    Refused,
    NoAnswer,
    HalfOpen,
}

#[derive(Clone, Copy)]
enum Packet {
    Syn,
    SynAck,
    Ack,
    Data,
    DataAck,
    Refusal,
}

impl Fate {
    const ALL: [Self; 5] =
        [Self::Fine, Self::SynLost, Self::Refused, Self::NoAnswer, Self::HalfOpen];

    fn of(random: &mut Random) -> Self {
        match random.below(100) {
            0..90 => Self::Fine,
            90..94 => Self::SynLost,
            94..97 => Self::Refused,
            97..99 => Self::NoAnswer,
            _ => Self::HalfOpen,
        }
    }

    /// Its packets, and when they come, in microseconds.
    fn packets(self) -> &'static [(u64, Packet)] {
        use Packet::{Ack, Data, DataAck, Refusal, Syn, SynAck};
        match self {
            Self::Fine => {
                &[(0, Syn), (20_000, SynAck), (20_100, Ack), (20_200, Data), (40_400, DataAck)]
            }
            Self::SynLost => &[
                (0, Syn),
                (1_000_000, Syn),
                (1_020_000, SynAck),
                (1_020_100, Ack),
                (1_020_200, Data),
                (1_040_400, DataAck),
            ],
            Self::Refused => &[(0, Syn), (20_000, Refusal)],
            Self::NoAnswer => &[(0, Syn), (1_000_000, Syn), (3_000_000, Syn)],
            Self::HalfOpen => {
                &[(0, Syn), (20_000, SynAck), (1_020_000, SynAck), (3_020_000, SynAck)]
            }
        }
    }
}

/// What a capture holds.
#[derive(Default)]
struct Written {
    packets: u64,
    bytes: u64,
    fates: [u64; Fate::ALL.len()],
}

impl Written {
    /// Holds the program's summary against what was written, to the last attempt.
    fn check(&self, summary: &str) -> Result<()> {
        let [fine, syn_lost, refused, no_answer, half_open] = self.fates;
        let started: u64 = self.fates.iter().sum();
        let (syns, synacks) = (syn_lost + 2 * no_answer, 2 * half_open);
        for line in [
            format!("attempts: {started} started = {started} ended + 0 open"),
            format!("packets: {} =", self.packets),
            format!(
                "retransmissions: {syns} SYN, {synacks} SYN-ACK; disbelieved: 0 SYN-ACK, 0 RST"
            ),
        ] {
            let found = summary.lines().any(|said| said.starts_with(&line));
            ensure!(found, "expected {line:?} in\n{summary}");
        }
        for (outcome, expected) in [
            ("completed", fine + syn_lost),
            ("refused", refused),
            ("no-answer", no_answer),
            ("half-open", half_open),
        ] {
            let found = count_of(summary, outcome);
            ensure!(found == expected, "{outcome}: {found} instead of {expected}\n{summary}");
        }
        Ok(())
    }
}

/// The line of an outcome; 0 without one.
fn count_of(summary: &str, outcome: &str) -> u64 {
    let lines = summary.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(' '));
    let mut counts = lines.filter(|(name, _)| *name == outcome);
    counts.next().and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_default()
}

/// Writes a capture (pcap with nanoseconds, Ethernet), packets in order of time.
fn write(file: &File, handshakes: u32, pace_ns: u64) -> Result<Written> {
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let header = [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 65_535, 1];
    file.write_all(&header.map(u32::to_ne_bytes).concat())?;
    let (mut random, frames) = (Random::new(1), Frames::new()?);
    let (mut written, mut waiting) = (Written::default(), BinaryHeap::new());
    let mut fates = Vec::with_capacity(handshakes as usize);
    let mut frame = Vec::new();
    loop {
        let begun = fates.len() as u32;
        let begins_ns = (begun < handshakes).then(|| u64::from(begun) * pace_ns);
        let next = waiting.peek().map(|Reverse((time, _, _))| *time);
        if begins_ns.is_some_and(|begins| next.is_none_or(|next| begins <= next)) {
            // Slower and faster networks: 50 to 150 percent of the plan.
            let fate = Fate::of(&mut random);
            fates.push((fate, 512 + random.below(1024) as u64));
            written.fates[fate as usize] += 1;
            waiting.push(Reverse((u64::from(begun) * pace_ns, begun, 0)));
            continue;
        }
        let Some(Reverse((time_ns, flow, step))) = waiting.pop() else { break };
        let (fate, speed) = fates[flow as usize];
        frames.fill(&mut frame, fate.packets()[step].1, flow);
        written.record(&mut file, time_ns, &frame)?;
        if let Some((delay_us, _)) = fate.packets().get(step + 1) {
            let begun_ns = u64::from(flow) * pace_ns;
            waiting.push(Reverse((begun_ns + delay_us * 1000 * speed / 1024, flow, step + 1)));
        }
    }
    frames.fill(&mut frame, Packet::Ack, handshakes);
    written.record(&mut file, u64::from(handshakes) * pace_ns + END_NS, &frame)?;
    file.flush()?;
    Ok(written)
}

impl Written {
    fn record(&mut self, file: &mut impl Write, time_ns: u64, frame: &[u8]) -> Result<()> {
        const SECOND_NS: u64 = 1_000_000_000;
        let seconds = 1_700_000_000 + time_ns / SECOND_NS;
        let length = frame.len() as u32;
        let header = [seconds as u32, (time_ns % SECOND_NS) as u32, length, length];
        file.write_all(&header.map(u32::to_ne_bytes).concat())?;
        file.write_all(frame)?;
        self.packets += 1;
        self.bytes += 16 + u64::from(length);
        Ok(())
    }
}

/// One frame of each kind, into which a flow's numbers are written.
struct Frames {
    of_client: [Vec<u8>; 3],
    of_server: [Vec<u8>; 3],
}

impl Frames {
    fn new() -> Result<Self> {
        let syn = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        let times = [1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 9];
        let client: SocketAddr = "10.0.0.0:0".parse()?;
        let server: SocketAddr = "192.0.2.1:443".parse()?;
        let frame = |from, to, flags, options: &[u8], payload: usize| {
            let segment = Segment::new(from, to, flags, 0, 0).with_options(options);
            segment.with_payload(&vec![b'x'; payload]).frame([2; 6], [4; 6])
        };
        Ok(Self {
            of_client: [
                frame(client, server, SYN, &syn, 0),
                frame(client, server, ACK, &times, 0),
                frame(client, server, PSH | ACK, &times, 200),
            ],
            of_server: [
                frame(server, client, SYN | ACK, &syn, 0),
                frame(server, client, ACK, &times, 0),
                frame(server, client, RST | ACK, &[], 0),
            ],
        })
    }

    /// Writes that packet of a flow.
    fn fill(&self, frame: &mut Vec<u8>, packet: Packet, flow: u32) {
        let client = flow.wrapping_mul(0x9e37_79b9);
        let server = !client;
        let (after_client, after_server) = (client.wrapping_add(1), server.wrapping_add(1));
        let [syn, ack, data] = &self.of_client;
        let [syn_ack, data_ack, refusal] = &self.of_server;
        let (template, from_client, seq, acknowledged) = match packet {
            Packet::Syn => (syn, true, client, 0),
            Packet::Ack => (ack, true, after_client, after_server),
            Packet::Data => (data, true, after_client, after_server),
            Packet::SynAck => (syn_ack, false, server, after_client),
            Packet::DataAck => (data_ack, false, after_server, after_client.wrapping_add(200)),
            Packet::Refusal => (refusal, false, 0, after_client),
        };
        frame.clear();
        frame.extend_from_slice(template);
        let address = (0x0a00_0000 + flow / 16).to_be_bytes();
        let port = (32_768 + (flow % 16) as u16 * 1009).to_be_bytes();
        let (at_address, at_port) = if from_client { (26, 34) } else { (30, 36) };
        frame[at_address..at_address + 4].copy_from_slice(&address);
        frame[at_port..at_port + 2].copy_from_slice(&port);
        frame[38..42].copy_from_slice(&seq.to_be_bytes());
        frame[42..46].copy_from_slice(&acknowledged.to_be_bytes());
    }
}
