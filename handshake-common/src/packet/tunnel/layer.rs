//! What a walk went through, and how outputs write it.

use core::fmt;

use super::MAX_LAYERS;

/// One encapsulation and the number that tells it from others of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// VLAN tag: id (IEEE 802.1Q).
    Vlan(u16),
    /// MPLS: one label of the stack (RFC 3032).
    Mpls(u32),
    /// LLC with SNAP (IEEE 802, RFC 1042).
    Snap,
    /// PPPoE session (RFC 2516).
    Pppoe,
    /// 802.11 data frame.
    Wlan,
    /// IPv4 in IP (RFC 2003, RFC 2473).
    Ipip,
    /// IPv6 in IP (RFC 4213, RFC 2473).
    Ip6In,
    /// GRE (RFC 2784, RFC 2890), also its version 1 (RFC 2637).
    Gre,
    /// A mirrored frame inside GRE (draft-foschiano-erspan).
    Erspan,
    /// VXLAN: network identifier (RFC 7348).
    Vxlan(u32),
    /// GENEVE: network identifier (RFC 8926).
    Geneve(u32),
    /// GTP-U: tunnel endpoint identifier (3GPP TS 29.281).
    GtpU(u32),
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Vlan(id) => write!(f, "vlan:{id}"),
            Self::Mpls(label) => write!(f, "mpls:{label}"),
            Self::Snap => f.write_str("snap"),
            Self::Pppoe => f.write_str("pppoe"),
            Self::Wlan => f.write_str("802.11"),
            Self::Ipip => f.write_str("ipip"),
            Self::Ip6In => f.write_str("ip6in"),
            Self::Gre => f.write_str("gre"),
            Self::Erspan => f.write_str("erspan"),
            Self::Vxlan(id) => write!(f, "vxlan:{id}"),
            Self::Geneve(id) => write!(f, "geneve:{id}"),
            Self::GtpU(id) => write!(f, "gtp:{id}"),
        }
    }
}

/// The encapsulations of one frame, outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layers([Option<Layer>; MAX_LAYERS]);

impl Layers {
    /// None at all.
    pub const NONE: Self = Self([None; MAX_LAYERS]);

    /// Outermost first.
    pub fn iter(&self) -> impl Iterator<Item = Layer> + '_ {
        self.0.iter().copied().flatten()
    }

    /// Is there no encapsulation?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn push(&mut self, layer: Layer) {
        if let Some(free) = self.0.iter_mut().find(|layer| layer.is_none()) {
            *free = Some(layer);
        }
    }
}
