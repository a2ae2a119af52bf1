//! What changes when somebody looks: colours, and how far a long file has been read.

use std::io::{Write, pipe};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use handshake_tests::pty::{self, Session, Terminal};
use handshake_user::terminal::{Pen, Taken};

use crate::program::{capture, handshake, path_text, pcap_header, pcap_record, run, scratch};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const ERASE: &str = "\r\x1b[K";

fn on_terminal(settings: &[(&str, &str)]) -> String {
    let (good, bad) = (capture("lab-basic-eth.pcap"), capture("lab-refused-null.pcap"));
    let mut command = handshake(&["replay", path_text(&good), path_text(&bad)]);
    command.envs(settings.iter().copied());
    let (status, shown) = pty::run(command, Terminal::Stdout).expect("a terminal");
    assert!(status.success());
    assert_eq!(shown.lines().count(), 24, "{shown}");
    shown
}

#[test]
fn outcomes_have_colours_on_a_terminal() {
    let shown = on_terminal(&[]);
    assert_eq!((shown.matches(GREEN).count(), shown.matches(RED).count()), (12, 12));
    // https://no-color.org: an empty variable says nothing.
    assert!(on_terminal(&[("NO_COLOR", "")]).contains(GREEN));
}

#[test]
fn there_is_no_colour_where_it_is_not_wanted() {
    for settings in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = on_terminal(&[settings]);
        assert!(!shown.contains('\x1b'), "{settings:?}: {shown:?}");
    }
}

#[test]
fn a_pipe_gets_the_same_without_colour() {
    let (good, bad) = (capture("lab-basic-eth.pcap"), capture("lab-refused-null.pcap"));
    let piped = run(&["replay", path_text(&good), path_text(&bad)]);
    assert!(!piped.stdout.contains('\x1b') && !piped.stderr.contains('\x1b'));
    let codes = [GREEN, RED, "\x1b[0m", "\r"];
    let plain = codes.iter().fold(on_terminal(&[]), |text, code| text.replace(code, ""));
    assert_eq!(plain, piped.stdout);
}

/// `tcpdump -Uw - | handshake replay -`: whoever watches shall not wait for a full buffer.
#[test]
fn a_line_is_shown_while_standard_input_is_still_open() {
    const PATIENCE: Duration = Duration::from_secs(10);
    let (reader, mut writer) = pipe().expect("a pipe");
    let (tell, told) = mpsc::channel();
    let feeder = std::thread::spawn(move || {
        let bytes = std::fs::read(capture("lab-basic-eth.pcap")).expect("a fixture");
        writer.write_all(&bytes).expect("it reads");
        // The pipe is closed when this thread ends.
        told.recv_timeout(PATIENCE).is_ok()
    });
    let mut command = handshake(&["replay", "-"]);
    command.stdin(reader);
    let watch = |_: &[u8]| tell.send(()).unwrap_or(());
    let (status, shown) = pty::run_watching(command, Terminal::Stdout, watch).expect("a terminal");
    assert!(feeder.join().expect("it fed"), "nothing was shown before the input's end");
    assert!(status.success());
    assert_eq!(shown.lines().count(), 12, "{shown}");
}

#[test]
fn help_has_no_colour_if_not_wanted() {
    let mut command = handshake(&["--help"]);
    command.env("NO_COLOR", "1");
    let (_, shown) = pty::run(command, Terminal::Both).expect("a terminal");
    assert!(shown.contains("Usage:") && !shown.contains('\x1b'), "{shown:?}");
}

/// Frames that are not ours, so that reading is all there is to do.
fn long_capture(name: &str) -> std::path::PathBuf {
    let mut bytes = pcap_header(1);
    let record = pcap_record(1, &[0; 60_000]);
    while bytes.len() < 9 << 20 {
        bytes.extend(&record);
    }
    scratch(name, &bytes)
}

#[test]
fn reading_a_long_file_is_shown_and_leaves_no_trace() {
    let path = long_capture("long\u{1b}[31m.pcap");
    let command = handshake(&["replay", "--format", "json", path_text(&path)]);
    let (status, shown) = pty::run(command, Terminal::Stderr).expect("a terminal");
    assert!(status.success());
    let steps: Vec<_> = shown.split(ERASE).collect();
    assert_eq!((steps.first(), steps.last()), (Some(&""), Some(&"")), "{shown:?}");
    let steps = &steps[1..steps.len() - 1];
    assert!((20..=101).contains(&steps.len()), "{steps:?}");
    for step in steps {
        let (percent, rest) = step.split_once('%').expect("a percentage");
        assert!(percent.trim().parse::<u32>().is_ok_and(|one| one <= 100), "{step}");
        assert!(rest.starts_with(" of /") && rest.ends_with(r"/long\u{1b}[31m.pcap"), "{step}");
    }
    assert!(steps.last().is_some_and(|last| last.starts_with("100%")), "{steps:?}");
}

#[test]
fn progress_comes_before_the_summary_not_into_it() {
    let path = long_capture("long.pcap");
    let command = handshake(&["replay", "--format", "summary", path_text(&path)]);
    let (_, shown) = pty::run(command, Terminal::Both).expect("a terminal");
    let end = shown.rfind(ERASE).expect("progress") + ERASE.len();
    assert!(shown[end..].starts_with("attempts: 0 started"), "{shown:?}");
}

#[test]
fn nobody_is_shown_progress_who_does_not_look_or_reads_lines() {
    let path = long_capture("unseen.pcap");
    let piped = run(&["replay", "--format", "json", path_text(&path)]);
    assert_eq!(piped.stderr, "");
    let lines = || handshake(&["replay", path_text(&path)]);
    let (_, shown) = pty::run(lines(), Terminal::Both).expect("a terminal");
    assert!(!shown.contains('%'), "{shown:?}");
    let (_, shown) = pty::run(lines(), Terminal::Stdout).expect("a terminal");
    assert_eq!(shown, "");
    let short = capture("lab-basic-eth.pcap");
    let command = handshake(&["replay", "--format", "json", path_text(&short)]);
    let (_, shown) = pty::run(command, Terminal::Stderr).expect("a terminal");
    assert_eq!(shown, "");
}

#[test]
fn a_screen_needs_a_terminal_and_says_what_to_do_without() {
    let said = run(&["watch", "--format", "tui"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    assert!(
        said.stderr.contains("needs a terminal") && said.stderr.contains("--format lines"),
        "{said:?}"
    );
}

#[test]
fn a_dumb_terminal_gets_lines_and_a_word() {
    for (term, word) in [("dumb", "TERM is dumb"), ("", "TERM is not set")] {
        let mut command = handshake(&["watch", "--format", "tui", "-i", "nothere"]);
        command.env("TERM", term);
        let (status, shown) = pty::run(command, Terminal::Both).expect("a terminal");
        assert_eq!(status.code(), Some(3), "{shown}");
        assert!(shown.contains(word) && shown.contains("lines instead"), "{shown}");
        assert!(!shown.contains('\x1b'), "{shown:?}");
    }
}

/// Set for the process that panics.
const PANICS: &str = "HANDSHAKE_TEST_PANICS";

#[test]
fn a_panic_gives_the_terminal_back_before_it_speaks() {
    if std::env::var_os(PANICS).is_some() {
        let mut pen = Pen::new().expect("a terminal");
        let _taken = Taken::take(&mut pen).expect("a terminal");
        panic!("as asked");
    }
    let before = Session::start(std::process::Command::new("true"), 80, 24);
    let before = before.and_then(|session| session.modes()).expect("a terminal");
    let this = std::env::current_exe().expect("a test program");
    let mut command = std::process::Command::new(this);
    command.args([
        "--exact",
        "terminal::a_panic_gives_the_terminal_back_before_it_speaks",
        "--nocapture",
    ]);
    command.env(PANICS, "1").env("TERM", "xterm");
    let mut session = Session::start(command, 80, 24).expect("a terminal");
    let status = session.wait(Duration::from_secs(10)).expect("it ends");
    assert!(!status.success());
    let said = |shown: &[u8]| String::from_utf8_lossy(shown).contains("as asked");
    let shown = session.until(Duration::from_secs(10), said).expect("words");
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let (entered, left) = (shown.find("\x1b[?1049h"), shown.find("\x1b[?1049l"));
    let spoken = shown.find("as asked");
    assert!(entered.is_some() && entered < left && left < spoken, "{shown:?}");
    assert_eq!(session.modes().expect("a terminal"), before);
}

/// Set for the process whose terminal takes nothing.
const STUCK: &str = "HANDSHAKE_TEST_STUCK";

/// As a terminal behind a connection that hangs.
#[test]
fn a_terminal_that_takes_nothing_keeps_nobody_who_takes_it_or_gives_it_back() {
    if std::env::var_os(STUCK).is_some() {
        let flow = |action| {
            // SAFETY: takes two numbers and touches no memory.
            let result = unsafe { libc::tcflow(1, action) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        };
        flow(libc::TCOOFF);
        let started = Instant::now();
        let mut pen = Pen::new().expect("a terminal");
        let taken = Taken::take(&mut pen).expect("a terminal");
        taken.retake(&mut pen).expect("a terminal");
        taken.give_back();
        taken.retake(&mut pen).expect("a terminal");
        drop(taken);
        let took = started.elapsed();
        flow(libc::TCOON);
        assert!(took < Duration::from_secs(3), "{took:?}");
        return;
    }
    let this = std::env::current_exe().expect("a test program");
    let mut command = std::process::Command::new(this);
    let name = "terminal::a_terminal_that_takes_nothing_keeps_nobody_who_takes_it_or_gives_it_back";
    command.args(["--exact", name, "--nocapture"]);
    command.env(STUCK, "1").env("TERM", "xterm");
    let mut session = Session::start(command, 80, 24).expect("a terminal");
    let status = session.wait(Duration::from_secs(10)).expect("it does not wait for ever");
    assert!(status.success(), "{}", String::from_utf8_lossy(&session.shown()));
    // What it said last may still be on its way when it has ended.
    let passed = |shown: &[u8]| String::from_utf8_lossy(shown).contains("1 passed");
    session.until(Duration::from_secs(10), passed).expect("it ran");
}
