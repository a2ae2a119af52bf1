//! SIGHUP: the file is read again, nobody's attempt is lost or blamed for it.
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use handshake_tests::bpf::attachments;
use handshake_tests::judge::{assert_balanced, assert_lossless, ends, from_client};
use handshake_tests::lab::{Family, Lab};
use handshake_tests::process::{eventually, signal, wait};
use handshake_tests::pty;
use handshake_tests::traffic::{self, CLOSED, HTTP, SILENT, Services};
use handshake_tests::watcher::{Watcher, binary};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);

/// A configuration file of one test, replaced as an editor does: never half written.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Result<Self> {
        let file = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        file.write(text)?;
        Ok(file)
    }

    fn write(&self, text: &str) -> Result<()> {
        let new = self.0.with_extension("new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, &self.0)?)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Sends SIGHUP and waits until stderr says `words` once more.
fn reload(watcher: &Watcher, words: &str) -> Result<()> {
    let count = || watcher.stderr().matches(words).count();
    let before = count();
    watcher.signal(libc::SIGHUP)?;
    eventually(&format!("stderr says {words:?}"), SOON, || count() > before)
}

#[test]
fn another_filter_holds_from_the_reload_on() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let file = File::new("filter.toml", &format!("port = {HTTP}\ninterface = \"srv0\"\n"))?;
    let watcher = Watcher::start(&lab.server, &["--config", file.name()])?;
    traffic::refused(&lab, Family::V4)?;
    traffic::complete(&lab, Family::V4, 2)?;
    watcher.await_attempts(2, SOON)?;
    file.write(&format!("port = {CLOSED}\ninterface = \"srv0\"\n"))?;
    reload(&watcher, ": port\n")?;
    traffic::complete(&lab, Family::V4, 1)?;
    let refused = traffic::refused(&lab, Family::V6)?;
    watcher.await_attempts(3, SOON)?;
    file.write("filter = \"outcome:completed\"\ninterface = \"srv0\"\n")?;
    reload(&watcher, ": port, filter\n")?;
    traffic::refused(&lab, Family::V4)?;
    traffic::complete(&lab, Family::V6, 1)?;
    watcher.await_attempts(4, SOON)?;
    let report = watcher.stop()?;
    let summary = assert_balanced(&report);
    assert_eq!((&summary["started"], &summary["hidden"]), (&json!(5), &json!(1)), "{summary}");
    let outcomes: Vec<_> = report.attempts.iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["completed", "completed", "refused", "completed"]);
    assert_eq!(from_client(&report.attempts, refused).len(), 1);
    let told: Vec<_> = report.reloads.iter().map(|told| &told["filter"]).collect();
    let port = format!("port:{CLOSED}");
    let first = json!({"followed": port, "shown": ""});
    let second = json!({"followed": "", "shown": "outcome:completed"});
    assert_eq!(told, [&first, &second]);
    Ok(())
}

#[test]
fn a_wrong_file_changes_nothing_and_says_where_it_is_wrong() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let file = File::new("wrong.toml", &format!("port = {HTTP}\n"))?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--config", file.name()])?;
    file.write(&format!("port = {CLOSED}\nprot = 1\n"))?;
    reload(&watcher, ":2: unknown key \"prot\"; did you mean \"port\"?")?;
    std::fs::remove_file(&file.0)?;
    reload(&watcher, "cannot be read: No such file")?;
    traffic::refused(&lab, Family::V4)?;
    traffic::complete(&lab, Family::V4, 2)?;
    watcher.await_attempts(2, SOON)?;
    let report = watcher.stop()?;
    assert_lossless(&report);
    assert!(report.stderr.contains("not reloaded, everything stays as it was"));
    assert_eq!(report.attempts.len(), 2);
    for (told, words) in report.reloads.iter().zip([".toml:2: unknown key", "cannot be read"]) {
        assert_eq!((&told["result"], &told["changed"]), (&json!("failed"), &json!([])), "{told}");
        assert!(told["error"].as_str().is_some_and(|error| error.contains(words)), "{told}");
        assert_eq!(told["filter"]["followed"], format!("port:{HTTP}"));
    }
    assert_eq!(report.reloads.len(), 2);
    Ok(())
}

#[test]
fn what_only_a_restart_can_change_is_named() -> Result<()> {
    let lab = Lab::direct()?;
    let file = File::new("restart.toml", "timeout = \"3s\"\n")?;
    let arguments = ["-i", "srv0", "--hook", "tc", "--config", file.name()];
    let watcher = Watcher::start(&lab.server, &arguments)?;
    reload(&watcher, "nothing changed")?;
    // The flag goes before the file's hook: nothing to say of it.
    file.write("timeout = \"4s\"\nring-bytes = 65536\nhook = \"xdp\"\nport = 1\n")?;
    reload(&watcher, "only a restart can apply it: timeout, ring-bytes\n")?;
    reload(&watcher, "only a restart can apply it: timeout, ring-bytes\n")?;
    let report = watcher.stop()?;
    let results: Vec<_> = report.reloads.iter().map(|told| &told["result"]).collect();
    assert_eq!(results, ["unchanged", "applied", "unchanged"]);
    assert_eq!(report.reloads[1]["changed"], json!(["port"]));
    assert_eq!(report.reloads[1]["restart"], json!(["timeout", "ring-bytes"]));
    assert_balanced(&report);
    Ok(())
}

#[test]
fn without_a_file_there_is_nothing_to_reload() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    reload(&watcher, "nothing to reload, there is no --config")?;
    traffic::complete(&lab, Family::V4, 1)?;
    watcher.await_attempts(1, SOON)?;
    let report = watcher.stop()?;
    assert_lossless(&report);
    assert_eq!(report.reloads[0]["result"], "nothing");
    Ok(())
}

/// Its SYN was followed, its time-out is not: that proves nothing.
#[test]
fn an_attempt_that_is_half_inside_is_not_blamed() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let file = File::new("half.toml", "")?;
    let arguments = ["-i", "srv0", "--timeout", "1s", "--config", file.name()];
    let watcher = Watcher::start(&lab.server, &arguments)?;
    // One is decided before, one is open when the selection changes, one comes after.
    let silent =
        |patience_ms| traffic::silent(&lab, Family::V4, Duration::from_millis(patience_ms));
    let before = silent(100)?;
    watcher.await_attempts(1, SOON)?;
    let half = silent(100)?;
    file.write(&format!("port = {SILENT}\n"))?;
    reload(&watcher, ": port\n")?;
    let after = silent(100)?;
    watcher.await_attempts(3, SOON)?;
    let report = watcher.stop()?;
    assert_balanced(&report);
    let end = |client| {
        let attempts = from_client(&report.attempts, client);
        attempts.iter().map(|one| (one["outcome"].clone(), one["ended_by"].clone())).collect()
    };
    let one = |outcome, by| -> Vec<(Value, Value)> { vec![(json!(outcome), json!(by))] };
    let ends: [Vec<_>; 3] = [before, half, after].map(end);
    let expected = ["no-answer", "unfinished", "no-answer"];
    let expected = [0, 1, 2].map(|at| one(expected[at], if at == 1 { "loss" } else { "timeout" }));
    assert_eq!(ends, expected);
    let doubt = |client| from_client(&report.attempts, client)[0]["doubt"].clone();
    assert_eq!([before, half, after].map(doubt), [Value::Null, json!("reload"), Value::Null]);
    Ok(())
}

/// A window that is closed sends SIGHUP: nobody would ever stop what went on.
#[test]
fn a_terminal_that_has_gone_ends_the_run() -> Result<()> {
    let lab = Lab::direct()?;
    let (mut master, slave) = pty::open()?;
    let end = || -> Result<Stdio> { Ok(slave.try_clone()?.into()) };
    let mut command = lab.server.command(binary()?);
    command.args(["watch", "-i", "srv0", "--format", "lines"]);
    let mut child = command.stdin(end()?).stdout(end()?).stderr(end()?).spawn()?;
    let (mut shown, mut chunk) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&shown).contains("watching srv0") {
        let read = master.read(&mut chunk)?;
        ensure!(read > 0, "the terminal ended");
        shown.extend(&chunk[..read]);
    }
    signal(&child, libc::SIGHUP)?;
    // Still there: nothing to reload, and it goes on.
    std::thread::sleep(Duration::from_millis(300));
    ensure!(child.try_wait()?.is_none(), "it ended by a mere SIGHUP");
    drop((command, slave, master));
    signal(&child, libc::SIGHUP)?;
    wait(&mut child, Duration::from_secs(2))?;
    assert!(attachments(&lab.server, "srv0")?.is_empty());
    Ok(())
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// The same once it stays: programs are still being loaded ahead after the start.
fn settled_descriptors(pid: u32) -> Result<usize> {
    let start = Instant::now();
    let (mut last, mut same) = (descriptors(pid)?, 0);
    while same < 10 {
        ensure!(start.elapsed() < SOON, "its descriptors keep changing");
        std::thread::sleep(Duration::from_millis(100));
        let now = descriptors(pid)?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

#[test]
fn a_storm_of_reloads_loses_no_connection_and_no_descriptor() -> Result<()> {
    const STORM: Duration = Duration::from_secs(3);
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let texts = [format!("port = [{HTTP}]\n"), format!("port = [{HTTP}, {CLOSED}]\n")];
    let file = File::new("storm.toml", &texts[0])?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--config", file.name()])?;
    reload(&watcher, "nothing changed")?;
    let before = settled_descriptors(watcher.pid())?;
    let calm = AtomicBool::new(false);
    let clients = std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut clients = Vec::new();
            while !calm.load(Ordering::Relaxed) {
                clients.extend(traffic::complete(&lab, Family::V4, 1)?);
            }
            anyhow::Ok(clients)
        });
        let start = Instant::now();
        for turn in 0.. {
            file.write(&texts[turn % 2])?;
            watcher.signal(libc::SIGHUP)?;
            std::thread::sleep(Duration::from_millis(10));
            if start.elapsed() > STORM {
                break;
            }
        }
        calm.store(true, Ordering::Relaxed);
        clients.join().map_err(|_| anyhow::anyhow!("the traffic panicked"))?
    })?;
    // The last word.
    file.write(&format!("port = [{HTTP}]\nfilter = \"-outcome:evicted\"\n"))?;
    reload(&watcher, "printing only -outcome:evicted")?;
    watcher.await_attempts(clients.len(), SOON)?;
    assert_eq!(descriptors(watcher.pid())?, before);
    let report = watcher.stop()?;
    let summary = assert_balanced(&report);
    assert_eq!(summary["events"]["lost"], 0, "{summary}");
    println!("{} reloads, {} connections", report.reloads.len(), clients.len());
    ensure!(report.reloads.len() > 100 && clients.len() > 50, "too little happened");
    // One after the other, so in this order; ports are used again.
    let reported: Vec<_> = report.attempts.iter().map(|attempt| ends(attempt).0).collect();
    assert!(reported == clients, "not every connection once, in its order");
    for attempt in &report.attempts {
        assert_eq!(attempt["outcome"], "completed", "{attempt}");
    }
    let last = report.reloads.last().map(|told| &told["filter"]);
    let wanted = json!({"followed": format!("port:{HTTP}"), "shown": "-outcome:evicted"});
    assert_eq!(last, Some(&wanted));
    Ok(())
}
