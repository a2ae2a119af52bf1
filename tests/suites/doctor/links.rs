//! Interfaces of every kind and in every state.

use std::fs::File;
use std::time::Duration;

use anyhow::Result;
use handshake_tests::process::eventually;
use handshake_tests::watcher::binary;

use crate::patient::{Folder, Patient};

#[test]
fn an_interface_that_is_down_is_set_up_by_the_remedy() -> Result<()> {
    let patient = Patient::with_veth()?;
    patient.run("ip link set va down")?;
    let found = patient.examine("va")?;
    assert_eq!(found.code, Some(0), "{found}");
    let check = found.check("interface", "link");
    check.says("degraded", &["veth", "peer vb", "down: nothing passes"]);
    patient.follow(&check)?;
    patient.namespace.await_carrier("va")?;
    patient.examine("va")?.check("interface", "link").says("ok", &["; up"]);
    Ok(())
}

#[test]
fn a_name_that_a_shell_would_run_stays_a_name() -> Result<()> {
    let patient = Patient::new()?;
    let name = "a;exit$7".to_owned();
    patient.namespace.run(&["ip", "link", "add", &name, "type", "ifb"])?;
    let check = patient.examine(&name)?.check("interface", "link");
    check.says("degraded", &["ifb", "down"]);
    patient.follow(&check)?;
    patient.examine(&name)?.check("interface", "link").says("ok", &["; up"]);
    Ok(())
}

#[test]
fn a_link_whose_other_end_is_down_is_said_to_have_no_carrier() -> Result<()> {
    let patient = Patient::with_veth()?;
    patient.run("ip link set vb down")?;
    let check = patient.examine("va")?.check("interface", "link");
    check.says("degraded", &["without carrier"]);
    assert!(check.advice().contains("set the other end up"));
    Ok(())
}

#[test]
fn an_unknown_interface_is_answered_with_the_nearest_name() -> Result<()> {
    let patient = Patient::with_veth()?;
    for (pattern, words) in
        [("vaa", r#"did you mean "va""#), ("wlan*", r#"no interface matches "wlan*""#)]
    {
        let found = patient.examine(pattern)?;
        assert_eq!(found.code, Some(3), "{found}");
        assert!(found.stderr.contains(words), "{found}");
    }
    Ok(())
}

#[test]
fn a_host_with_nothing_up_is_helped_by_the_remedy() -> Result<()> {
    let patient = Patient::new()?;
    patient.run("ip link set lo down")?;
    let found = patient.examine_under(&[], &[])?;
    assert_eq!(found.code, Some(3), "{found}");
    let check = found.check("interface", "interfaces");
    check.says("blocked", &["none is up"]);
    patient.follow(&check)?;
    let found = patient.examine_under(&[], &[])?;
    assert_eq!(found.code, Some(0), "{found}");
    found.check("interface", "link").says("ok", &["loopback"]);
    Ok(())
}

#[test]
fn an_mtu_that_native_xdp_refuses_is_tried_out_and_lowered_by_the_remedy() -> Result<()> {
    let patient = Patient::with_veth()?;
    patient.run("ip link set va mtu 9000")?;
    // Only the peer's counts.
    patient.examine("va")?.check("interface", "native XDP").says("ok", &["MTU 1500"]);
    patient.run("ip link set vb mtu 9000")?;
    let found = patient.examine("va")?;
    assert_eq!(found.code, Some(0), "{found}");
    let check = found.check("interface", "native XDP");
    check.says("degraded", &["gets TCX", "MTU 9000 is too large"]);
    found.check("interface", "hook").says("ok", &["auto takes TC"]);
    patient.follow(&check)?;
    patient.examine("va")?.check("interface", "native XDP").says("ok", &["MTU 1500"]);
    Ok(())
}

#[test]
fn a_peer_in_another_namespace_is_said_to_be_there() -> Result<()> {
    let (patient, other) = (Patient::new()?, Patient::new()?);
    handshake_tests::lab::veth(&patient.namespace, "va", &other.namespace, "vb")?;
    let found = patient.examine("va")?;
    found.check("interface", "link").says("ok", &["peer in another namespace"]);
    found.check("interface", "native XDP").says("ok", &[]);
    Ok(())
}

#[test]
fn kinds_of_interface_are_told_apart_and_get_tc() -> Result<()> {
    let patient = Patient::with_veth()?;
    for line in [
        "ip link add br0 type bridge",
        "ip link set vb master br0",
        "ip link set br0 up",
        "ip link add mv0 link va type macvlan",
        "ip link set mv0 up",
        "ip link add ifb9 type ifb",
        "ip link set ifb9 up",
        "ip tuntap add dev tun0 mode tun",
        "ip link set tun0 up",
    ] {
        patient.run(line)?;
    }
    for (device, verdict, link, hook) in [
        ("lo", "ok", &["loopback", "MTU 65536"][..], "loopback has no native XDP"),
        ("va", "ok", &["veth", "peer vb"], "native XDP slows down TCP on veth"),
        ("vb", "ok", &["veth", "in bridge br0"], "native XDP slows down TCP on veth"),
        ("br0", "ok", &["bridge"], "a bridge interface gains nothing"),
        ("mv0", "ok", &["macvlan", "on va"], "a macvlan interface gains nothing"),
        ("ifb9", "ok", &["ifb"], "a ifb interface gains nothing"),
        // Nobody holds its other end.
        ("tun0", "degraded", &["IP without Ethernet header", "carrier"], "needs an Ethernet link"),
    ] {
        let found = patient.examine(device)?;
        assert_eq!(found.code, Some(0), "{found}");
        found.check("interface", "link").says(verdict, link);
        found.check("interface", "hook").says("ok", &["auto takes TC", hook]);
    }
    Ok(())
}

#[test]
fn several_interfaces_have_their_own_checks() -> Result<()> {
    let patient = Patient::with_veth()?;
    let found = patient.examine_under(&[], &["-i", "v?", "-i", "lo"])?;
    // Native XDP is for veth only.
    assert_eq!(found.group("interface").len(), 5 + 6 + 6, "{found}");
    Ok(())
}

/// The text says what the JSON says, one line a check.
#[test]
fn lines_for_people_have_a_line_for_each_check_and_its_remedy() -> Result<()> {
    let patient = Patient::with_veth()?;
    patient.run("ip link set va down")?;
    let text = patient.namespace.command(binary()?).args(["doctor", "-i", "va"]).output()?;
    let text = String::from_utf8(text.stdout)?;
    assert!(text.contains("\ninterface va\n  degraded link "), "{text}");
    assert!(text.contains("\n           $ sudo ip link set dev va up\n"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.ends_with("0 unknown, 0 blocked"), "{text}");
    let oks = text.lines().filter(|line| line.starts_with("  ok ")).count();
    assert!(last.starts_with(&format!("{oks} ok, ")), "{text}");
    Ok(())
}

/// Examining is looking: nothing is attached, added or changed, and nothing stays.
#[test]
fn an_examination_changes_nothing() -> Result<()> {
    let patient = Patient::with_veth()?;
    let state = || -> Result<_> {
        let links = patient.run("ip -d link show")?;
        let disciplines = patient.run("tc qdisc show")?;
        let attached = handshake_tests::bpf::attachments(&patient.namespace, "va")?;
        Ok((links, disciplines, attached))
    };
    let folder = Folder::new()?;
    let log = folder.0.join("monitor");
    let mut monitor = patient.namespace.command("ip");
    let mut monitor =
        monitor.args(["-o", "monitor", "link"]).stdout(File::create(&log)?).spawn()?;
    let seen = || std::fs::read_to_string(&log).unwrap_or_default();
    let mut mtu = 1400..1500;
    eventually("the monitor listens", Duration::from_secs(5), || {
        let changed = patient.run(&format!("ip link set va mtu {}", mtu.next().unwrap_or(1500)));
        changed.is_ok() && seen().contains("va@vb")
    })?;
    // What is on its way to the monitor arrives before the last change does.
    patient.run("ip link set va mtu 1500")?;
    let arrived = || seen().contains("mtu 1500");
    eventually("the monitor has caught up", Duration::from_secs(5), arrived)?;
    let before = state()?;
    let told = seen();
    let found = patient.examine_under(&[], &["-i", "*"])?;
    assert_eq!(found.code, Some(0), "{found}");
    assert_eq!(state()?, before);
    assert_eq!(seen(), told, "no interface changed meanwhile");
    monitor.kill()?;
    monitor.wait()?;
    Ok(())
}
