//! Interfaces that come, go, move and are renamed.

use std::time::{Duration, Instant};

use handshake_user::interfaces::{self, Change, Watch};
use handshake_user::loader::XdpModeChoice;

use super::lab::{self, attached_to, named, own_namespace, run, try_run};
use super::{NOTHING, clsact, tc, xdp};

/// The changes until `last` of them satisfies, within two seconds.
async fn changes_until(watch: &mut Watch, last: impl Fn(&Change) -> bool) -> Vec<Change> {
    let mut changes = Vec::new();
    let read = async {
        while !changes.last().is_some_and(&last) {
            changes.push(watch.next().await.unwrap());
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(2), read).await.is_ok();
    assert!(done, "{changes:#?}");
    changes
}

#[test]
fn interfaces_that_come_go_and_are_renamed_are_told() {
    own_namespace();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut watch = interfaces::watch().unwrap();
        run("ip link add va type veth peer name vb");
        let came = |change: &Change| matches!(change, Change::LinkUp(one) if one.name == "va");
        changes_until(&mut watch, came).await;
        run("ip link set va up");
        let up = |change: &Change| matches!(change, Change::LinkUp(one) if one.name == "va" && one.up);
        changes_until(&mut watch, up).await;
        run("ip addr add 10.7.0.1/24 dev va");
        changes_until(&mut watch, |change| *change == Change::AddressesChanged).await;
        assert!(interfaces::addresses().unwrap().contains("10.7.0.1".parse().unwrap()));
        run("ip link set va down");
        changes_until(&mut watch, |change| matches!(change, Change::LinkDown(_))).await;
        run("ip link set va name vc");
        let renamed = |change: &Change| {
            matches!(change, Change::Renamed { from, interface } if from == "va" && interface.name == "vc")
        };
        changes_until(&mut watch, renamed).await;
        run("ip link add br0 type bridge");
        run("ip link set vc master br0");
        run("ip link set vc nomaster");
        run("ip link del vc");
        let gone = |change: &Change| matches!(change, Change::LinkGone { name, .. } if name == "vc");
        let changes = changes_until(&mut watch, gone).await;
        let leavings = changes.iter().filter(|change| gone(change)).count();
        assert_eq!(leavings, 1, "leaving a bridge is no going away: {changes:#?}");
    });
}

#[test]
fn dropped_notifications_are_made_up_for() {
    own_namespace();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut watch = Watch::open(Some(1)).unwrap();
        for number in 0..40 {
            run(&format!("ip tuntap add dev d{number} mode tun"));
        }
        run("ip link del d0");
        let mut names = std::collections::BTreeSet::new();
        let mut overruns = 0;
        let deadline = Instant::now() + Duration::from_secs(5);
        while names.len() < 39 || names.contains("d0") || overruns == 0 {
            assert!(Instant::now() < deadline, "{overruns} overruns, {names:?}");
            match tokio::time::timeout(Duration::from_secs(1), watch.next()).await {
                Ok(Ok(Change::LinkUp(one))) => drop(names.insert(one.name)),
                Ok(Ok(Change::LinkGone { name, .. })) => drop(names.remove(&name)),
                Ok(Ok(Change::Overrun)) => overruns += 1,
                Ok(Ok(_)) => {}
                other => panic!("{overruns} overruns, {names:?}: {other:?}"),
            }
        }
    });
}

#[test]
fn the_default_route_names_its_interface() {
    own_namespace();
    lab::veth();
    let chosen = interfaces::default_route().unwrap();
    assert!(chosen.reason.contains("no default route"), "{}", chosen.reason);
    assert_eq!(chosen.interfaces.len(), 2);
    run("ip addr add 10.6.0.1/24 dev va");
    run("ip route add default via 10.6.0.2 dev va");
    let chosen = interfaces::default_route().unwrap();
    assert_eq!(chosen.reason, "the default route");
    assert_eq!(chosen.interfaces, [named("va")]);
    let (worked, said) = try_run("ip -6 route add default dev vb");
    if worked {
        assert_eq!(interfaces::default_route().unwrap().interfaces.len(), 2, "{said}");
    }
}

#[test]
fn an_interface_that_moves_to_another_namespace_is_let_go() {
    own_namespace();
    let peer = lab::Peer::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for options in [tc(), clsact(), xdp(XdpModeChoice::Native)] {
        let va = lab::veth();
        let (mut loader, _rings) = lab::loader(&options);
        loader.attach(&va).unwrap();
        runtime.block_on(async {
            let mut watch = interfaces::watch().unwrap();
            run(&format!("ip link set va netns {}", peer.thread_id));
            let gone = Change::LinkGone { index: va.index, name: "va".to_owned() };
            changes_until(&mut watch, |change| *change == gone).await;
        });
        assert!(loader.detach(va.index));
        assert_eq!(peer.run(|| attached_to("va")), NOTHING, "{options:?}");
        run("ip link del vb");
    }
}
