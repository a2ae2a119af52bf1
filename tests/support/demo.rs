//! Something to see on an idle machine: a client, a router and a server of our own, the router being
//! watched while connections of every fate cross it.
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::lab::{Family, Lab};
use crate::process::GLANCE;
use crate::traffic::{self, Services};

/// How long clients wait for hosts that don't answer.
const PATIENCE: Duration = Duration::from_millis(2500);

/// What is added unless the caller says otherwise.
const DEFAULTS: [(&[&str], &str); 3] = [
    (&["-i", "--interface"], "rtc0"),
    (&["--duration"], "30s"),
    // Shorter than the program's own default, so that silent hosts show while one looks.
    (&["--timeout"], "3s"),
];

/// One kind of client: how often it tries, and what it does.
type Habit = (Duration, fn(&Lab, Family) -> Result<()>);

const HABITS: [Habit; 8] = [
    (Duration::from_millis(120), |lab, family| traffic::complete(lab, family, 1).map(drop)),
    (Duration::from_millis(900), |lab, family| traffic::refused(lab, family).map(drop)),
    (Duration::from_millis(1500), |lab, family| traffic::silent(lab, family, PATIENCE).map(drop)),
    (Duration::from_millis(2000), |lab, family| traffic::absent(lab, family, PATIENCE).map(drop)),
    (Duration::from_millis(1700), |lab, family| {
        traffic::queue_full(lab, family, PATIENCE).map(drop)
    }),
    (Duration::from_millis(1300), |lab, family| traffic::rejected(lab, family).map(drop)),
    (Duration::from_millis(2900), |lab, family| traffic::aborted(lab, family).map(drop)),
    (Duration::from_millis(3700), |lab, family| traffic::scanned(lab, family).map(drop)),
];

/// Runs `binary watch` with these arguments on a network made for it, in the foreground, for 30 s
/// unless `--duration` is among them. Nothing of the network outlives this call or this process.
pub fn run(binary: &Path, args: &[String]) -> Result<()> {
    let binary = std::path::absolute(binary)?;
    let lab = Lab::routed().context("cannot build the demo's network")?;
    let _services = Services::start(&lab)?;
    introduce();
    survive_interrupts()?;
    let stop = AtomicBool::new(false);
    let status = std::thread::scope(|scope| {
        for (index, (pause, visit)) in HABITS.into_iter().enumerate() {
            let (lab, stop) = (&lab, &stop);
            let family = Family::BOTH[index % 2];
            scope.spawn(move || keep(lab, family, pause, visit, stop));
        }
        let status = watch(&lab, &binary, args);
        stop.store(true, Ordering::Relaxed);
        status
    })?;
    ensure!(status.success(), "{} ended with {status}", binary.display());
    Ok(())
}

fn introduce() {
    eprintln!(
        "demo: client 10.77.1.1, fd77:1::1 -> router, watched -> server 10.77.2.1, fd77:2::1; all of it \
         in namespaces"
    );
    eprintln!(
        "demo: ports {} answers, {} is closed, {} silent, {} has a full accept queue, {} is rejected \
         by a firewall; 10.77.2.99 and fd77:2::63 do not exist; 9000-9999 are aborted",
        traffic::HTTP,
        traffic::CLOSED,
        traffic::SILENT,
        traffic::FULL,
        traffic::REJECTED
    );
}

/// Ctrl-C goes to the whole foreground: the program ends by it, and then we do.
fn survive_interrupts() -> Result<()> {
    extern "C" fn ignore(_signal: libc::c_int) {}
    let handler = ignore as extern "C" fn(libc::c_int);
    // SAFETY: the handler does nothing at all. A handler, unlike SIG_IGN, is not inherited by exec.
    let previous = unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
    ensure!(previous != libc::SIG_ERR, "cannot handle Ctrl-C");
    Ok(())
}

fn watch(lab: &Lab, binary: &Path, args: &[String]) -> Result<ExitStatus> {
    let router = lab.router.as_ref().context("the demo's network has no router")?;
    let mut command = router.command(binary);
    command.arg("watch").args(args);
    for (names, value) in DEFAULTS {
        let given = |arg: &String| names.iter().any(|name| is_option(arg, name));
        if !args.iter().any(given) {
            command.args([names[0], value]);
        }
    }
    command.status().with_context(|| format!("cannot run {}", binary.display()))
}

fn is_option(argument: &str, name: &str) -> bool {
    let Some(rest) = argument.strip_prefix(name) else { return false };
    rest.is_empty() || rest.starts_with('=') || !name.starts_with("--")
}

/// Repeats a visit, in both families by turns, until told to stop. A visit that fails to fail as it
/// should (the network is being torn down, the machine is slow) only ends that visit.
fn keep(
    lab: &Lab,
    first: Family,
    pause: Duration,
    visit: fn(&Lab, Family) -> Result<()>,
    stop: &AtomicBool,
) {
    let others = if first == Family::V4 { Family::V6 } else { Family::V4 };
    for family in [first, others].into_iter().cycle() {
        drop(visit(lab, family));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(GLANCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_recognised_in_each_spelling() {
        assert!(is_option("--duration", "--duration"));
        assert!(is_option("--duration=5s", "--duration"));
        assert!(is_option("-ieth0", "-i"));
        assert!(!is_option("--durations", "--duration"));
    }
}
