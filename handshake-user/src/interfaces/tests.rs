//! Decoding and choosing, without root.

use super::route::{choose, default_route_of};
use super::*;

/// An Ethernet interface that is up.
pub(super) fn interface(index: u32, name: &str) -> Interface {
    Interface {
        index,
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

fn link_message(family: i32, hardware: u16, flags: i32) -> Message {
    let mut header = vec![family as u8, 0];
    header.extend_from_slice(&hardware.to_ne_bytes());
    header.extend_from_slice(&77u32.to_ne_bytes());
    header.extend_from_slice(&(flags as u32).to_ne_bytes());
    header.extend_from_slice(&[0; 4]);
    Message::new(libc::RTM_NEWLINK, &header).attribute(libc::IFLA_IFNAME, b"hs-none0\0")
}

#[test]
fn loopback_is_listed_with_an_ethernet_header() {
    let lo = list().unwrap().into_iter().find(|one| one.is_loopback).unwrap();
    assert_eq!((lo.name.as_str(), lo.link, lo.is_physical), ("lo", LinkKind::Ethernet, false));
}

#[test]
fn a_link_message_with_everything_is_decoded() {
    let xdp = Message::new(0, &[])
        .attribute(XDP_ATTACHED, &[2])
        .attribute(XDP_PROG_ID, &9u32.to_ne_bytes());
    let info = Message::new(0, &[]).attribute(libc::IFLA_INFO_KIND, b"veth\0");
    let names = Message::new(0, &[]).attribute(libc::IFLA_ALT_IFNAME, b"other\0");
    let message =
        link_message(libc::AF_UNSPEC, libc::ARPHRD_ETHER, libc::IFF_UP | libc::IFF_LOWER_UP)
            .attribute(libc::IFLA_MTU, &9000u32.to_ne_bytes())
            .attribute(libc::IFLA_MASTER, &3u32.to_ne_bytes())
            .nested(libc::IFLA_LINKINFO, &info)
            .nested(libc::IFLA_XDP, &xdp)
            .nested(libc::IFLA_PROP_LIST, &names);
    let expected = Interface {
        kind: Some("veth".to_owned()),
        alt_names: vec!["other".to_owned()],
        mtu: 9000,
        master: Some(3),
        xdp: Some(XdpSlot { prog_id: 9, mode: XdpMode::Generic }),
        ..interface(77, "hs-none0")
    };
    assert_eq!(Interface::decode(&message), Some(expected));
}

#[test]
fn what_a_bridge_says_of_its_port_is_no_interface() {
    let message = link_message(libc::AF_BRIDGE, libc::ARPHRD_ETHER, 0);
    assert_eq!(Interface::decode(&message), None);
}

#[test]
fn link_kinds_follow_the_hardware_type() {
    assert_eq!(LinkKind::of(libc::ARPHRD_LOOPBACK), LinkKind::Ethernet);
    assert_eq!(LinkKind::of(libc::ARPHRD_NONE), LinkKind::Ip);
    assert_eq!(LinkKind::of(libc::ARPHRD_INFINIBAND), LinkKind::Other(32));
}

fn route(dest_len: u8, kind: u8, table: u8) -> Message {
    let header = [libc::AF_INET as u8, dest_len, 0, 0, table, 0, 0, kind, 0, 0, 0, 0];
    Message::new(libc::RTM_NEWROUTE, &header)
        .attribute(libc::RTA_TABLE, &u32::from(table).to_ne_bytes())
        .attribute(libc::RTA_OIF, &2u32.to_ne_bytes())
}

#[test]
fn only_default_routes_that_lead_somewhere_count() {
    let (unicast, main) = (libc::RTN_UNICAST, libc::RT_TABLE_MAIN);
    assert_eq!(default_route_of(&route(0, unicast, main)), [2]);
    assert_eq!(default_route_of(&route(24, unicast, main)), [0; 0]);
    assert_eq!(default_route_of(&route(0, libc::RTN_UNREACHABLE, main)), [0; 0]);
    assert_eq!(default_route_of(&route(0, unicast, 100)), [0; 0]);
}

#[test]
fn a_multipath_default_route_leads_through_all_its_interfaces() {
    let hop = |index: u32| {
        let mut bytes = vec![8, 0, 0, 0];
        bytes.extend_from_slice(&index.to_ne_bytes());
        bytes
    };
    let header = [libc::AF_INET as u8, 0, 0, 0, 254, 0, 0, libc::RTN_UNICAST, 0, 0, 0, 0];
    let message = Message::new(libc::RTM_NEWROUTE, &header)
        .attribute(libc::RTA_MULTIPATH, &[hop(4), hop(5)].concat());
    assert_eq!(default_route_of(&message), [4, 5]);
}

#[test]
fn without_a_default_route_the_choice_says_so() {
    let down = Interface { up: false, ..interface(3, "b") };
    let lo = Interface { is_loopback: true, ..interface(1, "lo") };
    let all = vec![lo.clone(), interface(2, "a"), down];
    let chosen = choose(&all, &HashSet::new());
    assert_eq!(chosen.interfaces, [interface(2, "a")]);
    assert!(chosen.reason.starts_with("there is no default route") && !chosen.is_routed);
    let routed = choose(&all, &HashSet::from([3]));
    assert_eq!((routed.reason, routed.is_routed), ("the default route", true));
    assert!(choose(std::slice::from_ref(&lo), &HashSet::new()).interfaces.is_empty(), "not lo");
}

#[test]
fn addresses_know_loopback_and_mapped_ones() {
    let ours: IpAddr = "192.0.2.7".parse().unwrap();
    let addresses: Addresses = [ours].into_iter().collect();
    assert!(addresses.contains(ours));
    assert!(addresses.contains("::ffff:192.0.2.7".parse().unwrap()));
    assert!(addresses.contains("127.8.8.8".parse().unwrap()));
    assert!(!addresses.contains("192.0.2.8".parse().unwrap()));
    assert!(super::addresses().is_ok());
}
