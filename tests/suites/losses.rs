//! Doubt as narrow as the loss: the same conversations with and without losses.
//!
//! Hosts open connections, a filter and four rings stand between them and the tracker, entries of the
//! filter are evicted and rings lose what comes. What the tracker then says for certain must be what
//! it says when nothing is lost, and what it doubts must have lost something of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use handshake_common::event::{Event, flag, kind};
use handshake_common::packet::tcp::Flags;
use handshake_common::packet::tunnel::Layers;
use handshake_tests::random::Random;
use handshake_user::attempt::{Attempt, Key, Observation};
use handshake_user::outcome::{Doubt, EndedBy, Outcome};
use handshake_user::tracker::{Config, Entries, Numbers, Tracker};

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;
const LINGER: i64 = 60 * SECOND;
const RINGS: usize = 4;

/// A packet, and the CPU on which a hook sees it.
#[derive(Debug, Clone)]
struct Packet {
    event: Event,
    cpu: u8,
}

/// One connect: its flow, the CPUs of its two directions, its ISN.
struct Connect {
    port: u16,
    cpus: [u8; 2],
    isn: u32,
}

impl Connect {
    const SERVER_ISN: u32 = 5000;

    fn packet(&self, time: i64, kind: u8, from_client: bool) -> Packet {
        let (client, server) = ([0, 0, 0, 1], [0, 0, 0, 2]);
        let (next, server_next) = (self.isn.wrapping_add(1), Self::SERVER_ISN + 1);
        let (seq, ack, tcp_flags) = match (kind, from_client) {
            (kind::SYN, _) => (self.isn, 0, Flags::SYN),
            (kind::ICMP, _) => (self.isn, 0, 0),
            (kind::SYN_ACK, _) => (Self::SERVER_ISN, next, Flags::SYN | Flags::ACK),
            (kind::RST, true) => (next, 0, Flags::RST),
            (kind::RST, false) => (0, next, Flags::RST | Flags::ACK),
            _ => (next, server_next, Flags::ACK),
        };
        // An ICMP error comes from the other side, with the addresses of what it quotes.
        let comes_from_client = from_client && kind != kind::ICMP;
        let (ports, ends) = ([self.port, 80], [client, server]);
        let from = usize::from(!from_client);
        let event = Event {
            time_ns: time.cast_unsigned(),
            source: ends[from],
            dest: ends[1 - from],
            source_port: ports[from],
            dest_port: ports[1 - from],
            seq,
            ack,
            tcp_flags,
            kind,
            ip_version: 4,
            ..Event::ZERO
        };
        Packet { event, cpu: self.cpus[usize::from(!comes_from_client)] }
    }
}

/// What the hosts send, in order of time: connects that are answered, refused, reset, cancelled, left
/// half-open or unanswered, some on the ports of earlier ones.
fn conversation(random: &mut Random) -> Vec<Packet> {
    let mut packets = Vec::new();
    // A port is used again once its last connect has sent what it sends.
    let mut free = [0; 8];
    for number in 0..1 + random.below(12) {
        let cpus = [random.below(RINGS) as u8, random.below(RINGS) as u8];
        let which = random.below(free.len());
        let port = 1000 + which as u16;
        let connect = Connect { port, cpus, isn: (1 + number as u32) << 28 };
        let mut time = free[which] + random.below(20_000) as i64 * MS;
        let copies = random.of(&[0, 0, 1, 3]);
        let waits = [1, 2, 4].map(|seconds| seconds * SECOND);
        packets.push(connect.packet(time, kind::SYN, true));
        for wait in &waits[..copies] {
            time += wait;
            packets.push(connect.packet(time, kind::SYN, true));
        }
        let end = random.below(8);
        if end >= 4 {
            time += 3 * MS;
            packets.push(connect.packet(time, kind::SYN_ACK, false));
            for wait in &waits[..random.of(&[0, 0, 2])] {
                time += wait;
                packets.push(connect.packet(time, kind::SYN_ACK, false));
            }
        }
        time += 5 * MS;
        match end {
            0 => packets.push(connect.packet(time, kind::RST, false)),
            1 => packets.push(connect.packet(time, kind::ICMP, true)),
            2 | 4 => packets.push(connect.packet(time, kind::RST, true)),
            5 | 6 => packets.push(connect.packet(time, kind::ACK, true)),
            _ => {}
        }
        free[which] = time + MS;
    }
    packets.sort_by_key(|packet| packet.event.time_ns);
    packets
}

/// The filter's table: of each flow the client's next sequence number.
#[derive(Debug, Clone, Default)]
struct Filter(Arc<Mutex<HashMap<u16, u32>>>);

impl Filter {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<u16, u32>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The event that a packet makes, if it makes one.
    fn look(&self, packet: &Packet) -> Option<Event> {
        let mut event = packet.event;
        event.ring = packet.cpu;
        let port = port(&event);
        let opens = matches!(event.kind, kind::SYN | kind::SYN_ACK);
        let next = if event.kind == kind::SYN { event.seq.wrapping_add(1) } else { event.ack };
        let Event { kind, seq, ack, .. } = event;
        let ends = |known: u32| match kind {
            kind::ACK => seq == known,
            kind::RST => seq == known || ack == known,
            _ => false,
        };
        self.with(|entries| {
            let known = entries.get(&port).copied();
            if opens {
                entries.insert(port, next);
                event.flags = if known.is_none() { flag::NEW_ENTRY } else { 0 };
            } else if known.is_some_and(ends) {
                entries.remove(&port);
            }
            (opens || known.is_some()).then_some(event)
        })
    }
}

fn port(event: &Event) -> u16 {
    if event.dest_port == 80 { event.source_port } else { event.dest_port }
}

impl Entries for Filter {
    fn remembers(&self, key: &Key) -> bool {
        self.with(|entries| entries.contains_key(&key.client.port))
    }

    fn retire(&self, key: &Key, syn: Numbers) -> bool {
        self.with(|entries| {
            let is_its = entries.get(&key.client.port).is_some_and(|next| syn.lead_to(*next));
            is_its && entries.remove(&key.client.port).is_some()
        })
    }
}

/// Something that the tracker will not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    Entry { port: u16, time: i64 },
    Event { port: u16, ring: u8, time: i64 },
}

/// What may be lost: one in so many events of a ring, and an entry at one in so many packets.
#[derive(Debug, Clone, Copy)]
struct Losses {
    events: [Option<usize>; RINGS],
    entries: Option<usize>,
}

const NONE: Losses = Losses { events: [None; RINGS], entries: None };

/// The end of a run: attempts, what was lost, and through which rings each flow was seen, when.
#[derive(Debug)]
struct Run {
    attempts: Vec<Attempt>,
    lost: Vec<Lost>,
    seen: Vec<(u16, u8, i64)>,
    entries_left: usize,
}

fn run(packets: &[Packet], losses: Losses, random: &mut Random) -> Run {
    let filter = Filter::default();
    let config = Config { timeout: 10 * SECOND, linger: LINGER, max_attempts: 100 };
    let mut tracker = Tracker::new(config);
    tracker.read_back(Arc::new(filter.clone()));
    let (mut lost, mut seen) = (Vec::new(), Vec::new());
    let happens = |random: &mut Random, one_in: Option<usize>| {
        one_in.is_some_and(|one_in| random.below(one_in) == 0)
    };
    for packet in packets {
        let time = packet.event.time_ns.cast_signed();
        while tracker.expire(time) {}
        if happens(random, losses.entries)
            && let Some(port) = filter.with(|entries| {
                let mut ports: Vec<u16> = entries.keys().copied().collect();
                ports.sort_unstable();
                let port = (!ports.is_empty()).then(|| random.of(&ports))?;
                entries.remove(&port);
                Some(port)
            })
        {
            lost.push(Lost::Entry { port, time });
            tracker.note_forgetting(time);
        }
        let Some(event) = filter.look(packet) else { continue };
        let ring = event.ring;
        if happens(random, losses.events[usize::from(ring)]) {
            lost.push(Lost::Event { port: port(&event), ring, time });
            tracker.note_lost_events(ring, time);
            continue;
        }
        seen.push((port(&event), ring, time));
        tracker.observe(&Observation { event, source: 0, frame: 0, layers: Layers::NONE });
    }
    let last = packets.last().map_or(0, |packet| packet.event.time_ns.cast_signed());
    while tracker.expire(last + 1000 * SECOND) {}
    tracker.finish();
    let stats = *tracker.stats();
    let attempts: Vec<_> = tracker.drain().collect();
    assert_eq!(stats.started, attempts.len() as u64);
    Run { attempts, lost, seen, entries_left: filter.with(|entries| entries.len()) }
}

impl Run {
    /// Everything on a port, to be read when a test fails.
    fn of(&self, port: u16) -> String {
        let attempts = self.attempts.iter().filter(|one| one.key.client.port == port);
        let seen = self.seen.iter().filter(|(of, _, _)| *of == port);
        let attempts: Vec<_> = attempts.map(line).collect();
        format!("{attempts:#?} seen {:?} lost {:?}", seen.collect::<Vec<_>>(), self.lost)
    }

    /// Can this loss have been of this attempt, by the words of docs/semantics.md?
    fn concerns(&self, attempt: &Attempt, lost: Lost) -> bool {
        let (first, end) = (attempt.t_first, attempt.t_end.unwrap_or(i64::MAX));
        match lost {
            Lost::Entry { port, time } => {
                port == attempt.key.client.port && (first..=end).contains(&time)
            }
            Lost::Event { port, ring, time } => {
                let before = if attempt.t_syn.is_some() { 0 } else { LINGER };
                let two_sided = attempt.t_syn.is_some() && attempt.t_synack.is_some();
                let came_through = |(port, through, at): &(u16, u8, i64)| {
                    *port == attempt.key.client.port
                        && *through == ring
                        && (first..=end).contains(at)
                };
                // An event of the flow itself may have changed its entry.
                let own = port == attempt.key.client.port;
                (first - before..=end).contains(&time)
                    && (own || !two_sided || self.seen.iter().any(came_through))
            }
        }
    }
}

fn line(attempt: &Attempt) -> String {
    let Attempt { id, outcome, ended_by, uncertain, .. } = attempt;
    let Attempt { client_isn, t_first, t_synack, t_end, .. } = attempt;
    format!(
        "{id} isn {client_isn}: {outcome:?} by {ended_by:?} {uncertain:?}, {t_first} {t_synack:?} {t_end:?}"
    )
}

/// Is there an attempt without losses that had the same end?
fn is_confirmed(attempt: &Attempt, whole: &Run) -> bool {
    whole.attempts.iter().any(|other| {
        let same = (other.key, other.client_isn, other.outcome)
            == (attempt.key, attempt.client_isn, attempt.outcome);
        same && other.t_first <= attempt.t_first
            && attempt.t_first <= other.t_end.unwrap_or(i64::MAX)
    })
}

fn check(seed: u64, losses: impl Fn(&mut Random) -> Losses) -> (usize, usize, usize) {
    let mut random = Random::new(seed);
    let packets = conversation(&mut random);
    let whole = run(&packets, NONE, &mut random);
    let certain = whole.attempts.iter().all(|attempt| attempt.uncertain.is_none());
    assert!(certain, "seed {seed}: {whole:#?}");
    assert_eq!(whole.entries_left, 0, "seed {seed}: what has ended has left the table");
    let losses = losses(&mut random);
    let partial = run(&packets, losses, &mut random);
    for attempt in &partial.attempts {
        let context = || {
            let told = [&whole, &partial].map(|run| run.of(attempt.key.client.port));
            format!("seed {seed}: {}\nwhole: {}\npartial: {}", line(attempt), told[0], told[1])
        };
        let concerned = partial.lost.iter().any(|lost| partial.concerns(attempt, *lost));
        match attempt.uncertain {
            Some(doubt) => {
                assert_eq!(doubt, Doubt::Loss);
                assert!(concerned, "nothing of it was lost; {}", context());
            }
            None => assert!(is_confirmed(attempt, &whole), "another outcome; {}", context()),
        }
        let by_loss = attempt.ended_by == EndedBy::Loss;
        assert!(!by_loss || attempt.outcome == Outcome::Unfinished, "{}", context());
    }
    let uncertain = partial.attempts.iter().filter(|one| one.uncertain.is_some()).count();
    (partial.attempts.len(), uncertain, partial.lost.len())
}

fn check_all(losses: impl Fn(&mut Random) -> Losses + Copy) {
    let (mut attempts, mut uncertain, mut lost) = (0, 0, 0);
    for seed in 1..=5_000 {
        let counts = check(seed, losses);
        (attempts, uncertain, lost) = (attempts + counts.0, uncertain + counts.1, lost + counts.2);
    }
    println!("{attempts} attempts, {uncertain} uncertain after {lost} losses");
    assert!(uncertain > 1000 && uncertain < attempts / 2, "{uncertain} of {attempts}");
}

#[test]
fn an_evicted_entry_makes_its_own_attempt_uncertain_and_no_other() {
    check_all(|random| Losses { entries: Some(random.of(&[2, 5, 20])), ..NONE });
}

#[test]
fn a_lost_event_makes_uncertain_what_may_have_come_through_its_ring() {
    check_all(|random| {
        let events = std::array::from_fn(|_| random.of(&[None, None, None, Some(2), Some(10)]));
        Losses { events, entries: None }
    });
}

#[test]
fn whatever_is_lost_what_is_certain_is_what_it_would_be_without_losses() {
    check_all(|random| {
        let events = std::array::from_fn(|_| random.of(&[None, None, None, None, Some(10)]));
        Losses { events, entries: random.of(&[None, Some(20)]) }
    });
}
