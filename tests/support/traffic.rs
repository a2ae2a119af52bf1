//! Provokes every outcome of a handshake.
//!
//! Wherever a kernel can be brought to do it, real sockets do it, with nftables for what the network
//! does to them. Where no kernel would, two [`Puppets`] play both ends with raw packets on ports
//! whose kernels are kept quiet.
//!
//! Which hook sees what: TC and XDP ingress come *before* nftables' input, TC egress comes *after*
//! nftables' output. So what is dropped in an input chain was seen at both ends of the wire, and
//! what is dropped in an output chain was never seen at all. Losses on the way are therefore input
//! drops; only the third ACK, which must not be seen, is dropped on output.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::frame::{ACK, RST, SYN, Segment, mss};
use crate::lab::{Family, Lab};
use crate::socket::{Dial, RawSocket, abort_on_close, set_backlog, stop_listening};

/// Port of the HTTP server.
pub const HTTP: u16 = 8080;
/// Port where nobody listens.
pub const CLOSED: u16 = 8081;
/// Port whose packets vanish in the server's firewall.
pub const SILENT: u16 = 8082;
/// Port of a listener that never accepts and whose queue is full.
pub const FULL: u16 = 8083;
/// Port for which the server's firewall answers "administratively prohibited".
pub const REJECTED: u16 = 8084;
/// Port of a second HTTP server, on the way to which [`Loss`] rules take packets.
pub const LOSSY: u16 = 8085;
/// Ports of both ends of what puppets play: kernels never answer there.
pub const PUPPETS: std::ops::RangeInclusive<u16> = 9000..=9999;

/// How long a connection that should succeed may take: three lost segments fit.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two steps of puppets: enough for the kernel to deliver one before the other.
const STEP: Duration = Duration::from_millis(2);

/// The servers of a lab, and its firewalls.
#[derive(Debug)]
pub struct Services {
    servers: Vec<Server>,
    /// Connections that fill the queue of [`FULL`].
    _queued: Vec<TcpStream>,
}

impl Services {
    /// Starts all servers and loads the rules that stay.
    pub fn start(lab: &Lab) -> Result<Self> {
        load_rules(lab)?;
        let http = Server::start(lab, HTTP)?;
        let lossy = Server::start(lab, LOSSY)?;
        let full = Server::full(lab)?;
        let queued = fill_queue(lab)?;
        Ok(Self { servers: vec![http, lossy, full], _queued: queued })
    }

    /// Lets so many connections be half-open at the first server.
    pub fn let_queue(&self, count: u32) -> Result<()> {
        let http = self.servers.first().context("no server")?;
        Ok(set_backlog(&http.listener, i32::try_from(count)? * 2)?)
    }

    /// How many requests were answered.
    #[must_use]
    pub fn answered(&self) -> u32 {
        self.servers.iter().map(|server| server.answered.load(Ordering::Relaxed)).sum()
    }
}

fn load_rules(lab: &Lab) -> Result<()> {
    let (first, last) = (PUPPETS.start(), PUPPETS.end());
    let chains = "add table inet lab
        add chain inet lab input { type filter hook input priority 0; }
        add chain inet lab output { type filter hook output priority 0; }\n";
    let quiet = format!("add rule inet lab input tcp dport {first}-{last} drop\n");
    lab.client.nft(&format!("{chains}{quiet}"))?;
    lab.server.nft(&format!(
        "{chains}{quiet}
        add rule inet lab input tcp dport {SILENT} drop
        add rule inet lab input meta nfproto ipv4 tcp dport {REJECTED} \
            reject with icmp type admin-prohibited
        add rule inet lab input meta nfproto ipv6 tcp dport {REJECTED} \
            reject with icmpv6 type admin-prohibited\n"
    ))
}

/// A TCP server that answers every request with a few bytes of HTTP.
#[derive(Debug)]
struct Server {
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
    answered: Arc<AtomicU32>,
}

impl Server {
    fn start(lab: &Lab, port: u16) -> Result<Self> {
        let listener = Arc::new(listen(lab, port)?);
        let answered = Arc::new(AtomicU32::new(0));
        let (inbox, count) = (Arc::clone(&listener), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = inbox.accept() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || answer(stream, &count));
            }
        });
        Ok(Self { listener, thread: Some(thread), answered })
    }

    fn full(lab: &Lab) -> Result<Self> {
        let listener = Arc::new(listen(lab, FULL)?);
        set_backlog(&listener, 0)?;
        Ok(Self { listener, thread: None, answered: Arc::default() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop_listening(&self.listener);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn listen(lab: &Lab, port: u16) -> Result<TcpListener> {
    // One listener for both families: IPv4 connections come as mapped addresses.
    lab.server
        .enter(|| TcpListener::bind(("::", port)))?
        .with_context(|| format!("cannot listen on port {port}"))
}

/// Answers one request; whoever goes away before is not counted.
fn answer(mut stream: TcpStream, count: &AtomicU32) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => request.extend_from_slice(&chunk[..read]),
        }
    }
    count.fetch_add(1, Ordering::Relaxed);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{head}hello\n").as_bytes())
}

/// A backlog of 0 holds one connection, for both families together.
fn fill_queue(lab: &Lab) -> Result<Vec<TcpStream>> {
    let dial = dial(lab, Family::V4)?;
    dial.start(lab.server(Family::V4, FULL))?;
    Ok(vec![dial.finish(PATIENCE).context("cannot fill the accept queue")?])
}

fn dial(lab: &Lab, family: Family) -> Result<Dial> {
    dial_from(lab, SocketAddr::new(lab.client_ip(family), 0))
}

fn dial_from(lab: &Lab, local: SocketAddr) -> Result<Dial> {
    lab.client.enter(|| Dial::from(local))?.with_context(|| format!("cannot bind {local}"))
}

/// Fetches something over a new connection; the server closes first.
fn fetch(dial: Dial, to: SocketAddr) -> Result<()> {
    dial.start(to)?;
    let mut stream = dial.finish(PATIENCE).with_context(|| format!("cannot connect to {to}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    ensure!(reply.ends_with("hello\n"), "{to} answered {reply:?}");
    Ok(())
}

/// Makes `count` connections that complete, one after the other; returns their client addresses.
pub fn complete(lab: &Lab, family: Family, count: usize) -> Result<Vec<SocketAddr>> {
    (0..count)
        .map(|_| {
            let dial = dial(lab, family)?;
            let local = dial.local();
            fetch(dial, lab.server(family, HTTP)).map(|()| local)
        })
        .collect()
}

/// Tries once to connect and expects to fail with `error`; returns the client's address.
fn fail(lab: &Lab, to: SocketAddr, patience: Duration, error: i32) -> Result<SocketAddr> {
    let family = crate::socket::family(to.ip());
    let dial = dial(lab, family)?;
    let local = dial.local();
    dial.start(to)?;
    match dial.finish(patience) {
        Ok(_) => bail!("{to} accepted a connection"),
        Err(found) if found.raw_os_error().unwrap_or(libc::ETIMEDOUT) == error => Ok(local),
        Err(found) => Err(found).with_context(|| format!("{to} fails otherwise")),
    }
}

/// **refused**: nobody listens, the server's kernel answers RST.
pub fn refused(lab: &Lab, family: Family) -> Result<SocketAddr> {
    fail(lab, lab.server(family, CLOSED), PATIENCE, libc::ECONNREFUSED)
}

/// **no-answer**: a firewall drops each SYN; the client gives up after `patience`.
pub fn silent(lab: &Lab, family: Family, patience: Duration) -> Result<SocketAddr> {
    fail(lab, lab.server(family, SILENT), patience, libc::ETIMEDOUT)
}

/// **no-answer**: there is no such host; the client gives up after `patience`.
pub fn absent(lab: &Lab, family: Family, patience: Duration) -> Result<SocketAddr> {
    fail(lab, lab.absent_host(family, HTTP)?, patience, libc::ETIMEDOUT)
}

/// **no-answer**: the accept queue is full, so the server's kernel drops each SYN.
pub fn queue_full(lab: &Lab, family: Family, patience: Duration) -> Result<SocketAddr> {
    fail(lab, lab.server(family, FULL), patience, libc::ETIMEDOUT)
}

/// **icmp-unreachable**: a firewall rejects the SYN with "administratively prohibited".
///
/// On a wire without delay the answer comes while `connect` still holds the socket; the kernel then
/// remembers it as a soft error and tries the same SYN once more after a second.
pub fn rejected(lab: &Lab, family: Family) -> Result<SocketAddr> {
    let error = match family {
        Family::V4 => libc::EHOSTUNREACH,
        Family::V6 => libc::EACCES,
    };
    fail(lab, lab.server(family, REJECTED), PATIENCE, error)
}

/// What to lose on the way of the next connection to [`LOSSY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// the first SYNs, at the server
    Syns(u32),
    /// the first SYN-ACKs, at the client
    SynAcks(u32),
    /// the first bare ACKs, before they leave the client
    Acks(u32),
}

impl Loss {
    /// The rule and where it goes. `numgen inc` counts from 0, separately in each rule.
    fn rule(self) -> (&'static str, String) {
        let (chain, ports, flags, count) = match self {
            Self::Syns(count) => ("input", "dport", "syn", count),
            Self::SynAcks(count) => ("input", "sport", "(syn|ack)", count),
            Self::Acks(count) => ("output", "dport", "ack", count),
        };
        let segment = format!("tcp {ports} {LOSSY} tcp flags & (syn|ack|rst|fin|psh) == {flags}");
        (chain, format!("{segment} numgen inc mod 1000000 < {count} drop"))
    }

    fn install(self, lab: &Lab) -> Result<()> {
        let (chain, rule) = self.rule();
        let side = if matches!(self, Self::Syns(_)) { &lab.server } else { &lab.client };
        side.nft(&format!("add rule inet lab {chain} {rule}\n"))
    }
}

/// **completed**, after losses: the first segments are lost and repeated by the kernels.
pub fn completed_despite(lab: &Lab, family: Family, loss: Loss) -> Result<SocketAddr> {
    loss.install(lab)?;
    let dial = dial(lab, family)?;
    let local = dial.local();
    dial.start(lab.server(family, LOSSY))?;
    let stream = dial.finish(PATIENCE).context("cannot connect")?;
    if matches!(loss, Loss::Acks(_)) {
        // The client believes itself connected; the server repeats its SYN-ACK after a second, and
        // the client acknowledges that. Data sent before would complete the handshake instead.
        std::thread::sleep(Duration::from_millis(1500));
    }
    drop(stream);
    Ok(local)
}

/// **completed** by data: the bare third ACK is lost, the client's first data acknowledges.
pub fn completed_by_data(lab: &Lab, family: Family) -> Result<SocketAddr> {
    Loss::Acks(1).install(lab)?;
    let dial = dial(lab, family)?;
    let local = dial.local();
    fetch(dial, lab.server(family, LOSSY))?;
    Ok(local)
}

/// **half-open**: no ACK of the client ever arrives. The client's socket lives for `patience`; the
/// server repeats its SYN-ACK once, and will do no more in this lab.
pub fn half_open(lab: &Lab, family: Family, patience: Duration) -> Result<SocketAddr> {
    lab.server.set("net/ipv4/tcp_synack_retries", "1")?;
    let dial = dial(lab, family)?;
    let local = dial.local();
    // Not even its FIN or RST may be seen: nothing from this port but the SYN.
    let flags = "tcp flags & (syn|ack) == ack";
    let port = local.port();
    let rule = format!("tcp sport {port} {flags} drop\n");
    lab.client.nft(&format!("add rule inet lab output {rule}"))?;
    lab.client.nft(&format!("add rule inet lab output tcp sport {port} tcp flags rst drop\n"))?;
    dial.start(lab.server(family, LOSSY))?;
    let stream = dial.finish(PATIENCE).context("cannot connect")?;
    std::thread::sleep(patience);
    abort_on_close(&stream)?;
    Ok(local)
}

/// **completed**, `count` times on one 4-tuple: each connection is aborted, the next has a new ISN.
pub fn reused(lab: &Lab, family: Family, count: usize) -> Result<SocketAddr> {
    let to = lab.server(family, HTTP);
    let first = dial(lab, family)?;
    let local = first.local();
    let mut next = Some(first);
    for _ in 0..count {
        let dial = next.take().map_or_else(|| dial_from(lab, local), Ok)?;
        dial.start(to)?;
        abort_on_close(&dial.finish(PATIENCE).context("cannot connect again")?)?;
        std::thread::sleep(STEP);
    }
    Ok(local)
}

/// **simultaneous-open** by two kernels: the client's first SYN is lost behind the watched hook, then
/// the server connects to the waiting client from the very port. Returns the client's address.
pub fn simultaneous(lab: &Lab, family: Family) -> Result<SocketAddr> {
    let client = dial(lab, family)?;
    let local = client.local();
    let place = SocketAddr::new(lab.server(family, 0).ip(), 0);
    let server = lab.server.enter(|| Dial::from(place))?.context("cannot bind the server")?;
    let (to, port) = (server.local(), server.local().port());
    let first = format!("tcp dport {port} tcp flags & (syn|ack) == syn numgen inc mod 1000000 < 1");
    lab.server.nft(&format!("insert rule inet lab input {first} drop\n"))?;
    client.start(to)?;
    std::thread::sleep(STEP * 10);
    server.start(local)?;
    let streams = (client.finish(PATIENCE), server.finish(PATIENCE));
    ensure!(streams.0.is_ok() && streams.1.is_ok(), "no simultaneous open: {streams:?}");
    Ok(local)
}

/// **reset-by-client**, as a SYN scan does it: a raw SYN to an open port; the client's kernel knows
/// nothing of it and answers the SYN-ACK with RST. Returns the address scanned from.
pub fn scanned(lab: &Lab, family: Family) -> Result<SocketAddr> {
    let dial = dial(lab, family)?;
    let from = dial.local();
    drop(dial);
    let scanner = Puppet::new(lab, Side::Client, family)?;
    scanner.send(&syn(from, lab.server(family, HTTP), 0x1234_5678))?;
    std::thread::sleep(STEP * 5);
    Ok(from)
}

/// A bare SYN with the options of an ordinary client.
#[must_use]
pub fn syn(from: SocketAddr, to: SocketAddr, isn: u32) -> Segment {
    Segment::new(from, to, SYN, isn, 0).with_options(&mss(1460))
}

/// Whose raw socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// the client's
    Client,
    /// the server's
    Server,
}

/// One end that sends what it is told.
#[derive(Debug)]
pub struct Puppet {
    socket: RawSocket,
}

impl Puppet {
    /// Opens a raw socket on one side of the lab.
    pub fn new(lab: &Lab, side: Side, family: Family) -> Result<Self> {
        let namespace = match side {
            Side::Client => &lab.client,
            Side::Server => &lab.server,
        };
        let socket = namespace.enter(|| RawSocket::new(family))?.context("no raw socket")?;
        Ok(Self { socket })
    }

    /// Sends one segment.
    pub fn send(&self, segment: &Segment) -> Result<()> {
        self.socket.send(&segment.packet(), segment.to.ip()).context("cannot send a raw packet")
    }
}

/// Both ends of one connection, played by the caller: each call sends one segment, and returns once it
/// has arrived. Sequence numbers follow from the two ISNs.
#[derive(Debug)]
pub struct Puppets {
    ends: [Puppet; 2],
    /// the client's address
    pub client: SocketAddr,
    /// the server's address
    pub server: SocketAddr,
    /// the client's initial sequence number
    pub client_isn: u32,
    /// the server's initial sequence number
    pub server_isn: u32,
}

impl Puppets {
    /// Two ends on ports of their own; needs the rules of [`Services`].
    pub fn new(lab: &Lab, family: Family) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = |offset| PUPPETS.start() + (turn % 400) as u16 * 2 + offset;
        Ok(Self {
            ends: [
                Puppet::new(lab, Side::Client, family)?,
                Puppet::new(lab, Side::Server, family)?,
            ],
            client: SocketAddr::new(lab.client_ip(family), port(0)),
            server: lab.server(family, port(1)),
            // Both wrap around within a handshake, to be difficult.
            client_isn: u32::MAX - turn,
            server_isn: u32::MAX,
        })
    }

    /// From the client: flags, sequence number relative to its ISN, acknowledgement number to the
    /// server's.
    pub fn client(&self, flags: u8, seq: u32, ack: u32) -> Result<()> {
        let (seq, ack) = (self.client_isn.wrapping_add(seq), self.server_isn.wrapping_add(ack));
        self.send(Side::Client, flags, seq, ack)
    }

    /// From the server, likewise.
    pub fn server(&self, flags: u8, seq: u32, ack: u32) -> Result<()> {
        let (seq, ack) = (self.server_isn.wrapping_add(seq), self.client_isn.wrapping_add(ack));
        self.send(Side::Server, flags, seq, ack)
    }

    fn send(&self, side: Side, flags: u8, seq: u32, ack: u32) -> Result<()> {
        let ack = if flags & ACK == 0 { 0 } else { ack };
        let (end, from, to) = match side {
            Side::Client => (&self.ends[0], self.client, self.server),
            Side::Server => (&self.ends[1], self.server, self.client),
        };
        end.send(&Segment::new(from, to, flags, seq, ack))?;
        std::thread::sleep(STEP);
        Ok(())
    }
}

/// **aborted**: the client sends RST before any answer.
pub fn aborted(lab: &Lab, family: Family) -> Result<SocketAddr> {
    let ends = Puppets::new(lab, family)?;
    ends.client(SYN, 0, 0)?;
    ends.client(RST, 1, 0)?;
    Ok(ends.client)
}

/// **reset-by-server**: the server answers SYN-ACK and then thinks better of it.
pub fn reset_by_server(lab: &Lab, family: Family) -> Result<SocketAddr> {
    let ends = Puppets::new(lab, family)?;
    ends.client(SYN, 0, 0)?;
    ends.server(SYN | ACK, 0, 1)?;
    ends.server(RST, 1, 0)?;
    Ok(ends.client)
}

/// **no-answer**, superseded, then **refused**: the client starts anew with another ISN on the same
/// ports before anybody answered.
pub fn superseded(lab: &Lab, family: Family) -> Result<SocketAddr> {
    let mut ends = Puppets::new(lab, family)?;
    ends.client(SYN, 0, 0)?;
    ends.client_isn = ends.client_isn.wrapping_add(1_000_000);
    ends.client(SYN, 0, 0)?;
    ends.server(RST | ACK, 0, 1)?;
    Ok(ends.client)
}

/// **simultaneous-open** with crossing SYNs, as in figure 7 of RFC 9293.
pub fn crossed(lab: &Lab, family: Family) -> Result<SocketAddr> {
    let ends = Puppets::new(lab, family)?;
    ends.client(SYN, 0, 0)?;
    ends.server(SYN, 0, 0)?;
    ends.client(SYN | ACK, 0, 1)?;
    ends.server(SYN | ACK, 0, 1)?;
    Ok(ends.client)
}

/// Sends `count` SYNs as fast as it goes from as many address and port pairs to a port where nobody
/// answers; returns how many left.
pub fn flood(lab: &Lab, count: u32) -> Result<u32> {
    let puppet = Puppet::new(lab, Side::Client, Family::V4)?;
    let to = lab.server(Family::V4, SILENT);
    let from = lab.client_ip(Family::V4);
    for turn in 0..count {
        let port = 10_000 + (turn % 50_000) as u16;
        puppet.send(&syn(SocketAddr::new(from, port), to, turn.wrapping_mul(0x9e37_79b9)))?;
    }
    Ok(count)
}
