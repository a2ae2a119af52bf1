//! What is said without capabilities, in a user namespace and at limits.

use handshake_user::loader::{Loader, Options};

use super::lab::{again, named, own_namespace};

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
