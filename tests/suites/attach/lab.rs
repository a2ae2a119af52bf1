//! A network namespace for the thread of a test, and another for its peer.
//!
//! Namespaces are made with `unshare` and live as long as their threads: nothing to clean up, also
//! if a test panics or is killed.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use handshake_common::event::Event;
use handshake_user::interfaces::{self, Interface};
use handshake_user::loader::{Loader, Options};
use handshake_user::source::ring::Rings;

/// Moves this thread into a network namespace of its own.
///
/// # Panics
/// Without root: the suite must not pass by doing nothing.
pub(crate) fn own_namespace() {
    // SAFETY: changes the namespace of this thread only.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    let error = std::io::Error::last_os_error();
    assert_eq!(result, 0, "this suite needs root: {error}");
    run("ip link set lo up");
}

/// Runs a command in the namespace of this thread; returns its output.
///
/// # Panics
/// If it fails.
pub(crate) fn run(line: &str) -> String {
    let (success, said) = try_run(line);
    assert!(success, "{line}: {said}");
    said
}

/// Runs a command in the namespace of this thread; returns whether it succeeded, and its output.
pub(crate) fn try_run(line: &str) -> (bool, String) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().expect("a command"))
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Sends SYNs to as many ports of the peer of [`veth_to_peer`], and waits until nothing comes back any
/// more. (hping3 fails if it saw no answer, which on a slow machine come after it has ended.)
pub(crate) fn send_syns(count: u32, loader: &Loader) {
    let (_, said) = try_run(&format!("hping3 -q -c {count} -i u50 -S -p ++1 10.9.0.2"));
    assert!(said.contains(&format!("{count} packets transmitted")), "{said}");
    let offered = || loader.counters().expect("counters").offered();
    let mut before = offered();
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(50));
        let now = offered();
        if now == before && now > 0 {
            return;
        }
        before = now;
    }
    panic!("{before} events, and no end");
}

/// Another namespace, which runs what it is given.
pub(crate) struct Peer {
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    pub(crate) thread_id: i32,
}

impl Peer {
    /// A namespace with nothing but loopback.
    pub(crate) fn new() -> Self {
        let (work, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            own_namespace();
            // SAFETY: asks for the number of this thread.
            tell.send(unsafe { libc::gettid() }).expect("the test waits for it");
            jobs.into_iter().for_each(|job| job());
        });
        Self { work, thread_id: told.recv().expect("a namespace") }
    }

    /// Runs `job` there and waits for its result.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = move || drop(tell.send(job()));
        self.work.send(Box::new(job)).expect("the peer lives");
        told.recv().expect("the job does not panic")
    }
}

/// Makes `va` (10.9.0.1) here and `vb` (10.9.0.2) in the namespace of a peer.
pub(crate) fn veth_to_peer() -> (Interface, Peer) {
    let peer = Peer::new();
    run("ip link add va type veth peer name vb");
    run(&format!("ip link set vb netns {}", peer.thread_id));
    run("ip addr add 10.9.0.1/24 dev va");
    run("ip link set va up");
    peer.run(|| {
        run("ip addr add 10.9.0.2/24 dev vb");
        run("ip link set vb up");
    });
    (named("va"), peer)
}

/// Makes `va` and its peer `vb`, both here and up.
pub(crate) fn veth() -> Interface {
    run("ip link add va type veth peer name vb");
    run("ip link set va up");
    run("ip link set vb up");
    named("va")
}

/// Makes a tun interface, up, with 10.8.0.1/24; what is written to the file arrives there.
pub(crate) fn tun(name: &str) -> (Interface, File) {
    run(&format!("ip tuntap add dev {name} mode tun"));
    run(&format!("ip addr add 10.8.0.1/24 dev {name}"));
    run(&format!("ip link set {name} up"));
    let file = File::options().read(true).write(true).open("/dev/net/tun").expect("a tun device");
    // SAFETY: all zeroes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: `request` is what this ioctl expects.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    (named(name), file)
}

/// A SYN from 10.8.0.2:4242 to 10.8.0.1:80 without Ethernet header; checksums are not filled in.
pub(crate) const SYN: [u8; 40] = [
    0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 8, 0, 2, 10, 8, 0, 1, // IPv4
    0x10, 0x92, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0, // TCP
];

/// Number of open files of this process.
pub(crate) fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc").count()
}

/// An interface of this namespace.
pub(crate) fn named(name: &str) -> Interface {
    let all = interfaces::list().expect("interfaces");
    all.into_iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// A loader with small rings.
pub(crate) fn loader(options: &Options) -> (Loader, Rings) {
    let mut loader = Loader::load(options).unwrap_or_else(|error| panic!("{error}"));
    let rings = loader.take_rings().expect("rings");
    (loader, rings)
}

/// How many programs are attached to an interface: XDP, TCX of both hooks, filters of both hooks.
pub(crate) fn attached_to(name: &str) -> (usize, usize, usize) {
    let tcx =
        |hook| SchedClassifier::query_tcx(name, hook).map_or(0, |(_, programs)| programs.len());
    let filters = |hook| {
        let (_, said) = try_run(&format!("tc filter show dev {name} {hook}"));
        said.lines().filter(|line| line.contains(" handle ") && line.contains("hs_")).count()
    };
    (
        usize::from(named(name).xdp.is_some()),
        tcx(TcAttachType::Ingress) + tcx(TcAttachType::Egress),
        filters("ingress") + filters("egress"),
    )
}

/// Reads events until `enough` says so, or for two seconds.
pub(crate) fn read_until(rings: &mut Rings, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut events = Vec::new();
    while !enough(&events) && Instant::now() < deadline {
        assert_eq!(rings.drain(1 << 20, &mut events).undecodable, 0);
        thread::sleep(Duration::from_millis(1));
    }
    events
}

/// Waits until `condition` holds, at most one second.
///
/// # Panics
/// If it does not.
pub(crate) fn soon(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while !condition() {
        assert!(Instant::now() < deadline, "not within a second: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts this test program again, in the namespace of this thread, to run only the test `name`
/// (an ignored one, which is meant for this) with some variables set. It dies with this thread.
pub(crate) fn again(wrapper: &[&str], name: &str, variables: &[(&str, &str)]) -> Child {
    let this = std::env::current_exe().expect("the path of this test program");
    let this = this.to_string_lossy().into_owned();
    let words: Vec<&str> =
        [wrapper, &[&this, "--exact", name, "--ignored", "--nocapture"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: between fork and exec only an async-signal-safe system call is made.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    command.spawn().expect("this test program starts")
}
