//! Both worlds side by side, and what they disagree about.

use std::fmt::{self, Display, Formatter};

use handshake_common::abi::{COUNTERS, Counter, Hook, name};
use handshake_common::event::Event;
use handshake_common::filter::{Tick, WAYS};
use handshake_common::flow::Keys;
use handshake_common::kept::{KEPT_LEN, Kept, mark};
use handshake_common::packet::ethernet::Link;
use handshake_common::sample::Shift;
use handshake_user::evidence::Frame;

use crate::host::Host;
use crate::kernel::Kernel;

/// Any would do.
pub(crate) const KEYS: Keys = Keys { low: 0x0123_4567_89ab_cdef, high: 0xfedc_ba98_7654_3210 };
/// Few, so that attempts meet in a bucket.
pub(crate) const BUCKETS: u32 = 64;
/// Disagreements described; the rest is counted.
const DESCRIBED: usize = 10;

/// One of the programs, and what it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) hook: Hook,
    pub(crate) link: Link,
}

impl Program {
    pub(crate) const ALL: [Self; 6] = [
        Self { name: name::XDP, hook: Hook::Xdp, link: Link::Ethernet },
        Self { name: name::XDP_IP, hook: Hook::Xdp, link: Link::Ip },
        Self { name: name::TC_INGRESS, hook: Hook::TcIngress, link: Link::Ethernet },
        Self { name: name::TC_INGRESS_IP, hook: Hook::TcIngress, link: Link::Ip },
        Self { name: name::TC_EGRESS, hook: Hook::TcEgress, link: Link::Ethernet },
        Self { name: name::TC_EGRESS_IP, hook: Hook::TcEgress, link: Link::Ip },
    ];

    /// `XDP_PASS`, `TC_ACT_UNSPEC`.
    fn verdict(self) -> u32 {
        if self.hook == Hook::Xdp { 2 } else { u32::MAX }
    }
}

/// The numbers of one run.
#[derive(Debug)]
pub(crate) struct Tally {
    program: Program,
    pub(crate) compared: u64,
    pub(crate) events: u64,
    /// The kernel refused to run the program on them: shorter than an Ethernet header.
    short: u64,
    /// Refused for another reason.
    refused: u64,
    disagreements: u64,
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { program, compared, events, short, refused, disagreements } = self;
        write!(
            f,
            "{:12} {compared} frames compared, {events} events, refused by the kernel {short} \
             shorter than 14 bytes and {refused} others, {disagreements} disagreements",
            program.name
        )
    }
}

/// A loaded program and the host's code, with the same keys, table and history.
pub(crate) struct Worlds {
    kernel: Kernel,
    keeps_frames: bool,
    host: Host,
    tally: Tally,
    described: Vec<String>,
}

impl Worlds {
    pub(crate) fn new(program: Program) -> Self {
        Self::with(program, 0, false)
    }

    /// Both let in 1 in 2^`shift` of the flows that are not pending.
    pub(crate) fn sampled(program: Program, shift: Shift) -> Self {
        Self::with(program, shift, false)
    }

    /// The program also keeps the first bytes of each frame.
    pub(crate) fn keeping_frames(program: Program) -> Self {
        Self::with(program, 0, true)
    }

    fn with(program: Program, shift: Shift, keeps_frames: bool) -> Self {
        let tally =
            Tally { program, compared: 0, events: 0, short: 0, refused: 0, disagreements: 0 };
        let kernel = Kernel::load(program, shift, keeps_frames);
        let host = Host::new(shift);
        Self { kernel, keeps_frames, host, tally, described: Vec::new() }
    }

    /// Shows a frame to both.
    pub(crate) fn meet(&mut self, frame: &[u8], what: &dyn Fn() -> String) {
        self.meet_each(frame, frame, what);
    }

    /// Shows the kernel one frame and the host another.
    pub(crate) fn meet_each(&mut self, frame: &[u8], host: &[u8], what: &dyn Fn() -> String) {
        let Program { link, hook, .. } = self.tally.program;
        let Some(ran) = self.kernel.run(frame) else {
            self.host.parse(host, link);
            if frame.len() < 14 {
                self.tally.short += 1;
            } else {
                self.tally.refused += 1;
            }
            return;
        };
        let first = ran.events.first();
        let tick = first.map_or(0, |_| self.tick_of(host, link));
        let time_ns = first.map_or(0, |event| event.time_ns);
        let expected = self.host.observe(host, link, (time_ns, tick));
        let expected: Vec<_> =
            expected.into_iter().map(|event| Event { hook: hook as u8, ..event }).collect();
        let seen: Vec<_> = ran.events.iter().map(|event| Event { ifindex: 0, ..*event }).collect();
        let counters = self.kernel.counters();
        self.tally.compared += 1;
        self.tally.events += seen.len() as u64;
        let kept = ran.kept.iter().all(|kept| *kept == self.expected_frame(frame));
        let passes = ran.verdict == self.tally.program.verdict();
        if seen == expected && counters == *self.host.counters() && kept && passes && ran.unchanged
        {
            return;
        }
        self.disagree(|host| {
            format!(
                "{}\n  frame    {}\n  kernel   {seen:?}\n  host     {expected:?}\n  counters {}\n  \
                 verdict {}, bytes {}\n  kept     {:02x?}",
                what(),
                hex(frame),
                differences(&counters, host.counters()),
                ran.verdict,
                if ran.unchanged { "unchanged" } else { "CHANGED" },
                ran.kept,
            )
        });
        self.host.set_counters(counters);
    }

    /// What the kernel's coarse clock was at a frame that made an event: it is in the entry of its flow,
    /// if the frame began or renewed that, and else nobody looked at it.
    fn tick_of(&self, frame: &[u8], link: Link) -> Tick {
        let Some((buckets, is_its)) = Host::places(frame, link) else { return 0 };
        let heads =
            buckets.map(|index| *self.kernel.bucket(index).first_chunk::<WAYS>().expect("heads"));
        let its = heads.as_flattened().iter().find(|head| is_its(**head));
        its.map_or(0, |head| (head >> 16) as Tick)
    }

    /// What is to be kept of a frame.
    fn expected_frame(&self, frame: &[u8]) -> Option<Box<Frame>> {
        let marks = if self.tally.program.link == Link::Ip { mark::IP } else { 0 };
        let bytes = &frame[..frame.len().min(KEPT_LEN)];
        let kept = Kept { wire_len: frame.len() as u32, marks, tci: 0, bytes };
        self.keeps_frames.then(|| Box::new(Frame::new(&kept)))
    }

    fn disagree(&mut self, describe: impl FnOnce(&Host) -> String) {
        self.tally.disagreements += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(describe(&self.host));
        }
    }

    /// The counters, after agreement.
    pub(crate) fn counters(&self) -> [u64; COUNTERS] {
        *self.host.counters()
    }

    /// Compares the tables; prints the numbers. Panics if the worlds disagreed.
    pub(crate) fn end(mut self) -> Tally {
        for (index, (kernel, host)) in self.kernel.table().iter().zip(self.host.table()).enumerate()
        {
            if *kernel != host {
                self.disagree(|_| {
                    format!("bucket {index}\n  kernel {kernel:x?}\n  host   {host:x?}")
                });
            }
        }
        println!("{}", self.tally);
        assert!(self.described.is_empty(), "{}\n{}", self.tally, self.described.join("\n"));
        self.tally
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn differences(kernel: &[u64; COUNTERS], host: &[u64; COUNTERS]) -> String {
    let differing = Counter::ALL.iter().filter(|c| kernel[**c as usize] != host[**c as usize]);
    let line = |c: &Counter| {
        format!("{}: kernel {} host {}", c.name(), kernel[*c as usize], host[*c as usize])
    };
    differing.map(line).collect::<Vec<_>>().join(", ")
}
