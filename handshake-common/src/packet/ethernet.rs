//! Link layers and VLAN tags: where does the network layer start?

use super::{Frame, Malformed, NotOurs, Parsed, whole};

/// EtherType values, host order.
pub(super) mod ether_type {
    /// Up to here the field is the length of an 802.3 frame, and LLC follows.
    pub(in crate::packet) const MAX_LENGTH: u16 = 1500;
    pub(in crate::packet) const IPV4: u16 = 0x0800;
    pub(in crate::packet) const ERSPAN_III: u16 = 0x22eb;
    pub(in crate::packet) const BRIDGED: u16 = 0x6558;
    pub(in crate::packet) const IPV6: u16 = 0x86dd;
    pub(in crate::packet) const PPP: u16 = 0x880b;
    pub(in crate::packet) const MPLS: u16 = 0x8847;
    pub(in crate::packet) const MPLS_UPSTREAM: u16 = 0x8848;
    pub(in crate::packet) const PPPOE_SESSION: u16 = 0x8864;
    pub(in crate::packet) const ERSPAN: u16 = 0x88be;
}

/// EtherTypes of VLAN tags.
pub(super) const VLANS: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];

mod field {
    pub(super) const ETHER_TYPE: usize = 12;
    pub(super) const ETHERNET_LEN: usize = 14;
    pub(super) const SLL_PROTOCOL: usize = 14;
    pub(super) const SLL_LEN: usize = 16;
    pub(super) const SLL2_PROTOCOL: usize = 0;
    pub(super) const SLL2_LEN: usize = 20;
    pub(super) const NULL_LEN: usize = 4;
    pub(super) const VLAN_LEN: usize = 4;
}

/// Tags we walk before giving up; 802.1ad needs two, and captures taken on trunks show a third.
pub const MAX_VLAN_TAGS: usize = 3;

/// What a frame begins with. Live interfaces are [`Link::Ethernet`] or [`Link::Ip`]; the others
/// exist in capture files only (numbers: tcpdump's link-layer header types).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// IEEE 802.3 Ethernet (1).
    Ethernet,
    /// No link header, IP version by its first nibble (12, 14, 101, 228, 229).
    Ip,
    /// BSD loopback, a 32-bit address family in either byte order (0, 108).
    Null,
    /// Linux cooked capture v1 (113).
    Sll,
    /// Linux cooked capture v2 (276).
    Sll2,
    /// PPP, with or without its HDLC-like framing (9, 50); from here on only [`super::tunnel`]
    /// decodes.
    Ppp,
    /// PPPoE session (51).
    Pppoe,
    /// Cisco HDLC (104).
    CiscoHdlc,
    /// 802.11 behind one of several headers (105, 119, 127, 163, 192).
    Wlan(WlanHeader),
}

/// What a driver put before an 802.11 frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WlanHeader {
    /// Nothing (105).
    None,
    /// Prism (119) or AVS (163); both are found under either number.
    PrismOrAvs,
    /// Radiotap (127).
    Radiotap,
    /// Per-packet information (192).
    Ppi,
}

impl Link {
    /// The link of a tcpdump link-layer header type, if it is one we decode.
    #[must_use]
    pub fn of_capture(link_type: u32) -> Option<Self> {
        match link_type {
            0 | 108 => Some(Self::Null),
            1 => Some(Self::Ethernet),
            9 | 50 => Some(Self::Ppp),
            12 | 14 | 101 | 228 | 229 => Some(Self::Ip),
            51 => Some(Self::Pppoe),
            104 => Some(Self::CiscoHdlc),
            105 => Some(Self::Wlan(WlanHeader::None)),
            113 => Some(Self::Sll),
            119 | 163 => Some(Self::Wlan(WlanHeader::PrismOrAvs)),
            127 => Some(Self::Wlan(WlanHeader::Radiotap)),
            192 => Some(Self::Wlan(WlanHeader::Ppi)),
            276 => Some(Self::Sll2),
            _ => None,
        }
    }
}

/// Where the IP header starts, and what stood before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Offset of the IP header.
    pub offset: usize,
    /// IPv6 according to the link layer.
    pub is_v6: bool,
    /// VLAN ids, outermost first.
    pub vlan: [u16; 2],
    /// VLAN tags walked.
    pub vlan_count: u8,
}

#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F, link: Link) -> Result<Network, Parsed> {
    match link {
        Link::Ethernet => tagged(frame, field::ETHER_TYPE, field::ETHERNET_LEN),
        Link::Ip => raw_ip(frame),
        Link::Null => null(frame),
        Link::Sll => tagged(frame, field::SLL_PROTOCOL, field::SLL_LEN),
        Link::Sll2 => tagged(frame, field::SLL2_PROTOCOL, field::SLL2_LEN),
        Link::Ppp | Link::Pppoe | Link::CiscoHdlc | Link::Wlan(_) => {
            Err(Parsed::NotOurs(NotOurs::NotIp))
        }
    }
}

/// Follows VLAN tags from the EtherType at `type_offset`, with the payload at `offset`.
#[inline(always)]
fn tagged<F: Frame>(frame: &F, type_offset: usize, offset: usize) -> Result<Network, Parsed> {
    let mut ether_type = whole(frame.be16(type_offset))?;
    let mut offset = offset;
    let mut vlan = [0; 2];
    let mut vlan_count = 0u8;
    for _ in 0..MAX_VLAN_TAGS {
        let [a, b, c, d] = VLANS;
        if ether_type != a && ether_type != b && ether_type != c && ether_type != d {
            break;
        }
        let [tag] = whole(frame.words(offset))?;
        let tag = u32::from_be(tag);
        let id = (tag >> 16) as u16 & 0x0fff;
        match vlan_count {
            0 => vlan[0] = id,
            1 => vlan[1] = id,
            _ => {}
        }
        vlan_count += 1;
        ether_type = tag as u16;
        offset += field::VLAN_LEN;
    }
    match ether_type {
        ether_type::IPV4 => Ok(Network { offset, is_v6: false, vlan, vlan_count }),
        ether_type::IPV6 => Ok(Network { offset, is_v6: true, vlan, vlan_count }),
        _ => Err(Parsed::NotOurs(NotOurs::NotIp)),
    }
}

#[inline(always)]
fn raw_ip<F: Frame>(frame: &F) -> Result<Network, Parsed> {
    let first = whole(frame.be16(0))?;
    let is_v6 = match first >> 12 {
        4 => false,
        6 => true,
        _ => return Err(Parsed::Malformed(Malformed::BadIp)),
    };
    Ok(Network { offset: 0, is_v6, vlan: [0; 2], vlan_count: 0 })
}

/// The address families of NULL and LOOP: 2 is IPv4 everywhere, IPv6 differs between systems.
#[inline(always)]
fn null<F: Frame>(frame: &F) -> Result<Network, Parsed> {
    let [word] = whole(frame.words(0))?;
    let family = if word > 0xffff { word.swap_bytes() } else { word };
    let is_v6 = match family {
        2 => false,
        10 | 23 | 24 | 28 | 30 => true,
        _ => return Err(Parsed::NotOurs(NotOurs::NotIp)),
    };
    Ok(Network { offset: field::NULL_LEN, is_v6, vlan: [0; 2], vlan_count: 0 })
}
