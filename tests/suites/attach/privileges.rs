//! What is said without capabilities, in a user namespace and at limits.

use std::sync::mpsc;

use handshake_user::loader::{Files, HookChoice, Loader, Options};

use super::lab::{self, again, attached_to, named, own_namespace, run};
use super::{NOTHING, clsact, tc};

/// `CAP_DAC_OVERRIDE`, `CAP_DAC_READ_SEARCH` and `CAP_NET_ADMIN` as bits.
const WRITING: u64 = 1 << 1;
const READING: u64 = 1 << 2;
const NET_ADMIN: u64 = 1 << 12;

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
    let output = again(wrapper, "privileges::again_load", &[]).wait_with_output().unwrap();
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

/// The effective capabilities of this thread.
fn effective() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    u64::from_str_radix(line, 16).unwrap()
}

/// XDP, TCX, filters.
type Counts = (usize, usize, usize);

/// Attaches to `va`, gives privileges up, attaches to `vc` when it is made, and detaches: all on a
/// thread of its own, because there is no way back. Returns what it kept, and what was attached
/// to `va` and `vc` before the end.
fn shed_and_go_on(options: &Options, files: Files) -> (u64, Counts, Counts) {
    run("ip link add va type veth peer name vb");
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let seen = std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut loader, _rings) = lab::loader(options);
            loader.attach(&named("va")).unwrap();
            loader.load_ahead();
            // The threads of the test have theirs still, as it says: here not a bug.
            let complaint = loader.shed_privileges(files).unwrap_err().to_string();
            assert!(complaint.contains("drop the privileges of thread"), "{complaint}");
            tell.send(effective()).unwrap();
            gone.recv().unwrap();
            loader.attach(&named("vc")).unwrap();
            tell.send(0).unwrap();
            gone.recv().unwrap();
            assert_eq!(loader.health().len(), 2);
            drop(loader);
        });
        let kept = told.recv().unwrap();
        run("ip link add vc type veth peer name vd");
        go.send(()).unwrap();
        told.recv().unwrap();
        let seen = (kept, attached_to("va"), attached_to("vc"));
        go.send(()).unwrap();
        seen
    });
    assert_eq!((attached_to("va"), attached_to("vc")), (NOTHING, NOTHING), "{options:?}");
    assert!(!run("tc qdisc show").contains("clsact"));
    run("ip link del va");
    run("ip link del vc");
    seen
}

#[test]
fn filters_keep_the_capability_to_remove_them_and_no_other() {
    own_namespace();
    let seen = shed_and_go_on(&clsact(), Files::None);
    assert_eq!(seen, (NET_ADMIN, (0, 0, 2), (0, 0, 2)));
    let xdp = Options { hook: HookChoice::Xdp, ..clsact() };
    assert_eq!(shed_and_go_on(&xdp, Files::None), (NET_ADMIN, (1, 0, 1), (1, 0, 1)));
}

#[test]
fn files_of_others_keep_the_capability_to_reach_them() {
    own_namespace();
    for (files, kept) in [(Files::None, 0), (Files::Read, READING), (Files::Write, WRITING)] {
        assert_eq!(shed_and_go_on(&tc(), files).0 & !NET_ADMIN, kept, "{files:?}");
    }
}
