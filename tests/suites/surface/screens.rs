//! The terminal UI: what each view shows at three sizes, compared with golden files. A `>` before a line
//! says that something in it is marked by reversed colours.

#[path = "screens/attempts.rs"]
mod attempts;
#[path = "screens/now.rs"]
mod now;
#[path = "screens/world.rs"]
mod world;

use handshake_tests::golden::assert_golden;
use handshake_user::board::{Board, Sampled};
use handshake_user::outcome::Outcome;
use handshake_user::output::tui::timeline::{Segment, from_record};
use handshake_user::output::tui::{ServiceBy, Theme};
use world::{MONOCHROME, SECOND, World, press, shown, ui};

/// Columns and lines.
const SIZES: [(u16, u16); 3] = [(120, 40), (80, 24), (40, 12)];

/// The view after these keys, at all sizes, is what the golden file says.
#[track_caller]
fn assert_screen(name: &str, world: &World, keys: &str) {
    assert_screen_with(name, world, keys, world::MONOCHROME, |_| {});
}

#[track_caller]
fn assert_screen_with(
    name: &str,
    world: &World,
    keys: &str,
    theme: Theme,
    prepare: impl Fn(&mut handshake_user::output::tui::Ui),
) {
    let mut text = String::new();
    for (width, height) in SIZES {
        let mut ui = world::ui(theme);
        // As on a real terminal, there is a picture before there are keys.
        shown(&mut ui, &world.board, width, height);
        world::press(&mut ui, &world.board, keys);
        prepare(&mut ui);
        let screen = shown(&mut ui, &world.board, width, height);
        for line in screen.lines() {
            assert!(line.chars().count() <= usize::from(width) + 1, "{line}");
        }
        text.push_str(&format!("=== {width}x{height}\n{screen}"));
    }
    assert_golden(&format!("tui/{name}.txt"), &text);
}

/// A minute of a host with good and bad services.
fn busy() -> World {
    let mut world = World::new();
    for second in 0..60_u64 {
        for client in 0..8 {
            world.complete(
                client,
                "10.77.2.1:8080",
                180_000 + second * 9_000 + u64::from(client) * 40_000,
            );
        }
        world.complete(9, "[fd77:2::1]:8080", 950_000 + second * 3_000);
        if second % 2 == 0 {
            world.fail(1, "10.77.2.1:9", Outcome::Refused, 60_000, 0);
        }
        if second % 5 == 0 {
            world.fail(2, "10.77.2.99:80", Outcome::NoAnswer, 4_000_000_000, 2);
            world.fail(3, "10.77.2.1:8083", Outcome::HalfOpen, 5_100_000_000, 3);
        }
        if second % 7 == 0 {
            world.unreachable(4, "[fd77:2::1]:8082", "fd77:2::1", 90_000);
        }
        if second % 20 == 3 {
            world.fail(5, "10.77.2.1:8080", Outcome::ResetByClient, 300_000, 0);
        }
        let waiting = [
            world.open(6, "10.77.2.99:80", 2 * SECOND, false, 1),
            world.open(7, "10.77.2.1:8083", SECOND / 2, true, 2),
        ];
        world.second(&waiting);
    }
    world.watch("rtc0");
    world
}

#[test]
fn a_busy_overview_shows_what_fails() {
    assert_screen("overview", &busy(), "");
}

#[test]
fn without_rows_it_says_so() {
    assert_screen("empty", &World::new(), "");
    let mut quiet = World::new();
    for _ in 0..20 {
        quiet.complete(1, "10.77.2.1:8080", 200_000);
        quiet.second(&[]);
    }
    assert_screen("quiet", &quiet, "");
}

#[test]
fn loss_degradation_and_sampling_are_never_hidden() {
    let mut world = busy();
    let at = |seconds| world.now - seconds * SECOND;
    world.board.lose("ring-full", 1_204, at(31), at(30));
    world.board.lose("ring-full", 3, at(1), at(0));
    world.board.alarms.blind.begin("eth1", "detached", at(75));
    world.board.alarms.degraded.insert("eth1", "somebody detached handshake", at(73));
    let first = world.now - 40 * SECOND;
    world.board.alarms.sampled = Some(Sampled { one_in: 1, highest_one_in: 8, first });
    assert_screen("alarms", &world, "");
    // Not by another view, by help, by a detail, by what is frozen.
    for keys in ["2", "3", "4", "5", "?", "\n", "f"] {
        for (width, height) in SIZES {
            let screen = after(&world, keys, width, height);
            for word in ["LOST 1", "BLIND", "DEGRADED eth1", "SAMPLED"] {
                assert!(screen.contains(word), "{keys:?} {width}: {word} in\n{screen}");
            }
        }
    }
}

/// The screen after these keys.
fn after(world: &World, keys: &str, width: u16, height: u16) -> String {
    let mut ui = world::ui(world::MONOCHROME);
    shown(&mut ui, &world.board, width, height);
    world::press(&mut ui, &world.board, keys);
    shown(&mut ui, &world.board, width, height)
}

#[test]
fn a_blind_period_says_from_when_to_when_also_after_it_has_ended() {
    let mut world = busy();
    let away = |world: &mut World| {
        world.board.alarms.blind.begin("rtc0", "interface-gone", world.now);
        world.board.gone("rtc0", "the interface is gone", world.now);
    };
    away(&mut world);
    (0..40).for_each(|_| world.second(&[]));
    for (width, height) in SIZES {
        let screen = after(&world, "", width, height);
        assert!(screen.contains("BLIND"), "{screen}");
        assert!(screen.contains("rtc0 since 12:01:00 (40s)"), "{screen}");
        assert!(screen.contains("DEGRADED rtc0"), "{screen}");
    }
    world.watch("rtc0");
    (0..20).for_each(|_| world.second(&[]));
    for (width, height) in SIZES {
        let screen = after(&world, "", width, height);
        assert!(screen.contains("rtc0 12:01:00–12:01:40 (40s)"), "{screen}");
        assert!(!screen.contains("DEGRADED"), "{screen}");
    }
    // Again, and a day later: how often, the last one, and its day.
    away(&mut world);
    (0..3).for_each(|_| world.second(&[]));
    world.watch("rtc0");
    world.board.now += 24 * 3_600 * SECOND;
    assert_screen("blind-over", &world, "");
    assert_screen("blind-over-interfaces", &world, "5");
}

#[test]
fn an_interface_that_is_down_is_told_until_it_is_up_and_then_in_the_history() {
    let mut world = busy();
    world.board.alarms.degraded.link("rtc0", Some("down"), world.now);
    (0..7).for_each(|_| world.second(&[]));
    assert_screen("down", &world, "");
    for keys in ["2", "3", "4", "5", "?", "\n", "f", "w"] {
        for (width, height) in SIZES {
            let screen = after(&world, keys, width, height);
            assert!(screen.contains("DEGRADED rtc0"), "{keys:?} {width}:\n{screen}");
        }
    }
    world.board.alarms.degraded.link("rtc0", None, world.now);
    (0..5).for_each(|_| world.second(&[]));
    assert!(!after(&world, "", 120, 40).contains("DEGRADED"));
    assert_screen("down-over", &world, "5");
}

/// Thirty open attempts that wait, and one failed one of each kind.
fn queue() -> World {
    let mut world = busy();
    let open: Vec<_> = (0..30)
        .map(|n| {
            let server = format!("10.77.2.{}:443", n % 3 + 1);
            world.open(n, &server, (2 + i64::from(n)) * SECOND, n % 2 == 1, u32::from(n % 4))
        })
        .collect();
    world.second(&open);
    world
}

#[test]
fn open_attempts_without_room_are_counted_and_all_can_be_reached() {
    let world = queue();
    assert_screen("waiting-more", &world, "");
    assert_screen("waiting", &world, "w");
    assert_screen("waiting-by-server", &world, "wSSS");
    for (width, height) in SIZES {
        // The line is a row: Enter on it shows all. The list is as long as it says.
        let screen = after(&world, "", width, height);
        let above =
            screen.lines().filter(|line| line.contains("ACK yet") || line.contains("answer yet"));
        let down = "j".repeat(above.count());
        for keys in ["wG", &format!("{down}\nG")] {
            let screen = after(&world, keys, width, height);
            assert!(screen.contains("waiting: 30  (30 of 30)"), "{keys}\n{screen}");
            assert!(screen.contains("3.00s") && !screen.contains("refused"), "{screen}");
        }
        let screen = after(&world, "w\u{1b}", width, height);
        assert!(screen.contains(": 66, waiting: 30"), "{screen}");
        assert!(screen.contains("more waiting: w shows all"), "{screen}");
    }
    // Where nothing has failed, they have the room.
    let mut calm = World::new();
    let open: Vec<_> =
        (0..9).map(|n| calm.open(n, "10.77.2.1:443", 2 * SECOND, false, 1)).collect();
    calm.second(&open);
    let screen = after(&calm, "", 80, 24);
    assert_eq!(screen.matches("no answer yet").count(), 9, "{screen}");
    assert!(!screen.contains("more waiting"), "{screen}");
}

#[test]
fn more_open_attempts_than_can_be_listed_are_counted() {
    let mut world = World::new();
    let open: Vec<_> =
        (0..1_500).map(|n| world.open(n, "10.77.2.1:443", 2 * SECOND, true, 1)).collect();
    world.second(&open);
    let screen = after(&world, "w", 80, 24);
    assert!(screen.contains("waiting: 1500, the oldest 1000"), "{screen}");
    let screen = after(&world, "G", 80, 24);
    assert!(screen.contains("more waiting: w shows all"), "{screen}");
    let screen = after(&world, "/port:443\n", 80, 24);
    assert!(screen.contains("waiting: 1000"), "{screen}");
}

#[test]
fn failed_attempts_that_are_no_longer_kept_are_counted() {
    let mut world = World::new();
    world.board = Board::new(world::BEGIN, 50);
    for number in 0..60 {
        world.fail(number, "10.77.2.1:9", Outcome::Refused, 60_000, 0);
    }
    assert!(after(&world, "", 80, 24).contains("failed attempts: the last 50 of 60"));
    assert!(after(&world, "", 40, 12).contains("failed: the last 50 of 60"));
    let screen = after(&world, "/client:10.77.0.60\n", 80, 24);
    assert!(screen.contains("failed attempts: 1 of the last 50"), "{screen}");
}

#[test]
fn a_message_leaves_the_keys_readable_and_goes_away() {
    let mut world = busy();
    let path = "/var/lib/some/where/handshake-20261123-120100.json";
    world.board.say(world.now, format!("wrote 66 attempts to {path}"));
    assert_screen("message", &world, "");
    for (width, height) in SIZES {
        let screen = after(&world, "", width, height);
        assert!(screen.contains("? help"), "{screen}");
        assert!(screen.contains("wrote 66 attempts to"), "{screen}");
        assert!(screen.contains("20261123-120100.json"), "{screen}");
    }
    (0..10).for_each(|_| world.second(&[]));
    assert!(!after(&world, "", 80, 24).contains("wrote"));
    // What a key says goes with the next one, or after a while.
    let calm = World::new();
    let screen = after(&calm, "e", 80, 24);
    assert!(screen.contains("nothing to export") && screen.contains("? help"), "{screen}");
    assert!(!after(&calm, "ej", 80, 24).contains("nothing to export"));
}

#[test]
fn many_alarms_leave_room_and_never_draw_outside_the_screen() {
    let mut world = busy();
    // One a service under flood: outsiders choose how many.
    let mut open = Vec::new();
    for service in 0..70_u16 {
        let server = format!("10.77.3.{service}:8080");
        let half_open = |n| world.open(10_000 + service * 100 + n, &server, 3 * SECOND, true, 1);
        open.extend((0..60_u16).map(half_open));
    }
    for _ in 0..4 {
        world.second(&open);
    }
    for width in [12, 40, 80, 200] {
        for height in 4..40 {
            let mut ui = world::ui(world::MONOCHROME);
            let screen = shown(&mut ui, &world.board, width, height);
            let alarms = screen.lines().filter(|line| line.contains("FLOOD")).count();
            assert!(alarms <= usize::from(height / 3).max(1), "{width}x{height}:\n{screen}");
            assert!(alarms > 0 || width < 40 || height < 12, "{width}x{height}:\n{screen}");
        }
    }
}

#[test]
fn an_attempt_that_ends_no_longer_waits() {
    let mut world = World::new();
    let open = [7, 8].map(|client| world.open(client, "10.77.2.1:9", 3 * SECOND, false, 1));
    world.second(&open);
    world.give_up(&open[0]);
    let mut ui = world::ui(world::MONOCHROME);
    let screen = shown(&mut ui, &world.board, 120, 40);
    let count = |word: &str| screen.matches(word).count();
    assert_eq!((count("no answer yet"), count("no-answer ")), (1, 1), "{screen}");
}

#[test]
fn hostile_names_stay_in_their_cells() {
    let mut world = busy();
    let name = "\u{1b}[31mx\u{202e}名前";
    world.interface = name.to_owned();
    world.fail(1, "10.77.2.1:9", Outcome::Refused, 60_000, 0);
    world.watch(name);
    world.board.alarms.degraded.insert(name, "\u{1b}[2J\ngone", world.now);
    world.board.say(world.now, format!("{name} is gone\r\n"));
    world.second(&[]);
    assert_screen("hostile", &world, "");
    assert_screen("hostile-interfaces", &world, "5");
}

#[test]
fn a_long_message_is_broken_into_lines() {
    let mut world = busy();
    let words = "the interface that was watched has gone, ".repeat(6);
    world.board.say(world.now, format!("{words}and this is the end"));
    world.second(&[]);
    let mut ui = ui(MONOCHROME);
    press(&mut ui, &world.board, "5");
    press(&mut ui, &world.board, "G");
    let screen = shown(&mut ui, &world.board, 80, 40);
    assert!(screen.contains("and this is the end"), "{screen}");
}

#[test]
fn columns_of_services_are_those_that_were_chosen() {
    let world = busy();
    let mut ui = ui(MONOCHROME);
    let columns = [ServiceBy::Since, ServiceBy::Who, ServiceBy::Since];
    ui.arrange_services(&columns, ServiceBy::Ended);
    for (key, name) in [("2", "service"), ("3", "clients from")] {
        press(&mut ui, &world.board, key);
        let screen = shown(&mut ui, &world.board, 80, 24);
        let is_titles = |line: &&str| line.contains("since ") && line.contains(name);
        let titles = screen.lines().find(is_titles).expect("titles");
        let order: Vec<usize> =
            ["since", name, "ended▼"].iter().filter_map(|title| titles.find(title)).collect();
        assert!(order.len() == 3 && order.is_sorted(), "{titles}");
        assert!(!titles.contains("compl"), "{titles}");
    }
}

#[test]
fn a_flood_shows_with_its_start_and_its_end() {
    let mut world = busy();
    let flood: Vec<_> =
        (0..400).map(|n| world.open(1_000 + n, "10.77.2.1:8080", 3 * SECOND, true, 1)).collect();
    for _ in 0..4 {
        world.second(&flood);
    }
    assert_screen("flood", &world, "2");
    for _ in 0..8 {
        world.complete(1, "10.77.2.1:8080", 200_000);
        world.second(&[]);
    }
    assert_screen("flood-over", &world, "2");
}

#[test]
fn peers_latencies_and_interfaces_have_their_views() {
    let world = busy();
    assert_screen("services", &world, "2");
    assert_screen("peers", &world, "3");
    assert_screen("latency", &world, "4");
    assert_screen("interfaces", &world, "5");
}

#[test]
fn a_detail_is_a_timeline() {
    let world = busy();
    let refused = "/outcome:refused\n\n";
    assert_screen_with("detail", &world, refused, world::MONOCHROME, |ui| {
        ui.show_segments(timeline());
    });
    // Of an attempt whose segments are forgotten, the record still tells something.
    assert_screen_with("detail-from-record", &world, refused, world::MONOCHROME, |ui| {
        let row = ui.listed().first().cloned().expect("one was refused");
        ui.show_segments(from_record(&row.attempt, 0));
    });
}

fn timeline() -> Vec<Segment> {
    let segment = |at_ns: i64, from_client, flags: &str, seq, ack, verdict| Segment {
        at: world::BEGIN + at_ns,
        from_client,
        flags: flags.to_owned(),
        seq: Some(seq),
        ack,
        window: Some(64_240),
        len: 0,
        options: if flags.contains("SYN") {
            "mss 1460 wscale 7 sack ts".to_owned()
        } else {
            String::new()
        },
        verdict,
        place: "rtc0 tc-ingress".to_owned(),
    };
    vec![
        segment(0, true, "SYN", 4_294_967_295, None, "begins"),
        segment(1_000_350_000, true, "SYN", 4_294_967_295, None, "syn-again"),
        segment(1_000_410_000, false, "SYN,ACK", 77, Some(0), "answers"),
        segment(3_016_000_000, false, "SYN,ACK", 77, Some(0), "answers-again"),
        segment(3_016_200_000, false, "RST,ACK", 0, Some(0), "refuses"),
    ]
}

/// A text whatever its lines.
fn unbroken(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_has_no_column_stands_below_the_table_for_the_chosen_row() {
    let world = busy();
    let below = |keys: &str, width, height| {
        let screen = after(&world, keys, width, height);
        let lines: Vec<&str> = screen.lines().collect();
        unbroken(&lines[lines.len().saturating_sub(5)..].join(" "))
    };
    let screen = below("jj", 40, 12);
    assert!(screen.contains("client: 10.77.0.2:40001"), "{screen}");
    // The last service is a good one: its latencies are known, and its rate.
    let screen = below("2G", 40, 12);
    for words in ["ended/s: 1.0", "srv p50: 675", "srv p99: 775", "cli p99: 388"] {
        assert!(screen.contains(words), "{words} in {screen}");
    }
    let screen = below("2G", 80, 24);
    for words in ["srv p50: 675", "cli p50: 338", "cli p99: 388", "ended/s: 1.0", "retr: 0"] {
        assert!(screen.contains(words), "{words} in {screen}");
    }
    // An order whose column does not show is said.
    let screen = below("ss", 40, 12);
    assert!(screen.contains("by client"), "{screen}");
    let mut ui = world::ui(world::MONOCHROME);
    shown(&mut ui, &world.board, 40, 12);
    world::press(&mut ui, &world.board, "/outcome:refused\n\n");
    ui.show_segments(timeline());
    world::press(&mut ui, &world.board, "jj");
    let screen = unbroken(&shown(&mut ui, &world.board, 40, 12));
    for words in ["answers", "seq: 77", "ack: 0", "win: 64240"] {
        assert!(screen.contains(words), "{words} in {screen}");
    }
}

#[test]
fn a_text_that_goes_on_below_the_screen_says_so() {
    let world = busy();
    for keys in ["?", "2?", "5?"] {
        let screen = after(&world, keys, 40, 12);
        assert!(screen.contains("↓ "), "{keys:?} {screen}");
        let mut ui = world::ui(world::MONOCHROME);
        for key in ["", keys, "G"] {
            world::press(&mut ui, &world.board, key);
            shown(&mut ui, &world.board, 40, 12);
        }
        let screen = shown(&mut ui, &world.board, 40, 12);
        assert!(!screen.contains("↓ ") && screen.contains("? help"), "{keys:?} {screen}");
    }
    assert!(!after(&world, "5", 120, 40).contains("↓ "));
}

#[test]
fn help_is_that_of_the_view() {
    let world = busy();
    assert_screen("help-overview", &world, "?");
    assert_screen("help-services", &world, "2?");
}

#[test]
fn a_filter_chooses_and_a_wrong_one_says_why() {
    let world = busy();
    assert_screen("filter", &world, "/port:9\n");
    assert_screen("filter-services", &world, "2/port:9\n");
    assert_screen("filter-nothing", &world, "/port:1\n");
    assert_screen("filter-typing", &world, "/outcome:ref");
    assert_screen("filter-error", &world, "/outcom:refused\n");
    for (width, height) in [(120, 40), (80, 24), (40, 12), (60, 5)] {
        let screen = after(&world, "/outcom:refused\n", width, height);
        assert!(screen.contains("no such filter"), "{screen}");
        assert!(screen.contains("filter: outcom:refused"), "{screen}");
    }
}

#[test]
fn a_frozen_screen_keeps_its_rows_and_goes_on_counting() {
    let mut world = busy();
    let mut ui = world::ui(world::MONOCHROME);
    shown(&mut ui, &world.board, 80, 24);
    world::press(&mut ui, &world.board, "f");
    let before = shown(&mut ui, &world.board, 80, 24);
    for _ in 0..5 {
        world.fail(1, "10.1.1.1:1", Outcome::Aborted, 60_000, 0);
        world.complete(1, "10.77.2.1:8080", 200_000);
        world.second(&[]);
    }
    let after = shown(&mut ui, &world.board, 80, 24);
    assert_golden("tui/frozen.txt", &after);
    // Below the line nothing moves, not even the age of what is open; above it is what goes on.
    let halves = |screen: &str| -> (String, String) {
        let (above, below) = screen.split_once(">FROZEN at 12:01:00").expect("a line between");
        (above.to_owned(), below.split_once('\n').expect("rows").1.to_owned())
    };
    assert_eq!(halves(&before).1, halves(&after).1);
    assert_ne!(halves(&before).0, halves(&after).0);
    assert!(after.contains("live 12:01:05") && after.contains("5 failed since"), "{after}");
    // Also in the other views, and in what is looked at meanwhile.
    for keys in ["2", "3", "4", "5", "1\n"] {
        let mut world = busy();
        let mut ui = world::ui(world::MONOCHROME);
        shown(&mut ui, &world.board, 80, 24);
        world::press(&mut ui, &world.board, &format!("f{keys}"));
        let before = shown(&mut ui, &world.board, 80, 24);
        world.fail(1, "10.1.1.1:1", Outcome::Aborted, 60_000, 0);
        (0..5).for_each(|_| world.second(&[]));
        let after = shown(&mut ui, &world.board, 80, 24);
        assert_eq!(halves(&before).1, halves(&after).1, "{keys:?}");
        assert!(after.contains("live 12:01:05"), "{after}");
    }
    world::press(&mut ui, &world.board, "f");
    let after = shown(&mut ui, &world.board, 80, 24);
    assert!(after.contains("10.1.1.1:1") && !after.contains("FROZEN"), "{after}");
}

#[test]
fn a_service_leads_to_its_failures_and_back() {
    let world = busy();
    let mut ui = world::ui(world::MONOCHROME);
    shown(&mut ui, &world.board, 80, 24);
    // The closed port fails most often: it stands first.
    world::press(&mut ui, &world.board, "2\n");
    let screen = shown(&mut ui, &world.board, 80, 24);
    assert!(screen.contains("only service 10.77.2.1:9"), "{screen}");
    assert!(!screen.contains("no-answer  "), "{screen}");
    world::press(&mut ui, &world.board, "\u{1b}");
    let screen = shown(&mut ui, &world.board, 80, 24);
    assert!(screen.contains(" service  ") && !screen.contains("only service"), "{screen}");
}

#[test]
fn ascii_terminals_get_ascii() {
    let theme = Theme { color: true, ascii: true, light: false };
    let world = busy();
    for keys in ["", "2", "3", "4", "5", "?", "\n"] {
        let mut ui = world::ui(theme);
        shown(&mut ui, &world.board, 120, 40);
        world::press(&mut ui, &world.board, keys);
        let screen = shown(&mut ui, &world.board, 120, 40);
        let other: Vec<char> = screen.chars().filter(|one| !one.is_ascii()).collect();
        assert!(other.is_empty(), "{keys:?}: {other:?}");
    }
    assert_screen_with("ascii", &world, "", theme, |_| {});
}

#[test]
fn no_size_is_too_small_or_too_large_to_draw() {
    let mut world = busy();
    // What stands still has a line of its own, below that of the alarms.
    world.board.lose("ring-full", 1, world.now - SECOND, world.now);
    let plain = " 2 3 4 5 ? \n /x /outcom:x\n GGG 2G\n w";
    let frozen = "f f2 f3G f4 f5 f? f\n f\n? fwG f2/outcom:x\n f\n/outcom:x\n";
    for keys in plain.split(' ').chain(frozen.split(' ')) {
        for width in [1, 2, 5, 11, 12, 13, 20, 39, 41, 79, 300] {
            for height in [1, 2, 3, 4, 5, 6, 7, 11, 13, 100] {
                let mut ui = world::ui(world::MONOCHROME);
                shown(&mut ui, &world.board, width, height);
                world::press(&mut ui, &world.board, keys);
                shown(&mut ui, &world.board, width, height);
            }
        }
    }
}
