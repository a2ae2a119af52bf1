//! `cargo xtask bench kernel`: nanoseconds a packet above a program of two instructions that passes
//! everything, by `BPF_PROG_TEST_RUN`, the two in alternation within every round.
//!
//! One flow: the kernel repeats a packet and tells the mean, so everything is warm. Many flows: a
//! driver before both programs makes each packet one of another flow
//! (`handshake_tests::bpf::drive`), so only the table is cold. Cold: each packet is a run of its own,
//! in batches, under the kernel's run statistics; between two runs the kernel handles a system
//! call, so code and table are about as cold as they are on a real interface. What driving and
//! measuring cost is in `empty` too, the difference is without it.
//!
//! No time is asserted; that each case is the case it claims to be (its events were made) is.

mod programs;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, MapData};
use handshake_common::abi::{name, state};
use handshake_common::filter::WORDS;
use handshake_common::sample::{MAX_SHIFT, Shift};
use handshake_tests::bpf::Hook;
use handshake_tests::bpf::drive::{Driver, FLOWS, Packets, UNDER_WAY, from_number};
use handshake_tests::bpf::run::{Runs, load_empty, measure_runs, test_run};
use handshake_tests::figures::{Quartiles, tell};
use handshake_tests::frame::{ACK, PSH, SYN, Segment, ip_packet};
use handshake_tests::lab::Family;
use handshake_tests::process::pin;
use handshake_tests::random::Random;

use programs::{After, Fill, Programs};

/// Rounds of one packet repeated.
const ROUNDS: usize = 21;
const REPEAT: u32 = 100_000;
/// What makes events is repeated less often, so that they fit into the ring.
const REPEAT_EVENTS: u32 = 4_000;
/// Rounds of batches.
const BATCH_ROUNDS: usize = 9;
const RING_BYTES: u32 = 1 << 20;
const UDP: u8 = 17;

/// A program, and the empty one of its type.
struct Pair {
    name: &'static str,
    hook: Hook,
    ours: OwnedFd,
    empty: OwnedFd,
}

struct Bench {
    programs: Programs,
    pairs: Vec<Pair>,
    rounds: usize,
}

fn main() -> Result<()> {
    pin(0)?;
    let mut bench = Bench::load(Fill::Unwatched, After::Unwatched)?;
    eprintln!("kernel: ns a packet above an empty program; median (quartiles); the empty one's");
    for family in Family::BOTH {
        bench.one_flow(family)?;
    }
    for family in Family::BOTH {
        bench.many_flows(family)?;
        bench.handshakes("fresh handshakes", family)?;
        let mut watched = Bench::load(Fill::Unwatched, After::Watched)?;
        watched.right_after(family)?;
        watched.handshakes("fresh handshakes, watched afterwards", family)?;
    }
    // Last of these, because it fills the table.
    for family in Family::BOTH {
        bench.flood(family)?;
        Bench::load(Fill::Watched, After::Unwatched)?.flood_that_fills(family)?;
    }
    let _statistics = measure_runs()?;
    bench.rounds = BATCH_ROUNDS;
    for family in Family::BOTH {
        bench.cold(family)?;
    }
    Ok(())
}

impl Bench {
    fn load(fill: Fill, after: After) -> Result<Self> {
        let rings = std::thread::available_parallelism()?.get();
        let mut programs = Programs::load(rings, RING_BYTES, fill, after)?;
        let mut pair = |name, hook| -> Result<Pair> {
            Ok(Pair { name, hook, ours: programs.program(name)?, empty: load_empty(hook)? })
        };
        let pairs = vec![pair("hs_xdp", Hook::Xdp)?, pair("hs_tc_in", Hook::TcIngress)?];
        Ok(Self { programs, pairs, rounds: ROUNDS })
    }

    /// One packet again and again.
    fn one_flow(&mut self, family: Family) -> Result<()> {
        // None of the many: its SYNs leave it pending.
        let flow = Flow::number(FLOWS, family);
        let cases = [
            ("UDP", flow.udp(), REPEAT),
            ("ACK", flow.ack(), REPEAT),
            ("data of 1,448 bytes", flow.data(), REPEAT),
            ("SYN", flow.syn(), REPEAT_EVENTS),
            ("SYN-ACK", flow.syn_ack(), REPEAT_EVENTS),
        ];
        for (case, frame, repeat) in cases {
            let makes_events = repeat == REPEAT_EVENTS;
            self.compare(case, family, |programs, program, _, ours| {
                let mean = test_run(program, &frame, repeat)?;
                let events = programs.drain();
                let expected = if ours && makes_events { u64::from(repeat) } else { 0 };
                ensure!(events == expected, "{case}: {events} events");
                Ok([f64::from(mean)])
            })?;
        }
        let full = flow.syn();
        self.compare("SYN, ring full", family, |programs, program, _, ours| {
            if ours {
                test_run(program, &full, RING_BYTES / 100)?;
            }
            let mean = test_run(program, &full, REPEAT_EVENTS)?;
            programs.drain();
            Ok([f64::from(mean)])
        })
    }

    fn drivers(&self, packets: Packets, family: Family) -> Result<Vec<Driver>> {
        let is_v6 = family == Family::V6;
        let load = |pair: &Pair| Driver::load(pair.hook, packets, is_v6);
        Ok(self.pairs.iter().map(load).collect::<std::io::Result<_>>()?)
    }

    /// Packets of flows that are not pending.
    fn many_flows(&mut self, family: Family) -> Result<()> {
        let drivers = self.drivers(Packets::Flows, family)?;
        let frame = from_number(&Flow::number(0, family).ack(), 0);
        self.compare("ACK, 65,536 flows", family, |programs, program, pair, _| {
            drivers[pair].aim(program)?;
            let mean = test_run(drivers[pair].program(), &frame, 2 * FLOWS)?;
            ensure!(programs.drain() == 0, "ACKs of unknown flows made events");
            Ok([f64::from(mean)])
        })
    }

    /// Packets of a connection that is watched after its handshake: one that says nothing, and data of
    /// the side that has sent some already.
    fn right_after(&mut self, family: Family) -> Result<()> {
        let flow = Flow::number(FLOWS + 1, family);
        for (case, frame) in
            [("ACK, watched afterwards", flow.ack()), ("data, watched afterwards", flow.data())]
        {
            let shakes = [flow.syn(), flow.syn_ack(), flow.ack(), flow.data()];
            self.compare(case, family, |programs, program, _, _| {
                for frame in &shakes {
                    test_run(program, frame, 1)?;
                }
                programs.drain();
                let mean = test_run(program, &frame, REPEAT)?;
                ensure!(programs.drain() == 0, "{case}: events");
                Ok([f64::from(mean)])
            })?;
        }
        Ok(())
    }

    /// Fresh handshakes, a thousand under way.
    fn handshakes(&mut self, case: &str, family: Family) -> Result<()> {
        let drivers = self.drivers(Packets::Handshakes, family)?;
        let flow = Flow::number(0, family);
        let frame = Flow { server: flow.client, ..flow }.syn();
        // As many as the ring holds: a run of an XDP program begins with an empty TLB, because the
        // kernel changes its dispatcher's code.
        let repeat = 6 * UNDER_WAY;
        self.compare(case, family, |programs, program, pair, ours| {
            drivers[pair].aim(program)?;
            // The flows of the round before would be watched still, and their SYNs repetitions.
            empty_table(programs)?;
            let mean = test_run(drivers[pair].program(), &from_number(&frame, 0), repeat)?;
            let events = programs.drain();
            let most = if ours { u64::from(repeat) } else { 0 };
            // Now and then five flows share a bucket of four: one of them has no third ACK.
            ensure!((most - most / 100..=most).contains(&events), "{events} events");
            Ok([f64::from(mean)])
        })
    }

    /// SYNs that nobody answers: the rings drained, and full while all flows are let in.
    fn flood(&mut self, family: Family) -> Result<()> {
        let drivers = self.drivers(Packets::Sources, family)?;
        let frame = Flow::number(0, family).syn();
        let mut number = 0;
        let case = "SYN flood|SYN flood, ring full, nothing sampled";
        self.compare(case, family, |programs, program, pair, ours| {
            let driver = &drivers[pair];
            driver.aim(program)?;
            let mut run = |repeat| -> Result<f64> {
                number += repeat;
                Ok(f64::from(test_run(driver.program(), &from_number(&frame, number), repeat)?))
            };
            let drained = run(REPEAT_EVENTS)?;
            let events = programs.drain();
            let expected = if ours { u64::from(REPEAT_EVENTS) } else { 0 };
            ensure!(events == expected, "flood: {events} events");
            run(RING_BYTES / 100)?;
            let full = run(REPEAT)?;
            programs.drain();
            Ok([drained, full])
        })
    }

    /// The same as it comes about: nobody reads, the programs see that and sample flows.
    fn flood_that_fills(&mut self, family: Family) -> Result<()> {
        let drivers = self.drivers(Packets::Sources, family)?;
        let frame = Flow::number(0, family).syn();
        let mut number = 0;
        self.compare("SYN flood, ring full", family, |programs, program, pair, ours| {
            let driver = &drivers[pair];
            driver.aim(program)?;
            let mut run = |repeat| -> Result<f64> {
                number += repeat;
                Ok(f64::from(test_run(driver.program(), &from_number(&frame, number), repeat)?))
            };
            sample(programs, 0)?;
            run(RING_BYTES / 16)?;
            let mean = run(REPEAT)?;
            let (shift, events) = (sampled(programs)?, programs.drain());
            let most = u64::from(RING_BYTES / 128);
            let full = (7 * most / 8..=most).contains(&events) && shift == u64::from(MAX_SHIFT);
            ensure!(full || !ours, "{events} of {most} events, sampled by {shift}");
            Ok([mean])
        })
    }

    /// Packets of flows that are not pending, each after a system call.
    fn cold(&mut self, family: Family) -> Result<()> {
        let acks = shuffled(family, Flow::ack);
        self.compare("ACK, 65,536 flows, cold", family, |programs, program, _, _| {
            let mean = batch(program, &acks)?;
            ensure!(programs.drain() == 0, "ACKs of unknown flows made events");
            Ok([mean])
        })
    }

    /// Runs every pair in alternation and tells the difference; `case` has `N` names. `run` gets the
    /// number of the pair, and whether the program is ours.
    fn compare<const N: usize>(
        &mut self,
        case: &str,
        family: Family,
        mut run: impl FnMut(&mut Programs, BorrowedFd<'_>, usize, bool) -> Result<[f64; N]>,
    ) -> Result<()> {
        let mut above = vec![[const { Vec::new() }; N]; self.pairs.len()];
        let mut empty = vec![[const { Vec::new() }; N]; self.pairs.len()];
        for round in 0..=self.rounds {
            for (index, pair) in self.pairs.iter().enumerate() {
                let floor = run(&mut self.programs, pair.empty.as_fd(), index, false)?;
                let ours = run(&mut self.programs, pair.ours.as_fd(), index, true)?;
                // The first round only warms up.
                for step in (0..N).filter(|_| round > 0) {
                    above[index][step].push(ours[step] - floor[step]);
                    empty[index][step].push(floor[step]);
                }
            }
        }
        for (index, pair) in self.pairs.iter().enumerate() {
            for (step, name) in case.split('|').enumerate() {
                let name = format!("{}, {family:?}, {name}", pair.name);
                let floor = Quartiles::of(&empty[index][step]).median;
                tell("kernel", &name, "ns", &above[index][step], &[("empty", floor)]);
            }
        }
        Ok(())
    }
}

type State<'a> = Array<&'a mut MapData, [u64; state::WORDS]>;

fn state_of(programs: &mut Programs) -> Result<State<'_>> {
    Ok(programs.ebpf.map_mut(name::STATE).context("no state")?.try_into()?)
}

/// Forgets every flow.
fn empty_table(programs: &mut Programs) -> Result<()> {
    let map = programs.ebpf.map_mut(name::TABLE).context("no table")?;
    let mut table = Array::<_, [u64; WORDS]>::try_from(map)?;
    (0..table.len()).try_for_each(|bucket| Ok(table.set(bucket, [0; WORDS], 0)?))
}

/// Lets 1 flow in 2^`shift` begin.
fn sample(programs: &mut Programs, shift: Shift) -> Result<()> {
    let mut words = [0_u64; state::WORDS];
    words[state::SAMPLE_SHIFT] = shift.into();
    Ok(state_of(programs)?.set(0, words, 0)?)
}

/// The sampling in force.
fn sampled(programs: &mut Programs) -> Result<u64> {
    Ok(state_of(programs)?.get(&0, 0)?[state::SAMPLE_SHIFT])
}

/// Mean nanoseconds of one run a frame.
fn batch(program: BorrowedFd<'_>, frames: &[Vec<u8>]) -> Result<f64> {
    let before = Runs::of(program)?;
    for frame in frames {
        test_run(program, frame, 1)?;
    }
    Ok(Runs::of(program)?.mean_ns_since(&before))
}

/// A packet of each of many flows, in one random order.
fn shuffled(family: Family, packet: fn(&Flow) -> Vec<u8>) -> Vec<Vec<u8>> {
    let flows = (0..FLOWS).map(|number| Flow::number(number, family));
    let mut frames: Vec<_> = flows.map(|flow| packet(&flow)).collect();
    let mut random = Random::new(1);
    for last in (1..frames.len()).rev() {
        frames.swap(last, random.below(last + 1));
    }
    frames
}

/// A connection's two ends; its frames look like Linux's.
struct Flow {
    client: SocketAddr,
    server: SocketAddr,
    isn: u32,
}

impl Flow {
    fn number(number: u32, family: Family) -> Self {
        let (client, server): (IpAddr, IpAddr) = match family {
            Family::V4 => {
                (Ipv4Addr::from_bits(0x0a00_0000 + number / 8).into(), [192, 0, 2, 1].into())
            }
            Family::V6 => {
                let network = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0).to_bits();
                let server = Ipv6Addr::from_bits(network | 1 << 64 | 1);
                (Ipv6Addr::from_bits(network | u128::from(number / 8)).into(), server.into())
            }
        };
        let port = 32_768 + (number % 8) as u16;
        let isn = number.wrapping_mul(0x9e37_79b9);
        Self { client: (client, port).into(), server: (server, 443).into(), isn }
    }

    fn syn(&self) -> Vec<u8> {
        self.frame(false, SYN, 0, &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7])
    }

    fn syn_ack(&self) -> Vec<u8> {
        let options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 1, 1, 3, 3, 7];
        self.frame(true, SYN | ACK, 0, &options)
    }

    fn ack(&self) -> Vec<u8> {
        self.frame(false, ACK, 0, &[1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 9])
    }

    fn data(&self) -> Vec<u8> {
        self.frame(false, PSH | ACK, 1448, &[1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 9])
    }

    fn udp(&self) -> Vec<u8> {
        let ports = [self.client.port().to_be_bytes(), self.server.port().to_be_bytes()].concat();
        let datagram = [&ports[..], &[0, 108, 0, 0], &[0; 100]].concat();
        ethernet(&ip_packet(self.client.ip(), self.server.ip(), UDP, 64, &datagram))
    }

    fn frame(&self, from_server: bool, flags: u8, payload: usize, options: &[u8]) -> Vec<u8> {
        let (isn, answer) = (self.isn, !self.isn);
        let beyond = u32::from(flags & SYN == 0);
        let (from, to, seq, ack) = match from_server {
            true => (self.server, self.client, answer, isn.wrapping_add(1)),
            false if beyond == 0 => (self.client, self.server, isn, 0),
            false => (self.client, self.server, isn.wrapping_add(1), answer.wrapping_add(1)),
        };
        let segment = Segment::new(from, to, flags, seq, ack).with_options(options);
        ethernet(&segment.with_payload(&vec![0; payload]).packet())
    }
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&[2; 12], &kind[..], packet].concat()
}
