//! Other people's programs, and who is attached where: through bpf(2) itself, because the loader
//! under test must not be its own witness.
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::lab::Namespace;

pub mod drive;
pub mod run;

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP: libc::c_long = 1;
const PROG_LOAD: libc::c_long = 5;
const PROG_QUERY: libc::c_long = 16;
const LINK_CREATE: libc::c_long = 28;

const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_RINGBUF: u32 = 27;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const PROG_TYPE_XDP: u32 = 6;

/// A place where a program can sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP
    Xdp,
    /// TCX ingress
    TcIngress,
    /// TCX egress
    TcEgress,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::TcIngress, Self::TcEgress];

    /// `enum bpf_attach_type`
    const fn attach_type(self) -> u32 {
        match self {
            Self::Xdp => 37,
            Self::TcIngress => 46,
            Self::TcEgress => 47,
        }
    }

    /// What aya says when it loads a program; those of one array of tail calls must agree.
    const fn expected_attach_type(self) -> u32 {
        match self {
            Self::Xdp => 37,
            Self::TcIngress | Self::TcEgress => 0,
        }
    }

    /// `XDP_PASS`, `TCX_NEXT`
    const fn verdict(self) -> i32 {
        match self {
            Self::Xdp => 2,
            Self::TcIngress | Self::TcEgress => -1,
        }
    }

    const fn program_type(self) -> u32 {
        match self {
            Self::Xdp => PROG_TYPE_XDP,
            Self::TcIngress | Self::TcEgress => PROG_TYPE_SCHED_CLS,
        }
    }
}

/// A foreign program that counts the packets it sees and passes them on.
#[derive(Debug)]
pub struct Counter {
    map: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Counter {
    /// Loads one and attaches it to a device; it goes when dropped.
    pub fn attach(namespace: &Namespace, device: &str, hook: Hook) -> Result<Self> {
        let map = create_counter().context("cannot create a map")?;
        let program = load_program(hook, &map).context("cannot load a program")?;
        let link = attach_to(namespace, device, hook, &program)?;
        Ok(Self { map, _program: program, _link: link })
    }

    /// How many packets it saw.
    pub fn packets(&self) -> Result<u64> {
        let (key, mut value) = (0_u32, 0_u64);
        let mut attributes = Attributes::default();
        attributes.put(0, self.map.as_raw_fd().cast_unsigned());
        attributes.put_pointer(8, &raw const key);
        attributes.put_pointer(16, &raw mut value);
        attributes.call(MAP_LOOKUP).context("cannot read a map")?;
        Ok(value)
    }
}

/// Attaches a program to a device, until the link that is returned is dropped.
pub fn attach_to(
    namespace: &Namespace,
    device: &str,
    hook: Hook,
    program: &OwnedFd,
) -> Result<OwnedFd> {
    namespace
        .enter(|| index_of(device).and_then(|index| attach(program, index, hook)))?
        .with_context(|| format!("cannot attach at {hook:?} of {device}"))
}

/// The ids of the programs at a hook of a device.
pub fn programs(namespace: &Namespace, device: &str, hook: Hook) -> Result<Vec<u32>> {
    if hook == Hook::Xdp {
        return xdp_programs(namespace, device);
    }
    let mut ids = [0_u32; 64];
    let mut attributes = Attributes::default();
    attributes.put(4, hook.attach_type());
    attributes.put_pointer(16, ids.as_mut_ptr());
    attributes.put(24, ids.len() as u32);
    let queried = namespace.enter(|| {
        attributes.put(0, index_of(device)?);
        attributes.call(PROG_QUERY).map(|_| attributes.word(24))
    })?;
    match queried {
        Ok(count) => Ok(ids[..count as usize].to_vec()),
        // Nothing was ever attached there.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot query {hook:?} of {device}")),
    }
}

/// Everything attached to a device, one line each: programs at any hook, and classic filters and
/// queueing disciplines that are not the kernel's own.
pub fn attachments(namespace: &Namespace, device: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for hook in Hook::ALL {
        let ids = programs(namespace, device, hook)?;
        found.extend(ids.iter().map(|id| format!("{hook:?} {id}")));
    }
    let disciplines = namespace.run(&["tc", "qdisc", "show", "dev", device])?;
    let foreign = |line: &&str| !line.contains("noqueue") && !line.contains("fq_codel");
    found.extend(disciplines.lines().filter(foreign).map(str::to_owned));
    for direction in ["ingress", "egress"] {
        let filters = namespace.run(&["tc", "filter", "show", "dev", device, direction]);
        found.extend(filters.unwrap_or_default().lines().map(str::to_owned));
    }
    Ok(found)
}

fn xdp_programs(namespace: &Namespace, device: &str) -> Result<Vec<u32>> {
    let shown = namespace.run(&["ip", "-d", "-j", "link", "show", "dev", device])?;
    let links: serde_json::Value = serde_json::from_str(&shown)?;
    let xdp = &links[0]["xdp"];
    let attached = xdp["attached"].as_array().into_iter().flatten();
    let all = attached.chain(std::iter::once(xdp)).filter_map(|entry| entry["prog"]["id"].as_u64());
    let mut ids: Vec<u32> = all.filter_map(|id| u32::try_from(id).ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn index_of(device: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(device)?;
    // SAFETY: the name is a string that ends in NUL and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Makes a ring buffer of `bytes`, a power of two and a multiple of the page size.
pub fn create_ring(bytes: u32) -> io::Result<OwnedFd> {
    let mut attributes = Attributes::default();
    attributes.put(0, MAP_TYPE_RINGBUF);
    attributes.put(12, bytes);
    attributes.descriptor(MAP_CREATE)
}

fn create_counter() -> io::Result<OwnedFd> {
    let mut attributes = Attributes::default();
    attributes.put(0, MAP_TYPE_ARRAY);
    attributes.put(4, size_of::<u32>() as u32);
    attributes.put(8, size_of::<u64>() as u32);
    attributes.put(12, 1);
    attributes.descriptor(MAP_CREATE)
}

fn attach(program: &OwnedFd, index: u32, hook: Hook) -> io::Result<OwnedFd> {
    let mut attributes = Attributes::default();
    attributes.put(0, program.as_raw_fd().cast_unsigned());
    attributes.put(4, index);
    attributes.put(8, hook.attach_type());
    attributes.descriptor(LINK_CREATE)
}

/// One instruction: operation, registers (destination in the low half), offset, immediate.
const fn instruction(operation: u8, registers: u8, offset: i16, immediate: i32) -> [u8; 8] {
    let (o, i) = (offset.to_ne_bytes(), immediate.to_ne_bytes());
    [operation, registers, o[0], o[1], i[0], i[1], i[2], i[3]]
}

fn load_program(hook: Hook, map: &OwnedFd) -> io::Result<OwnedFd> {
    let program: [[u8; 8]; 11] = [
        instruction(0x62, 0x0a, -4, 0),              // *(u32 *)(r10 - 4) = 0
        instruction(0xbf, 0xa2, 0, 0),               // r2 = r10
        instruction(0x07, 0x02, 0, -4),              // r2 += -4
        instruction(0x18, 0x11, 0, map.as_raw_fd()), // r1 = map, two slots
        instruction(0x00, 0x00, 0, 0),
        instruction(0x85, 0x00, 0, 1), // r0 = bpf_map_lookup_elem(r1, r2)
        instruction(0x15, 0x00, 2, 0), // if r0 == 0 skip two
        instruction(0xb7, 0x01, 0, 1), // r1 = 1
        instruction(0xdb, 0x10, 0, 0), // lock *(u64 *)r0 += r1
        instruction(0xb7, 0x00, 0, hook.verdict()), // r0 = verdict
        instruction(0x95, 0x00, 0, 0), // exit
    ];
    load(hook, hook.attach_type(), &program)
}

/// Loads a program of these instructions.
fn load(hook: Hook, expected_attach_type: u32, code: &[[u8; 8]]) -> io::Result<OwnedFd> {
    let mut attributes = Attributes::default();
    attributes.put(0, hook.program_type());
    attributes.put(4, code.len() as u32);
    attributes.put_pointer(8, code.as_ptr());
    attributes.put_pointer(16, c"GPL".as_ptr());
    attributes.put(68, expected_attach_type);
    attributes.descriptor(PROG_LOAD)
}

/// `union bpf_attr`, written at byte offsets.
#[derive(Debug)]
#[repr(C, align(8))]
struct Attributes([u8; 152]);

impl Default for Attributes {
    fn default() -> Self {
        Self([0; 152])
    }
}

impl Attributes {
    fn put(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn put_pointer<T>(&mut self, at: usize, pointer: *const T) {
        self.0[at..at + 8].copy_from_slice(&(pointer as u64).to_ne_bytes());
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    fn call(&mut self, command: libc::c_long) -> io::Result<i32> {
        // SAFETY: the union is ours and as long as we say; the pointers in it were put there by this
        // module's functions and are valid for the whole call.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len()) };
        i32::try_from(result)
            .ok()
            .filter(|&result| result >= 0)
            .ok_or_else(io::Error::last_os_error)
    }

    fn descriptor(&mut self, command: libc::c_long) -> io::Result<OwnedFd> {
        let descriptor = self.call(command)?;
        // SAFETY: these commands return a new descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }
}
