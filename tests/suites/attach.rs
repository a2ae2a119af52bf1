//! Loading, attaching, detaching and reading, on the running kernel. Needs root.
//!
//! Each test has a network namespace of its own. Tests named `again_…` are not tests: others run
//! them in a process that is then killed or has fewer privileges.
#![cfg(target_os = "linux")]

#[path = "attach/lab.rs"]
mod lab;
#[path = "attach/leftovers.rs"]
mod leftovers;
#[path = "attach/privileges.rs"]
mod privileges;
#[path = "attach/watching.rs"]
mod watching;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use handshake_common::abi::{Counter, Hook};
use handshake_common::event::{Event, kind};
use handshake_user::interfaces::{Interface, LinkKind};
use handshake_user::loader::{
    self, AttachError, HookChoice, How, Options, State, TcChoice, XdpModeChoice,
};
use handshake_user::merge::Merge;

use lab::{attached_to, named, own_namespace, read_until, run, soon};

const NOTHING: (usize, usize, usize) = (0, 0, 0);

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
    let mut more: Vec<Event> = Vec::new();
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
        let (xdp, tcx, filters) = attached_to("va");
        assert_eq!((xdp, tcx + filters), (1, 1));
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
    let (t0, mut file) = lab::tun("t0");
    assert_eq!((t0.link, t0.kind.as_deref()), (LinkKind::Ip, Some("tun")));
    let xdp_modes = [XdpModeChoice::Native, XdpModeChoice::Generic].map(xdp);
    for options in [Options::default(), clsact()].into_iter().chain(xdp_modes) {
        let (mut loader, mut rings) = lab::loader(&options);
        let attachment = loader.attach(&t0).unwrap();
        let address = "10.8.0.2:4242".parse().unwrap();
        TcpStream::connect_timeout(&address, Duration::from_millis(20)).unwrap_err();
        file.write_all(&lab::SYN).unwrap();
        let is_syn = |event: &Event, port| event.kind == kind::SYN && event.dest_port == port;
        let events = read_until(&mut rings, |events| {
            events.iter().any(|event| is_syn(event, 80))
                && events.iter().any(|event| is_syn(event, 4242))
        });
        let at = |port| events.iter().find(|event| is_syn(event, port)).map(|event| event.hook);
        let expected = (Some(attachment.ingress.hook as u8), Some(Hook::TcEgress as u8));
        assert_eq!((at(80), at(4242)), expected, "{attachment:?}");
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
fn interfaces_that_come_and_go_leak_nothing() {
    own_namespace();
    let va = lab::veth();
    let (mut loader, _rings) = lab::loader(&tc());
    loader.attach(&va).unwrap();
    run("ip link del va");
    loader.detach(va.index);
    let before = (lab::open_files(), loader.kernel_memory_bytes());
    for _ in 0..50 {
        let va = lab::veth();
        loader.attach(&va).unwrap();
        run("ip link del va");
        assert!(loader.detach(va.index));
    }
    // Tests run side by side: their files come and go as well.
    soon("files are closed", || lab::open_files() <= before.0 + 40);
    assert_eq!(loader.kernel_memory_bytes(), before.1);
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
fn every_event_is_delivered_or_counted_as_lost_or_sampled_out() {
    own_namespace();
    let (va, _peer) = lab::veth_to_peer();
    let (mut loader, mut rings) = lab::loader(&Options { ring_bytes: 4096, ..tc() });
    assert_eq!(loader.ring_bytes(), 4096);
    loader.attach(&va).unwrap();
    lab::send_syns(2000, &loader);
    let mut events: Vec<Event> = Vec::new();
    while !rings.drain(7, &mut events).emptied {}
    let counters = loader.counters().unwrap();
    let sampled_out = counters.total(Counter::SampledOut);
    assert!(sampled_out > 1000 && counters.total(Counter::Syn) >= 2000, "{counters:?}");
    assert_eq!(counters.offered(), events.len() as u64 + counters.lost() + sampled_out);
}

#[test]
fn a_bounded_drain_is_fair_and_gives_a_horizon() {
    own_namespace();
    let (va, _peer) = lab::veth_to_peer();
    let (mut loader, mut rings) = lab::loader(&tc());
    loader.attach(&va).unwrap();
    lab::send_syns(300, &loader);
    let mut events: Vec<Event> = Vec::new();
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
    let least = rings.len() as u64 * 131_072 + 1024 * 128;
    assert!(before >= least && before < least + 200_000, "{before} against {least}");
    loader.attach(&named("lo")).unwrap();
    assert!(loader.kernel_memory_bytes() > before, "programs count as well");
    assert_eq!(loader.program_stats().len(), 2);
}

#[test]
fn signals_while_loading_do_no_harm() {
    extern "C" fn ignore(_: libc::c_int) {}
    own_namespace();
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, ignore as *const () as libc::sighandler_t) };
    // SAFETY: asks for the number of this thread.
    let thread_id = unsafe { libc::gettid() };
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let pester = std::thread::spawn(move || {
        let pause = Duration::from_millis(1);
        while stopped.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // SAFETY: a signal with a handler, for a thread that waits for this one.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread_id, libc::SIGUSR1) };
        }
    });
    let lo = named("lo");
    let results: Vec<_> = (0..3).map(|_| lab::loader(&tc()).0.attach(&lo).map(drop)).collect();
    drop(stop);
    pester.join().unwrap();
    results.into_iter().for_each(|result| result.unwrap());
}
