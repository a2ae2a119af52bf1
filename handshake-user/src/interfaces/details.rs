//! What only the `doctor` wants to know of an interface: carrier, what it is part of, offloads.
//!
//! Reads only. Offloads and channels come by ioctl: the one crate for ethtool's netlink brings a
//! second copy of three netlink crates and an asynchronous connection for two numbers.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{Attributes, IFINFO_LEN, Interface, InterfacesError, Message, Requests, text, u32_at};

/// `IFLA_LINK_NETNSID` (`if_link.h`): the other end is in another namespace.
const IFLA_LINK_NETNSID: u16 = 37;
/// `SIOCETHTOOL` (`sockios.h`).
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// Commands and the flag for LRO (`ethtool.h`).
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// More of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// It has a carrier (`LOWER_UP`).
    pub carrier: bool,
    /// Kind of what it is part of: "bridge", "bond", "vrf".
    pub part_of: Option<String>,
    /// Index of the device below it (VLAN), or of its peer (veth).
    pub below: Option<u32>,
    /// That device is in another network namespace.
    pub below_elsewhere: bool,
    /// Large receive offload; none if there is no telling.
    pub lro: Option<bool>,
    /// Queues; none if there is no telling.
    pub channels: Option<Channels>,
}

/// Queues of a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// In use.
    pub now: u32,
    /// As many as there can be.
    pub most: u32,
}

/// Reads the details of an interface.
///
/// # Errors
/// If the kernel refuses the request.
pub fn details(interface: &Interface) -> Result<Details, InterfacesError> {
    let request = Message::new(libc::RTM_GETLINK, &[0; IFINFO_LEN]);
    let messages = Requests::open()?.dump(&request)?;
    let is_it = |message: &&Message| u32_at(&message.payload, 4) == Some(interface.index);
    let found = messages.iter().find(is_it).map(decode).unwrap_or_default();
    let Ok(ethtool) = Ethtool::open(&interface.name) else { return Ok(found) };
    Ok(Details { lro: ethtool.lro().ok(), channels: ethtool.channels().ok(), ..found })
}

fn decode(message: &Message) -> Details {
    let attributes = message.attributes(IFINFO_LEN);
    let find = |kind| attributes.clone().find(kind);
    let flags = u32_at(&message.payload, 8).unwrap_or_default();
    let info = find(libc::IFLA_LINKINFO).unwrap_or_default();
    Details {
        carrier: flags & libc::IFF_LOWER_UP as u32 != 0,
        part_of: Attributes(info).find(libc::IFLA_INFO_SLAVE_KIND).map(text),
        below: find(libc::IFLA_LINK).and_then(|index| u32_at(index, 0)).filter(|&index| index != 0),
        below_elsewhere: find(IFLA_LINK_NETNSID).is_some(),
        ..Details::default()
    }
}

/// Asks a driver by ioctl.
struct Ethtool {
    socket: OwnedFd,
    name: [libc::c_char; libc::IFNAMSIZ],
}

impl Ethtool {
    fn open(interface: &str) -> io::Result<Self> {
        let mut name = [0; libc::IFNAMSIZ];
        if interface.len() >= name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in name.iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        // SAFETY: takes three numbers.
        let socket =
            unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor.
        Ok(Self { socket: unsafe { OwnedFd::from_raw_fd(socket) }, name })
    }

    /// Sends `words`, a command and room for its answer.
    fn ask<const N: usize>(&self, mut words: [u32; N]) -> io::Result<[u32; N]> {
        // SAFETY: all zeroes are a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: `request` is what this ioctl expects; the callers give each command as many words
        // as its structure has, and the kernel writes no more.
        match unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) } {
            0 => Ok(words),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// `struct ethtool_value`.
    fn lro(&self) -> io::Result<bool> {
        self.ask([ETHTOOL_GFLAGS, 0]).map(|[_, flags]| flags & ETH_FLAG_LRO != 0)
    }

    /// `struct ethtool_channels`: maxima of receive, transmit, other, combined; then what is set.
    fn channels(&self) -> io::Result<Channels> {
        let mut words = [0; 9];
        words[0] = ETHTOOL_GCHANNELS;
        let [_, most_rx, _, _, most_both, rx, _, _, both] = self.ask(words)?;
        Ok(Channels { now: rx + both, most: most_rx + most_both })
    }
}
