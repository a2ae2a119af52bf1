//! Processes that are killed, the filters they leave, and the filters of others.

use std::io::{BufRead, BufReader, Read};

use handshake_user::loader::{self, AttachError, How, Options, State, XdpModeChoice};

use super::lab::{self, again, attached_to, named, own_namespace, run, soon};
use super::{NOTHING, clsact, tc, xdp};

/// A filter that is not ours.
const FOREIGN: &str = "protocol all prio 7 u32 match u32 0 0";

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
    let mut child = again(&["env"], "leftovers::again_attach_and_wait", &variables);
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
