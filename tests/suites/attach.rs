//! Loading, attaching, detaching and reading, on the running kernel. Needs root.
//!
//! Each test has a network namespace of its own. Tests named `again_…` are not tests: others run
//! them in a process that is then killed or has fewer privileges.
#![cfg(target_os = "linux")]

#[path = "attach/lab.rs"]
mod lab;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use handshake_common::abi::{Counter, Hook};
use handshake_common::event::{Event, kind};
use handshake_user::interfaces::{self, Change, Interface, LinkKind, Watch};
use handshake_user::loader::{
    self, AttachError, HookChoice, How, Loader, Options, State, TcChoice, XdpModeChoice,
};
use handshake_user::merge::Merge;

use lab::{again, attached_to, named, own_namespace, read_until, run, soon, try_run};

const NOTHING: (usize, usize, usize) = (0, 0, 0);
/// A filter that is not ours.
const FOREIGN: &str = "protocol all prio 7 u32 match u32 0 0";

fn tc() -> Options {
    Options { hook: HookChoice::Tc, ..Options::default() }
}

fn clsact() -> Options {
    Options { tc: TcChoice::Clsact, ..tc() }
}

fn xdp(xdp_mode: XdpModeChoice) -> Options {
    Options { hook: HookChoice::Xdp, xdp_mode, ..Options::default() }
}

fn kinds_of(events: &[Event], hook: Hook) -> Vec<u8> {
    let at_hook = |event: &&Event| event.hook == hook as u8;
    events.iter().filter(at_hook).map(|event| event.kind).collect()
}

/// Connects to a server of the peer over `va`, and returns what was seen there, in order.
fn one_handshake(options: &Options) -> (Vec<Event>, Hook) {
    own_namespace();
    let (va, peer) = lab::veth_to_peer();
    let (mut loader, mut rings) = lab::loader(options);
    let hook = loader.attach(&va).unwrap().ingress.hook;
    let listener = peer.run(|| TcpListener::bind("10.9.0.2:7777").unwrap());
    let before = handshake_user::clock::Clock::now();
    let stream = TcpStream::connect("10.9.0.2:7777").unwrap();
    let read = read_until(&mut rings, |events| {
        events.iter().filter(|event| event.kind == kind::ACK).count() == 1
    });
    drop((stream, listener));
    let mut merge = Merge::new();
    let mut events = Vec::new();
    merge.push(read);
    merge.flush(&mut events);
    assert!(events.iter().all(|event| event.ifindex == va.index && event.time_ns >= before));
    let counters = loader.counters().unwrap();
    assert_eq!(counters.lost(), 0);
    assert_eq!(counters.total(Counter::Syn), 1);
    assert_eq!(counters.of(Hook::TcEgress, Counter::Syn), 1);
    assert_eq!(counters.of(hook, Counter::SynAck), 1);
    let mut more = Vec::new();
    let late = rings.drain(100, &mut more).delivered;
    assert_eq!(loader.counters().unwrap().offered(), events.len() as u64 + late);
    (events, hook)
}

fn assert_is_handshake(events: &[Event], ingress: Hook) {
    let seen: Vec<_> = events.iter().map(|event| (event.kind, event.hook)).collect();
    let out = Hook::TcEgress as u8;
    let expected = [(kind::SYN, out), (kind::SYN_ACK, ingress as u8), (kind::ACK, out)];
    assert_eq!(seen[..3], expected);
    let [syn, syn_ack, ack] = [events[0], events[1], events[2]];
    assert_eq!((syn.dest_port, syn_ack.source_port, ack.dest_port), (7777, 7777, 7777));
    assert_eq!((syn_ack.ack, ack.seq), (syn.seq + 1, syn.seq + 1));
    assert_eq!(ack.ack, syn_ack.seq + 1);
    assert!(syn.extra_len > 0 && syn_ack.extra_len > 0, "options of both SYNs");
}

#[test]
fn a_handshake_over_tcx_arrives_as_three_events() {
    let (events, hook) = one_handshake(&Options::default());
    assert_eq!(hook, Hook::TcIngress);
    assert_is_handshake(&events, hook);
}

#[test]
fn a_handshake_over_clsact_arrives_as_three_events() {
    let (events, hook) = one_handshake(&clsact());
    assert_is_handshake(&events, hook);
}

#[test]
fn a_handshake_over_native_xdp_arrives_as_three_events() {
    let (events, hook) = one_handshake(&xdp(XdpModeChoice::Auto));
    assert_eq!(hook, Hook::Xdp);
    assert_is_handshake(&events, hook);
}

#[test]
fn a_handshake_over_generic_xdp_arrives_as_three_events() {
    let (events, hook) = one_handshake(&xdp(XdpModeChoice::Generic));
    assert_eq!(hook, Hook::Xdp);
    assert_is_handshake(&events, hook);
}

#[test]
fn auto_takes_tc_on_veth_and_detaching_leaves_nothing() {
    own_namespace();
    let va = lab::veth();
    assert_eq!((va.kind.as_deref(), va.link), (Some("veth"), LinkKind::Ethernet));
    let (mut loader, _rings) = lab::loader(&Options::default());
    let attachment = loader.attach(&va).unwrap();
    assert_eq!((attachment.ingress.how, attachment.egress.how), (How::Tcx, How::Tcx));
    assert!(attachment.reason.contains("veth"), "{}", attachment.reason);
    assert_eq!(attached_to("va"), (0, 2, 0));
    assert_eq!(loader.health()[0].ingress, State::Attached);
    assert!(loader.detach(va.index));
    assert!(!loader.detach(va.index), "twice is fine");
    assert_eq!(attached_to("va"), NOTHING);
    loader.attach(&va).unwrap();
    loader.attach(&va).unwrap();
    assert_eq!(attached_to("va"), (0, 2, 0), "attaching again replaces");
    drop(loader);
    assert_eq!(attached_to("va"), NOTHING);
}

#[test]
fn xdp_on_veth_is_native_or_generic_as_asked() {
    own_namespace();
    let va = lab::veth();
    for (mode, expected) in [
        (XdpModeChoice::Auto, How::NativeXdp),
        (XdpModeChoice::Native, How::NativeXdp),
        (XdpModeChoice::Generic, How::GenericXdp),
    ] {
        let (mut loader, _rings) = lab::loader(&xdp(mode));
        let attachment = loader.attach(&va).unwrap();
        assert_eq!(attachment.ingress.how, expected, "{}", attachment.reason);
        assert_eq!(attached_to("va"), (1, 1, 0));
        loader.detach_all();
        assert_eq!(attached_to("va"), NOTHING);
    }
}

#[test]
fn loopback_gets_tc_whatever_is_asked() {
    own_namespace();
    let lo = named("lo");
    for options in [Options::default(), xdp(XdpModeChoice::Auto)] {
        let (mut loader, mut rings) = lab::loader(&options);
        let attachment = loader.attach(&lo).unwrap();
        assert_eq!(attachment.ingress.hook, Hook::TcIngress, "{}", attachment.reason);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let events = read_until(&mut rings, |events| events.len() >= 5);
        let kinds = kinds_of(&events, Hook::TcEgress);
        assert_eq!(kinds[..3], [kind::SYN, kind::SYN_ACK, kind::ACK]);
        // The ACK ended the attempt on its way out, so that its copy coming in is no event.
        assert_eq!(kinds_of(&events, Hook::TcIngress), [kind::SYN, kind::SYN_ACK]);
    }
}

#[test]
fn a_tun_interface_is_read_from_its_ip_header() {
    own_namespace();
    run("ip tuntap add dev t0 mode tun");
    run("ip addr add 10.8.0.1/24 dev t0");
    run("ip link set t0 up");
    let t0 = named("t0");
    assert_eq!((t0.link, t0.kind.as_deref()), (LinkKind::Ip, Some("tun")));
    for options in [Options::default(), clsact(), xdp(XdpModeChoice::Generic)] {
        let (mut loader, mut rings) = lab::loader(&options);
        let attachment = loader.attach(&t0).unwrap();
        assert_eq!(attachment.egress.hook, Hook::TcEgress);
        let address = "10.8.0.2:4242".parse().unwrap();
        TcpStream::connect_timeout(&address, Duration::from_millis(20)).unwrap_err();
        let events = read_until(&mut rings, |events| !events.is_empty());
        assert_eq!((events[0].kind, events[0].dest_port), (kind::SYN, 4242), "{attachment:?}");
        drop(loader);
        assert_eq!(attached_to("t0"), NOTHING);
    }
}

#[test]
fn a_taken_xdp_slot_means_tc_and_the_name_of_the_holder() {
    own_namespace();
    let va = lab::veth();
    let (mut first, _rings) = lab::loader(&xdp(XdpModeChoice::Native));
    first.attach(&va).unwrap();
    let id = named("va").xdp.unwrap().prog_id;
    for mode in [XdpModeChoice::Auto, XdpModeChoice::Generic] {
        let (mut second, _rings) = lab::loader(&xdp(mode));
        let attachment = second.attach(&va).unwrap();
        assert_eq!(attachment.ingress.hook, Hook::TcIngress);
        assert!(attachment.reason.contains(&format!("program {id} ")), "{}", attachment.reason);
    }
    assert_eq!(named("va").xdp.unwrap().prog_id, id, "the holder stays");
}

#[test]
fn a_large_mtu_means_tc_and_says_so() {
    own_namespace();
    lab::veth();
    run("ip link set vb mtu 9000");
    run("ip link set va mtu 9000");
    let (mut loader, _rings) = lab::loader(&xdp(XdpModeChoice::Native));
    let attachment = loader.attach(&named("va")).unwrap();
    assert_eq!(attachment.ingress.hook, Hook::TcIngress);
    assert!(attachment.reason.contains("MTU 9000"), "{}", attachment.reason);
}

#[test]
fn an_interface_that_goes_away_is_noticed() {
    own_namespace();
    let va = lab::veth();
    for options in [tc(), xdp(XdpModeChoice::Native), clsact()] {
        let (mut loader, _rings) = lab::loader(&options);
        let there = named("va");
        loader.attach(&there).unwrap();
        run("ip link del va");
        let health = &loader.health()[0];
        assert_eq!((health.ingress, health.egress), (State::Detached, State::Detached));
        let error = loader.attach(&there).unwrap_err();
        assert!(matches!(error, AttachError::Gone { .. }), "{options:?}: {error:?}");
        assert_eq!(error.exit_code(), 3);
        assert!(loader.attachments().next().is_none());
        lab::veth();
    }
    let (mut loader, _rings) = lab::loader(&tc());
    let nul = Interface { name: "v\0a".to_owned(), ..va };
    assert!(matches!(loader.attach(&nul), Err(AttachError::Name(_))));
}

#[test]
fn a_link_detached_by_somebody_else_is_noticed() {
    own_namespace();
    let va = lab::veth();
    let (mut loader, _rings) = lab::loader(&xdp(XdpModeChoice::Native));
    loader.attach(&va).unwrap();
    let links = run("bpftool link show");
    let ours = format!("xdp  prog {} ", named("va").xdp.unwrap().prog_id);
    let link = links.lines().find_map(|line| {
        line.split_once(": ")
            .filter(|(_, what)| *what == ours.trim_end() || what.starts_with(&ours))
    });
    let (id, _) = link.unwrap_or_else(|| panic!("{links}"));
    run(&format!("bpftool link detach id {id}"));
    let health = &loader.health()[0];
    assert_eq!((health.ingress, health.egress), (State::Detached, State::Attached));
    loader.attach(&va).unwrap();
    assert_eq!(loader.health()[0].ingress, State::Attached);
}

#[test]
#[ignore = "run by other tests"]
fn again_attach_and_wait() {
    let Ok(name) = std::env::var("HS_INTERFACE") else { return };
    let options = match std::env::var("HS_HOW").as_deref() {
        Ok("auto") => Options::default(),
        Ok("xdp") => xdp(XdpModeChoice::Native),
        Ok("clsact") => clsact(),
        _ => tc(),
    };
    let (mut loader, _rings) = lab::loader(&options);
    let attachment = loader.attach(&named(&name)).unwrap();
    println!("\n{attachment:?}\nattached");
    drop(std::io::stdin().read(&mut [0]));
}

/// Runs [`again_attach_and_wait`] until it has attached.
fn attached_elsewhere(how: &str) -> std::process::Child {
    let variables = [("HS_INTERFACE", "va"), ("HS_HOW", how)];
    let mut child = again(&["env"], "again_attach_and_wait", &variables);
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "attached"), "it attaches");
    child
}

fn kill(mut child: std::process::Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_process_leaves_nothing() {
    own_namespace();
    lab::veth();
    for (how, attached) in [("tc", (0, 2, 0)), ("xdp", (1, 1, 0))] {
        let child = attached_elsewhere(how);
        assert_eq!(attached_to("va"), attached);
        kill(child);
        soon("nothing is attached", || attached_to("va") == NOTHING);
    }
}

#[test]
fn a_killed_process_leaves_filters_that_the_next_one_replaces() {
    own_namespace();
    lab::veth();
    let first = attached_elsewhere("clsact");
    let (mut loader, _rings) = lab::loader(&clsact());
    loader.attach(&named("va")).unwrap();
    assert_eq!(attached_to("va"), (0, 0, 4), "those of a living process stay");
    let said = loader::cleanup().unwrap();
    assert!(said.len() == 4 && said.iter().all(|line| line.starts_with("left ")), "{said:?}");
    kill(first);
    assert_eq!(attached_to("va"), (0, 0, 4));
    loader.attach(&named("va")).unwrap();
    assert_eq!(attached_to("va"), (0, 0, 2), "those of a dead one are replaced");
    drop(loader);
    assert_eq!(attached_to("va"), NOTHING);
}

#[test]
fn cleanup_removes_what_a_killed_process_left_and_nothing_else() {
    own_namespace();
    lab::veth();
    kill(attached_elsewhere("clsact"));
    run(&format!("tc filter add dev va ingress {FOREIGN}"));
    let said = loader::cleanup().unwrap();
    assert!(said.len() == 2 && said.iter().all(|line| line.starts_with("removed ")), "{said:?}");
    assert_eq!(attached_to("va"), NOTHING);
    assert!(run("tc filter show dev va ingress").contains("u32"));
    assert!(loader::cleanup().unwrap().is_empty());
}

#[test]
fn a_clsact_qdisc_goes_only_if_it_is_ours_and_empty() {
    own_namespace();
    let va = lab::veth();
    let qdisc = || run("tc qdisc show dev va").contains("clsact");
    let (mut loader, _rings) = lab::loader(&clsact());
    let attachment = loader.attach(&va).unwrap();
    assert_eq!((attachment.ingress.how, attachment.egress.how), (How::Clsact, How::Clsact));
    assert_eq!((attached_to("va"), qdisc()), ((0, 0, 2), true));
    loader.detach_all();
    assert_eq!((attached_to("va"), qdisc()), (NOTHING, false), "ours");

    loader.attach(&va).unwrap();
    run(&format!("tc filter add dev va egress {FOREIGN}"));
    loader.detach_all();
    assert_eq!((attached_to("va"), qdisc()), (NOTHING, true), "not empty");

    run("tc qdisc del dev va clsact");
    run("tc qdisc add dev va clsact");
    loader.attach(&va).unwrap();
    loader.detach_all();
    assert_eq!((attached_to("va"), qdisc()), (NOTHING, true), "not ours");

    loader.attach(&va).unwrap();
    run("tc qdisc del dev va clsact");
    assert_eq!(loader.health()[0].egress, State::Detached);
    loader.detach_all();

    run("tc qdisc add dev va ingress");
    let error = loader.attach(&va).unwrap_err();
    assert!(matches!(error, AttachError::IngressQdisc { .. }), "{error}");
    assert_eq!(attached_to("va"), NOTHING);
}

#[test]
fn a_priority_of_another_kind_of_filter_is_left_alone() {
    own_namespace();
    let va = lab::veth();
    run("tc qdisc add dev va clsact");
    run("tc filter add dev va ingress protocol all prio 11 u32 match u32 0 0");
    let (mut loader, _rings) = lab::loader(&clsact());
    loader.attach(&va).unwrap();
    assert_eq!(attached_to("va"), (0, 0, 2));
    assert!(run("tc filter show dev va ingress").contains("u32"));
}

#[test]
fn every_event_is_delivered_or_counted_as_lost() {
    own_namespace();
    let (va, _peer) = lab::veth_to_peer();
    let (mut loader, mut rings) = lab::loader(&Options { ring_bytes: 4096, ..tc() });
    assert_eq!(loader.ring_bytes(), 4096);
    loader.attach(&va).unwrap();
    run("hping3 -q -c 2000 -i u50 -S -p ++1 10.9.0.2");
    let mut events = Vec::new();
    while !rings.drain(7, &mut events).emptied {}
    let counters = loader.counters().unwrap();
    assert!(counters.lost() > 0 && counters.total(Counter::Syn) >= 2000, "{counters:?}");
    assert_eq!(counters.offered(), events.len() as u64 + counters.lost());
}

#[test]
fn a_bounded_drain_is_fair_and_gives_a_horizon() {
    own_namespace();
    let (va, _peer) = lab::veth_to_peer();
    let (mut loader, mut rings) = lab::loader(&tc());
    loader.attach(&va).unwrap();
    run("hping3 -q -c 300 -i u50 -S -p ++1 10.9.0.2");
    let mut events = Vec::new();
    let first = rings.drain(10, &mut events);
    assert_eq!((first.delivered, first.emptied), (10, false));
    assert!(first.horizon_ns.is_some());
    assert_eq!(rings.drain(0, &mut events).delivered, 0);
    let (mut merge, mut out) = (Merge::new(), Vec::new());
    merge.push(events.drain(..));
    loop {
        let drained = rings.drain(50, &mut events);
        merge.push(events.drain(..));
        merge.release(drained.started_ns, drained.horizon_ns, &mut out);
        if drained.emptied {
            break;
        }
    }
    merge.flush(&mut out);
    assert!(out.is_sorted_by_key(|event| event.time_ns));
    assert_eq!((out.len() as u64, merge.late()), (loader.counters().unwrap().offered(), 0));
}

#[test]
fn every_program_loads_on_this_kernel() {
    for report in loader::verify().unwrap() {
        let verified = report.result.unwrap_or_else(|error| panic!("{error}"));
        println!("{} {verified:?}", report.name);
        assert!(verified.verified_instructions.is_none_or(|count| count < 1_000_000));
    }
}

#[test]
fn memory_and_sizes_are_known() {
    own_namespace();
    let options = Options { ring_bytes: 100_000, table_buckets: 1000, ..tc() };
    let (mut loader, rings) = lab::loader(&options);
    assert_eq!(loader.ring_bytes(), 131_072);
    let before = loader.kernel_memory_bytes();
    let least = rings.len() as u64 * 131_072 + 1024 * 64;
    assert!(before >= least && before < least + 200_000, "{before} against {least}");
    loader.attach(&named("lo")).unwrap();
    assert!(loader.kernel_memory_bytes() > before, "programs count as well");
    assert_eq!(loader.program_stats().len(), 2);
}

#[test]
#[ignore = "run by other tests"]
fn again_load() {
    let said = match Loader::load(&Options::default()) {
        Err(error) => format!("{} {error}", error.exit_code()),
        Ok(mut loader) => match loader.attach(&named("lo")) {
            Err(error) => format!("{} {error}", error.exit_code()),
            Ok(_) => "0 fine".to_owned(),
        },
    };
    println!("\nsaid: {said}");
}

/// What loading and attaching say under `wrapper`.
fn said_under(wrapper: &[&str]) -> String {
    let output = again(wrapper, "again_load", &[]).wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = output.lines().find_map(|line| line.strip_prefix("said: "));
    line.unwrap_or_else(|| panic!("{output}")).to_owned()
}

#[test]
fn a_missing_capability_is_named_with_the_command_that_grants_it() {
    own_namespace();
    assert_eq!(said_under(&["env"]), "0 fine");
    let three = "+bpf,+net_admin,+perfmon";
    for (kept, expected) in [
        ("-all,+bpf,+net_admin,+perfmon,+setpcap", "0 fine"),
        ("-all,+net_admin,+perfmon", "CAP_BPF"),
        ("-all,+bpf,+perfmon", "CAP_NET_ADMIN"),
        ("-all", "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"),
    ] {
        let said = said_under(&["setpriv", "--bounding-set", kept, "--inh-caps", kept]);
        if expected == "0 fine" {
            assert_eq!(said, expected, "{three} are enough");
        } else {
            assert!(said.starts_with("77 ") && said.contains(expected), "{kept}: {said}");
            assert!(said.contains("setcap cap_bpf,cap_net_admin,cap_perfmon+ep /"), "{said}");
        }
    }
}

#[test]
fn without_perfmon_it_works_or_names_it() {
    own_namespace();
    let kept = "-all,+bpf,+net_admin";
    let said = said_under(&["setpriv", "--bounding-set", kept, "--inh-caps", kept]);
    println!("{said}");
    assert!(
        said == "0 fine" || (said.starts_with("77 ") && said.contains("CAP_PERFMON")),
        "{said}"
    );
}

#[test]
fn a_user_namespace_is_said_to_be_in_the_way() {
    let said = said_under(&["unshare", "--user", "--map-root-user", "--net"]);
    assert!(said.starts_with("77 ") && said.contains("user namespace"), "{said}");
}

#[test]
fn the_limit_of_open_files_is_named() {
    let said = said_under(&["prlimit", "--nofile=8", "env"]);
    assert!(said.starts_with("1 ") && said.contains("RLIMIT_NOFILE"), "{said}");
}

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
