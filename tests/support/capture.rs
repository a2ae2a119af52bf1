//! A second witness: tcpdump beside the program under test, and what its capture says.
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::frame::{ACK, RST, SYN, Segment};
use crate::lab::Namespace;
use crate::process::{signal, wait};

/// Magic of a capture with nanoseconds, in this machine's byte order.
const NANOSECOND_MAGIC: u32 = 0xa1b2_3c4d;
const ETHERNET: u32 = 1;

/// A running tcpdump.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    bytes: Option<JoinHandle<std::io::Result<Vec<u8>>>>,
}

/// One captured TCP segment.
#[derive(Clone, Debug)]
pub struct Packet {
    /// the kernel's time of it
    pub time_ns: i64,
    /// what it says
    pub segment: Segment,
}

/// The first try at a connection between two ends, as the capture shows it.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// SYNs of the client
    pub syns: Vec<Packet>,
    /// SYN-ACKs of the server
    pub synacks: Vec<Packet>,
    /// ACKs of the client
    pub acks: Vec<Packet>,
    /// RSTs of either
    pub rsts: Vec<Packet>,
}

impl Capture {
    /// Starts to capture the TCP packets of a device; returns once the kernel collects them.
    pub fn start(namespace: &Namespace, device: &str) -> Result<Self> {
        let mut child = namespace
            .command("tcpdump")
            .args(["-n", "-U", "-w", "-", "-s", "256", "-B", "16384", "-i", device])
            .args(["--time-stamp-precision=nano", "--immediate-mode", "tcp or icmp or icmp6"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start tcpdump")?;
        let mut stdout = child.stdout.take().context("tcpdump has no output")?;
        let stderr = child.stderr.take().context("tcpdump has no output")?;
        let mut words = BufReader::new(stderr);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(words.read_line(&mut line)? > 0, "tcpdump ended on {device}");
        }
        std::thread::spawn(move || drop(std::io::copy(&mut words, &mut std::io::sink())));
        let bytes = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).map(|_| bytes)
        });
        Ok(Self { child, bytes: Some(bytes) })
    }

    /// Stops and returns the segments in order of capture.
    pub fn stop(self) -> Result<Vec<Packet>> {
        read_pcap(&self.into_file()?)
    }

    /// Stops and returns the whole capture file; [`read_pcap`] reads it.
    pub fn into_file(mut self) -> Result<Vec<u8>> {
        // What was sent just now may still be on its way to tcpdump.
        std::thread::sleep(Duration::from_millis(200));
        signal(&self.child, libc::SIGINT)?;
        wait(&mut self.child, Duration::from_secs(10))?;
        let bytes = self.bytes.take().context("stopped twice")?;
        let Ok(bytes) = bytes.join() else { bail!("the capture's reader panicked") };
        Ok(bytes?)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The TCP segments of a capture file, in its order.
pub fn read_pcap(bytes: &[u8]) -> Result<Vec<Packet>> {
    let number = |at: usize| -> Result<u32> {
        let bytes = bytes.get(at..at + 4).context("the capture is cut off")?;
        Ok(u32::from_ne_bytes(bytes.try_into()?))
    };
    ensure!(number(0)? == NANOSECOND_MAGIC, "not a capture with nanoseconds");
    let link_header = if number(20)? == ETHERNET { 14 } else { 0 };
    let (mut packets, mut at) = (Vec::new(), 24);
    while at < bytes.len() {
        let time_ns = i64::from(number(at)?) * 1_000_000_000 + i64::from(number(at + 4)?);
        let end = at + 16 + number(at + 8)? as usize;
        let frame = bytes.get(at + 16..end).context("the capture is cut off")?;
        let segment = frame.get(link_header..).and_then(Segment::parse);
        packets.extend(segment.map(|segment| Packet { time_ns, segment }));
        at = end;
    }
    Ok(packets)
}

/// Sorts packets by connection: the key is client and server, the client being who sent a SYN first.
#[must_use]
pub fn handshakes(packets: &[Packet]) -> HashMap<(SocketAddr, SocketAddr), Handshake> {
    let mut found: HashMap<_, Handshake> = HashMap::new();
    for packet in packets {
        let Segment { from, to, flags, .. } = packet.segment;
        let kind = flags & (SYN | ACK | RST);
        let client_sent = kind == SYN || found.contains_key(&(from, to));
        let key = if client_sent { (from, to) } else { (to, from) };
        if kind == SYN {
            found.entry(key).or_default().syns.push(packet.clone());
        } else if let Some(handshake) = found.get_mut(&key) {
            match kind {
                kind if kind & RST != 0 => handshake.rsts.push(packet.clone()),
                kind if kind == SYN | ACK => handshake.synacks.push(packet.clone()),
                ACK if client_sent => handshake.acks.push(packet.clone()),
                _ => {}
            }
        }
    }
    found
}
