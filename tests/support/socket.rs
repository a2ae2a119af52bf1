//! The few things about sockets that the standard library lacks: binding before connecting, raw
//! packets, and waiting with a limit.
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::lab::Family;

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket(family: Family, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let domain = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    // SAFETY: socket takes three integers.
    let fd = checked(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The family of an address.
#[must_use]
pub fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// A socket address as the kernel wants it.
struct Native {
    storage: libc::sockaddr_in6,
    length: libc::socklen_t,
}

impl Native {
    fn new(address: SocketAddr) -> Self {
        // SAFETY: sockaddr_in6 is a plain C structure for which all zeroes are a valid value.
        let mut storage: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        let length = match address {
            SocketAddr::V4(v4) => {
                let native = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                    sin_zero: [0; 8],
                };
                // SAFETY: sockaddr_in6 is larger and at least as aligned as sockaddr_in.
                unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(native) };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                storage.sin6_port = v6.port().to_be();
                storage.sin6_addr.s6_addr = v6.ip().octets();
                size_of::<libc::sockaddr_in6>()
            }
        };
        Self { storage, length: length as libc::socklen_t }
    }

    fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }
}

/// Whether a descriptor has something to read within `patience_ms`.
pub fn readable(source: &impl AsRawFd, patience_ms: i32) -> bool {
    poll(source, libc::POLLIN, patience_ms)
}

fn poll(source: &impl AsRawFd, events: libc::c_short, patience_ms: i32) -> bool {
    let mut entry = libc::pollfd { fd: source.as_raw_fd(), events, revents: 0 };
    // SAFETY: one pollfd is passed, and its count is one.
    unsafe { libc::poll(&raw mut entry, 1, patience_ms) == 1 }
}

/// A connection being made step by step: bound first, so that its port is known even if it fails.
#[derive(Debug)]
pub struct Dial {
    stream: TcpStream,
    local: SocketAddr,
}

impl Dial {
    /// Binds to `local` (port 0: any), in the calling thread's namespace.
    pub fn from(local: SocketAddr) -> io::Result<Self> {
        let fd = socket(family(local.ip()), libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
        let (yes, native) = (1_i32, Native::new(local));
        // SAFETY: the option value is an int that outlives the call, with its size.
        checked(unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_REUSEADDR,
                (&raw const yes).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        })?;
        // SAFETY: the address outlives the call and its length is that of its family.
        checked(unsafe { libc::bind(fd.as_raw_fd(), native.pointer(), native.length) })?;
        let stream = TcpStream::from(fd);
        let local = stream.local_addr()?;
        Ok(Self { stream, local })
    }

    /// The address it comes from.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends the SYN.
    pub fn start(&self, to: SocketAddr) -> io::Result<()> {
        let native = Native::new(to);
        // SAFETY: the address outlives the call and its length is that of its family.
        let result =
            unsafe { libc::connect(self.stream.as_raw_fd(), native.pointer(), native.length) };
        match checked(result) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Waits for the connection: the stream, or why not (`TimedOut` when `patience` is over). Either
    /// way the socket is this call's: on failure it is closed.
    pub fn finish(self, patience: Duration) -> io::Result<TcpStream> {
        let patience_ms = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        if !poll(&self.stream, libc::POLLOUT, patience_ms) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        self.stream.set_nonblocking(false)?;
        Ok(self.stream)
    }
}

/// Makes closing a stream an abort: its other end gets an RST.
pub fn abort_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the option value is a linger that outlives the call, with its size.
    checked(unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Changes how many connections a listener's accept queue holds (the kernel adds one).
pub fn set_backlog(listener: &TcpListener, backlog: i32) -> io::Result<()> {
    // SAFETY: listen takes an open descriptor and an integer; repeating it only changes the queue.
    checked(unsafe { libc::listen(listener.as_raw_fd(), backlog) }).map(drop)
}

/// Wakes a thread that waits in `accept`: it gets an error.
pub fn stop_listening(listener: &TcpListener) {
    // SAFETY: shutdown takes an open descriptor and a flag. A failure means it was stopped before.
    unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RD) };
}

/// Sends whole IP packets of one family, routed by the kernel of its namespace.
#[derive(Debug)]
pub struct RawSocket(OwnedFd);

impl RawSocket {
    /// Opens one in the calling thread's namespace. Needs `CAP_NET_RAW`.
    pub fn new(family: Family) -> io::Result<Self> {
        socket(family, libc::SOCK_RAW, libc::IPPROTO_RAW).map(Self)
    }

    /// Sends one packet, headers included.
    pub fn send(&self, packet: &[u8], to: IpAddr) -> io::Result<()> {
        let native = Native::new(SocketAddr::new(to, 0));
        // SAFETY: packet and address outlive the call and are passed with their lengths.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                native.pointer(),
                native.length,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Sends whole frames through one device, link header included.
#[derive(Debug)]
pub struct FrameSocket {
    fd: OwnedFd,
    address: libc::sockaddr_ll,
}

impl FrameSocket {
    /// Opens one on a device of the calling thread's namespace. Needs `CAP_NET_RAW`.
    pub fn new(device: &str) -> io::Result<Self> {
        let name = std::ffi::CString::new(device)?;
        // SAFETY: the name ends in a NUL and outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        // SAFETY: socket takes three integers.
        let fd = checked(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) })?;
        // SAFETY: socket has just returned the descriptor, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: sockaddr_ll is made of integers, for which all zeroes are a valid value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
        Ok(Self { fd, address })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: frame and address outlive the call and are passed with their lengths.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
