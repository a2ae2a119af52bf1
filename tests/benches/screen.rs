//! What the terminal UI costs with 50,000 failed attempts listed and 20,000 more a second: from a key to
//! the cells of its frame. (The terminal's own time is not in it.) Checks counts, never times.

#[path = "../suites/surface/screens/world.rs"]
#[expect(dead_code, reason = "the suite needs more of it")]
mod world;

use std::time::{Duration, Instant};

use handshake_user::board::Board;
use handshake_user::outcome::Outcome;
use world::{BEGIN, MONOCHROME, World, press, shown, ui};

/// Rows listed.
const ROWS: usize = 50_000;
/// New rows between two drawings at 20,000 a second, five drawings a second.
const NEW: usize = 4_000;
/// Drawings a key.
const TURNS: usize = 20;

/// What a person does, and the keys for it.
const KEYS: [(&str, &str); 9] = [
    ("another row", "j"),
    ("the last row", "G"),
    ("sort by outcome", "s"),
    ("sort by server", "sss"),
    ("reverse", "r"),
    ("filter by port and outcome", "/port:9 outcome:refused\n"),
    ("filter by text", "/\u{2f}10.77.0.2:.*refused\u{2f}\n"),
    ("freeze and go on", "ff"),
    ("services", "2"),
];

fn main() {
    let mut world = full();
    println!("{ROWS} rows, {NEW} new ones before each drawing, 120x40; milliseconds");
    println!("{:<28} {:>8} {:>8}", "key to frame", "median", "longest");
    for (what, keys) in KEYS {
        let mut times: Vec<Duration> = (0..TURNS).map(|_| turn(&mut world, keys)).collect();
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!("{what:<28} {:>8.1} {:>8.1}", ms(times[TURNS / 2]), ms(times[TURNS - 1]));
    }
    println!("{:<28} {:>8.1}", "look (once a second)", look(&mut world).as_secs_f64() * 1e3);
}

fn full() -> World {
    let mut world = World::new();
    world.board = Board::new(BEGIN, ROWS);
    fail(&mut world, ROWS);
    assert_eq!(world.board.rows.len(), ROWS);
    world
}

fn fail(world: &mut World, count: usize) {
    const OUTCOMES: [Outcome; 3] = [Outcome::Refused, Outcome::NoAnswer, Outcome::HalfOpen];
    for number in 0..count {
        let client = (number % 20_000) as u16;
        let server = format!("10.77.2.1:{}", number % 500 + 1);
        world.fail(client, &server, OUTCOMES[number % 3], 60_000, (number % 7) as u32);
    }
}

/// New rows come, a key is pressed, and the frame is drawn.
fn turn(world: &mut World, keys: &str) -> Duration {
    let mut ui = ui(MONOCHROME);
    shown(&mut ui, &world.board, 120, 40);
    fail(world, NEW);
    let started = Instant::now();
    press(&mut ui, &world.board, keys);
    let screen = shown(&mut ui, &world.board, 120, 40);
    let taken = started.elapsed();
    assert!(screen.lines().count() == 40 && world.board.rows.len() == ROWS);
    taken
}

/// One look with 20,000 attempts open.
fn look(world: &mut World) -> Duration {
    let open: Vec<_> = (0..20_000)
        .map(|client| world.open(client, "10.77.2.1:1", 1_500_000_000, true, 1))
        .collect();
    let started = Instant::now();
    world.second(&open);
    assert_eq!(world.board.half_open, 20_000);
    started.elapsed()
}
