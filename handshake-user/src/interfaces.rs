//! The network interfaces of this namespace, by rtnetlink.
//!
//! Reads only: nothing here changes an interface. Requests are synchronous and take well under a
//! millisecond; [`watch`] follows changes asynchronously. Next: `loader`, which attaches.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netlink::{Attributes, Message, Refused, Requests, text, u16_at, u32_at};

mod details;
mod route;
mod select;
mod watch;

pub use details::{Channels, Details, details};
pub use route::{Chosen, default_route};
pub(crate) use select::glob;
pub use select::{ANY, SelectError, Selected, select, select_or_wait};
pub use watch::{Change, Watch, watch};

/// Bytes of `struct ifinfomsg` and `struct ifaddrmsg`.
const IFINFO_LEN: usize = 16;
const IFADDR_LEN: usize = 8;
/// Attributes within `IFLA_XDP` (`if_link.h`).
const XDP_ATTACHED: u16 = 2;
const XDP_PROG_ID: u16 = 4;
const XDP_DRV_PROG_ID: u16 = 5;
const XDP_SKB_PROG_ID: u16 = 6;
const XDP_HW_PROG_ID: u16 = 7;
/// `ARPHRD_RAWIP` and `ARPHRD_IP6GRE` (`if_arp.h`), which libc lacks.
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_IP6GRE: u16 = 823;

/// Why the interfaces could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the network interfaces: {0}")]
pub struct InterfacesError(#[from] Refused);

impl InterfacesError {
    /// The program's exit code: 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        1
    }
}

impl From<io::Error> for InterfacesError {
    fn from(error: io::Error) -> Self {
        Self(error.into())
    }
}

/// What a frame starts with, by ARPHRD type (`if_arp.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// An Ethernet header; loopback has one as well.
    Ethernet,
    /// The IP header: tun, WireGuard, PPP, IP tunnels.
    Ip,
    /// Neither; we cannot read its frames. The ARPHRD type.
    Other(u16),
}

impl LinkKind {
    fn of(hardware: u16) -> Self {
        match hardware {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Self::Ethernet,
            libc::ARPHRD_NONE
            | libc::ARPHRD_PPP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_IPGRE
            | ARPHRD_IP6GRE
            | ARPHRD_RAWIP => Self::Ip,
            other => Self::Other(other),
        }
    }
}

/// How an XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack.
    Generic,
    /// In the hardware.
    Offloaded,
    /// In more than one place.
    Several,
}

/// The program in an interface's XDP slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct XdpSlot {
    /// Its id (`bpftool prog show id …`).
    pub prog_id: u32,
    /// Its mode.
    pub mode: XdpMode,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Index in this namespace.
    pub index: u32,
    /// Name; not always printable, the kernel only forbids `/`, `:` and white space.
    pub name: String,
    /// Alternative names (`ip link property`).
    pub alt_names: Vec<String>,
    /// What its frames start with.
    pub link: LinkKind,
    /// Kind of a virtual interface: "veth", "bridge", "tun" and so on.
    pub kind: Option<String>,
    /// Loopback.
    pub is_loopback: bool,
    /// Backed by a device (PCI, virtio, USB and so on).
    pub is_physical: bool,
    /// Driver of that device, where sysfs tells.
    pub driver: Option<String>,
    /// Bytes behind the link header.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// It has a carrier (`LOWER_UP`).
    pub carrier: bool,
    /// Index of the bridge, bond or VRF it belongs to.
    pub master: Option<u32>,
    /// Program in the XDP slot.
    pub xdp: Option<XdpSlot>,
}

impl Interface {
    /// The interface of an `RTM_NEWLINK` or `RTM_DELLINK` message; none for messages of bridges
    /// about their ports (`AF_BRIDGE`), which say nothing about the interface itself.
    fn decode(message: &Message) -> Option<Self> {
        let header = &message.payload;
        if i32::from(*header.first()?) != libc::AF_UNSPEC {
            return None;
        }
        let attributes = message.attributes(IFINFO_LEN);
        let find = |kind| attributes.clone().find(kind);
        let flags = u32_at(header, 8)?;
        let index = u32_at(header, 4)?;
        let name = text(find(libc::IFLA_IFNAME)?);
        let device = Device::of(&name, index, find(libc::IFLA_PARENT_DEV_NAME));
        Some(Self {
            index,
            alt_names: find(libc::IFLA_PROP_LIST).map(alt_names).unwrap_or_default(),
            link: LinkKind::of(u16_at(header, 2)?),
            kind: find(libc::IFLA_LINKINFO)
                .and_then(|info| Attributes(info).find(libc::IFLA_INFO_KIND))
                .map(text),
            is_loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
            is_physical: device.exists,
            driver: device.driver,
            mtu: find(libc::IFLA_MTU).and_then(|mtu| u32_at(mtu, 0)).unwrap_or_default(),
            up: flags & libc::IFF_UP as u32 != 0,
            carrier: flags & libc::IFF_LOWER_UP as u32 != 0,
            master: find(libc::IFLA_MASTER).and_then(|master| u32_at(master, 0)),
            xdp: find(libc::IFLA_XDP).and_then(XdpSlot::decode),
            name,
        })
    }
}

impl XdpSlot {
    fn decode(value: &[u8]) -> Option<Self> {
        let find = |kind| Attributes(value).find(kind);
        let id = |kind| find(kind).and_then(|id| u32_at(id, 0));
        let mode = match find(XDP_ATTACHED)?.first()? {
            1 => XdpMode::Native,
            2 => XdpMode::Generic,
            3 => XdpMode::Offloaded,
            4 => XdpMode::Several,
            _ => return None,
        };
        let ids = [XDP_PROG_ID, XDP_DRV_PROG_ID, XDP_SKB_PROG_ID, XDP_HW_PROG_ID];
        Some(Self { prog_id: ids.into_iter().find_map(id)?, mode })
    }
}

fn alt_names(list: &[u8]) -> Vec<String> {
    Attributes(list)
        .filter(|&(kind, _)| kind == libc::IFLA_ALT_IFNAME)
        .map(|(_, name)| text(name))
        .collect()
}

/// The device behind an interface.
struct Device {
    exists: bool,
    driver: Option<String>,
}

impl Device {
    /// Asks sysfs, if it shows the namespace that the index is from; the kernel's own word
    /// (`IFLA_PARENT_DEV_NAME`, 5.14) counts as well.
    fn of(name: &str, index: u32, parent: Option<&[u8]>) -> Self {
        let none = Self { exists: parent.is_some(), driver: None };
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return none;
        }
        let path = std::path::Path::new("/sys/class/net").join(name);
        let shown = std::fs::read_to_string(path.join("ifindex"));
        if shown.ok().and_then(|shown| shown.trim().parse().ok()) != Some(index) {
            return none;
        }
        let driver = std::fs::read_link(path.join("device/driver")).ok();
        let driver = driver
            .and_then(|driver| driver.file_name().map(|name| name.to_string_lossy().into_owned()));
        Self { exists: none.exists || path.join("device").exists(), driver }
    }
}

/// All interfaces, in the order of their index.
///
/// # Errors
/// If the kernel refuses the request.
pub fn list() -> Result<Vec<Interface>, InterfacesError> {
    let request = Message::new(libc::RTM_GETLINK, &[0; IFINFO_LEN]);
    let messages = Requests::open()?.dump(&request)?;
    let mut all: Vec<_> = messages.iter().filter_map(Interface::decode).collect();
    all.sort_by_key(|interface| interface.index);
    Ok(all)
}

/// The IP addresses of this namespace: what is local to the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses(HashSet<IpAddr>);

impl Addresses {
    /// True for an address of the host. IPv4 addresses mapped into IPv6 count as IPv4, and the
    /// whole of 127.0.0.0/8 is local.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.0.contains(&address)
    }

    /// All addresses, in no order.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        Self(addresses.into_iter().map(|address| address.to_canonical()).collect())
    }
}

/// The addresses of all interfaces.
///
/// # Errors
/// If the kernel refuses the request.
pub fn addresses() -> Result<Addresses, InterfacesError> {
    let request = Message::new(libc::RTM_GETADDR, &[0; IFADDR_LEN]);
    let messages = Requests::open()?.dump(&request)?;
    Ok(messages.iter().filter_map(address_of).collect())
}

/// The local address of an `RTM_NEWADDR` message: `IFA_ADDRESS` is the peer's on point-to-point
/// links, where `IFA_LOCAL` is ours.
fn address_of(message: &Message) -> Option<IpAddr> {
    let attributes = message.attributes(IFADDR_LEN);
    let value = attributes.clone().find(libc::IFA_LOCAL);
    let value = value.or_else(|| attributes.find(libc::IFA_ADDRESS))?;
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
