//! SYNs from senders that do not exist.
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::lab::{Family, Lab};
use crate::random::Random;
use crate::socket::RawSocket;
use crate::traffic::{SILENT, syn};

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

/// One packet is patched over and over, without mending its TCP checksum: nobody but the watcher
/// looks at it.
fn send(lab: &Lab, count: u32, per_second: u32, mut sender: impl FnMut() -> u64) -> Result<u32> {
    let socket = lab.client.enter(|| RawSocket::new(Family::V4))?.context("no raw socket")?;
    let to = lab.server(Family::V4, SILENT);
    let mut packet = syn(SocketAddr::from(([100, 64, 0, 1], 1)), to, 0).packet();
    let gap = Duration::from_secs(1).mul_f64(f64::from(BATCH) / f64::from(per_second));
    let mut due = Instant::now();
    for sent in 0..count {
        if sent % BATCH == 0 {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // What was missed while others had the CPU is not made up for in one burst.
            due = due.max(Instant::now()) + gap;
        }
        let bits = sender().to_be_bytes();
        // 100.64.0.0/10, which is nobody's here (RFC 6598).
        packet[13..16].copy_from_slice(&[64 | bits[0] & 0x3f, bits[1], bits[2]]);
        packet[20..22].copy_from_slice(&[bits[3] | 0x80, bits[4]]);
        packet[24..27].copy_from_slice(&bits[5..8]);
        socket.send(&packet, to.ip()).context("cannot send a raw packet")?;
    }
    Ok(count)
}
