//! The lists of attempts and the detail of one: all that have ended, slow ones first, those that belong to
//! one connect, clients that have given up, alarms that are known.

use handshake_user::outcome::Outcome;
use handshake_user::output::tui::Action;
use ratatui::crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::style::Color;

use super::world::{self, SECOND, World, shown};
use super::{after, assert_golden, busy};

/// Columns and lines.
const SIZES: [(u16, u16); 4] = [(200, 60), (120, 40), (80, 24), (40, 12)];

#[track_caller]
fn assert_screen(name: &str, world: &World, keys: &str) {
    let screens = SIZES.map(|(width, height)| {
        let screen = after(world, keys, width, height);
        for line in screen.lines() {
            assert!(line.chars().count() <= usize::from(width) + 1, "{line}");
        }
        format!("=== {width}x{height}\n{screen}")
    });
    assert_golden(&format!("tui/{name}.txt"), &screens.concat());
}

/// A host on which most is well, but some SYNs are lost, and one host is slow.
fn lossy() -> World {
    let mut world = World::new();
    for second in 0..30_u16 {
        for client in 0..4 {
            world.complete(client, "10.77.2.1:5432", 300_000);
        }
        if second % 10 == 4 {
            world.retry(second, "10.77.2.1:5432", u32::from(second / 10) % 2 + 1);
        }
        if second % 15 == 7 {
            world.complete(40 + second, "10.77.2.9:443", 700_000_000);
        }
        world.second(&[]);
    }
    world.watch("rtc0");
    world
}

/// The rows of a screen that show an attempt: with its outcome.
fn rows(screen: &str) -> Vec<&str> {
    let named =
        |line: &&str| Outcome::ALL.iter().any(|one| line.contains(&format!("{} ", one.name())));
    screen.lines().filter(|line| line.contains("→ 10.77.2.")).filter(named).collect()
}

#[test]
fn on_a_healthy_host_the_first_screen_shows_what_there_is() {
    let mut world = lossy();
    assert_screen("healthy", &world, "");
    let screen = after(&world, "", 120, 40);
    assert!(screen.contains("none failed; ended attempts: 125"), "{screen}");
    // The first failure stands alone; the others are a key away.
    world.fail(9, "10.77.2.1:9", Outcome::Refused, 60_000, 0);
    world.second(&[]);
    assert_eq!(rows(&after(&world, "", 120, 40)).len(), 1);
    for (keys, most) in
        [("a", 20), ("aa", 1), ("a\u{1b}", 1), ("2a", 20), ("o", 20), ("oo", 20), ("?a", 20)]
    {
        let count = rows(&after(&world, keys, 120, 40)).len();
        assert!(if most == 1 { count == 1 } else { count >= most }, "{keys:?}: {count}");
    }
}

#[test]
fn slow_ones_stand_on_top_when_asked() {
    let mut world = lossy();
    world.fail(9, "10.77.2.1:9", Outcome::NoAnswer, 4 * SECOND, 2);
    world.second(&[]);
    assert_screen("slow", &world, "o");
    let screen = after(&world, "o", 120, 40);
    let told = |row: &&str| row.contains("SYN ×") || row.contains("700ms");
    let rows = rows(&screen);
    assert_eq!(rows.iter().take_while(|row| told(row)).count(), 6, "{screen}");
    // The longest first; what failed comes after what was slow and worked.
    assert!(rows[0].contains("3.00s") && rows[5].contains("no-answer"), "{screen}");
    assert!(rows[3].contains("700ms") && rows[4].contains("700ms"), "{screen}");
}

#[test]
fn the_filter_lists_of_all_what_it_lists_on_the_command_line() {
    let mut world = lossy();
    world.fail(9, "10.77.2.1:9", Outcome::Refused, 60_000, 0);
    world.second(&[]);
    for (filter, count) in [
        ("retrans:yes", 3),
        ("latency:>500ms", 5),
        ("latency:>2s", 1),
        ("outcome:completed server:10.77.2.9", 2),
        ("port:9", 1),
    ] {
        let screen = after(&world, &format!("a/{filter}\n"), 120, 40);
        assert_eq!(rows(&screen).len(), count, "{filter}\n{screen}");
    }
}

#[test]
fn slow_and_failed_ones_are_kept_for_longer_than_the_others() {
    let mut world = lossy();
    world.board = handshake_user::board::Board::new(world.now, 50);
    world.fail(9, "10.77.2.1:9", Outcome::Refused, 60_000, 0);
    world.retry(8, "10.77.2.1:5432", 1);
    for _ in 0..100 {
        world.complete(1, "10.77.2.1:5432", 300_000);
    }
    world.second(&[]);
    let screen = after(&world, "o", 120, 40);
    assert!(screen.contains("ended attempts: 52 kept of 102"), "{screen}");
    assert!(rows(&screen)[0].contains("SYN ×2"), "{screen}");
    assert_eq!(rows(&after(&world, "a/outcome:refused\n", 80, 24)).len(), 1);
}

#[test]
fn a_syn_that_crosses_the_error_is_no_second_failure() {
    let mut world = World::new();
    world.cross(1, "10.77.2.99:80", "10.77.0.254");
    world.cross(2, "10.77.2.99:80", "10.77.0.254");
    world.second(&[]);
    for (width, height) in SIZES {
        let screen = after(&world, "", width, height);
        assert_eq!(rows(&screen).len(), 2, "{screen}");
        let screen = after(&world, "a", width, height);
        assert_eq!(rows(&screen).len(), 2, "{screen}");
    }
    let screen = after(&world, "", 120, 40);
    let row = rows(&screen)[0];
    assert!(row.contains("3.00s     2") && row.contains("SYN again; ICMP"), "{row}");
    assert!(after(&world, "\n", 120, 40).contains("told as one failed attempt"));
}

#[test]
fn clients_that_have_given_up_are_marked() {
    let mut world = World::new();
    // Sent at 0, 1 and 3 s: the next would have come at 7 s.
    let gone = |world: &World, silent| {
        let mut open = world.open(1, "10.77.2.99:80", (3 + silent) * SECOND, false, 2);
        open.last = world.now - silent * SECOND;
        open
    };
    for (silent, marked) in [(1, false), (4, false), (6, true), (20, true)] {
        let open = gone(&world, silent - 1);
        world.second(&[open]);
        let screen = after(&world, "", 80, 24);
        assert_eq!(screen.contains("gave up?"), marked, "{silent}: {screen}");
        assert_eq!(screen.contains("no answer yet"), !marked, "{silent}: {screen}");
    }
    // One SYN and no other: cancelled within a second. With others, or not for long enough, it was not.
    let mut world = World::new();
    world.fail(3, "10.77.2.99:80", Outcome::NoAnswer, SECOND, 0);
    world.fail(2, "10.77.2.99:80", Outcome::NoAnswer, 13 * SECOND, 3);
    world.second(&[]);
    let cancelled =
        |world: &World| after(world, "", 120, 40).matches("client cancelled within 1s").count();
    assert_eq!(cancelled(&world), 0);
    world.fail(1, "10.77.2.99:80", Outcome::NoAnswer, 4 * SECOND, 0);
    world.second(&[]);
    assert_eq!(cancelled(&world), 1);
}

#[test]
fn known_alarms_leave_the_top_until_something_new_happens() {
    let mut world = busy();
    let at = |seconds| world.now - seconds * SECOND;
    world.board.lose("ring-full", 1_204, at(31), at(30));
    world.board.alarms.blind.begin("eth1", "detached", at(75));
    world.board.alarms.degraded.insert("eth1", "somebody detached handshake", at(73));
    let words = ["LOST", "BLIND", "DEGRADED"];
    let told = |screen: &str| words.map(|word| screen.matches(word).count());
    let mut ui = world::ui(world::MONOCHROME);
    let mut see = |world: &World, keys: &str| {
        shown(&mut ui, &world.board, 120, 40);
        world::press(&mut ui, &world.board, keys);
        shown(&mut ui, &world.board, 120, 40)
    };
    assert_eq!(told(&see(&world, "")), [1, 1, 1]);
    assert_eq!(told(&see(&world, "x")), [0, 0, 0]);
    let screen = see(&world, "5");
    assert!(screen.contains("LOST 1204 (ring-full)") && screen.contains("eth1"), "{screen}");
    // The same is no news; another time, another interface and more degraded ones are.
    world.board.lose("ring-full", 1, world.now, world.now);
    assert_eq!(told(&see(&world, "1")), [1, 0, 0]);
    world.board.alarms.blind.begin("eth2", "detached", world.now);
    world.board.alarms.degraded.insert("eth2", "somebody detached handshake", world.now);
    let screen = see(&world, "");
    assert!(screen.contains("BLIND at eth2") && screen.contains("DEGRADED eth2"), "{screen}");
    assert_eq!(told(&see(&world, "x")), [0, 0, 0]);
    assert_eq!(told(&see(&world, "x")), [1, 1, 2]);
}

#[test]
fn what_to_check_next_is_in_the_detail_or_its_help() {
    let world = busy();
    for (width, height) in SIZES {
        let refused = "/outcome:refused\n\n";
        let detail = after(&world, refused, width, height);
        let help = after(&world, &format!("{refused}?"), width, height);
        assert!(help.contains("Nothing listens on port 9"), "{help}");
        assert!(detail.contains("Nothing listens on port 9") || height < 24, "{detail}");
        assert!(!help.contains(".md"), "{help}");
    }
    assert!(!after(&world, "?", 200, 60).contains(".md"));
}

fn mouse(kind: MouseEventKind, (column, row): (u16, u16)) -> MouseEvent {
    MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }
}

/// A screen of 120 by 40, and somebody with a mouse.
struct Pointer(handshake_user::output::tui::Ui);

impl Pointer {
    fn see(&mut self, world: &World) -> String {
        shown(&mut self.0, &world.board, 120, 40)
    }

    /// Clicks on the first place that shows this text, from some line on.
    fn click(&mut self, world: &World, text: &str, below: usize) -> Action {
        let screen = self.see(world);
        let mut lines = screen.lines().enumerate().skip(below);
        let found = lines.find_map(|(y, line)| Some((line.find(text)?, y, line)));
        let (at, y, line) = found.unwrap_or_else(|| panic!("no {text} in\n{screen}"));
        // The first cell of a line says what is marked.
        let x = line[..at].chars().count() - 1;
        let event = mouse(MouseEventKind::Down(MouseButton::Left), (x as u16, y as u16));
        self.0.point(event, &world.board)
    }

    fn turn(&mut self, world: &World, kind: MouseEventKind) {
        self.see(world);
        let _ = self.0.point(mouse(kind, (5, 20)), &world.board);
    }
}

#[test]
fn the_mouse_chooses_what_keys_choose() {
    let world = busy();
    let mut pointer = Pointer(world::ui(world::MONOCHROME));
    let marked = |screen: &str, text: &str| {
        screen.lines().any(|line| line.starts_with('>') && line.contains(text))
    };
    assert_eq!(pointer.click(&world, "half-open ", 10), Action::Draw);
    assert!(marked(&pointer.see(&world), "half-open"), "{}", pointer.see(&world));
    // Again: its segments. Esc and a tab lead out.
    let opened = pointer.click(&world, "half-open ", 10);
    assert!(matches!(&opened, Action::Segments(row) if row.attempt.outcome == Outcome::HalfOpen));
    assert!(pointer.see(&world).contains("attempt "));
    pointer.click(&world, "2 Services", 0);
    assert!(pointer.see(&world).contains(" service "));
    // A head sorts, again the other way round.
    pointer.click(&world, "service ", 1);
    assert!(pointer.see(&world).contains("service▲"), "{}", pointer.see(&world));
    pointer.click(&world, "service▲", 1);
    assert!(pointer.see(&world).contains("service▼"));
    let opened = pointer.click(&world, "10.77.2.99:80", 2);
    assert_eq!(opened, Action::Draw);
    pointer.click(&world, "10.77.2.99:80", 2);
    assert!(pointer.see(&world).contains("only service 10.77.2.99:80"), "{}", pointer.see(&world));
    pointer.click(&world, "server", 5);
    assert!(pointer.see(&world).contains("server▼"), "{}", pointer.see(&world));
    // The wheel goes through rows, of the list and of a text.
    let place = |screen: &str| {
        let (_, rest) = screen.split_once('(').expect("a place");
        rest.split(' ').next().map(str::to_owned)
    };
    let mut pointer = Pointer(world::ui(world::MONOCHROME));
    pointer.turn(&world, MouseEventKind::ScrollDown);
    pointer.turn(&world, MouseEventKind::ScrollDown);
    pointer.turn(&world, MouseEventKind::ScrollUp);
    assert!(pointer.see(&world).contains("(4 of 68)"), "{:?}", place(&pointer.see(&world)));
    // Where there is nothing, nothing happens; nor while one types.
    let before = pointer.see(&world);
    let nowhere = mouse(MouseEventKind::Down(MouseButton::Left), (100, 39));
    assert_eq!(pointer.0.point(nowhere, &world.board), Action::Draw);
    assert_eq!(pointer.see(&world), before);
    world::press(&mut pointer.0, &world.board, "/port");
    pointer.click(&world, "2 Services", 0);
    assert!(pointer.see(&world).contains("filter: port"));
}

#[test]
fn a_row_can_be_copied_and_so_can_the_name_of_a_service() {
    use handshake_user::output::tui::Copy;
    let world = busy();
    let pressed = |keys: &str| {
        let mut ui = world::ui(world::MONOCHROME);
        shown(&mut ui, &world.board, 80, 24);
        world::pressed(&mut ui, &world.board, keys)
    };
    let is_refused = |row: &handshake_user::board::Row| row.attempt.outcome == Outcome::Refused;
    for (keys, how) in [("jjy", Copy::Line), ("jjY", Copy::Json), ("jj\ny", Copy::Line)] {
        let action = pressed(keys);
        assert!(
            matches!(&action, Action::Copy(row, one) if *one == how && is_refused(row)),
            "{keys:?}: {action:?}"
        );
    }
    assert_eq!(pressed("2y"), Action::CopyText("10.77.2.1:9".to_owned()));
    assert_eq!(pressed("4y"), Action::Draw);
    assert!(after(&world, "4y", 80, 24).contains("there is no row to copy"));
}

#[test]
fn on_a_light_background_nothing_is_yellow() {
    let world = busy();
    let colours = |is_light: bool| {
        let theme = handshake_user::output::tui::Theme { color: true, ascii: false, light: false };
        let mut ui = world::ui(theme);
        if is_light {
            ui.on_light_background();
        }
        world::colours(&mut ui, &world.board, 120, 40)
    };
    assert!(colours(false).contains(&Color::Yellow));
    let named = [Color::Yellow, Color::Green, Color::Red, Color::DarkGray];
    assert!(named.iter().all(|one| !colours(true).contains(one)));
}
