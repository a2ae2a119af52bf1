//! More attempts than anybody answers: SYNs from senders that do not exist, and connects that are real.
use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::lab::{Family, Lab};
use crate::random::Random;
use crate::socket::{Dial, RawSocket};
use crate::traffic::{Puppet, SILENT, Side, syn};

/// SYNs sent between two looks at the clock.
const BATCH: u32 = 64;

/// Sends `count` SYNs from random addresses and ports to a port whose packets the firewall drops, at
/// most `per_second`, in any few milliseconds too; returns how many left.
pub fn from_anywhere(lab: &Lab, count: u32, per_second: u32) -> Result<u32> {
    let mut random = Random::new(u64::from(count));
    send(lab, count, per_second, || random.bits())
}

/// [`from_anywhere`], but from the same `senders` in turn, as fast as they can.
pub fn from_a_few(lab: &Lab, senders: usize, count: u32) -> Result<u32> {
    let mut random = Random::new(u64::from(count));
    let senders: Vec<_> = (0..senders).map(|_| random.bits()).collect();
    let mut turns = senders.iter().cycle();
    send(lab, count, u32::MAX, || turns.next().copied().unwrap_or_default())
}

/// So many a second, in any few milliseconds too.
struct Pace {
    gap: Duration,
    due: Instant,
}

impl Pace {
    fn of(per_second: u32) -> Self {
        let gap = Duration::from_secs(1).mul_f64(f64::from(BATCH) / f64::from(per_second));
        Self { gap, due: Instant::now() }
    }

    fn wait(&mut self, sent: u32) {
        if sent.is_multiple_of(BATCH) {
            thread::sleep(self.due.saturating_duration_since(Instant::now()));
            // What was missed while others had the CPU is not made up for in one burst.
            self.due = self.due.max(Instant::now()) + self.gap;
        }
    }
}

/// SYNs from senders that do not exist to a port where a server listens, `per_second` of them; its
/// SYN-ACKs go to the client's host, which is no router. `begin` is the number of the first.
pub fn at_listener(lab: &Lab, port: u16, begin: u32, count: u32, per_second: u32) -> Result<()> {
    let puppet = Puppet::new(lab, Side::Client, Family::V4)?;
    let to = lab.server(Family::V4, port);
    let gap = Duration::from_secs(1) / per_second;
    for turn in begin..begin + count {
        let [_, high, middle, low] = (turn.wrapping_mul(0x9e37_79b9)).to_be_bytes();
        let from =
            SocketAddr::from(([100, 64 | high & 0x3f, middle, low], 1024 + turn as u16 % 60_000));
        puppet.send(&syn(from, to, turn))?;
        thread::sleep(gap);
    }
    Ok(())
}

/// One packet is patched over and over, without mending its TCP checksum: nobody but the watcher
/// looks at it.
fn send(lab: &Lab, count: u32, per_second: u32, mut sender: impl FnMut() -> u64) -> Result<u32> {
    let socket = lab.client.enter(|| RawSocket::new(Family::V4))?.context("no raw socket")?;
    let to = lab.server(Family::V4, SILENT);
    let mut packet = syn(SocketAddr::from(([100, 64, 0, 1], 1)), to, 0).packet();
    let mut pace = Pace::of(per_second);
    for sent in 0..count {
        pace.wait(sent);
        let bits = sender().to_be_bytes();
        // 100.64.0.0/10, which is nobody's here (RFC 6598).
        packet[13..16].copy_from_slice(&[64 | bits[0] & 0x3f, bits[1], bits[2]]);
        packet[20..22].copy_from_slice(&[bits[3] | 0x80, bits[4]]);
        packet[24..27].copy_from_slice(&bits[5..8]);
        socket.send(&packet, to.ip()).context("cannot send a raw packet")?;
    }
    Ok(count)
}

/// Connects to a port whose packets the firewall drops, once from each of these ports, at most
/// `per_second`. The last `kept` of them are given up only when what is returned is dropped; until then
/// they send their SYNs again.
pub fn connect(lab: &Lab, ports: Range<u16>, per_second: u32, kept: usize) -> Result<Vec<Dial>> {
    let (from, to) = (lab.client_ip(Family::V4), lab.server(Family::V4, SILENT));
    let (mut waiting, first_kept) = (Vec::new(), ports.len() - kept);
    let mut pace = Pace::of(per_second);
    lab.client.enter(|| {
        for (number, port) in ports.enumerate() {
            pace.wait(number as u32);
            let dial = Dial::from(SocketAddr::new(from, port))?;
            dial.start(to)?;
            if number >= first_kept {
                waiting.push(dial);
            }
        }
        Ok(waiting)
    })?
}

/// Sends `count` SYNs from addresses of 100.64.0.0/10, which is nobody's here, to `port` of the server,
/// whose kernel believes them: a listener answers.
pub fn spoofed(lab: &Lab, port: u16, count: u32, per_second: u32) -> Result<()> {
    let puppet = Puppet::new(lab, Side::Client, Family::V4)?;
    let to = lab.server(Family::V4, port);
    let mut pace = Pace::of(per_second);
    for sent in 0..count {
        pace.wait(sent);
        let [_, a, b, c] = (sent / 60_000).to_be_bytes();
        let from = SocketAddr::from(([100, 64 | a, b, c + 1], 1024 + (sent % 60_000) as u16));
        puppet.send(&syn(from, to, sent.wrapping_mul(0x9e37_79b9)))?;
    }
    Ok(())
}

/// Has the server send to those addresses by way of the client, who throws away what comes, and lets
/// as many connections be half-open as come; SYN-ACKs are sent three times.
pub fn let_answer(lab: &Lab) -> Result<()> {
    let (client, server) = (&lab.client, &lab.server);
    let via = lab.client_ip(Family::V4).to_string();
    server.run(&["ip", "route", "add", "100.64.0.0/10", "via", &via])?;
    client.set("net/ipv4/ip_forward", "0")?;
    for (setting, value) in [
        ("net/core/somaxconn", "65535"),
        ("net/ipv4/tcp_max_syn_backlog", "65535"),
        ("net/ipv4/tcp_syncookies", "0"),
        ("net/ipv4/tcp_synack_retries", "2"),
    ] {
        server.set(setting, value)?;
    }
    Ok(())
}
