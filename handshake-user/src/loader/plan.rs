//! Which hook an interface gets, and why: decided from what is known before anything is tried.
//!
//! Native XDP where it is quickest and does no harm, TC everywhere else. Generic XDP only on
//! request. What the kernel then refuses is `attach`'s business.

use super::{HookChoice, Options, XdpModeChoice};
use crate::interfaces::{Interface, LinkKind, XdpSlot};

/// Drivers known to take an XDP program while they run, losing neither carrier nor packets. Others
/// close and open their queues or reset the link (ixgbe: highpps/xdpcookie#5, mlx5:
/// cilium/cilium#18636); hv_netvsc hands the program on to such a driver and copies each packet.
const QUIET_DRIVERS: [&str; 2] = ["netdevsim", "virtio_net"];

/// How ingress is to be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ingress {
    XdpNative,
    XdpGeneric,
    Tc,
}

/// What to try first; where XDP fails, TC is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) ingress: Ingress,
    /// Why, as words for people.
    pub(super) reason: String,
}

/// Decides for one interface.
pub(super) fn plan(options: &Options, interface: &Interface) -> Plan {
    let of = |ingress, reason: &str| Plan { ingress, reason: reason.to_owned() };
    match (options.hook, options.xdp_mode) {
        (HookChoice::Tc, _) => of(Ingress::Tc, "as asked"),
        (_, XdpModeChoice::Generic) => of(Ingress::XdpGeneric, "generic XDP as asked"),
        (HookChoice::Xdp, _) | (_, XdpModeChoice::Native) => {
            of(Ingress::XdpNative, "native XDP as asked")
        }
        (HookChoice::Auto, XdpModeChoice::Auto) => match obstacle(interface) {
            Some(reason) => of(Ingress::Tc, &reason),
            None => {
                let driver = interface.driver.as_deref().unwrap_or_default();
                of(Ingress::XdpNative, &format!("driver {driver} takes native XDP while it runs"))
            }
        },
    }
}

/// Why `auto` does not try native XDP.
fn obstacle(interface: &Interface) -> Option<String> {
    let kind = interface.kind.as_deref();
    let reason = match (interface.xdp, kind) {
        (Some(slot), _) => holder(slot),
        _ if interface.is_loopback => "loopback has no native XDP".to_owned(),
        _ if interface.link != LinkKind::Ethernet => "native XDP needs an Ethernet link".to_owned(),
        (_, Some("veth")) => "TC because native XDP slows down TCP on veth".to_owned(),
        (_, Some(kind)) => format!("a {kind} interface gains nothing from native XDP"),
        _ if !interface.is_physical => "no device is behind the interface".to_owned(),
        _ => return driver_obstacle(interface.driver.as_deref()),
    };
    Some(reason)
}

fn driver_obstacle(driver: Option<&str>) -> Option<String> {
    match driver {
        Some(driver) if QUIET_DRIVERS.contains(&driver) => None,
        Some(driver) => Some(format!(
            "driver {driver} may interrupt the link when XDP is attached (`--hook xdp` tries)"
        )),
        None => Some("the driver is unknown (`--hook xdp` tries)".to_owned()),
    }
}

/// Who is in the XDP slot.
pub(super) fn holder(slot: XdpSlot) -> String {
    let id = slot.prog_id;
    format!("program {id} is in the XDP slot (`sudo bpftool prog show id {id}`)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::XdpMode;

    fn interface(name: &str) -> Interface {
        Interface {
            index: 2,
            name: name.to_owned(),
            alt_names: Vec::new(),
            link: LinkKind::Ethernet,
            kind: None,
            is_loopback: name == "lo",
            is_physical: false,
            driver: None,
            mtu: 1500,
            up: true,
            carrier: true,
            master: None,
            xdp: None,
        }
    }

    fn nic(driver: &str) -> Interface {
        Interface { is_physical: true, driver: Some(driver.to_owned()), ..interface("eth0") }
    }

    fn virtual_of(kind: &str) -> Interface {
        Interface { kind: Some(kind.to_owned()), ..interface("v0") }
    }

    fn auto(interface: &Interface) -> Plan {
        plan(&Options::default(), interface)
    }

    #[test]
    fn auto_takes_native_xdp_only_where_it_is_quick_and_quiet() {
        assert_eq!(auto(&nic("virtio_net")).ingress, Ingress::XdpNative);
        for (interface, why) in [
            (interface("lo"), "loopback"),
            (virtual_of("veth"), "veth"),
            (virtual_of("bridge"), "bridge"),
            (Interface { link: LinkKind::Ip, ..virtual_of("tun") }, "Ethernet"),
            (nic("i40e"), "i40e"),
            (Interface { driver: None, ..nic("x") }, "unknown"),
            (interface("odd0"), "no device"),
        ] {
            let plan = auto(&interface);
            assert_eq!(plan.ingress, Ingress::Tc, "{interface:?}");
            assert!(plan.reason.contains(why), "{}", plan.reason);
        }
    }

    #[test]
    fn auto_names_the_holder_of_the_slot() {
        let slot = XdpSlot { prog_id: 42, mode: XdpMode::Native };
        let plan = auto(&Interface { xdp: Some(slot), ..nic("virtio_net") });
        assert_eq!(plan.ingress, Ingress::Tc);
        assert!(plan.reason.contains("program 42"), "{}", plan.reason);
    }

    #[test]
    fn what_is_asked_for_is_tried() {
        let options = |hook, xdp_mode| Options { hook, xdp_mode, ..Options::default() };
        let veth = virtual_of("veth");
        for (hook, mode, expected) in [
            (HookChoice::Xdp, XdpModeChoice::Auto, Ingress::XdpNative),
            (HookChoice::Xdp, XdpModeChoice::Native, Ingress::XdpNative),
            (HookChoice::Xdp, XdpModeChoice::Generic, Ingress::XdpGeneric),
            (HookChoice::Auto, XdpModeChoice::Native, Ingress::XdpNative),
            (HookChoice::Auto, XdpModeChoice::Generic, Ingress::XdpGeneric),
            (HookChoice::Tc, XdpModeChoice::Native, Ingress::Tc),
        ] {
            assert_eq!(plan(&options(hook, mode), &veth).ingress, expected, "{hook:?} {mode:?}");
        }
    }
}
