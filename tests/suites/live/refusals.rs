//! What `watch` cannot do it says in words, with the exit code of the contract and the next command.
use std::time::{Duration, Instant};

use anyhow::Result;
use handshake_tests::lab::{Lab, Namespace};
use handshake_tests::watcher::{Report, Watcher, binary};

const USAGE: i32 = 2;
const NOTHING_ATTACHED: i32 = 3;
const NO_PRIVILEGE: i32 = 77;

/// Runs the program to its end, behind `wrapper`.
fn refuse(namespace: &Namespace, wrapper: &[&str], arguments: &[&str]) -> Result<Report> {
    let binary = binary()?.display().to_string();
    let words = [wrapper, &[&*binary], arguments].concat();
    let mut command = namespace.command(words[0]);
    Watcher::spawn(command.args(&words[1..]))?.finish()
}

fn assert_refused(report: &Report, code: i32, words: &[&str]) {
    assert_eq!(report.status.code(), Some(code), "{}", report.stderr);
    for word in words {
        assert!(report.stderr.contains(word), "no {word:?} in: {}", report.stderr);
    }
    assert!(!report.stderr.contains("panicked"), "{}", report.stderr);
    assert!(report.garbage.is_empty() && report.attempts.is_empty(), "words on stdout");
}

#[test]
fn without_any_privilege_it_names_the_missing_and_the_remedy() -> Result<()> {
    let namespace = Namespace::new()?;
    let dropped = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let report = refuse(&namespace, &dropped, &["watch", "-i", "lo"])?;
    assert_refused(&report, NO_PRIVILEGE, &["CAP_BPF", "CAP_NET_ADMIN", "setcap"]);
    Ok(())
}

#[test]
fn one_missing_capability_is_named_alone() -> Result<()> {
    let namespace = Namespace::new()?;
    let dropped = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    let report = refuse(&namespace, &dropped, &["watch", "-i", "lo"])?;
    assert_refused(&report, NO_PRIVILEGE, &["CAP_NET_ADMIN"]);
    let dropped = ["setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin"];
    let report = refuse(&namespace, &dropped, &["watch", "-i", "lo"])?;
    assert_refused(&report, NO_PRIVILEGE, &["CAP_BPF"]);
    Ok(())
}

#[test]
fn a_full_disk_ends_it_with_the_summary() -> Result<()> {
    let namespace = Namespace::new()?;
    namespace.run(&["ip", "link", "set", "lo", "up"])?;
    // Tries once a second until it has ended: it may take some seconds to start.
    let script = "\"$@\" > /dev/full & for turn in {1..30}; do sleep 1; \
                  kill -0 $! 2> /dev/null || break; (: < /dev/tcp/127.0.0.1/9); done; wait $!";
    let wrapper = ["bash", "-c", script, "bash"];
    let report = refuse(&namespace, &wrapper, &["watch", "-i", "lo", "--duration", "60s"])?;
    let words = ["cannot write to standard output: No space left", "1 started = 1 ended + 0 open"];
    assert_refused(&report, 1, &words);
    Ok(())
}

#[test]
fn two_capabilities_are_enough() -> Result<()> {
    let namespace = Namespace::new()?;
    let kept = "-all,+bpf,+net_admin,+perfmon";
    let wrapper = ["setpriv", &format!("--bounding-set={kept}"), "--inh-caps=-all"];
    let report = refuse(&namespace, &wrapper, &["watch", "-i", "lo", "--duration", "300ms"])?;
    assert!(report.status.success(), "{}", report.stderr);
    assert!(report.stderr.contains("watching lo"), "{}", report.stderr);
    Ok(())
}

#[test]
fn an_unknown_interface_is_answered_with_the_nearest_name() -> Result<()> {
    let lab = Lab::direct()?;
    let report = refuse(&lab.server, &[], &["watch", "-i", "srv1"])?;
    assert_refused(&report, NOTHING_ATTACHED, &["srv1", "srv0"]);
    Ok(())
}

#[test]
fn a_name_that_is_not_there_is_refused_beside_a_pattern_that_may_wait() -> Result<()> {
    let lab = Lab::direct()?;
    let report = refuse(&lab.server, &[], &["watch", "-i", "wlan*", "-i", "srv1"])?;
    assert_refused(&report, NOTHING_ATTACHED, &["srv1", "srv0"]);
    Ok(())
}

#[test]
fn a_host_without_a_default_route_is_watched_where_it_is_up() -> Result<()> {
    let lab = Lab::direct()?;
    let report = refuse(&lab.server, &[], &["watch", "--duration", "300ms"])?;
    assert!(report.status.success(), "{}", report.stderr);
    assert!(report.stderr.contains("srv0") && report.stderr.contains("default route"));
    Ok(())
}

#[test]
fn unknown_flags_and_values_are_answered_with_a_suggestion() -> Result<()> {
    let namespace = Namespace::new()?;
    let report = refuse(&namespace, &[], &["watch", "--fromat", "json"])?;
    assert_refused(&report, USAGE, &["--fromat", "--format"]);
    let report = refuse(&namespace, &[], &["watch", "--hook", "xpd"])?;
    assert_refused(&report, USAGE, &["xpd", "xdp"]);
    for bad in [["--timeout", "soon"], ["--port", "0"], ["--net", "10.0.0.0/33"], ["--count", "0"]]
    {
        let report = refuse(&namespace, &[], &["watch", bad[0], bad[1]])?;
        assert_refused(&report, USAGE, &[bad[0], bad[1]]);
    }
    Ok(())
}

#[test]
fn an_interface_name_no_kernel_would_take_is_refused_in_words() -> Result<()> {
    let namespace = Namespace::new()?;
    for name in ["", "a/b", "a-name-that-is-far-too-long"] {
        let report = refuse(&namespace, &[], &["watch", "-i", name])?;
        let code = report.status.code();
        assert!(
            code == Some(NOTHING_ATTACHED) || code == Some(USAGE),
            "{name:?}: {}",
            report.stderr
        );
        assert!(!report.stderr.contains("panicked"), "{}", report.stderr);
    }
    Ok(())
}

#[test]
fn several_signals_while_it_starts_end_it_once() -> Result<()> {
    let lab = Lab::direct()?;
    for delay_ms in (0..100).step_by(10) {
        let binary = binary()?;
        let mut command = lab.server.command(&binary);
        let watcher = Watcher::spawn(command.args(["watch", "-i", "srv0", "--format", "json"]))?;
        std::thread::sleep(Duration::from_millis(delay_ms));
        for _ in 0..3 {
            // It may have ended by the first one; that is not our concern here.
            drop(watcher.signal(libc::SIGTERM));
        }
        let end = Instant::now();
        watcher.finish()?;
        // While the verifier works, signals wait; that takes a second or two, more on a busy machine.
        assert!(end.elapsed() < Duration::from_secs(30), "{:?} after {delay_ms} ms", end.elapsed());
        let left = handshake_tests::bpf::attachments(&lab.server, "srv0")?;
        assert!(left.is_empty(), "after {delay_ms} ms: {left:?}");
    }
    Ok(())
}
