//! Interfaces that no test machine has, and kernels without TCX.

use super::*;
use crate::doctor::Remedy;
use crate::interfaces::{Channels, XdpSlot};
use crate::loader::neighbours::Unknown;

fn interface() -> Interface {
    Interface {
        index: 2,
        name: "eth0".to_owned(),
        alt_names: Vec::new(),
        link: LinkKind::Ethernet,
        kind: None,
        is_loopback: false,
        is_physical: true,
        driver: Some("virtio_net".to_owned()),
        mtu: 1500,
        up: true,
        carrier: true,
        master: None,
        xdp: None,
    }
}

fn command(check: &Check) -> &str {
    match &check.remedy {
        Some(Remedy::Command(command)) => command,
        other => panic!("{other:?}"),
    }
}

fn filtered(chain: Chain, priorities: &[u16]) -> Tc {
    let filter = |&priority: &u16| ForeignFilter {
        priority,
        kind: "u32".to_owned(),
        name: String::new(),
        prog_id: None,
    };
    Tc { chain, filters: Ok(priorities.iter().map(filter).collect()) }
}

#[test]
fn lro_is_named_with_the_command_that_ends_it() {
    let channels = Some(Channels { now: 2, most: 4 });
    let details = Details { lro: Some(true), channels, ..Details::default() };
    let check = offloads(&interface(), &details).unwrap();
    assert_eq!(command(&check), "sudo ethtool -K eth0 lro off");
    assert!(check.finding.contains("2 of 4 queues"), "{}", check.finding);
    let virtual_one = Interface { is_physical: false, ..interface() };
    assert_eq!(offloads(&virtual_one, &details), None);
}

#[test]
fn the_slot_is_freed_the_way_it_was_taken() {
    let held = |link, mode| {
        let holder = Holder { slot: XdpSlot { prog_id: 7, mode }, name: None, link };
        command(&slot(&interface(), Some(&holder))).to_owned()
    };
    let unknown = || Err(Unknown("EPERM".to_owned()));
    for (got, expected) in [
        (held(Ok(Some(5)), XdpMode::Native), "sudo bpftool link detach id 5"),
        (held(Ok(None), XdpMode::Native), "sudo ip link set dev eth0 xdpdrv off"),
        (held(Ok(None), XdpMode::Generic), "sudo ip link set dev eth0 xdpgeneric off"),
        (held(unknown(), XdpMode::Generic), "sudo bpftool net show dev eth0"),
    ] {
        assert_eq!(got, expected);
    }
}

#[test]
fn without_tcx_only_filters_before_ours_matter() {
    let judge = |priorities: &[u16], stuck| {
        tc(&interface(), "TC ingress", &filtered(Chain::None, priorities), stuck)
    };
    assert_eq!(judge(&[], false).verdict, Verdict::Ok);
    assert_eq!(judge(&[20, 49152], false).verdict, Verdict::Ok);
    let check = judge(&[5, 20], false);
    assert_eq!(check.verdict, Verdict::Degraded);
    assert_eq!(command(&check), "sudo tc filter del dev eth0 ingress pref 5");
    assert_eq!(judge(&[], true).verdict, Verdict::Blocked);
}

#[test]
fn with_tcx_filters_and_qdiscs_are_no_obstacle() {
    let chain = || Chain::Programs(Vec::new());
    let check = tc(&interface(), "TC ingress", &filtered(chain(), &[5]), true);
    assert_eq!(check.verdict, Verdict::Ok);
    assert!(check.finding.contains("u32 filter of priority 5"), "{}", check.finding);
}

#[test]
fn what_the_kernel_does_not_tell_is_unknown() {
    let check =
        tc(&interface(), "TC egress", &filtered(Chain::Unknown("EPERM".into()), &[]), false);
    assert_eq!(check.verdict, Verdict::Unknown);
    assert_eq!(hook(&interface(), false, false).verdict, Verdict::Unknown);
    assert_eq!(hook(&interface(), true, true).verdict, Verdict::Blocked);
    assert!(hook(&interface(), false, true).finding.starts_with("auto tries native XDP"));
}

#[test]
fn a_name_that_a_shell_would_run_is_quoted() {
    let down = Interface { name: "a;reboot".to_owned(), up: false, ..interface() };
    let check = link(&down, &Details::default(), &[]);
    assert_eq!(command(&check), "sudo ip link set dev 'a;reboot' up");
}

#[test]
fn a_bond_member_is_answered_with_its_bond() {
    let named = |index, name: &str| Interface { index, name: name.to_owned(), ..interface() };
    let names = [named(5, "bond0"), named(6, "eth0")];
    let member = Interface { master: Some(5), ..interface() };
    let part_of = Some("bond".to_owned());
    let details = Details { carrier: true, part_of, ..Details::default() };
    let check = link(&member, &details, &names);
    assert_eq!(check.verdict, Verdict::Degraded);
    assert!(check.finding.contains("in bond bond0"), "{}", check.finding);
    assert!(command(&check).ends_with(" watch -i bond0"), "{}", command(&check));
    let vlan = Interface { kind: Some("vlan".to_owned()), driver: None, ..interface() };
    let details = Details { carrier: true, below: Some(6), ..Details::default() };
    assert_eq!(link(&vlan, &details, &names).finding, "vlan, Ethernet, MTU 1500, on eth0; up");
}

#[test]
fn frames_that_cannot_be_read_block() {
    let can = Interface { link: LinkKind::Other(280), ..interface() };
    let check = link(&can, &Details { carrier: true, ..Details::default() }, &[]);
    assert_eq!(check.verdict, Verdict::Blocked);
    assert!(check.finding.contains("ARPHRD type 280"), "{}", check.finding);
}
