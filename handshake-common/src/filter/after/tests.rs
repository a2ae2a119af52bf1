//! What the entry of a completed attempt reports, and what it leaves alone.

use super::*;
use crate::filter::{Class, MemoryBucket, Table, on_icmp_error, on_opening, sweep};

const FLOW: u64 = 0x1234_5678_0000_0000;
const CLIENT: u32 = 1_000;
const SERVER: u32 = 9_000;
const FIN_ACK: u16 = Flags::FIN | Flags::ACK;

/// One bucket, in which an attempt was completed.
struct Watched([MemoryBucket; 1]);

fn header(flags: u16, seq: u32, ack: u32) -> Header {
    let flags = Flags(flags);
    Header { source_port: 1, dest_port: 2, seq, ack, flags, window: 0, options_len: 0 }
}

impl Watched {
    fn new() -> Self {
        let watched = Self([MemoryBucket::default()]);
        assert_eq!(watched.syn(CLIENT), Table::New);
        assert_eq!(watched.syn_ack(), Table::Kept);
        assert_eq!(watched.client(Flags::ACK, 1, 0), Pending::Watched);
        watched
    }

    fn memory(&self) -> &[MemoryBucket] {
        &self.0
    }

    fn syn(&self, seq: u32) -> Table {
        on_opening(self.memory(), FLOW, true, Class::Syn, &header(Flags::SYN, seq, 0), 0, 7)
    }

    fn syn_ack(&self) -> Table {
        let tcp = header(Flags::SYN | Flags::ACK, SERVER, CLIENT + 1);
        on_opening(self.memory(), FLOW, false, Class::SynAck, &tcp, 0, 8)
    }

    /// From the client: `sent` bytes behind its ISN.
    fn client(&self, flags: u16, sent: u32, payload: u32) -> Pending {
        self.segment(true, header(flags, CLIENT.wrapping_add(sent), SERVER + 1), payload)
    }

    fn server(&self, flags: u16, sent: u32, payload: u32) -> Pending {
        self.segment(false, header(flags, SERVER.wrapping_add(sent), CLIENT + 1), payload)
    }

    /// The quick look must let through whatever makes an event.
    fn segment(&self, from_lower: bool, tcp: Header, payload: u32) -> Pending {
        let (has_payload, has_fin) = (payload > 0, tcp.flags.has(Flags::FIN));
        let plain = Plain { fingerprint: FLOW, from_lower, has_payload, has_fin };
        let matters = may_matter(self.memory(), &plain) || tcp.flags.has(Flags::RST);
        let said = crate::filter::on_segment(self.memory(), FLOW, from_lower, &tcp, payload, true);
        assert!(matters || said == Pending::No, "{said:?}");
        said
    }

    /// Is there an entry that is over?
    fn is_there(&self) -> bool {
        find(self.memory(), FLOW).is_some_and(|found| is_over(found.head))
    }
}

#[test]
fn a_completed_attempt_is_nobodys_pending_one() {
    let watched = Watched::new();
    assert!(watched.is_there());
    assert_eq!(sweep::entries(watched.memory()), 0);
    assert_eq!(sweep::numbers(watched.memory(), FLOW), None);
    assert!(!crate::filter::is_allowed(watched.memory(), FLOW));
    assert_eq!(on_icmp_error(watched.memory(), FLOW), Pending::No);
}

#[test]
fn plain_acks_make_no_event_and_are_seen_at_once() {
    let watched = Watched::new();
    for from_lower in [true, false] {
        let plain = Plain { fingerprint: FLOW, from_lower, has_payload: false, has_fin: false };
        assert!(!may_matter(watched.memory(), &plain));
    }
    assert_eq!(watched.client(Flags::ACK, 1, 0), Pending::No);
    assert!(watched.is_there());
}

#[test]
fn the_first_byte_of_each_side_makes_one_event_and_then_nothing_is_left() {
    for client_first in [true, false] {
        let watched = Watched::new();
        let byte = |of_client| {
            if of_client {
                watched.client(Flags::ACK, 1, 10)
            } else {
                watched.server(Flags::ACK, 1, 10)
            }
        };
        assert_eq!((byte(client_first), byte(client_first)), (Pending::Yes, Pending::No));
        let plain = Plain {
            fingerprint: FLOW,
            from_lower: client_first,
            has_payload: true,
            has_fin: false,
        };
        assert!(!may_matter(watched.memory(), &plain), "more of the same side");
        assert!(watched.is_there());
        assert_eq!((byte(!client_first), byte(!client_first)), (Pending::Yes, Pending::No));
        assert!(!watched.is_there());
    }
}

#[test]
fn the_byte_that_completes_counts_as_the_first() {
    let watched = Watched([MemoryBucket::default()]);
    watched.syn(CLIENT);
    watched.syn_ack();
    assert_eq!(watched.client(Flags::ACK, 1, 5), Pending::Watched);
    assert_eq!(watched.client(Flags::ACK, 6, 5), Pending::No);
    assert_eq!(watched.server(Flags::ACK, 1, 5), Pending::Yes);
    assert!(!watched.is_there());
}

#[test]
fn a_reset_or_a_close_is_the_end() {
    for (from_client, flags) in
        [(true, Flags::RST), (false, Flags::RST | Flags::ACK), (true, FIN_ACK), (false, FIN_ACK)]
    {
        let watched = Watched::new();
        let said =
            if from_client { watched.client(flags, 1, 0) } else { watched.server(flags, 1, 0) };
        assert_eq!(said, Pending::Yes, "{from_client} {flags:x}");
        assert!(!watched.is_there());
    }
}

#[test]
fn a_client_that_has_asked_may_close_its_side() {
    let watched = Watched::new();
    assert_eq!(watched.client(Flags::ACK, 1, 10), Pending::Yes);
    assert_eq!(watched.client(FIN_ACK, 11, 0), Pending::Yes);
    assert_eq!(watched.client(FIN_ACK, 11, 0), Pending::No, "once");
    assert!(watched.is_there());
    assert_eq!(watched.server(FIN_ACK, 1, 100), Pending::Yes);
    assert!(!watched.is_there());

    let at_once = Watched::new();
    assert_eq!(at_once.client(FIN_ACK, 1, 10), Pending::Yes);
    assert!(at_once.is_there());
}

#[test]
fn what_lies_outside_of_the_window_is_of_another_connection() {
    let watched = Watched::new();
    assert_eq!(watched.server(Flags::RST, 0x4000_0000, 0), Pending::No);
    assert_eq!(watched.server(Flags::ACK, 0, 1), Pending::No, "a keepalive probe");
    assert!(watched.is_there());
    // How far the client is after so much data is not followed.
    assert_eq!(watched.client(Flags::ACK, 1, 10), Pending::Yes);
    assert_eq!(watched.client(Flags::RST, 0x4000_0000, 0), Pending::Yes);
}

#[test]
fn a_repeated_syn_or_syn_ack_changes_nothing() {
    let watched = Watched::new();
    assert_eq!(watched.syn_ack(), Table::Kept);
    assert_eq!(watched.syn(CLIENT), Table::Kept);
    assert!(watched.is_there());
    assert_eq!(sweep::entries(watched.memory()), 0);
}

#[test]
fn the_next_attempt_of_the_flow_is_a_new_entry() {
    let watched = Watched::new();
    watched.client(Flags::ACK, 1, 10);
    assert_eq!(watched.syn(CLIENT + 77), Table::New);
    assert_eq!(sweep::numbers(watched.memory(), FLOW), Some((CLIENT + 78, 0)));
    assert!(!watched.is_there());
    // From the other end, too.
    let watched = Watched::new();
    let tcp = header(Flags::SYN, 55, 0);
    assert_eq!(on_opening(watched.memory(), FLOW, false, Class::Syn, &tcp, 0, 9), Table::New);
}

#[test]
fn under_load_nothing_is_watched() {
    let watched = Watched::new();
    let tcp = header(Flags::ACK, CLIENT + 1, SERVER + 1);
    let said = crate::filter::on_segment(watched.memory(), FLOW, true, &tcp, 9, false);
    assert_eq!(said, Pending::No);
    assert!(find(watched.memory(), FLOW).is_none());
}

#[test]
fn only_where_there_is_room() {
    let watched = Watched::new();
    let other = |number: u64| FLOW ^ (number << 40);
    for number in 1..=6 {
        let tcp = header(Flags::SYN, CLIENT, 0);
        on_opening(watched.memory(), other(number), true, Class::Syn, &tcp, 0, 9);
    }
    watched.syn(CLIENT + 1);
    let tcp = header(Flags::SYN | Flags::ACK, SERVER, CLIENT + 2);
    on_opening(watched.memory(), FLOW, false, Class::SynAck, &tcp, 0, 9);
    assert_eq!(watched.client(Flags::ACK, 2, 0), Pending::Yes);
    assert!(find(watched.memory(), FLOW).is_none());
}

#[test]
fn it_goes_before_anything_that_is_pending() {
    let watched = Watched::new();
    for number in 1..8_u64 {
        let tcp = header(Flags::SYN, CLIENT, 0);
        let flow = FLOW ^ (number << 40);
        assert_eq!(on_opening(watched.memory(), flow, true, Class::Syn, &tcp, 0, 9), Table::New);
    }
    assert!(watched.is_there());
    let tcp = header(Flags::SYN, CLIENT, 0);
    let last = FLOW ^ (9 << 40);
    assert_eq!(on_opening(watched.memory(), last, true, Class::Syn, &tcp, 0, 9), Table::New);
    assert!(!watched.is_there());
    assert_eq!(sweep::entries(watched.memory()), 8);
}
