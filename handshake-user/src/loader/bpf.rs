//! The few `bpf(2)` commands that aya does not give us as we need them.
//!
//! Links: aya 0.14 falls back to netlink when the kernel answers EINVAL to an XDP link, and such
//! an attachment survives SIGKILL; it also hides the interface of a link, by which a link that
//! somebody detached is known. Rings: their size is chosen while running. Who else is attached: aya
//! looks up every program of a chain, which needs `CAP_SYS_ADMIN`, and tells no link from another.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Commands (`enum bpf_cmd`, `linux/bpf.h`).
const MAP_CREATE: i64 = 0;
const OBJ_GET_INFO_BY_FD: i64 = 15;
const PROG_QUERY: i64 = 16;
const LINK_CREATE: i64 = 28;
const LINK_GET_FD_BY_ID: i64 = 30;
const LINK_GET_NEXT_ID: i64 = 31;
const LINK_DETACH: i64 = 34;
/// `BPF_MAP_TYPE_RINGBUF`, kernel 5.8.
const MAP_TYPE_RINGBUF: u32 = 27;
/// `BPF_F_BEFORE`: with no program named, before all others.
const BEFORE_ALL: u32 = 1 << 3;
/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` (`if_link.h`).
const XDP_SKB_MODE: u32 = 1 << 1;
const XDP_DRV_MODE: u32 = 1 << 2;
/// `enum bpf_attach_type` of XDP.
const XDP: u32 = 37;
/// `BPF_LINK_TYPE_XDP`.
const LINK_TYPE_XDP: u32 = 6;
/// Room for more programs than a TCX hook takes (63).
const CHAIN: usize = 64;

/// Where a link goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    XdpNative,
    XdpGeneric,
    TcxIngress,
    TcxEgress,
}

impl Target {
    /// `enum bpf_attach_type` and flags.
    fn encode(self) -> (u32, u32) {
        match self {
            Self::XdpNative => (XDP, XDP_DRV_MODE),
            Self::XdpGeneric => (XDP, XDP_SKB_MODE),
            Self::TcxIngress => (46, BEFORE_ALL),
            Self::TcxEgress => (47, BEFORE_ALL),
        }
    }
}

/// `union bpf_attr` of `BPF_LINK_CREATE`, as far as the end of its `tcx` member.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    padding: u32,
    expected_revision: u64,
}

/// `union bpf_attr` of `BPF_MAP_CREATE`, as far as the name.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
}

/// `union bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
#[derive(Default)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `union bpf_attr` of `BPF_PROG_QUERY`.
#[repr(C)]
#[derive(Default)]
struct ProgQuery {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// `union bpf_attr` of the commands that take and give ids.
#[repr(C)]
#[derive(Default)]
struct Id {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The start of `struct bpf_link_info`: for XDP and TCX the interface follows the common part.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    padding: u32,
    ifindex: u32,
    attach_type: u32,
}

/// A program attached by a link: it detaches when this is dropped, and when the process dies.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

impl Link {
    /// Attaches `program` to the interface with this index.
    pub(super) fn create(program: BorrowedFd<'_>, index: u32, target: Target) -> io::Result<Self> {
        let (attach_type, flags) = target.encode();
        let prog_fd = program.as_raw_fd() as u32;
        let target_ifindex = index;
        let mut attr =
            LinkCreate { prog_fd, target_ifindex, attach_type, flags, ..LinkCreate::default() };
        // SAFETY: `attr` is what LINK_CREATE expects, and the result is a descriptor of ours.
        unsafe { call(LINK_CREATE, &mut attr).map(|fd| Self(OwnedFd::from_raw_fd(fd))) }
    }

    /// The interface it is attached to; 0 if that is gone or somebody detached the link.
    pub(super) fn interface(&self) -> io::Result<u32> {
        link_info(self.0.as_fd()).map(|info| info.ifindex)
    }
}

fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let mut attr = GetInfo {
        bpf_fd: link.as_raw_fd() as u32,
        info_len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes into `info`, which is that long.
    unsafe { call(OBJ_GET_INFO_BY_FD, &mut attr)? };
    Ok(info)
}

/// A program in a TCX chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Linked {
    pub(super) prog_id: u32,
    /// The link that holds it; 0 if it was attached without one.
    pub(super) link_id: u32,
}

/// The programs of a TCX hook in the order in which they run. Needs `CAP_NET_ADMIN`; EINVAL from a
/// kernel without TCX.
pub(super) fn tcx_chain(index: u32, target: Target) -> io::Result<Vec<Linked>> {
    let (mut programs, mut links) = ([0u32; CHAIN], [0u32; CHAIN]);
    let mut attr = ProgQuery {
        target_ifindex: index,
        attach_type: target.encode().0,
        prog_ids: programs.as_mut_ptr() as u64,
        count: CHAIN as u32,
        link_ids: links.as_mut_ptr() as u64,
        ..ProgQuery::default()
    };
    // SAFETY: the kernel writes at most `count` numbers to each array, which are that long.
    match unsafe { call(PROG_QUERY, &mut attr) } {
        Ok(_) => {}
        // Nothing was ever attached there.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let found = programs.into_iter().zip(links).take(attr.count as usize);
    Ok(found.map(|(prog_id, link_id)| Linked { prog_id, link_id }).collect())
}

/// The link that holds a program in the XDP slot of an interface; none if it was put there by
/// netlink. Needs `CAP_SYS_ADMIN`.
pub(super) fn xdp_link(index: u32, prog_id: u32) -> io::Result<Option<u32>> {
    let mut id = 0;
    loop {
        let mut next = Id { id, ..Id::default() };
        // SAFETY: LINK_GET_NEXT_ID takes and gives numbers.
        match unsafe { call(LINK_GET_NEXT_ID, &mut next) } {
            Ok(_) => id = next.next_id,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut attr = Id { id, ..Id::default() };
        // SAFETY: LINK_GET_FD_BY_ID takes a number, and the result is a descriptor of ours.
        let link = unsafe { call(LINK_GET_FD_BY_ID, &mut attr).map(|fd| OwnedFd::from_raw_fd(fd)) };
        // It may have gone meanwhile.
        let Ok(info) = link.and_then(|link| link_info(link.as_fd())) else { continue };
        // The index alone would not do: other namespaces have interfaces of the same index.
        if (info.kind, info.ifindex, info.prog_id) == (LINK_TYPE_XDP, index, prog_id) {
            return Ok(Some(id));
        }
    }
}

impl Drop for Link {
    /// Closing would do, unless a child process is between fork and exec: it holds the descriptor
    /// a moment longer.
    fn drop(&mut self) {
        let mut attr = self.0.as_raw_fd() as u32;
        // SAFETY: LINK_DETACH takes a descriptor. It fails if nothing is attached any more.
        drop(unsafe { call(LINK_DETACH, &mut attr) });
    }
}

/// Makes a ring buffer of `bytes` (a power of two and a multiple of the page size).
pub(super) fn create_ring(bytes: u32) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..7].copy_from_slice(b"HS_RING");
    let mut attr =
        MapCreate { map_type: MAP_TYPE_RINGBUF, max_entries: bytes, name, ..MapCreate::default() };
    // SAFETY: `attr` is what MAP_CREATE expects, and the result is a descriptor of ours.
    unsafe { call(MAP_CREATE, &mut attr).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Calls `bpf(2)`.
///
/// # Safety
/// `attr` is the attribute of `command`, and what it points to lives through the call.
unsafe fn call<T>(command: i64, attr: &mut T) -> io::Result<i32> {
    // SAFETY: see above; the kernel reads and writes within the size given.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, (&raw mut *attr).cast::<u8>(), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_the_layout_of_the_kernel() {
        assert_eq!(size_of::<LinkCreate>(), 32);
        assert_eq!(std::mem::offset_of!(LinkCreate, expected_revision), 24);
        assert_eq!((size_of::<MapCreate>(), size_of::<GetInfo>()), (44, 16));
        assert_eq!(std::mem::offset_of!(LinkInfo, ifindex), 16);
        assert_eq!(std::mem::offset_of!(ProgQuery, link_ids), 40);
        assert_eq!((size_of::<ProgQuery>(), size_of::<Id>()), (64, 12));
    }
}
