//! Encapsulations: what can stand between the link layer and the IP packet with our TCP.
//!
//! LLC/SNAP, MPLS, PPPoE, PPP and 802.11 below IP; IP in IP, GRE, ERSPAN, VXLAN, GENEVE and GTP-U
//! above it. [`parse`] asks the plain parser first and walks only where that says "not IP" or "not
//! TCP"; who does not ask for it ([`crate::observe::Sink::DECAP`]) does not pay for it.
//!
//! A header that is no tunnel's after all (a flag that must be set is not, a control message, cut
//! off) leaves the answer of the plain parser; behind a tunnel's header the inner packet decides.
//! Offsets stay those of the whole frame, and an inner packet never ends behind its outer one.
//! Nothing is reassembled, decrypted or decompressed.

use super::ethernet::{self, Link, Network, VLANS, ether_type};
use super::{Frame, IpHeader, NotOurs, Parsed, ip, protocol, transport};
use crate::flow::Keys;

mod layer;
mod wlan;

pub use layer::{Layer, Layers};

/// Encapsulations walked in one frame, of any kind (a VLAN tag or MPLS label counts as one).
pub const MAX_LAYERS: usize = 8;
/// Headers walked: each layer may bring an Ethernet and an IP header.
const MAX_HEADERS: usize = 2 * MAX_LAYERS + 2;

/// Parses one frame like [`super::parse`], looking into encapsulations.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, link: Link, keys: &Keys) -> Parsed {
    match super::parse(frame, link, keys) {
        Parsed::NotOurs(NotOurs::NotIp | NotOurs::NotTcp) => {}
        plain => return plain,
    }
    let inner = find(frame, link, |_| {}).and_then(|header| transport(frame, &header, keys));
    match inner {
        Ok(parsed) | Err(parsed) => parsed,
    }
}

/// The encapsulations around the innermost IP packet of a frame, VLAN tags among them; none if
/// there is no such packet.
pub fn layers<F: Frame>(frame: &F, link: Link) -> Layers {
    let mut layers = Layers::NONE;
    match find(frame, link, |layer| layers.push(layer)) {
        Ok(_) => layers,
        Err(_) => Layers::NONE,
    }
}

/// PPP protocol numbers.
mod ppp {
    pub(super) const IPV4: u16 = 0x0021;
    pub(super) const IPV6: u16 = 0x0057;
    pub(super) const MPLS: u16 = 0x0281;
    /// Address and control of RFC 1662, which may be left out.
    pub(super) const ALL_STATIONS: u16 = 0xff03;
    /// Cisco HDLC instead of PPP: unicast and multicast.
    pub(super) const CISCO: [u16; 2] = [0x0f00, 0x8f00];
}

/// Destination ports of tunnels over UDP.
mod port {
    pub(super) const GTP_U: u16 = 2152;
    pub(super) const VXLAN: u16 = 4789;
    /// VXLAN before it had a port of its own; Linux's default.
    pub(super) const VXLAN_LINUX: u16 = 8472;
    pub(super) const GENEVE: u16 = 6081;
}

/// Flags of a GRE header.
mod gre {
    pub(super) const CHECKSUM: u32 = 0x8000;
    pub(super) const ROUTING: u32 = 0x4000;
    pub(super) const KEY: u32 = 0x2000;
    pub(super) const SEQUENCE: u32 = 0x1000;
    /// Version 1 only.
    pub(super) const ACK: u32 = 0x0080;
    pub(super) const VERSION: u32 = 0x0007;
}

/// Flags of a GTP header.
mod gtp {
    /// Version 1, GTP and not GTP'.
    pub(super) const VERSION_MASK: u32 = 0xf0;
    pub(super) const VERSION_1: u32 = 0x30;
    pub(super) const EXTENSION: u32 = 0x04;
    /// Any of extension, sequence number, N-PDU number: all three fields are there.
    pub(super) const OPTIONAL: u32 = 0x07;
    /// The message that carries a user's packet.
    pub(super) const G_PDU: u32 = 255;
    /// Extension headers followed.
    pub(super) const MAX_EXTENSIONS: usize = 4;
}

const ETHERNET_LEN: usize = 14;
const ETHER_TYPE_OFFSET: usize = 12;
const UDP_LEN: usize = 8;
/// VXLAN and GENEVE without options.
const OVERLAY_LEN: usize = 8;
const VXLAN_ID_VALID: u32 = 0x0800_0000;

/// What stands at the offset of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The payload of this EtherType.
    EtherType(u16),
    /// IPv4 or (true) IPv6.
    Ip(bool),
    /// IP, by its first nibble.
    AnyIp,
    /// A label of an MPLS stack.
    Mpls,
    /// PPP, with or without its HDLC-like framing.
    Ppp,
    /// LLC, with SNAP or of no interest.
    Llc,
}

/// An IP header, or what its packet carries instead of TCP or ICMP.
enum Packet {
    Found(IpHeader),
    Carries(Next),
}

struct Walk<'a, F, R> {
    frame: &'a F,
    record: R,
    count: usize,
    offset: usize,
    end: usize,
    vlan: [u16; 2],
    vlan_count: u8,
}

const NOT_IP: Parsed = Parsed::NotOurs(NotOurs::NotIp);
const NOT_TCP: Parsed = Parsed::NotOurs(NotOurs::NotTcp);

/// Finds the IP header whose packet carries TCP or ICMP.
#[inline(always)]
fn find<F: Frame, R: FnMut(Layer)>(frame: &F, link: Link, record: R) -> Result<IpHeader, Parsed> {
    let end = frame.wire_len();
    let mut walk = Walk { frame, record, count: 0, offset: 0, end, vlan: [0; 2], vlan_count: 0 };
    let mut next = walk.link(link)?;
    for _ in 0..MAX_HEADERS {
        next = match next {
            Next::EtherType(ether_type) => walk.ether_type(ether_type)?,
            Next::AnyIp => walk.any_ip()?,
            Next::Mpls => walk.mpls()?,
            Next::Ppp => walk.ppp()?,
            Next::Llc => walk.snap(NOT_IP)?,
            Next::Ip(is_v6) => match walk.ip(is_v6)? {
                Packet::Found(header) => return Ok(header),
                Packet::Carries(next) => next,
            },
        };
    }
    Err(NOT_TCP)
}

impl<F: Frame, R: FnMut(Layer)> Walk<'_, F, R> {
    #[inline(always)]
    fn word(&self, offset: usize, otherwise: Parsed) -> Result<u32, Parsed> {
        let [word] = self.frame.words(self.offset + offset).ok_or(otherwise)?;
        Ok(u32::from_be(word))
    }

    #[inline(always)]
    fn be16(&self, offset: usize, otherwise: Parsed) -> Result<u16, Parsed> {
        self.frame.be16(self.offset + offset).ok_or(otherwise)
    }

    /// Steps over a layer of `len` bytes.
    #[inline(always)]
    fn enter(&mut self, layer: Layer, len: usize) -> Result<(), Parsed> {
        if self.count == MAX_LAYERS {
            return Err(NOT_TCP);
        }
        self.count += 1;
        self.offset += len;
        (self.record)(layer);
        Ok(())
    }

    #[inline(always)]
    fn link(&mut self, link: Link) -> Result<Next, Parsed> {
        match link {
            Link::Ethernet => self.typed(ETHER_TYPE_OFFSET, ETHERNET_LEN),
            Link::Sll => self.typed(14, 16),
            Link::Sll2 => self.typed(0, 20),
            Link::CiscoHdlc => self.typed(2, 4),
            Link::Ppp => Ok(Next::Ppp),
            Link::Pppoe => self.pppoe(),
            Link::Wlan(header) => self.wlan(header),
            Link::Ip | Link::Null => {
                let network = ethernet::parse(self.frame, link)?;
                self.offset = network.offset;
                Ok(Next::Ip(network.is_v6))
            }
        }
    }

    /// A header of `len` bytes with an EtherType at `type_offset`.
    #[inline(always)]
    fn typed(&mut self, type_offset: usize, len: usize) -> Result<Next, Parsed> {
        let ether_type = self.be16(type_offset, NOT_IP)?;
        self.offset += len;
        Ok(Next::EtherType(ether_type))
    }

    #[inline(always)]
    fn ether_type(&mut self, ether_type: u16) -> Result<Next, Parsed> {
        match ether_type {
            ether_type::IPV4 => Ok(Next::Ip(false)),
            ether_type::IPV6 => Ok(Next::Ip(true)),
            ether_type::MPLS | ether_type::MPLS_UPSTREAM => Ok(Next::Mpls),
            ether_type::PPPOE_SESSION => self.pppoe(),
            ether_type::PPP => Ok(Next::Ppp),
            ether_type::BRIDGED => self.typed(ETHER_TYPE_OFFSET, ETHERNET_LEN),
            0..=ether_type::MAX_LENGTH => Ok(Next::Llc),
            tag if VLANS.contains(&tag) => self.vlan(),
            _ => Err(NOT_IP),
        }
    }

    #[inline(always)]
    fn vlan(&mut self) -> Result<Next, Parsed> {
        let tag = self.word(0, NOT_IP)?;
        let id = (tag >> 16) as u16 & 0x0fff;
        if let Some(free) = self.vlan.get_mut(usize::from(self.vlan_count)) {
            *free = id;
        }
        self.vlan_count += 1;
        self.enter(Layer::Vlan(id), 4)?;
        Ok(Next::EtherType(tag as u16))
    }

    /// SNAP with the OUI of RFC 1042 or of 802.1H.
    #[inline(always)]
    fn snap(&mut self, otherwise: Parsed) -> Result<Next, Parsed> {
        let ether_type = self.snap_type(otherwise)?;
        self.enter(Layer::Snap, 8)?;
        Ok(Next::EtherType(ether_type))
    }

    #[inline(always)]
    fn snap_type(&self, otherwise: Parsed) -> Result<u16, Parsed> {
        let (head, tail) = (self.word(0, otherwise)?, self.word(4, otherwise)?);
        match (head, tail >> 16) {
            (0xaaaa_0300, 0 | 0xf8) => Ok(tail as u16),
            _ => Err(otherwise),
        }
    }

    /// One label; below the last, IP by its first nibble or a pseudowire with its control word
    /// (RFC 4385, RFC 4448).
    #[inline(always)]
    fn mpls(&mut self) -> Result<Next, Parsed> {
        let word = self.word(0, NOT_IP)?;
        self.enter(Layer::Mpls(word >> 12), 4)?;
        if word & 0x100 == 0 {
            return Ok(Next::Mpls);
        }
        if self.be16(0, NOT_IP)? >> 12 != 0 {
            return Ok(Next::AnyIp);
        }
        self.offset += 4;
        self.typed(ETHER_TYPE_OFFSET, ETHERNET_LEN)
    }

    #[inline(always)]
    fn any_ip(&mut self) -> Result<Next, Parsed> {
        match self.be16(0, NOT_IP)? >> 12 {
            4 => Ok(Next::Ip(false)),
            6 => Ok(Next::Ip(true)),
            _ => Err(NOT_IP),
        }
    }

    #[inline(always)]
    fn pppoe(&mut self) -> Result<Next, Parsed> {
        // Version 1, type 1, code 0: session data.
        if self.be16(0, NOT_IP)? != 0x1100 {
            return Err(NOT_IP);
        }
        self.enter(Layer::Pppoe, 6)?;
        Ok(Next::Ppp)
    }

    #[inline(always)]
    fn ppp(&mut self) -> Result<Next, Parsed> {
        let mut first = self.be16(0, NOT_IP)?;
        if ppp::CISCO.contains(&first) {
            return self.typed(2, 4);
        }
        if first == ppp::ALL_STATIONS {
            self.offset += 2;
            first = self.be16(0, NOT_IP)?;
        }
        // An odd first byte is a protocol number compressed to that byte (RFC 1661 6.5).
        let (protocol, len) = if first & 0x100 == 0 { (first, 2) } else { (first >> 8, 1) };
        self.offset += len;
        match protocol {
            ppp::IPV4 => Ok(Next::Ip(false)),
            ppp::IPV6 => Ok(Next::Ip(true)),
            ppp::MPLS => Ok(Next::Mpls),
            _ => Err(NOT_IP),
        }
    }

    #[inline(always)]
    fn ip(&mut self, is_v6: bool) -> Result<Packet, Parsed> {
        let Self { offset, vlan, vlan_count, .. } = *self;
        let mut header = ip::parse(self.frame, Network { offset, is_v6, vlan, vlan_count })?;
        header.end = header.end.min(self.end);
        self.end = header.end;
        self.offset = header.payload;
        let next = match header.protocol {
            protocol::TCP | protocol::ICMP | protocol::ICMPV6 => return Ok(Packet::Found(header)),
            protocol::IPIP => {
                self.enter(Layer::Ipip, 0)?;
                Next::Ip(false)
            }
            protocol::IPV6 => {
                self.enter(Layer::Ip6In, 0)?;
                Next::Ip(true)
            }
            protocol::GRE => self.gre()?,
            protocol::UDP => self.udp()?,
            _ => return Err(NOT_TCP),
        };
        Ok(Packet::Carries(next))
    }

    #[inline(always)]
    fn gre(&mut self) -> Result<Next, Parsed> {
        let word = self.word(0, NOT_TCP)?;
        let (flags, ether_type) = (word >> 16, word as u16);
        let field = |flag: u32| if flags & flag == 0 { 0 } else { 4 };
        let numbers = 4 + field(gre::KEY) + field(gre::SEQUENCE);
        let len = match flags & gre::VERSION {
            // The list of source routes (RFC 1701) is obsolete, and Linux does not take it.
            0 if flags & gre::ROUTING == 0 => numbers + field(gre::CHECKSUM),
            // Without a sequence number it carries an acknowledgement only (RFC 2637 4.4).
            1 if flags & gre::SEQUENCE != 0 && ether_type == ether_type::PPP => {
                numbers + field(gre::ACK)
            }
            _ => return Err(NOT_TCP),
        };
        self.enter(Layer::Gre, len)?;
        match ether_type {
            // Type I has neither sequence number nor header of its own.
            ether_type::ERSPAN if flags & gre::SEQUENCE == 0 => self.erspan(0),
            ether_type::ERSPAN => self.erspan(8),
            ether_type::ERSPAN_III => self.erspan_iii(),
            _ => Ok(Next::EtherType(ether_type)),
        }
    }

    #[inline(always)]
    fn erspan(&mut self, len: usize) -> Result<Next, Parsed> {
        self.enter(Layer::Erspan, len)?;
        self.typed(ETHER_TYPE_OFFSET, ETHERNET_LEN)
    }

    #[inline(always)]
    fn erspan_iii(&mut self) -> Result<Next, Parsed> {
        let word = self.word(8, NOT_TCP)?;
        // The O bit: a subheader of 8 bytes follows.
        let len = if word & 1 == 0 { 12 } else { 20 };
        match (word >> 10) & 0x1f {
            0 => self.erspan(len),
            2 => {
                self.enter(Layer::Erspan, len)?;
                Ok(Next::AnyIp)
            }
            _ => Err(NOT_TCP),
        }
    }

    #[inline(always)]
    fn udp(&mut self) -> Result<Next, Parsed> {
        let dest_port = self.be16(2, NOT_TCP)?;
        match dest_port {
            port::VXLAN | port::VXLAN_LINUX => self.vxlan(),
            port::GENEVE => self.geneve(),
            port::GTP_U => self.gtp(),
            _ => Err(NOT_TCP),
        }
    }

    #[inline(always)]
    fn vxlan(&mut self) -> Result<Next, Parsed> {
        if self.word(UDP_LEN, NOT_TCP)? & VXLAN_ID_VALID == 0 {
            return Err(NOT_TCP);
        }
        let id = self.word(UDP_LEN + 4, NOT_TCP)? >> 8;
        self.enter(Layer::Vxlan(id), UDP_LEN + OVERLAY_LEN)?;
        self.typed(ETHER_TYPE_OFFSET, ETHERNET_LEN)
    }

    #[inline(always)]
    fn geneve(&mut self) -> Result<Next, Parsed> {
        let word = self.word(UDP_LEN, NOT_TCP)?;
        if word >> 30 != 0 {
            return Err(NOT_TCP);
        }
        let options = (word >> 24) as usize * 4;
        let id = self.word(UDP_LEN + 4, NOT_TCP)? >> 8;
        self.enter(Layer::Geneve(id), UDP_LEN + OVERLAY_LEN + options)?;
        Ok(Next::EtherType(word as u16))
    }

    #[inline(always)]
    fn gtp(&mut self) -> Result<Next, Parsed> {
        let word = self.word(UDP_LEN, NOT_TCP)?;
        let (flags, message) = (word >> 24, (word >> 16) & 0xff);
        if flags & gtp::VERSION_MASK != gtp::VERSION_1 || message != gtp::G_PDU {
            return Err(NOT_TCP);
        }
        let id = self.word(UDP_LEN + 4, NOT_TCP)?;
        if flags & gtp::OPTIONAL == 0 {
            self.enter(Layer::GtpU(id), UDP_LEN + 8)?;
            return Ok(Next::AnyIp);
        }
        // The type of the next extension header is the last byte of what is before it.
        let mut next = self.be16(UDP_LEN + 10, NOT_TCP)? as u8;
        self.enter(Layer::GtpU(id), UDP_LEN + 12)?;
        if flags & gtp::EXTENSION == 0 {
            return Ok(Next::AnyIp);
        }
        for _ in 0..gtp::MAX_EXTENSIONS {
            if next == 0 {
                return Ok(Next::AnyIp);
            }
            let len = usize::from(self.be16(0, NOT_TCP)? >> 8) * 4;
            if len == 0 {
                return Err(NOT_TCP);
            }
            next = self.be16(len - 2, NOT_TCP)? as u8;
            self.offset += len;
        }
        if next == 0 { Ok(Next::AnyIp) } else { Err(NOT_TCP) }
    }
}

#[cfg(test)]
mod tests;
