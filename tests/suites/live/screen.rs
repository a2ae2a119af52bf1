//! The terminal UI on a terminal: what a person sees, and that the terminal is given back.
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::bpf::attachments;
use handshake_tests::lab::{Family, Lab, Namespace};
use handshake_tests::process::{eventually, tether};
use handshake_tests::pty::Session;
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::binary;
use serde_json::{Value, json};

use super::recording::Directory;

/// How long the program may take to load, attach and draw, on a busy machine.
const START: Duration = Duration::from_secs(20);
/// How long until something shows.
const SOON: Duration = Duration::from_secs(8);
/// How long clients wait for what does not answer.
const PATIENCE: Duration = Duration::from_millis(1500);
const ENTERED: &[u8] = b"\x1b[?1049h";
const LEFT: &[u8] = b"\x1b[?1049l";
const CURSOR: &[u8] = b"\x1b[?25h";

fn count(shown: &[u8], what: &[u8]) -> usize {
    shown.windows(what.len()).filter(|window| *window == what).count()
}

/// What is on the screen after these bytes.
fn screen(shown: &[u8], columns: u16, lines: u16) -> String {
    let size = |cells| NonZero::new(cells).expect("a screen has a size");
    let mut parser = vt100::Parser::new(size(lines), size(columns), 0);
    parser.process(shown);
    parser.screen().contents()
}

/// `handshake watch --format tui` before a person.
fn watch(namespace: &Namespace, device: &str, columns: u16, lines: u16) -> Result<Session> {
    start(namespace, &["--timeout", "2s", "-i", device], Path::new("/"), (columns, lines))
}

/// The same with these arguments, in the directory where it writes what is asked for.
fn start(
    namespace: &Namespace,
    arguments: &[&str],
    directory: &Path,
    (columns, lines): (u16, u16),
) -> Result<Session> {
    let mut command = namespace.command("env");
    command.arg("-C").arg(directory).arg(binary()?);
    command.args(["watch", "--format", "tui"]).args(arguments);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8");
    tether(&mut command);
    let session = Session::start(command, columns, lines)?;
    session.until(START, |shown| screen(shown, columns, lines).contains("? help"))?;
    Ok(session)
}

/// Waits until the screen shows all of this.
fn await_words(session: &Session, (columns, lines): (u16, u16), words: &[&str]) -> Result<String> {
    let all = |shown: &[u8]| {
        let screen = screen(shown, columns, lines);
        words.iter().all(|word| screen.contains(word))
    };
    Ok(screen(&session.until(SOON, all)?, columns, lines))
}

/// Another size, in which these words show. Keys wait until they do, as a person would: the library that
/// reads them may keep back one that comes together with a change of size until the next comes.
fn resize(session: &Session, size: (u16, u16), word: &str) -> Result<()> {
    session.resize(size.0, size.1)?;
    await_words(session, size, &[word]).map(drop)
}

#[test]
fn a_dead_host_a_closed_port_and_a_full_queue_are_on_the_first_screen() -> Result<()> {
    let lab = Lab::routed()?;
    let _services = Services::start(&lab)?;
    let router = lab.router.as_ref().expect("a routed lab");
    let mut session = watch(router, "rtc0", 80, 24)?;
    traffic::complete(&lab, Family::V4, 3)?;
    traffic::refused(&lab, Family::V4)?;
    traffic::absent(&lab, Family::V4, PATIENCE)?;
    traffic::queue_full(&lab, Family::V4, PATIENCE)?;
    let absent = lab.absent_host(Family::V4, traffic::HTTP)?.to_string();
    let closed = lab.server(Family::V4, traffic::CLOSED).to_string();
    let full = lab.server(Family::V4, traffic::FULL).to_string();
    // No key at all: what has not ended yet is already listed.
    let seen = await_words(&session, (80, 24), &["refused", "SYN ×2", &absent, &closed, &full])?;
    let line = |of: &str| seen.lines().rev().find(|line| line.contains(of)).unwrap_or_default();
    ensure!(line(&closed).contains("refused"), "{seen}");
    ensure!(line(&absent).contains("no"), "{seen}");
    // One key: by service, also on a small screen.
    resize(&session, (40, 12), "1 All")?;
    session.press("2")?;
    await_words(&session, (40, 12), &["service", &closed, &absent, &full])?;
    // Three keys: the segments of the refused attempt, which stands first.
    resize(&session, (80, 24), "2 Services")?;
    session.press("s")?;
    session.press("1")?;
    await_words(&session, (80, 24), &["no-answer", &absent])?;
    session.press("/outcome:refused\r")?;
    session.press("\r")?;
    await_words(&session, (80, 24), &["refuses", "begins", "RST,ACK"])?;
    session.press("q")?;
    ensure!(session.wait(SOON)?.success());
    Ok(())
}

/// Everything is as it was, and the summary comes after the screen.
fn assert_given_back(session: &Session, before: [libc::tcflag_t; 4]) -> Result<()> {
    let shown = session.until(SOON, |shown| String::from_utf8_lossy(shown).contains("events: "))?;
    assert_eq!(session.modes()?, before);
    // The mouse is the terminal's again, before the screen is.
    assert_eq!((count(&shown, b"\x1b[?1000h"), count(&shown, b"\x1b[?1000l")), (1, 1));
    assert_eq!((count(&shown, ENTERED), count(&shown, LEFT)), (1, 1));
    let left = shown.windows(LEFT.len()).position(|window| window == LEFT).unwrap_or(0);
    let after = String::from_utf8_lossy(&shown[left..]).into_owned();
    assert!(after.contains("attempts: 0 started = 0 ended + 0 open"), "{after}");
    assert!(!after.contains("? help") && !after.contains("\x1b[?25"), "{after:?}");
    assert!(count(&shown[..left], CURSOR) > 0);
    Ok(())
}

/// The modes of a terminal before anybody has changed them.
fn untouched() -> Result<[libc::tcflag_t; 4]> {
    let mut session = Session::start(std::process::Command::new("true"), 80, 24)?;
    session.wait(SOON)?;
    session.modes()
}

#[test]
fn the_terminal_is_given_back_after_q_control_c_and_signals() -> Result<()> {
    let namespace = Namespace::new()?;
    namespace.up("lo")?;
    let before = untouched()?;
    for (keys, signal) in
        [("q", None), ("\x03", None), ("", Some(libc::SIGTERM)), ("", Some(libc::SIGINT))]
    {
        let mut session = watch(&namespace, "lo", 80, 24)?;
        assert_ne!(session.modes()?, before, "raw mode");
        session.press(keys)?;
        signal.map_or(Ok(()), |signal| session.signal(signal))?;
        ensure!(session.wait(SOON)?.success(), "{keys:?} {signal:?}");
        assert_given_back(&session, before)?;
    }
    Ok(())
}

/// Under a shell with job control, as a person would.
#[test]
fn suspended_it_gives_the_terminal_back_and_takes_it_again() -> Result<()> {
    let namespace = Namespace::new()?;
    namespace.up("lo")?;
    let mut command = namespace.command("sh");
    let program = binary()?;
    let script = "set -m; \"$HANDSHAKE\" watch --format tui -i lo; echo STOPPED; stty -a; read go; fg; echo ENDED $?";
    command
        .args(["-c", script])
        .env("HANDSHAKE", program)
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8");
    tether(&mut command);
    let mut session = Session::start(command, 80, 24)?;
    session.until(START, |shown| screen(shown, 80, 24).contains("? help"))?;
    session.press("\x1a")?;
    let stopped = |shown: &[u8]| String::from_utf8_lossy(shown).contains("-ignbrk");
    let shown = session.until(SOON, stopped)?;
    ensure!(count(&shown, LEFT) == 1 && count(&shown, CURSOR) == 1);
    let text = String::from_utf8_lossy(&shown).into_owned();
    ensure!(text.contains(" icanon") && !text.contains("-icanon"), "{text}");
    session.press("\n")?;
    session.until(SOON, |shown| count(shown, ENTERED) >= 2)?;
    session.until(SOON, |shown| screen(shown, 80, 24).contains("? help"))?;
    session.press("q")?;
    session.until(SOON, |shown| String::from_utf8_lossy(shown).contains("ENDED 0"))?;
    ensure!(session.wait(SOON)?.success());
    Ok(())
}

#[test]
fn an_interface_that_is_down_or_gone_is_told_until_it_is_back() -> Result<()> {
    const SIZE: (u16, u16) = (100, 30);
    let namespace = Namespace::new()?;
    let add = ["ip", "link", "add", "gone0", "type", "veth", "peer", "name", "gone1"];
    let ends = ["gone0", "gone1"];
    namespace.run(&add)?;
    ends.iter().try_for_each(|end| namespace.up(end))?;
    let mut session = watch(&namespace, "gone0", SIZE.0, SIZE.1)?;
    let is_told = |session: &Session| screen(&session.shown(), SIZE.0, SIZE.1).contains("DEGRADED");
    let clears = || eventually("the alarm clears", SOON, || !is_told(&session));
    clears()?;
    namespace.run(&["ip", "link", "set", "gone0", "down"])?;
    await_words(&session, SIZE, &["DEGRADED gone0: down, since"])?;
    namespace.up("gone0")?;
    clears()?;
    namespace.run(&["ip", "link", "set", "gone1", "down"])?;
    await_words(&session, SIZE, &["DEGRADED gone0: no carrier, since"])?;
    namespace.up("gone1")?;
    clears()?;
    namespace.run(&["ip", "link", "del", "gone0"])?;
    await_words(
        &session,
        SIZE,
        &["DEGRADED gone0: the interface is gone", "BLIND at gone0 since"],
    )?;
    namespace.run(&add)?;
    ends.iter().try_for_each(|end| namespace.up(end))?;
    clears()?;
    let seen = await_words(&session, SIZE, &["BLIND at gone0 ", "): interface-gone"])?;
    ensure!(seen.contains('–') && !seen.contains("BLIND at gone0 since"), "{seen}");
    session.press("5")?;
    let troubles = ["gone0: down, ", "gone0: no carrier, ", "gone0: the interface is gone, "];
    await_words(&session, SIZE, &troubles)?;
    session.press("q")?;
    ensure!(session.wait(SOON)?.success());
    Ok(())
}

/// Detaches one of the two programs of a namespace's device, the only one that they are attached to.
fn detach_one(namespace: &Namespace, device: &str) -> Result<()> {
    let attached = attachments(namespace, device)?;
    ensure!(attached.len() == 2, "{attached:?}");
    let program: u64 = attached[0].rsplit(' ').next().unwrap_or_default().parse()?;
    let shown = namespace.run(&["bpftool", "-j", "link", "show"])?;
    let links: Value = serde_json::from_str(&shown)?;
    let is_its = |link: &&Value| link["prog_id"].as_u64() == Some(program);
    let link = links.as_array().into_iter().flatten().find(is_its).context("no link")?;
    namespace.run(&["bpftool", "link", "detach", "id", &link["id"].to_string()]).map(drop)
}

#[test]
fn whoever_is_detached_was_blind_until_it_is_attached_again() -> Result<()> {
    const SIZE: (u16, u16) = (100, 30);
    let namespace = Namespace::new()?;
    namespace.run(&["ip", "link", "add", "gone0", "type", "veth", "peer", "name", "gone1"])?;
    ["gone0", "gone1"].iter().try_for_each(|end| namespace.up(end))?;
    let mut session = watch(&namespace, "gone0", SIZE.0, SIZE.1)?;
    // Once it fights back.
    detach_one(&namespace, "gone0")?;
    let seen = await_words(&session, SIZE, &["BLIND at gone0 ", "): detached"])?;
    ensure!(seen.contains('–') && !seen.contains("DEGRADED"), "{seen}");
    // Then it gives in, and says so.
    detach_one(&namespace, "gone0")?;
    let told = ["BLIND at gone0 since ", "once before", "DEGRADED gone0: somebody detached"];
    await_words(&session, SIZE, &told)?;
    session.press("q")?;
    ensure!(session.wait(SOON)?.success());
    Ok(())
}

#[test]
fn open_attempts_are_all_reached_and_written_as_unfinished() -> Result<()> {
    const OPEN: u32 = 40;
    const SIZE: (u16, u16) = (80, 24);
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let directory = Directory::new("screen")?;
    let arguments = ["--timeout", "30s", "-i", "srv0"];
    let mut session = start(&lab.server, &arguments, &directory.0, SIZE)?;
    // One fails, and has a part of the screen; nobody answers the others.
    traffic::refused(&lab, Family::V4)?;
    ensure!(traffic::flood(&lab, OPEN)? == OPEN);
    // No kernel stands behind these: none is sent again.
    await_words(&session, SIZE, &["refused", "gave up?", "more waiting: w shows all"])?;
    session.press("wG")?;
    await_words(&session, SIZE, &["(40 of 40)", "w: failed ones"])?;
    session.press("e")?;
    let told = ["wrote 40 attempts, 40 of them", "? help"];
    await_words(&session, SIZE, &told)?;
    session.press("q")?;
    ensure!(session.wait(SOON)?.success());
    let files: Vec<_> = std::fs::read_dir(&directory.0)?.collect::<Result<_, _>>()?;
    ensure!(files.len() == 1, "{files:?}");
    let text = std::fs::read_to_string(files[0].path())?;
    let records: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(records.len(), OPEN as usize);
    for record in records {
        assert_eq!(
            (&record["outcome"], &record["ended_by"]),
            (&json!("unfinished"), &json!("eof"))
        );
        assert_eq!((&record["role"], &record["iface"]), (&json!("server"), &json!("srv0")));
        assert!(record["t_syn"].is_string() && record["syn"]["win"].is_number(), "{record}");
    }
    Ok(())
}

#[test]
fn words_wait_until_the_screen_is_gone() -> Result<()> {
    let namespace = Namespace::new()?;
    namespace.run(&["ip", "link", "add", "gone0", "type", "veth", "peer", "name", "gone1"])?;
    namespace.up("gone0")?;
    let mut session = watch(&namespace, "gone0", 80, 24)?;
    namespace.run(&["ip", "link", "del", "gone0"])?;
    await_words(&session, (80, 24), &["DEGRADED gone0", "BLIND"])?;
    session.press("q")?;
    ensure!(session.wait(SOON)?.success());
    let shown = session.until(SOON, |shown| String::from_utf8_lossy(shown).contains("events: "))?;
    let left = shown.windows(LEFT.len()).position(|window| window == LEFT).unwrap_or(0);
    let after = String::from_utf8_lossy(&shown[left..]).into_owned();
    ensure!(after.contains("gone0 is gone; it is taken up again"), "{after}");
    Ok(())
}
