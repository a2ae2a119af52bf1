//! Any sequence of events through the tracker, whose books balance after each.
//!
//! Numbers and times are near those at which a rule changes, or anything at all.

use std::collections::HashMap;

use arbitrary::{Arbitrary, Unstructured};
use handshake_common::event::{Event, kind};
use handshake_common::packet::tcp::Flags;
use handshake_common::packet::tunnel::Layers;
use handshake_user::attempt::{Attempt, Key, Observation, SourceId};
use handshake_user::census::{Census, Waiting};
use handshake_user::outcome::Outcome;
use handshake_user::tracker::{Config, Tracker};
use handshake_user::verdict::Verdict;

/// A whole input.
#[derive(Debug, Clone, Arbitrary)]
pub struct Conversation {
    /// Most attempts, minus 1.
    pub limit: u8,
    /// Shorter than the usual ten seconds.
    pub hasty: bool,
    /// In order.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub struct Step {
    /// How long after the step before.
    pub wait: Wait,
    /// What happens.
    pub what: What,
}

/// Time between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub enum Wait {
    /// None.
    None,
    /// A few milliseconds.
    Short(u8),
    /// Seconds; some are before the step before.
    Seconds(i8),
    /// At this very time.
    At(i64),
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub enum What {
    /// A packet.
    Packet(Packet),
    /// Time passes.
    Expire,
    /// Events were lost.
    Loss,
}

/// A packet between host A or B and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub struct Packet {
    /// What kind: five of them.
    pub kind: u8,
    /// Which flow; the last bits count.
    pub flow: u8,
    /// Who sends it.
    pub from_a: bool,
    /// Sequence number.
    pub seq: Number,
    /// Acknowledgement number.
    pub ack: Number,
    /// Payload.
    pub payload: u8,
    /// Further flags: FIN, ACK.
    pub flags: u8,
    /// Which hook saw it.
    pub source: bool,
}

/// A sequence number, seen from the initial one of the sender or receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub enum Number {
    /// The expected one.
    Expected,
    /// One beside it.
    Beside(i8),
    /// One at the edge of the window.
    Edge(i8),
    /// Another initial number.
    Other(u8),
    /// Any.
    Any(u32),
}

impl Number {
    fn near(self, expected: u32) -> u32 {
        match self {
            Self::Expected => expected,
            Self::Beside(by) => expected.wrapping_add_signed(by.into()),
            Self::Edge(by) => expected.wrapping_add(1 << 20).wrapping_add_signed(by.into()),
            Self::Other(which) => expected.wrapping_add(u32::from(which % 4) << 28),
            Self::Any(number) => number,
        }
    }
}

impl Packet {
    /// The event that reports this packet.
    #[must_use]
    pub fn event(&self, time_ns: i64) -> Event {
        const KINDS: [u8; 5] = [kind::SYN, kind::SYN_ACK, kind::ACK, kind::RST, kind::ICMP];
        let kind = KINDS[usize::from(self.kind) % KINDS.len()];
        let flow = u32::from(self.flow % 8);
        let ip_version = if flow.is_multiple_of(4) { 6 } else { 4 };
        let (a, b) = ([0, 0, 0, 1], [0, 0, 0, 2]);
        let ports = [1000 + flow as u16, 80];
        let isns = [0x0000_1000, u32::MAX - 2];
        let from = usize::from(!self.from_a);
        let begins = matches!(kind, kind::SYN | kind::SYN_ACK | kind::ICMP);
        let more = match kind {
            kind::SYN => Flags::SYN,
            kind::SYN_ACK => Flags::SYN | Flags::ACK,
            kind::ACK => Flags::ACK | u16::from(self.flags & 1),
            _ => Flags::RST | if self.flags & 2 == 0 { 0 } else { Flags::ACK },
        };
        Event {
            time_ns: time_ns.cast_unsigned(),
            source: if self.from_a { a } else { b },
            dest: if self.from_a { b } else { a },
            seq: self.seq.near(isns[from].wrapping_add(u32::from(!begins))),
            ack: self.ack.near(isns[1 - from].wrapping_add(1)),
            payload_len: u32::from(self.payload.saturating_sub(128)),
            source_port: ports[from],
            dest_port: ports[1 - from],
            tcp_flags: more,
            kind,
            ip_version,
            ..Event::ZERO
        }
    }
}

impl Conversation {
    /// What the tracker is told of limits.
    #[must_use]
    pub fn config(&self) -> Config {
        let second = 1_000_000_000;
        let timeout = if self.hasty { second / 100 } else { 10 * second };
        Config { timeout, linger: 6 * timeout, max_attempts: usize::from(self.limit % 16) + 1 }
    }
}

/// The conversation that these bytes describe, then [`check`].
pub fn run(data: &[u8]) {
    if let Ok(conversation) = Conversation::arbitrary_take_rest(Unstructured::new(data)) {
        check(&conversation);
    }
}

/// Runs a conversation and looks at the books after each step; returns what ended.
pub fn check(conversation: &Conversation) -> Vec<Attempt> {
    let config = conversation.config();
    let mut ledger = Ledger::new(config);
    let mut now: i64 = 0;
    for (step, number) in conversation.steps.iter().zip(1..) {
        now = match step.wait {
            Wait::None => now,
            Wait::Short(ms) => now.saturating_add(i64::from(ms) * 1_000_000),
            Wait::Seconds(seconds) => now.saturating_add(i64::from(seconds) * 1_000_000_000),
            Wait::At(time) => time,
        };
        match step.what {
            What::Expire => _ = ledger.tracker.expire(now),
            What::Loss => ledger.tracker.note_loss(now),
            What::Packet(packet) => ledger.observe(&Observation {
                event: packet.event(now),
                source: packet.source.into(),
                frame: number,
                layers: Layers::NONE,
            }),
        }
        ledger.balance();
    }
    ledger.close().attempts
}

/// What the books say at the end.
#[derive(Debug)]
pub struct Closed {
    /// In order of their beginning.
    pub attempts: Vec<Attempt>,
    /// Two hosts had attempts both ways with the same ports.
    pub crossed: bool,
}

/// A second set of books.
#[derive(Debug)]
pub struct Ledger {
    /// The one under test.
    pub tracker: Tracker,
    limit: usize,
    /// At which balance the attempt of each number had begun.
    began: Vec<usize>,
    /// At which balance each had ended, and how.
    ended: Vec<(usize, Attempt)>,
    /// Copies of SYNs and of SYN-ACKs in those that have ended, and disbelieved SYN-ACKs and RSTs.
    repeated: [u64; 4],
    /// Attempts begun by hook, by the census.
    begun: HashMap<SourceId, u64>,
    /// Attempts ended by hook.
    over: HashMap<SourceId, u64>,
    balances: usize,
}

impl Ledger {
    /// An empty tracker and empty books.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut tracker = Tracker::new(config);
        tracker.keep_census(Census::default());
        Self {
            tracker,
            limit: config.max_attempts,
            began: Vec::new(),
            ended: Vec::new(),
            repeated: [0; 4],
            begun: HashMap::new(),
            over: HashMap::new(),
            balances: 0,
        }
    }

    /// Takes a packet; what it meant must fit what it did.
    pub fn observe(&mut self, seen: &Observation) {
        let before = *self.tracker.stats();
        let judged = self.tracker.observe(seen);
        let stats = self.tracker.stats();
        let began = matches!(
            judged.verdict,
            Verdict::Begins | Verdict::BeginsWithSynAck | Verdict::Supersedes
        );
        assert_eq!(stats.started - before.started, u64::from(began), "{judged:?}");
        assert!(!began || judged.attempt == Some(stats.started), "{judged:?}");
        let late = stats.late_copies - before.late_copies;
        assert_eq!(late, u64::from(judged.verdict == Verdict::LateCopy), "{judged:?}");
        assert_eq!(judged.attempt.is_none(), judged.verdict == Verdict::NotOurs, "{judged:?}");
    }

    /// What must hold at every moment.
    pub fn balance(&mut self) {
        self.balances += 1;
        let (open, remembered) = (self.tracker.open(), self.tracker.remembered());
        assert!(open <= self.limit, "{open} open of {}", self.limit);
        assert!(remembered <= self.limit, "{remembered} remembered of {}", self.limit);
        let now = self.balances;
        for attempt in self.tracker.drain() {
            let Attempt { syn_retrans, synack_retrans, bad_synack, bad_rst, .. } = attempt;
            let extras = [syn_retrans, synack_retrans, bad_synack, bad_rst];
            self.repeated.iter_mut().zip(extras).for_each(|(sum, one)| *sum += u64::from(one));
            *self.over.entry(attempt.source).or_default() += 1;
            self.ended.push((now, attempt));
        }
        let stats = self.tracker.stats();
        assert_eq!(stats.started, stats.ended() + open as u64);
        assert_eq!(stats.ended(), self.ended.len() as u64);
        self.began.resize(stats.started as usize, now);
        let next = self.tracker.next_deadline();
        assert!(open == 0 || next.is_some(), "open attempts have a deadline");
        self.count_repeats();
        self.count_open();
    }

    /// Every copy is counted when it is seen: the counts are those of all attempts, open ones too.
    fn count_repeats(&self) {
        let stats = self.tracker.stats();
        let [mut syn, mut synack, bad_synack, bad_rst] = self.repeated;
        for open in self.tracker.open_attempts() {
            syn += u64::from(open.syn_retrans);
            synack += u64::from(open.synack_retrans);
        }
        assert_eq!((stats.syn_retrans, stats.synack_retrans), (syn, synack));
        assert!(stats.bad_synack >= bad_synack && stats.bad_rst >= bad_rst);
        if self.tracker.open() == 0 {
            assert_eq!((stats.bad_synack, stats.bad_rst), (bad_synack, bad_rst));
        }
    }

    /// The census says what a walk over all open attempts finds.
    fn count_open(&mut self) {
        let (mut all, mut services) = (Waiting::default(), HashMap::<_, Waiting>::new());
        let mut begun = self.over.clone();
        for open in self.tracker.open_attempts() {
            for waiting in [&mut all, services.entry(open.key.server_addr()).or_default()] {
                waiting.open += 1;
                waiting.half_open += u64::from(open.unanswered == Outcome::HalfOpen);
                waiting.repeated += u64::from(open.syn_retrans > 0);
            }
            *begun.entry(open.source).or_default() += 1;
        }
        let census = self.tracker.census_mut().expect("a census is kept");
        for one in census.take_begun() {
            *self.begun.entry(one.source).or_default() += 1;
        }
        assert_eq!(census.all(), all);
        assert_eq!(census.services().collect::<HashMap<_, _>>(), services);
        assert_eq!(self.begun, begun);
    }

    /// The end of the input: every attempt has ended once, and no two of a key overlapped.
    #[must_use]
    pub fn close(mut self) -> Closed {
        self.tracker.finish();
        self.balance();
        assert_eq!(self.tracker.open(), 0);
        let mut ids: Vec<_> = self.ended.iter().map(|(_, attempt)| attempt.id).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(1..=self.began.len() as u64), "each attempt ends once");
        self.ended.sort_by_key(|(_, attempt)| attempt.id);
        let mut last_end: HashMap<Key, usize> = HashMap::new();
        let mut crossed = false;
        for (end, attempt) in &self.ended {
            let began = self.began[attempt.id as usize - 1];
            crossed |= last_end.contains_key(&attempt.key.reversed());
            if let Some(before) = last_end.insert(attempt.key, *end) {
                assert!(before <= began, "two open attempts of one key: {attempt:?}");
            }
        }
        let attempts = self.ended.into_iter().map(|(_, attempt)| attempt).collect();
        Closed { attempts, crossed }
    }
}
