//! `cargo xtask bench live`: what being watched costs, on a veth pair between namespaces of our own.
//!
//! Every round runs every monitor once, in changing order, and is compared with the same round's first
//! run without any; the second one shows what the comparison is worth. Connections: two clients connect, wait until the server has accepted and closed, and
//! close. Flood: SYNs from 50,000 ports to a port whose packets the firewall drops; here the program
//! must count every SYN that was sent, and deliver or count as lost every event. In place: the kernel's
//! own measure of each run of each program, which does not depend on who else wants the CPUs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use handshake_tests::bpf::run::{Runs as ProgramRuns, load_empty, measure_runs};
use handshake_tests::bpf::{Hook, attach_to};
use handshake_tests::figures::{Quartiles, tell};
use handshake_tests::lab::{Family, Lab};
use handshake_tests::process::{signal, wait};
use handshake_tests::socket::{abort_on_close, stop_listening};
use handshake_tests::traffic::{SILENT, flood};
use handshake_tests::watcher::binary;

const ROUNDS: usize = 21;
const RUN: Duration = Duration::from_millis(400);
const CLIENTS: usize = 2;
const PORT: u16 = 8080;
const PLACE_ROUNDS: usize = 7;
const FLOOD_ROUNDS: usize = 7;
const SYNS: u32 = 100_000;

/// Who watches the server's device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Nobody,
    NobodyAgain,
    EmptyXdp,
    HandshakeTc,
    HandshakeXdp,
    Tcpdump,
}

impl Watch {
    const ALL: [Self; 6] = [
        Self::Nobody,
        Self::NobodyAgain,
        Self::EmptyXdp,
        Self::HandshakeTc,
        Self::HandshakeXdp,
        Self::Tcpdump,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::NobodyAgain => "nobody again",
            Self::EmptyXdp => "empty XDP program",
            Self::HandshakeTc => "handshake by TC",
            Self::HandshakeXdp => "handshake by XDP",
            Self::Tcpdump => "tcpdump of SYNs",
        }
    }

    fn is_handshake(self) -> bool {
        matches!(self, Self::HandshakeTc | Self::HandshakeXdp)
    }
}

fn main() -> Result<()> {
    let lab = Lab::direct()?;
    connections(&lab)?;
    floods(&lab)
}

/// What the runs of one monitor gave, a value a round.
#[derive(Default)]
struct Runs {
    /// connections or SYNs a second
    rates: Vec<f64>,
    /// the monitor's CPU time in nanoseconds for each
    cpu_ns: Vec<f64>,
    /// events that found no room
    lost: Vec<f64>,
}

/// Does `work` under every monitor in every round; `work` returns how many there were and seconds.
fn rounds(
    lab: &Lab,
    count: usize,
    mut work: impl FnMut() -> Result<(u64, f64)>,
    check: impl Fn(&str, u64) -> Result<f64>,
) -> Result<[Runs; Watch::ALL.len()]> {
    let mut runs: [Runs; Watch::ALL.len()] = Default::default();
    for round in 0..count {
        for turn in 0..Watch::ALL.len() {
            let index = (turn + round) % Watch::ALL.len();
            let monitor = Monitor::start(lab, Watch::ALL[index], &[])?;
            let before = monitor.cpu_ns();
            let (done, seconds) = work()?;
            // What is still in the rings is part of the work.
            std::thread::sleep(Duration::from_millis(50));
            let cpu_ns = monitor.cpu_ns() - before;
            let words = monitor.stop()?;
            let run = &mut runs[index];
            run.rates.push(done as f64 / seconds);
            run.cpu_ns.push(cpu_ns / done as f64);
            if Watch::ALL[index].is_handshake() {
                run.lost.push(check(&words, done)?);
            }
        }
    }
    Ok(runs)
}

fn report(what: &str, runs: &[Runs]) {
    let alone = &runs[0].rates;
    eprintln!(
        "live: {what} a second relative to nobody watching ({:.0} a second); median (quartiles)",
        Quartiles::of(alone).median
    );
    for (watch, run) in Watch::ALL.iter().zip(runs).skip(1) {
        let ratios: Vec<_> = run.rates.iter().zip(alone).map(|(one, alone)| one / alone).collect();
        let mut beside = vec![("monitor CPU in ns each", Quartiles::of(&run.cpu_ns).median)];
        if !run.lost.is_empty() {
            beside.push(("events lost in all rounds", run.lost.iter().sum()));
        }
        tell("live", &format!("{what}, {}", watch.name()), "×", &ratios, &beside);
    }
}

fn connections(lab: &Lab) -> Result<()> {
    let listener = Arc::new(lab.server.enter(|| TcpListener::bind(("::", PORT)))??);
    let inbox = Arc::clone(&listener);
    let server = std::thread::spawn(move || while inbox.accept().is_ok() {});
    let to = lab.server(Family::V4, PORT);
    // Nobody else opens connections, so the program has counted at least what the clients have.
    let check = |words: &str, done: u64| {
        let summary = Summary::read(words)?;
        ensure!(summary.syns >= done, "{} SYNs of {done}:\n{words}", summary.syns);
        Ok(summary.lost as f64)
    };
    let runs = rounds(lab, ROUNDS, || connect(lab, to), check);
    let placed = in_place(lab, to);
    stop_listening(&listener);
    drop(server.join());
    report("connections", &runs?);
    for (program, times) in &placed? {
        tell("live", &format!("in place, {program}"), "ns a run", times, &[]);
    }
    Ok(())
}

/// What a run of each program takes while connections come and go, with the cost of measuring.
fn in_place(lab: &Lab, to: SocketAddr) -> Result<BTreeMap<String, Vec<f64>>> {
    let _statistics = measure_runs()?;
    let mut times = BTreeMap::<_, Vec<f64>>::new();
    for _ in 0..PLACE_ROUNDS {
        for hook in [Hook::Xdp, Hook::TcIngress, Hook::TcEgress] {
            let program = load_empty(hook)?;
            let _link = attach_to(&lab.server, "srv0", hook, &program)?;
            let before = ProgramRuns::of(program.as_fd())?;
            connect(lab, to)?;
            let mean = ProgramRuns::of(program.as_fd())?.mean_ns_since(&before);
            times.entry(format!("empty at {hook:?}")).or_default().push(mean);
        }
        for watch in [Watch::HandshakeTc, Watch::HandshakeXdp] {
            let monitor = Monitor::start(lab, watch, &["--self-cost"])?;
            connect(lab, to)?;
            let words = monitor.stop()?;
            let programs: Vec<_> = words.lines().filter_map(ran).collect();
            ensure!(programs.len() == 2, "two programs each: {words}");
            for (program, mean) in programs {
                times.entry(format!("{}, {program}", watch.name())).or_default().push(mean);
            }
        }
    }
    Ok(times)
}

/// The program and the nanoseconds of "self: PROGRAM ran COUNT times, NANOSECONDS ns each".
fn ran(line: &str) -> Option<(&str, f64)> {
    let (program, rest) = line.strip_prefix("self: ")?.split_once(" ran ")?;
    let (_, each) = rest.split_once(" times, ")?;
    Some((program, each.strip_suffix(" ns each")?.parse().ok()?))
}

/// Connects again and again for a while.
fn connect(lab: &Lab, to: SocketAddr) -> Result<(u64, f64)> {
    let start = Instant::now();
    let client = || -> std::io::Result<u64> {
        let mut count = 0;
        while start.elapsed() < RUN {
            let mut stream = TcpStream::connect(to)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.read_to_end(&mut Vec::new())?;
            // No TIME_WAIT: ports would run out.
            abort_on_close(&stream)?;
            count += 1;
        }
        Ok(count)
    };
    let counts = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| lab.client.enter(client))).collect();
        clients
            .into_iter()
            .map(|client| client.join().ok().context("a client panicked")?)
            .collect::<Result<Vec<_>>>()
    })?;
    let mut sum = 0;
    for count in counts {
        sum += count.context("a connection failed")?;
    }
    Ok((sum, start.elapsed().as_secs_f64()))
}

fn floods(lab: &Lab) -> Result<()> {
    lab.server.nft(&format!(
        "add table inet bench
        add chain inet bench input {{ type filter hook input priority 0; }}
        add rule inet bench input tcp dport {SILENT} drop\n"
    ))?;
    let work = || {
        let start = Instant::now();
        Ok((flood(lab, SYNS)?.into(), start.elapsed().as_secs_f64()))
    };
    let check = |words: &str, sent: u64| {
        let summary = Summary::read(words)?;
        ensure!(summary.syns == sent, "{} SYNs of {sent}:\n{words}", summary.syns);
        Ok(summary.lost as f64)
    };
    report("SYNs of a flood", &rounds(lab, FLOOD_ROUNDS, work, check)?);
    Ok(())
}

/// What the program said when it ended.
struct Summary {
    syns: u64,
    lost: u64,
}

impl Summary {
    /// Reads the words, and checks the books: offered = delivered + lost + sampled out.
    fn read(words: &str) -> Result<Self> {
        let line = |start: &str| words.lines().find(|line| line.starts_with(start));
        let before = |line: &str, name: &str| -> Option<u64> {
            let mut terms = line.split([':', '=', '+', ';']).map(str::trim);
            terms.find_map(|term| term.strip_suffix(name)?.trim().parse().ok())
        };
        let (packets, events) = line("packets: ").zip(line("events: ")).context("no summary")?;
        let event = |name: &str| before(events, name).with_context(|| format!("no {name}"));
        let (offered, delivered, lost) =
            (event(" offered")?, event(" delivered")?, event(" lost")?);
        let sampled_out = before(events, " sampled out").unwrap_or_default();
        ensure!(offered == delivered + lost + sampled_out, "{events}");
        Ok(Self { syns: before(packets, " syn").unwrap_or_default(), lost })
    }
}

/// A monitor at work; dropped, it goes.
enum Monitor {
    Nothing,
    Program { _link: OwnedFd, _program: OwnedFd },
    Process { child: Child, words: Option<JoinHandle<String>> },
}

impl Monitor {
    /// Starts one; `more` are arguments for handshake.
    fn start(lab: &Lab, watch: Watch, more: &[&'static str]) -> Result<Self> {
        let handshake = |hook| {
            let arguments = ["watch", "-i", "srv0", "--format", "none", "--hook", hook];
            [&arguments[..], more].concat()
        };
        match watch {
            Watch::Nobody | Watch::NobodyAgain => Ok(Self::Nothing),
            Watch::EmptyXdp => {
                let program = load_empty(Hook::Xdp)?;
                let link = attach_to(&lab.server, "srv0", Hook::Xdp, &program)?;
                Ok(Self::Program { _link: link, _program: program })
            }
            Watch::HandshakeTc => Self::process(lab, &binary()?, &handshake("tc"), "watching"),
            Watch::HandshakeXdp => Self::process(lab, &binary()?, &handshake("xdp"), "watching"),
            Watch::Tcpdump => {
                let arguments =
                    ["-n", "-i", "srv0", "-w", "/dev/null", "tcp[tcpflags] & tcp-syn != 0"];
                Self::process(lab, "tcpdump".as_ref(), &arguments, "listening on")
            }
        }
    }

    /// Starts a command beside the server and waits until it says that it is ready.
    fn process(
        lab: &Lab,
        program: &std::path::Path,
        arguments: &[&str],
        ready: &str,
    ) -> Result<Self> {
        let mut command = lab.server.command(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        let mut monitor = Self::Process { child, words: None };
        let mut said = String::new();
        while !said.contains(ready) {
            ensure!(stderr.read_line(&mut said)? > 0, "{} ended: {said}", program.display());
        }
        let reader = std::thread::spawn(move || {
            // What is not text was not said by what we started.
            drop(stderr.read_to_string(&mut said));
            said
        });
        if let Self::Process { words, .. } = &mut monitor {
            *words = Some(reader);
        }
        monitor.settle();
        Ok(monitor)
    }

    /// Waits until it has nothing to do: handshake attaches before it loads what it may need later.
    fn settle(&self) {
        let mut before = f64::NAN;
        for _ in 0..100 {
            let now = self.cpu_ns();
            if now - before < 1e6 {
                return;
            }
            before = now;
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// CPU time of all its threads until now, user and system.
    fn cpu_ns(&self) -> f64 {
        let Self::Process { child, .. } = self else { return 0.0 };
        let threads = fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten();
        let times = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        });
        times.sum()
    }

    /// Ends it; what it said.
    fn stop(mut self) -> Result<String> {
        let Self::Process { child, words } = &mut self else { return Ok(String::new()) };
        signal(child, libc::SIGINT)?;
        let status = wait(child, Duration::from_secs(20))?;
        let words = words.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        ensure!(status.success(), "a monitor ended with {status}: {words}");
        Ok(words)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Self::Process { child, .. } = self {
            // Both fail only if it has ended.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
