//! State + stimulus + twist: what the filter remembers, forwards and forgets.

use super::*;
use crate::packet::tcp::Header;

/// Any fingerprint; the same upper half is the same flow.
const FLOW: u64 = 0x1234_5678_0000_0000;
const CLIENT: u32 = 1_000;
const SERVER: u32 = 9_000;

/// One bucket and a clock.
struct Filter {
    bucket: [MemoryBucket; 1],
    now: Tick,
}

fn header(flags: u16, seq: u32, ack: u32) -> Header {
    let flags = Flags(flags);
    Header { source_port: 1, dest_port: 2, seq, ack, flags, window: 0, options_len: 0 }
}

impl Filter {
    fn new() -> Self {
        Self { bucket: [MemoryBucket::default()], now: Tick::MAX - 3 }
    }

    fn memory(&self) -> &[MemoryBucket] {
        &self.bucket
    }

    fn syn_of(&mut self, flow: u64, from_client: bool, seq: u32, payload: u32) -> Table {
        self.now = self.now.wrapping_add(2);
        let tcp = header(Flags::SYN, seq, 0);
        on_opening(self.memory(), flow, from_client, Class::Syn, &tcp, payload, self.now)
    }

    fn syn(&mut self) -> Table {
        self.syn_of(FLOW, true, CLIENT, 0)
    }

    fn syn_ack_of(&mut self, flow: u64, seq: u32, ack: u32) -> Table {
        self.now = self.now.wrapping_add(2);
        let tcp = header(Flags::SYN | Flags::ACK, seq, ack);
        on_opening(self.memory(), flow, false, Class::SynAck, &tcp, 0, self.now)
    }

    fn syn_ack(&mut self) -> Table {
        self.syn_ack_of(FLOW, SERVER, CLIENT + 1)
    }

    fn segment(
        &mut self,
        from_client: bool,
        flags: u16,
        seq: u32,
        ack: u32,
        payload: u32,
    ) -> Pending {
        let tcp = header(flags, seq, ack);
        on_segment(self.memory(), FLOW, from_client, &tcp, payload, false)
    }

    fn client_ack(&mut self) -> Pending {
        self.segment(true, Flags::ACK, CLIENT + 1, SERVER + 1, 0)
    }

    /// Is the flow still remembered? Asks in a way that changes nothing but the budget.
    fn remembers(&mut self, flow: u64) -> bool {
        on_icmp_error(self.memory(), flow) != Pending::No
    }

    fn remembered(&mut self) -> bool {
        self.remembers(FLOW)
    }
}

#[test]
fn classes_are_looked_for_in_the_order_of_the_text() {
    use Flags as F;
    for (flags, class) in [
        (F::SYN, Class::Syn),
        (F::SYN | F::ECE | F::CWR | F::AE | F::PSH | F::URG, Class::Syn),
        (F::SYN | F::ACK, Class::SynAck),
        (F::SYN | F::FIN, Class::Ignored),
        (F::SYN | F::FIN | F::ACK, Class::Ignored),
        (F::SYN | F::FIN | F::RST, Class::Rst),
        (F::RST, Class::Rst),
        (F::RST | F::ACK | F::SYN, Class::Rst),
        (F::ACK, Class::Ack),
        (F::ACK | F::FIN | F::PSH, Class::Ack),
        (F::FIN, Class::Ignored),
        (F::FIN | F::PSH | F::URG, Class::Ignored),
        (0, Class::Ignored),
    ] {
        assert_eq!(classify(Flags(flags)), class, "{flags:#x}");
    }
}

#[test]
fn nothing_pending_ack_makes_no_event() {
    assert_eq!(Filter::new().client_ack(), Pending::No);
    assert_eq!(Filter::new().segment(false, Flags::RST, 1, 1, 0), Pending::No);
}

#[test]
fn answered_third_ack_is_forwarded_and_ends_it() {
    let mut filter = Filter::new();
    assert_eq!((filter.syn(), filter.syn_ack()), (Table::New, Table::Kept));
    assert_eq!(filter.client_ack(), Pending::Yes);
    assert_eq!(filter.client_ack(), Pending::No);
}

#[test]
fn answered_client_data_ends_it_when_the_bare_ack_was_lost() {
    let mut filter = Filter::new();
    filter.syn();
    filter.syn_ack();
    let data = (Flags::ACK | Flags::PSH, CLIENT + 1 + 500, SERVER + 1 + 10, 100);
    assert_eq!(filter.segment(true, data.0, data.1, data.2, data.3), Pending::Yes);
    assert!(!filter.remembered());
}

#[test]
fn answered_client_ack_outside_a_window_is_forwarded_and_kept() {
    for (seq, ack) in [
        (CLIENT, SERVER + 1),
        (CLIENT + 1 + WINDOW, SERVER + 1),
        (CLIENT + 1, SERVER),
        (CLIENT + 1, SERVER + 1 + WINDOW),
    ] {
        let mut filter = Filter::new();
        filter.syn();
        filter.syn_ack();
        assert_eq!(filter.segment(true, Flags::ACK, seq, ack, 0), Pending::Yes);
        assert!(filter.remembered(), "seq {seq} ack {ack}");
    }
}

#[test]
fn windows_wrap_around_zero() {
    let mut filter = Filter::new();
    filter.syn_of(FLOW, true, u32::MAX, 0);
    filter.syn_ack_of(FLOW, u32::MAX - 1, 0);
    assert_eq!(filter.segment(true, Flags::ACK, 0, u32::MAX, 0), Pending::Yes);
    assert!(!filter.remembered());
}

#[test]
fn unanswered_client_ack_ends_it_because_the_syn_ack_was_not_seen() {
    let mut filter = Filter::new();
    filter.syn();
    assert_eq!(filter.segment(true, Flags::ACK, CLIENT + 1, 77, 0), Pending::Yes);
    assert!(!filter.remembered());
}

#[test]
fn answered_server_ends_it_by_data_fin_or_acknowledging_more_only() {
    let (next, after) = (CLIENT + 1, SERVER + 1);
    for (flags, ack, payload, ends) in [
        (Flags::ACK, next, 0, false),
        (Flags::ACK, next, 1, true),
        (Flags::ACK | Flags::FIN, next, 0, true),
        (Flags::ACK, next + 1, 0, true),
        (Flags::ACK, next - 1, 100, false),
    ] {
        let mut filter = Filter::new();
        filter.syn();
        filter.syn_ack();
        assert_eq!(filter.segment(false, flags, after, ack, payload), Pending::Yes);
        assert_eq!(filter.remembered(), !ends, "flags {flags:#x} ack {ack} payload {payload}");
    }
}

#[test]
fn rst_ends_it_only_with_the_expected_number() {
    let rst_ack = Flags::RST | Flags::ACK;
    for (from_client, flags, seq, ack, ends) in [
        (false, rst_ack, 0, CLIENT + 1, true),
        (false, Flags::RST, 0, CLIENT + 1, false),
        (false, rst_ack, 0, CLIENT, false),
        (true, Flags::RST, CLIENT + 1, 0, true),
        (true, Flags::RST, CLIENT, 0, false),
        (true, Flags::RST, CLIENT + 2, 0, false),
    ] {
        let mut filter = Filter::new();
        filter.syn();
        assert_eq!(filter.segment(from_client, flags, seq, ack, 0), Pending::Yes);
        assert_eq!(filter.remembered(), !ends, "{from_client} {flags:#x} {seq} {ack}");
    }
}

#[test]
fn syn_sent_new_isn_replaces_the_numbers() {
    let mut filter = Filter::new();
    filter.syn();
    filter.syn_ack();
    filter.syn_of(FLOW, true, CLIENT + 5_000_000, 0);
    filter.syn_ack_of(FLOW, SERVER + 77, CLIENT + 5_000_001);
    assert_eq!(filter.client_ack(), Pending::Yes);
    assert!(filter.remembered(), "the old attempt's ACK does not end the new one");
    filter.segment(true, Flags::ACK, CLIENT + 5_000_001, SERVER + 78, 0);
    assert!(!filter.remembered());
}

#[test]
fn syn_ack_first_third_ack_ends_it() {
    let mut filter = Filter::new();
    filter.syn_ack();
    assert_eq!(filter.client_ack(), Pending::Yes);
    assert!(!filter.remembered());
}

#[test]
fn two_server_isns_are_never_ended_by_evidence() {
    let mut filter = Filter::new();
    filter.syn();
    filter.syn_ack();
    filter.syn_ack_of(FLOW, SERVER + 1_000, CLIENT + 1);
    assert_eq!(filter.client_ack(), Pending::Yes);
    assert!(filter.remembered());
}

#[test]
fn bad_syn_ack_then_the_true_one_is_never_ended_by_evidence() {
    let mut filter = Filter::new();
    filter.syn();
    filter.syn_ack_of(FLOW, SERVER, CLIENT + 2);
    filter.syn_ack();
    assert_eq!(filter.client_ack(), Pending::Yes);
    assert!(filter.remembered());
}

#[test]
fn both_ends_open_is_never_ended_by_evidence() {
    let mut filter = Filter::new();
    filter.syn();
    filter.syn_of(FLOW, false, SERVER, 0);
    assert_eq!(filter.client_ack(), Pending::Yes);
    assert!(filter.remembered());
}

#[test]
fn fast_open_server_data_before_the_third_ack_does_not_end_it() {
    let mut filter = Filter::new();
    filter.syn_of(FLOW, true, CLIENT, 100);
    filter.syn_ack_of(FLOW, SERVER, CLIENT + 101);
    assert_eq!(filter.segment(false, Flags::ACK, SERVER + 1, CLIENT + 101, 50), Pending::Yes);
    assert!(filter.remembered());
    assert_eq!(filter.segment(true, Flags::ACK, CLIENT + 101, SERVER + 1, 0), Pending::Yes);
    assert!(!filter.remembered());
}

/// The SYN may have timed out long ago, and the SYN-ACK begun another attempt: then only what
/// acknowledges both is certain.
#[test]
fn fast_open_data_taken_rst_for_the_bare_syn_does_not_end_it() {
    let mut filter = Filter::new();
    filter.syn_of(FLOW, true, CLIENT, 6);
    filter.syn_ack_of(FLOW, SERVER, CLIENT + 1 + 5);
    let rst_ack = Flags::RST | Flags::ACK;
    assert_eq!(filter.segment(false, rst_ack, SERVER, CLIENT + 1, 0), Pending::Yes);
    assert_eq!(filter.segment(true, Flags::ACK, CLIENT + 1, SERVER + 1, 0), Pending::Yes);
    assert!(filter.remembered());
}

#[test]
fn fast_open_data_taken_copy_of_the_syn_is_never_ended_by_evidence() {
    let mut filter = Filter::new();
    filter.syn_of(FLOW, true, CLIENT, 6);
    filter.syn_ack_of(FLOW, SERVER, CLIENT + 7);
    filter.syn_of(FLOW, true, CLIENT, 6);
    assert_eq!(filter.segment(true, Flags::ACK, CLIENT + 7, SERVER + 1, 0), Pending::Yes);
    assert!(filter.remembered());
}

#[test]
fn syn_ack_first_that_took_data_recognizes_its_syn() {
    let mut filter = Filter::new();
    filter.syn_ack_of(FLOW, SERVER, CLIENT + 11);
    filter.syn_of(FLOW, true, CLIENT, 10);
    assert_eq!(filter.client_ack(), Pending::Yes);
    assert!(!filter.remembered());
}

#[test]
fn endless_segments_spend_the_budget_and_are_counted_once() {
    let mut filter = Filter::new();
    filter.syn();
    let mut stray = || filter.segment(false, Flags::ACK, 1, 2, 0);
    for sent in 1..=BUDGET {
        let expected = if sent < ALLOWANCE { Pending::Yes } else { Pending::Exhausted };
        assert_eq!(stray(), expected, "{sent}");
    }
    assert_eq!(stray(), Pending::Spent);
    assert_eq!(stray(), Pending::No);
}

#[test]
fn who_repeats_itself_uses_up_its_allowance_and_it_is_said() {
    let mut filter = Filter::new();
    filter.syn();
    let allowed = |filter: &Filter| is_allowed(filter.memory(), FLOW);
    for _ in 1..ALLOWANCE {
        assert!(allowed(&filter));
        assert_eq!(filter.syn(), Table::Kept);
    }
    // Another number is no other flow.
    assert_eq!(filter.syn_of(FLOW, true, CLIENT + 1, 0), Table::Exhausted);
    assert!(!allowed(&filter) && filter.remembered());
    assert_eq!(filter.syn_ack_of(FLOW, SERVER, CLIENT + 2), Table::Exhausted);
    assert_eq!(filter.segment(false, Flags::ACK, 1, 2, 0), Pending::Exhausted);
}

#[test]
fn copies_never_end_an_entry_but_what_follows_the_last_of_its_budget_does() {
    let mut filter = Filter::new();
    for _ in 0..2 * u32::from(BUDGET) {
        assert!(matches!(filter.syn(), Table::New | Table::Kept | Table::Exhausted));
    }
    assert_eq!(filter.segment(false, Flags::ACK, 1, 2, 0), Pending::Spent);
    assert_eq!(filter.syn(), Table::New);
}

#[test]
fn what_ends_an_attempt_passes_after_any_number_of_copies() {
    let mut filter = Filter::new();
    for _ in 0..2 * u32::from(BUDGET) {
        filter.syn();
    }
    filter.syn_ack();
    assert_eq!(filter.client_ack(), Pending::Yes);
    assert_eq!(filter.client_ack(), Pending::No);
}
