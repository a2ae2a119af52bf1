//! Short conversations between two hosts, drawn from the few values at which rules change.

use std::env;

use handshake_common::packet::tcp::Flags;

/// One packet between host A, port 1000, and host B, port 80.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) time_ms: i64,
    pub(crate) from_a: bool,
    pub(crate) what: What,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) payload: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// TCP flags.
    Segment(u16),
    /// A port-unreachable that quotes a segment of the other host.
    IcmpError,
}

/// Marsaglia's xorshift: the same sequences everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    /// The expected number three times in four, else one beside it or beside a window's edge.
    fn near(&mut self, expected: u32) -> u32 {
        let away = [1, 2, 5, 6, 7, 1 << 20, (1 << 20) - 1, u32::MAX, u32::MAX - 1, 1 << 31];
        let away = if self.below(4) > 0 { 0 } else { self.of(&away) };
        expected.wrapping_add(away)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// How many conversations: `HANDSHAKE_RANDOM_RUNS`, or what takes a few seconds.
pub(crate) fn runs() -> u64 {
    env::var("HANDSHAKE_RANDOM_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(20_000)
}

/// The conversation of a seed.
pub(crate) fn packets(seed: u64) -> Vec<Packet> {
    use Flags as F;
    const WHAT: [What; 12] = [
        What::Segment(F::SYN),
        What::Segment(F::SYN),
        What::Segment(F::SYN | F::ACK),
        What::Segment(F::SYN | F::ACK),
        What::Segment(F::ACK),
        What::Segment(F::ACK),
        What::Segment(F::ACK | F::FIN),
        What::Segment(F::RST),
        What::Segment(F::RST | F::ACK),
        What::Segment(F::SYN | F::FIN),
        What::Segment(0),
        What::IcmpError,
    ];
    const STEPS_MS: [i64; 10] = [0, 1, 1, 1, 20, 1_000, 3_000, 9_999, 70_000, -500];
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut time_ms = 1_000_000;
    let count = 2 + random.below(14);
    let isn_a = random.of(&[1000, u32::MAX, u32::MAX - 4]);
    let isns = [isn_a, random.of(&[7000, 1000])];
    let packet = |_| {
        time_ms += random.of(&STEPS_MS);
        let what = random.of(&WHAT);
        let syn = matches!(what, What::Segment(flags) if flags & F::SYN != 0);
        let from_a = random.below(8) < if what == What::Segment(F::SYN) { 6 } else { 4 };
        // An ICMP error quotes the other host.
        let of_a = from_a != (what == What::IcmpError);
        let [own, other] = if of_a { isns } else { [isns[1], isns[0]] };
        let begins = syn || what == What::IcmpError;
        Packet {
            time_ms,
            from_a,
            what,
            seq: random.near(own.wrapping_add(u32::from(!begins))),
            ack: random.near(other.wrapping_add(1)),
            payload: random.of(&[0, 0, 0, 1, 5, 6]),
        }
    };
    (0..count).map(packet).collect()
}

/// Leaves out packets as long as the rest still `fails`.
pub(crate) fn reduce(mut packets: Vec<Packet>, fails: impl Fn(&[Packet]) -> bool) -> Vec<Packet> {
    let mut at = 0;
    while at < packets.len() {
        let mut fewer = packets.clone();
        fewer.remove(at);
        if fails(&fewer) {
            packets = fewer;
            at = 0;
        } else {
            at += 1;
        }
    }
    packets
}

/// A conversation that is not random: SYN, SYN-ACK, ACK.
pub(crate) fn handshake() -> [Packet; 3] {
    let packet = |time_ms: i64, flags: u16, seq: u32, ack: u32| Packet {
        time_ms,
        from_a: flags != (Flags::SYN | Flags::ACK),
        what: What::Segment(flags),
        seq,
        ack,
        payload: 0,
    };
    [
        packet(1000, Flags::SYN, 1000, 0),
        packet(1020, Flags::SYN | Flags::ACK, 7000, 1001),
        packet(1021, Flags::ACK, 1001, 7001),
    ]
}

/// A nanosecond pcap of raw IP.
pub(crate) fn capture(packets: &[Packet]) -> Vec<u8> {
    capture_of(101, packets.iter().map(|packet| (packet.time_ms, frame(packet))))
}

/// A nanosecond pcap of frames and their times in milliseconds.
pub(crate) fn capture_of(link_type: u32, frames: impl Iterator<Item = (i64, Vec<u8>)>) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, link_type] {
        file.extend(u32::to_le_bytes(word));
    }
    for (time_ms, frame) in frames {
        let seconds = time_ms.div_euclid(1000) as u32;
        let part = time_ms.rem_euclid(1000) as u32 * 1_000_000;
        for word in [seconds, part, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

pub(crate) fn frame(packet: &Packet) -> Vec<u8> {
    match packet.what {
        What::Segment(flags) => {
            let tcp = tcp(packet, packet.from_a, flags);
            ip(packet.from_a, 6, &[&tcp[..], &vec![0; usize::from(packet.payload)]].concat())
        }
        What::IcmpError => {
            let quoted = ip(!packet.from_a, 6, &tcp(packet, !packet.from_a, Flags::SYN)[..8]);
            ip(packet.from_a, 1, &[&[3, 3, 0, 0, 0, 0, 0, 0], &quoted[..]].concat())
        }
    }
}

fn tcp(packet: &Packet, from_a: bool, flags: u16) -> Vec<u8> {
    let [source, dest] = if from_a { [1000_u16, 80] } else { [80, 1000] };
    let mut bytes = [source.to_be_bytes(), dest.to_be_bytes()].concat();
    bytes.extend(packet.seq.to_be_bytes());
    bytes.extend(packet.ack.to_be_bytes());
    bytes.extend((0x5000 | flags).to_be_bytes());
    bytes.extend([1, 0, 0, 0, 0, 0]);
    bytes
}

fn ip(from_a: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut bytes = vec![0x45, 0];
    bytes.extend(len.to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    let [source, dest] = if from_a { [1, 2] } else { [2, 1] };
    bytes.extend([10, 0, 0, source, 10, 0, 0, dest]);
    bytes.extend(payload);
    bytes
}
