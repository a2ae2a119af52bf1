//! What the screen says of now: windows, incidents, slow services; golden files of the scenes that matter
//! at four sizes.

use handshake_tests::golden::assert_golden;
use handshake_user::after::Next;
use handshake_user::outcome::Outcome;

use super::world::{self, MONOCHROME, SECOND, World, press, shown, ui};

/// Columns and lines.
const SIZES: [(u16, u16); 4] = [(200, 60), (120, 40), (80, 24), (40, 12)];

const WEB: &str = "10.77.2.1:8080";
const DATABASE: &str = "10.77.2.2:5432";

/// The first screen at all sizes is what the golden file says.
#[track_caller]
fn assert_scene(name: &str, world: &World) {
    let mut text = String::new();
    for (width, height) in SIZES {
        let screen = after(world, "", width, height);
        for line in screen.lines() {
            assert!(line.chars().count() <= usize::from(width) + 1, "{line}");
        }
        text.push_str(&format!("=== {width}x{height}\n{screen}"));
    }
    assert_golden(&format!("tui/scene-{name}.txt"), &text);
}

fn after(world: &World, keys: &str, width: u16, height: u16) -> String {
    let mut ui = ui(MONOCHROME);
    shown(&mut ui, &world.board, width, height);
    press(&mut ui, &world.board, keys);
    shown(&mut ui, &world.board, width, height)
}

/// A second of a web server and a database that are well.
fn good(world: &mut World) {
    for client in 0..8 {
        world.complete(client, WEB, 400_000 + u64::from(client) * 50_000);
    }
    good_database(world);
}

fn good_database(world: &mut World) {
    for client in 10..14 {
        world.complete(client, DATABASE, 900_000 + u64::from(client) * 20_000);
    }
}

fn healthy(seconds: usize) -> World {
    let mut world = World::new();
    world.watch("eth0");
    world.watch("docker0");
    for _ in 0..seconds {
        good(&mut world);
        world.second(&[]);
    }
    world
}

/// The database is dead for so many seconds: four attempts begin in each, and time out after 13 s.
fn outage(world: &mut World, seconds: i64, mut beside: impl FnMut(&mut World, i64)) {
    for second in 0..seconds {
        for client in 0..8 {
            world.complete(client, WEB, 400_000 + u64::from(client) * 50_000);
        }
        beside(world, second);
        let mut open = Vec::new();
        for age in 0..=second.min(12) {
            let copies = [0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3][age as usize];
            let begun = (second - age) as u16;
            let one = |n| world.open(20 + begun * 4 + n, DATABASE, age * SECOND, false, copies);
            open.extend((0..4).map(one));
        }
        if second >= 13 {
            for client in 10..14 {
                world.fail(client, DATABASE, Outcome::NoAnswer, 13 * SECOND, 3);
            }
        }
        open.extend(world.besides.clone());
        world.second(&open);
    }
}

#[test]
fn an_outage_is_told_within_seconds_since_it_began_and_as_it_is() {
    let mut world = healthy(120);
    outage(&mut world, 4, |_, _| {});
    let screen = after(&world, "", 120, 40);
    assert!(
        screen.contains("10.77.2.2:5432 since 12:02:00: unanswered ×12; 0% completed"),
        "{screen}"
    );
    assert!(after(&world, "", 40, 12).contains("fail: 10.77.2.2:5432"), "{screen}");
    let mut world = healthy(120);
    outage(&mut world, 40, |_, _| {});
    let screen = after(&world, "", 120, 40);
    assert!(screen.contains("1 service fails"), "{screen}");
    let told = "10.77.2.2:5432 since 12:02:00: no-answer ×108, unanswered ×48; 0% completed";
    assert!(screen.contains(told), "{screen}");
    assert_scene("outage", &world);
    // It is over a minute after the last failure; until then it is said how long ago that was.
    for _ in 0..30 {
        good(&mut world);
        world.second(&[]);
    }
    let screen = after(&world, "", 120, 40);
    assert!(screen.contains("; last 31s ago"), "{screen}");
    for _ in 0..32 {
        good(&mut world);
        world.second(&[]);
    }
    assert!(after(&world, "", 120, 40).contains("no service fails"));
}

#[test]
fn eight_refusals_a_pause_and_one_more_are_one() {
    let mut world = World::new();
    world.complete(1, "10.77.2.1:81", 200_000);
    for _ in 0..8 {
        world.fail(1, "10.77.2.1:81", Outcome::Refused, 60_000, 0);
        world.second(&[]);
    }
    assert!(after(&world, "", 80, 24).contains("refused ×8"));
    (0..70).for_each(|_| world.second(&[]));
    assert!(after(&world, "", 80, 24).contains("no service fails"));
    world.fail(1, "10.77.2.1:81", Outcome::Refused, 60_000, 0);
    world.second(&[]);
    let screen = after(&world, "", 80, 24);
    assert!(screen.contains("10.77.2.1:81 since 12:01:17: refused ×1; 0% completed"), "{screen}");
}

#[test]
fn latencies_are_those_of_the_window() {
    let mut world = World::new();
    for second in 0..200 {
        let ns = if second < 120 { 200_000_000 } else { 1_000_000 };
        (0..10).for_each(|client| world.complete(client, WEB, ns));
        world.second(&[]);
    }
    // Keys, and the p99 of the service's half, two thirds of the whole: 131 ms or 0.68 ms.
    for (keys, name, p99) in [
        ("2T", "last 10 s", "675µs"),
        ("2", "last minute", "675µs"),
        ("2t", "last 5 min", "131ms"),
        ("2tttT", "last 15 min", "131ms"),
        ("2ttt", "since start at 12:00:00 (3m20s)", "131ms"),
        ("2tttt", "last 10 s", "675µs"),
    ] {
        let screen = after(&world, keys, 120, 40);
        assert!(screen.contains(name), "{keys}: {name} in\n{screen}");
        let line = screen.lines().find(|line| line.contains(WEB)).expect("the service");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.contains(&p99), "{keys}: {p99} in {line}");
    }
    world.board.reset(world.now);
    for _ in 0..30 {
        (0..10).for_each(|client| world.complete(client, WEB, 1_000_000));
        world.second(&[]);
    }
    let screen = after(&world, "2ttt", 120, 40);
    assert!(screen.contains("since reset at 12:03:20 (30s)"), "{screen}");
    assert!(screen.contains("675µs") && !screen.contains("131ms"), "{screen}");
}

#[test]
fn every_view_names_its_window() {
    let world = healthy(70);
    for view in ["1", "2", "3", "4", "5"] {
        for (keys, name) in
            [("", "last minute"), ("T", "last 10 s"), ("t", "last 5 min (70s so far)")]
        {
            for (width, height) in SIZES {
                let screen = after(&world, &format!("{view}{keys}"), width, height);
                assert!(screen.contains(name), "{view}{keys} {width}: {name} in\n{screen}");
            }
        }
    }
}

#[test]
fn a_healthy_host_shows_what_there_is() {
    let world = healthy(120);
    assert_scene("healthy", &world);
    let screen = after(&world, "", 80, 24);
    for words in ["eth0, docker0", "no service fails", "10.77.2.1:8080: 8.0/s, 100% completed"] {
        assert!(screen.contains(words), "{words} in\n{screen}");
    }
}

#[test]
fn health_checks_and_cancelled_connects_are_no_failures() {
    let mut world = healthy(30);
    for second in 0..60 {
        good(&mut world);
        if second % 2 == 0 {
            world.fail(30, WEB, Outcome::ResetByClient, 300_000, 0);
            world.fail(30, DATABASE, Outcome::ResetByClient, 300_000, 0);
        }
        if second % 10 == 0 {
            world.fail(31, WEB, Outcome::Aborted, 200_000_000, 0);
        }
        world.second(&[]);
    }
    let screen = after(&world, "", 120, 40);
    assert!(screen.contains("no service fails"), "{screen}");
    assert!(screen.contains("completed         100%"), "{screen}");
    assert!(screen.contains("health checks: 10.77.0.31 of "), "{screen}");
    assert!(screen.contains("cancelled by clients: "), "{screen}");
    assert_scene("probes", &world);
    let services = after(&world, "2", 120, 40);
    assert!(services.lines().filter(|line| line.contains("100%")).count() == 2, "{services}");
}

#[test]
fn a_service_that_completes_and_does_not_serve_is_named() {
    const PROXY: &str = "10.77.2.3:443";
    let mut world = healthy(60);
    for second in 0..90 {
        if second == 5 {
            let screen = after(&world, "", 80, 24);
            assert!(screen.contains("completing: 10.77.2.3:443 since 12:00:59"), "{screen}");
        }
        good(&mut world);
        world.complete_then(30, PROXY, 500_000, Next::ResetByServer);
        world.complete_then(31, PROXY, 500_000, Next::ClosedWithoutData);
        // What the client ends is not held against the server.
        world.complete_then(32, DATABASE, 500_000, Next::ClosedByClient);
        world.second(&[]);
    }
    let screen = after(&world, "", 120, 40);
    let told = "not served after completing: 10.77.2.3:443 since 12:00:59: reset-by-server ×60, closed-without-data ×60 of 120";
    assert!(screen.contains(told), "{screen}");
    assert!(!screen.contains("not served after completing: 10.77.2.2"), "{screen}");
    assert!(after(&world, "", 40, 12).contains("10.77.2.3:443"), "on a small screen, too");
    let services = after(&world, "2", 200, 60);
    assert!(services.contains("completed, then reset-by-server ×60"), "{services}");
    assert_scene("unserved", &world);
}

#[test]
fn a_scan_makes_no_service_fail() {
    let mut world = healthy(60);
    for second in 0..3 {
        good(&mut world);
        for port in 1..=100 {
            let server = format!("10.77.2.1:{}", second * 100 + port);
            world.fail(40, &server, Outcome::Refused, 60_000, 0);
        }
        world.second(&[]);
    }
    let screen = after(&world, "", 120, 40);
    assert!(screen.contains("no service fails"), "{screen}");
    assert!(screen.contains("scan by 10.77.0.41 since 12:00:59: "), "{screen}");
    assert_scene("scan", &world);
}

#[test]
fn a_slow_service_is_named_with_its_half_and_since_when() {
    let mut world = healthy(150);
    for _ in 0..45 {
        for client in 0..8 {
            world.complete(client, WEB, 400_000 + u64::from(client) * 50_000);
        }
        for client in 10..14 {
            world.complete(client, DATABASE, 210_000_000);
        }
        world.second(&[]);
    }
    let screen = after(&world, "", 120, 40);
    let told = "slow: 10.77.2.2:5432 server side since 12:02:3";
    assert!(screen.contains(told), "{screen}");
    assert!(screen.contains("p99 144ms, usually 775µs"), "{screen}");
    assert!(after(&world, "", 40, 12).contains("slow: 10.77.2.2:5432 server"));
    assert!(after(&world, "2", 120, 40).contains("slow (server"));
    assert_scene("slow", &world);
}

#[test]
fn a_flood_beside_an_outage_hides_neither() {
    let mut world = healthy(60);
    outage(&mut world, 20, |world, _| {
        let half_open =
            (0..400).map(|n| world.open(1_000 + n, "10.77.2.9:443", 3 * SECOND, true, 1));
        world.besides = half_open.collect();
    });
    let screen = after(&world, "", 120, 40);
    assert!(screen.contains("FLOOD of 10.77.2.9:443"), "{screen}");
    assert!(screen.contains("10.77.2.2:5432 since 12:01:00: no-answer"), "{screen}");
    assert_scene("flood-beside-outage", &world);
}

#[test]
fn a_service_that_used_to_complete_comes_before_ports_that_never_did() {
    let mut world = healthy(20);
    for _ in 0..9 {
        world.fail(50, "10.77.2.9:9", Outcome::Refused, 60_000, 0);
        world.fail(50, "10.77.2.9:10", Outcome::Refused, 60_000, 0);
        world.second(&[]);
    }
    world.fail(51, DATABASE, Outcome::Refused, 60_000, 0);
    world.second(&[]);
    let screen = after(&world, "", 120, 40);
    let place = |text: &str| screen.find(text).unwrap_or_else(|| panic!("{text} in\n{screen}"));
    assert!(screen.contains("3 services fail"), "{screen}");
    assert!(place("10.77.2.2:5432 since") < place("10.77.2.9:10 since"), "{screen}");
}

#[test]
fn a_window_can_be_chosen_while_the_screen_is_frozen() {
    let mut world = healthy(200);
    let mut ui = ui(MONOCHROME);
    shown(&mut ui, &world.board, 120, 40);
    press(&mut ui, &world.board, "2f");
    for _ in 0..20 {
        world.fail(1, WEB, Outcome::Refused, 60_000, 0);
        world.second(&[]);
    }
    press(&mut ui, &world.board, "tt");
    let screen = shown(&mut ui, &world.board, 120, 40);
    assert!(screen.contains("last 15 min (3m20s so far)"), "{screen}");
    assert!(!screen.contains("refused") && world::ui(MONOCHROME).listed().is_empty(), "{screen}");
}
