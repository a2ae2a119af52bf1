//! Others at the hooks: who they are, whether they are in the way, how to get rid of them.

use anyhow::Result;
use handshake_tests::bpf::run::load_empty;
use handshake_tests::bpf::{Counter, Hook, attach_to, programs};
use handshake_tests::watcher::Watcher;

use crate::patient::Patient;

/// The slot is held; after the remedy it is free.
#[track_caller]
fn assert_is_freed(patient: &Patient, words: &[&str]) -> Result<()> {
    let found = patient.examine("va")?;
    let check = found.check("interface", "XDP slot");
    check.says("degraded", words);
    let holder = programs(&patient.namespace, "va", Hook::Xdp)?[0];
    check.says("degraded", &[&format!("program {holder}")]);
    found.check("interface", "hook").says("ok", &[&format!("program {holder}")]);
    assert_eq!(found.code, Some(0), "{found}");
    patient.follow(&check)?;
    assert!(programs(&patient.namespace, "va", Hook::Xdp)?.is_empty());
    patient.examine("va")?.check("interface", "XDP slot").says("ok", &["free"]);
    Ok(())
}

#[test]
fn an_xdp_slot_held_by_a_link_is_freed_by_the_remedy() -> Result<()> {
    let patient = Patient::with_veth()?;
    let _foreign = Counter::attach(&patient.namespace, "va", Hook::Xdp)?;
    assert_is_freed(&patient, &["native mode"])
}

/// Attaches a program the old way, which no link holds.
fn attach_by_netlink(patient: &Patient, mode: &str) -> Result<()> {
    let program = load_empty(Hook::Xdp)?;
    let program_link = attach_to(&patient.namespace, "vb", Hook::Xdp, &program)?;
    let id = programs(&patient.namespace, "vb", Hook::Xdp)?[0];
    patient.run(&format!("bpftool prog pin id {id} /sys/fs/bpf/foreign"))?;
    drop(program_link);
    patient.run(&format!("ip link set dev va {mode} pinned /sys/fs/bpf/foreign"))?;
    patient.run("rm /sys/fs/bpf/foreign").map(drop)
}

#[test]
fn an_xdp_slot_held_natively_by_netlink_is_freed_by_the_remedy() -> Result<()> {
    let patient = Patient::with_veth()?;
    attach_by_netlink(&patient, "xdpdrv")?;
    assert_is_freed(&patient, &["native mode"])
}

#[test]
fn an_xdp_slot_held_generically_by_netlink_is_freed_by_the_remedy() -> Result<()> {
    let patient = Patient::with_veth()?;
    attach_by_netlink(&patient, "xdpgeneric")?;
    assert_is_freed(&patient, &["generic mode"])
}

#[test]
fn who_may_not_ask_for_links_is_told_how_to_find_the_holder() -> Result<()> {
    let patient = Patient::with_veth()?;
    let _foreign = Counter::attach(&patient.namespace, "va", Hook::Xdp)?;
    let kept = "--bounding-set=-all,+bpf,+net_admin,+perfmon";
    let found = patient.examine_under(&["setpriv", kept, "--inh-caps=-all"], &["-i", "va"])?;
    let check = found.check("interface", "XDP slot");
    check.says("degraded", &["native mode"]);
    assert_eq!(check.command(), "sudo bpftool net show dev va");
    patient.follow(&check)
}

#[test]
fn a_full_tcx_chain_blocks_until_the_remedy_has_made_room() -> Result<()> {
    let patient = Patient::with_veth()?;
    let mut links = Vec::new();
    for _ in 0..63 {
        let program = load_empty(Hook::TcEgress)?;
        links.push(attach_to(&patient.namespace, "va", Hook::TcEgress, &program)?);
    }
    let found = patient.examine("va")?;
    assert_eq!(found.code, Some(3), "{found}");
    let check = found.check("interface", "TC egress");
    check.says("blocked", &["all 63 TCX places are taken"]);
    found.check("interface", "TC ingress").says("ok", &["nobody else"]);
    found.check("interface", "hook").says("blocked", &["none can be had"]);
    patient.follow(&check)?;
    let found = patient.examine("va")?;
    assert_eq!(found.code, Some(0), "{found}");
    found.check("interface", "TC egress").says("ok", &["after ours: program"]);
    assert_eq!(programs(&patient.namespace, "va", Hook::TcEgress)?.len(), 62);
    Ok(())
}

#[test]
fn foreign_programs_in_the_chain_are_named_and_left_alone() -> Result<()> {
    let patient = Patient::with_veth()?;
    let _one = Counter::attach(&patient.namespace, "va", Hook::TcIngress)?;
    let _two = Counter::attach(&patient.namespace, "va", Hook::TcIngress)?;
    let before = programs(&patient.namespace, "va", Hook::TcIngress)?;
    let found = patient.examine("va")?;
    let named = format!("after ours: program {}, program {}", before[0], before[1]);
    found.check("interface", "TC ingress").says("ok", &[&named]);
    assert_eq!(programs(&patient.namespace, "va", Hook::TcIngress)?, before);
    Ok(())
}

/// With TCX it runs after ours, so that it hides nothing; `watch` is asked whether that is true.
#[test]
fn a_filter_that_drops_everything_is_named_and_hides_nothing_behind_tcx() -> Result<()> {
    let patient = Patient::with_veth()?;
    patient.run("tc qdisc add dev va clsact")?;
    let mut filter = patient.namespace.command("tc");
    filter.args("filter add dev va ingress protocol all prio 5 bpf da bytecode".split(' '));
    assert!(filter.arg("1,6 0 0 2,").status()?.success());
    let found = patient.examine("va")?;
    found.check("interface", "TC ingress").says("ok", &["after ours: bpf filter of priority 5"]);
    found.check("leftovers", "TC filters").says("ok", &["none of ours"]);
    let watcher = Watcher::start(&patient.namespace, &["-i", "va"])?;
    patient.run("ip address add 10.77.9.1/24 dev vb")?;
    let words = ["ip", "neigh", "add", "10.77.9.2", "lladdr", "02:00:00:00:00:09", "dev", "vb"];
    patient.namespace.run(&words)?;
    // Nobody answers; that the SYN is seen at all is what counts.
    let connect = "exec 3<>/dev/tcp/10.77.9.2/9";
    drop(patient.namespace.command("timeout").args(["1", "bash", "-c", connect]).output()?);
    let report = watcher.stop()?;
    assert_eq!(report.attempts.len(), 1, "{}", report.stderr);
    Ok(())
}

#[test]
fn another_handshake_in_the_slot_is_no_stranger() -> Result<()> {
    let patient = Patient::with_veth()?;
    let watcher = Watcher::start(&patient.namespace, &["-i", "va", "--hook", "xdp"])?;
    let found = patient.examine("va")?;
    found.check("interface", "XDP slot").says("ok", &["(hs_xdp) of a running handshake"]);
    found.check("interface", "TC egress").says("ok", &["(hs_tc_out)"]);
    watcher.stop().map(drop)
}
