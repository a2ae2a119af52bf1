//! Keys as data: what each makes of the state.

use handshake_common::abi::{COUNTERS, Hook};
use jiff::tz::TimeZone;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::list::Kind;
use super::{Action, Theme, Ui};
use crate::attempt::{Attempt, Endpoint, Key, OpenView};
use crate::board::{Board, Glance};
use crate::outcome::Outcome;
use crate::snapshot::{AttemptView, Place, Role};

fn ui() -> Ui {
    Ui::new(Theme { color: false, ascii: false, light: false }, TimeZone::UTC)
}

fn key(port: u16) -> Key {
    let end = |port| Endpoint { address: [0, 0, 0, 1], port };
    Key { client: end(1000 + port), server: end(port), ip_version: 6 }
}

/// Attempts refused by ports 1, 2 and 3, and open ones of ports 1 and 2, seen since the first look.
fn board() -> Board {
    let mut board = failed();
    let place = Place { interface: "eth0", hook: "xdp", role: Role::Server };
    let glance = Glance {
        now: 5_000_000_000,
        to_wall: 0,
        started: 5,
        outcomes: [0; Outcome::ALL.len()],
        retransmits: 0,
        counters: &[[0; COUNTERS]; Hook::ALL.len()],
        place: &|_| place,
        sampled: None,
        seen: crate::pattern::Seen::default(),
    };
    let open = |id: u64| OpenView {
        id,
        key: key(id as u16 - 9),
        source: 0,
        began: id as i64,
        last: id as i64,
        client_isn: 0,
        answered: false,
        two_sided: false,
        unanswered: Outcome::NoAnswer,
        syn_retrans: 0,
        synack_retrans: 0,
    };
    board.look(&glance, [10, 11].into_iter().map(open));
    board
}

/// The last one has completed, the first had to send its SYN again.
fn failed() -> Board {
    let mut board = Board::new(0, 10);
    for port in 1..=4 {
        let outcome = if port < 4 { Outcome::Refused } else { Outcome::Completed };
        let mut attempt = Attempt::blank(key(port), outcome);
        attempt.syn_retrans = u32::from(port == 1);
        attempt.id = port.into();
        board.record(&AttemptView { attempt: &attempt, place: None, to_wall: 0 }, None);
    }
    board
}

/// `^x` is Control and x.
fn keys(text: &str) -> Vec<KeyEvent> {
    let mut keys = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let plain = |code| KeyEvent::new(code, KeyModifiers::NONE);
        match word {
            "Enter" => keys.push(plain(KeyCode::Enter)),
            "Esc" => keys.push(plain(KeyCode::Esc)),
            "Tab" => keys.push(plain(KeyCode::Tab)),
            "BackTab" => keys.push(plain(KeyCode::BackTab)),
            "Space" => keys.push(plain(KeyCode::Char(' '))),
            "Back" => keys.push(plain(KeyCode::Backspace)),
            "Down" => keys.push(plain(KeyCode::Down)),
            "End" => keys.push(plain(KeyCode::End)),
            word => match word.strip_prefix('^') {
                Some(one) => {
                    let code = KeyCode::Char(one.chars().next().unwrap());
                    keys.push(KeyEvent::new(code, KeyModifiers::CONTROL));
                }
                None => keys.extend(word.chars().map(|one| plain(KeyCode::Char(one)))),
            },
        }
    }
    keys
}

/// What is worth knowing of the state.
fn state(ui: &Ui) -> String {
    let mut words = vec![ui.tab.name().to_lowercase()];
    words.extend(match ui.list.kind {
        Kind::Failed => None,
        Kind::All => Some("all".to_owned()),
        Kind::Waiting => Some("waiting".to_owned()),
    });
    words.extend(ui.help.map(|_| "help".to_owned()));
    words.extend(ui.detail.as_ref().map(|detail| format!("attempt={}", detail.row.attempt.id)));
    words.extend(ui.prompt.as_ref().map(|prompt| format!("typing={}", prompt.text)));
    let wrong = ui.prompt.as_ref().is_some_and(|prompt| prompt.error.is_some());
    words.extend(wrong.then(|| "wrong".to_owned()));
    words.extend(ui.filter.as_ref().map(|filter| format!("filter={filter}")));
    words.extend(ui.frozen.as_ref().map(|_| "frozen".to_owned()));
    words.extend(ui.cursor.at.map(|id| format!("row={id}")));
    words.push(format!("rows={}", ui.list.len()));
    words.join(" ")
}

fn after(text: &str) -> (String, Action) {
    let (mut ui, board) = (ui(), board());
    ui.follow(&board);
    let mut action = Action::Draw;
    for key in keys(text) {
        action = ui.press(key, &board);
    }
    (state(&ui), action)
}

#[test]
fn keys_change_the_state_as_help_says() {
    for (keys, expected) in [
        ("", "overview rows=3"),
        ("2", "services rows=3"),
        ("5 1", "overview rows=3"),
        ("Tab Tab", "peers rows=3"),
        ("BackTab", "interfaces rows=3"),
        ("?", "overview help rows=3"),
        ("? ?", "overview rows=3"),
        ("? Esc", "overview rows=3"),
        ("? 3", "peers rows=3"),
        ("f", "overview frozen rows=3"),
        ("Space Space", "overview rows=3"),
        // The newest is the first.
        ("Enter", "overview attempt=3 rows=3"),
        ("j Enter", "overview attempt=2 row=2 rows=3"),
        ("End Enter Esc", "overview row=1 rows=3"),
        ("Down Down Down k", "overview row=2 rows=3"),
        ("End g", "overview rows=3"),
        ("Enter 2", "services rows=3"),
        ("/ port:2", "overview typing=port:2 rows=3"),
        ("/ port:2 Esc", "overview rows=3"),
        ("/ port:2 Enter", "overview filter=port:2 rows=1"),
        ("/ port:2 Enter Esc", "overview rows=3"),
        ("/ port:2 Enter / ^u Enter", "overview rows=3"),
        ("/ port:22 Back Enter", "overview filter=port:2 rows=1"),
        ("/ port:2 Space outcome:x ^w Enter", "overview filter=port:2 rows=1"),
        ("/ prt:2 Enter", "overview typing=prt:2 wrong rows=3"),
        ("/ prt:2 Enter Back", "overview typing=prt: rows=3"),
        // What is typed is no command.
        ("/ q2?fe", "overview typing=q2?fe rows=3"),
        ("r Enter", "overview attempt=1 rows=3"),
        // By server, largest port first.
        ("sss Enter", "overview attempt=3 rows=3"),
        ("sss r Enter", "overview attempt=1 rows=3"),
        ("s S Enter", "overview attempt=3 rows=3"),
        // The open ones that wait, the longest first; there and back.
        ("w", "overview waiting rows=2"),
        ("w j", "overview waiting row=11 rows=2"),
        ("w r Enter", "overview waiting attempt=11 rows=2"),
        ("w Enter Esc", "overview waiting rows=2"),
        ("w Esc", "overview rows=3"),
        ("w w", "overview rows=3"),
        ("w 2", "services waiting rows=2"),
        ("w 2 w", "overview waiting rows=2"),
        ("Enter w", "overview waiting rows=2"),
        ("w / port:2 Enter", "overview waiting filter=port:2 rows=1"),
        ("w / port:2 Enter Esc", "overview filter=port:2 rows=1"),
        ("w s Enter", "overview waiting attempt=11 rows=2"),
        // All ended ones, the completed one too; there and back.
        ("a", "overview all rows=4"),
        ("a a", "overview rows=3"),
        ("a Esc", "overview rows=3"),
        ("2 a", "overview all rows=4"),
        ("a Enter", "overview all attempt=4 rows=4"),
        ("a Enter a", "overview all rows=4"),
        ("a w", "overview waiting rows=2"),
        ("a / port:4 Enter", "overview all filter=port:4 rows=1"),
        ("/ port:4 Enter a", "overview all filter=port:4 rows=1"),
        // The slow one first, though it ended first.
        ("o Enter", "overview all attempt=1 rows=4"),
        ("o o Enter", "overview all attempt=4 rows=4"),
        ("o s Enter", "overview all attempt=4 rows=4"),
    ] {
        assert_eq!(after(keys).0, expected, "{keys}");
    }
}

#[test]
fn some_keys_ask_the_program_for_something() {
    assert_eq!(after("q").1, Action::Quit);
    assert_eq!(after("^c").1, Action::Quit);
    assert_eq!(after("/ abc ^c").1, Action::Quit);
    assert_eq!(after("^z").1, Action::Suspend);
    assert_eq!(after("^l").1, Action::Redraw);
    assert_eq!(after("5 e").1, Action::ExportSummary);
    let exported = |keys: &str| match after(keys).1 {
        Action::Export(rows) => rows.iter().map(|row| row.attempt.id).collect::<Vec<_>>(),
        other => panic!("{keys}: {other:?}"),
    };
    // What waits stands first.
    assert_eq!(exported("e"), [10, 11, 3, 2, 1]);
    assert_eq!(exported("/ port:2 Enter e"), [11, 2]);
    assert_eq!(exported("j Enter e"), [2]);
    assert_eq!(exported("w e"), [10, 11]);
    assert_eq!(exported("w r e"), [11, 10]);
    assert_eq!(exported("w Enter e"), [10]);
    assert_eq!(after("2 / port:7 Enter e").1, Action::Draw);
    assert!(matches!(after("Enter").1, Action::Segments(row) if row.attempt.id == 3));
}

#[test]
fn what_is_frozen_stays_when_rows_come_and_go() {
    let (mut ui, mut live) = (ui(), board());
    ui.follow(&live);
    ui.press(keys("f")[0], &live);
    for _ in 0..3 {
        for row in board().rows.since(0) {
            live.record(&row.view(), None);
        }
    }
    ui.follow(&live);
    assert_eq!(state(&ui), "overview frozen rows=3");
    ui.press(keys("f")[0], &live);
    assert_eq!(state(&ui), "overview rows=10");
}
