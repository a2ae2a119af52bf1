//! Two `tun` devices in two namespaces and the two threads that carry packets between them.
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::lab::Namespace;
use crate::socket::readable;

/// How long a pump sleeps on an idle device before it looks whether to stop.
const IDLE_MS: i32 = 50;

/// A layer-3 wire between two namespaces; the devices go when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    stop: Arc<AtomicBool>,
    pumps: Vec<JoinHandle<()>>,
}

impl Tunnel {
    /// Makes a device in each namespace and starts carrying packets.
    pub fn new(a: &Namespace, a_name: &str, b: &Namespace, b_name: &str) -> Result<Self> {
        let left = Arc::new(a.enter(|| open(a_name))?.context("cannot make a tun device")?);
        let right = Arc::new(b.enter(|| open(b_name))?.context("cannot make a tun device")?);
        let stop = Arc::new(AtomicBool::new(false));
        let pumps = [(&left, &right), (&right, &left)].map(|(from, to)| {
            let (from, to, stop) = (Arc::clone(from), Arc::clone(to), Arc::clone(&stop));
            std::thread::spawn(move || pump(&from, &to, &stop))
        });
        Ok(Self { stop, pumps: pumps.into() })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for pump in self.pumps.drain(..) {
            drop(pump.join());
        }
    }
}

fn open(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: ifreq is a plain C structure for which all zeroes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = CString::new(name)?;
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *slot = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open and the request outlives the call, which reads and writes an
    // ifreq.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

fn pump(mut from: &File, mut to: &File, stop: &AtomicBool) {
    let mut packet = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        if !readable(from, IDLE_MS) {
            continue;
        }
        let Ok(length) = from.read(&mut packet) else { return };
        // A device that is not up yet refuses packets: they are lost, as on any wire.
        drop(to.write(&packet[..length]));
    }
}
