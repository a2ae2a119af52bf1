//! What is seen after a completion, and what that comes to.

use super::*;
use crate::attempt::Endpoint;
use crate::outcome::Outcome;

const MS: Nanos = 1_000_000;
const SPAN: Nanos = 3_000 * MS;
const ISN: u32 = 5_000;

/// A table in which every flow is known, or none is.
#[derive(Debug)]
struct Table(bool);

impl Entries for Table {
    fn remembers(&self, _: &Key) -> bool {
        self.0
    }

    fn retire(&self, _: &Key, syn: Numbers) -> bool {
        assert_eq!(syn.isn, ISN);
        self.0
    }
}

fn key() -> Key {
    let end = |last, port| Endpoint { address: [0, 0, 0xffff, last], port };
    Key { client: end(1, 40_000), server: end(2, 443), ip_version: 4 }
}

fn event(from_client: bool, kind: u8, flags: u16, payload_len: u32, time: Nanos) -> Event {
    let key = if from_client { key() } else { key().reversed() };
    Event {
        kind,
        tcp_flags: flags,
        payload_len,
        time_ns: time as u64,
        source: key.client.address,
        source_port: key.client.port,
        dest: key.server.address,
        dest_port: key.server.port,
        ip_version: 4,
        seq: ISN + 1,
        ..Event::ZERO
    }
}

/// One attempt, completed at 0 after 10 ms, and its watch.
struct Watched {
    after: Aftermath,
    table: Table,
}

impl Watched {
    fn new() -> Self {
        let mut watched = Self { after: Aftermath::new(SPAN), table: Table(true) };
        watched.complete();
        watched
    }

    fn complete(&mut self) {
        let mut event = event(true, kind::ACK, Flags::ACK, 0, 0);
        event.flags = flag::WATCHED;
        self.see(event, Judged::of(1, Verdict::Completes));
        assert_eq!(self.after.hold(vec![Self::attempt()]), Vec::new());
    }

    fn attempt() -> Attempt {
        let mut attempt = Attempt::blank(key(), Outcome::Completed);
        (attempt.id, attempt.client_isn) = (1, ISN);
        (attempt.t_syn, attempt.t_synack) = (Some(-10 * MS), Some(0));
        (attempt.t_ack, attempt.t_end) = (Some(0), Some(0));
        attempt
    }

    fn see(&mut self, event: Event, judged: Judged) -> Option<u64> {
        let layers = handshake_common::packet::tunnel::Layers::NONE;
        let seen = Observation { event, source: 0, frame: 0, layers };
        self.after.note(&seen, &judged, &self.table)
    }

    fn client(&mut self, flags: u16, payload: u32, time: Nanos) -> &mut Self {
        let kind = if flags & Flags::RST != 0 { kind::RST } else { kind::ACK };
        assert_eq!(self.see(event(true, kind, flags, payload, time), Judged::NOT_OURS), Some(1));
        self
    }

    fn server(&mut self, flags: u16, payload: u32, time: Nanos) -> &mut Self {
        let kind = if flags & Flags::RST != 0 { kind::RST } else { kind::ACK };
        assert_eq!(self.see(event(false, kind, flags, payload, time), Judged::NOT_OURS), Some(1));
        self
    }

    fn syn_ack(&mut self, time: Nanos) -> &mut Self {
        let event = event(false, kind::SYN_ACK, Flags::SYN | Flags::ACK, 0, time);
        assert_eq!(self.see(event, Judged::of(1, Verdict::LateCopy)), Some(1));
        self
    }

    /// What it comes to, once the time is up.
    fn result(&mut self) -> Option<After> {
        self.after.expire(SPAN + 1, &self.table);
        let mut settled = self.after.hold(Vec::new());
        assert_eq!(settled.len(), 1, "each once");
        assert_eq!(self.after.next_due(), None);
        settled.pop().and_then(|attempt| attempt.after)
    }

    fn next(&mut self) -> Next {
        self.result().expect("known").next
    }
}

#[test]
fn what_the_server_does_is_told() {
    let reset = Watched::new().server(Flags::RST | Flags::ACK, 0, 2 * MS).result().expect("known");
    assert_eq!((reset.next, reset.at), (Next::ResetByServer, 2 * MS));
    assert_eq!(
        Watched::new().server(Flags::FIN | Flags::ACK, 0, MS).next(),
        Next::ClosedWithoutData
    );
    let mut asked = Watched::new();
    asked.client(Flags::ACK, 10, MS).server(Flags::FIN | Flags::ACK, 0, 9 * MS);
    assert_eq!(asked.next(), Next::ClosedWithoutData);
}

/// Who only sends, a log for example, closes when it is done, and is never answered.
#[test]
fn a_server_that_closes_after_its_client_has_served_it() {
    let mut log = Watched::new();
    log.client(Flags::ACK, 10, MS).client(Flags::FIN | Flags::ACK, 0, 2 * MS);
    log.server(Flags::FIN | Flags::ACK, 0, 3 * MS);
    let after = log.result().expect("known");
    assert_eq!((after.next, after.first_byte_server), (Next::Data, None));
}

#[test]
fn what_the_client_does_is_nobodys_failure() {
    assert_eq!(Watched::new().client(Flags::RST, 0, MS).next(), Next::ResetByClient);
    let closed = Watched::new().client(Flags::FIN | Flags::ACK, 0, MS).next();
    assert_eq!(closed, Next::ClosedByClient);
    assert!(!closed.is_unserved() && !Next::ResetByClient.is_unserved());
}

#[test]
fn data_is_told_with_the_first_byte_of_each_side() {
    let mut watched = Watched::new();
    watched.client(Flags::ACK, 10, MS).server(Flags::ACK | Flags::FIN, 10, 7 * MS);
    let after = watched.result().expect("known");
    assert_eq!(after.next, Next::Data);
    assert_eq!((after.first_byte_client, after.first_byte_server), (Some(MS), Some(7 * MS)));
}

#[test]
fn a_side_that_stays_silent_has_no_first_byte() {
    let after = Watched::new().client(Flags::ACK, 10, MS).result().expect("known");
    assert_eq!((after.next, after.first_byte_server, after.at), (Next::Data, None, SPAN));
    let after = Watched::new().result().expect("known");
    assert_eq!((after.next, after.at), (Next::Nothing, SPAN));
}

#[test]
fn a_repeated_syn_ack_says_that_the_server_did_not_take_the_third_ack() {
    let after = Watched::new().syn_ack(1_000 * MS).syn_ack(2_900 * MS).result().expect("known");
    assert_eq!((after.next, after.synack_retrans, after.at), (Next::NotAccepted, 2, 1_000 * MS));
    let mut served = Watched::new();
    served.syn_ack(1_000 * MS).client(Flags::ACK, 1, MS).server(Flags::ACK, 5, 1_100 * MS);
    let served = served.result().expect("known");
    assert_eq!((served.next, served.synack_retrans), (Next::Data, 1));
}

#[test]
fn a_syn_ack_that_crossed_the_third_ack_says_nothing() {
    let after = Watched::new().syn_ack(40 * MS).result().expect("known");
    assert_eq!((after.next, after.synack_retrans), (Next::Nothing, 0));
    let after = Watched::new().syn_ack(40 * MS).syn_ack(1_040 * MS).result().expect("known");
    assert_eq!((after.next, after.synack_retrans), (Next::NotAccepted, 1));
}

#[test]
fn nothing_seen_is_not_nothing_if_something_may_have_been_missed() {
    let mut lost = Watched::new();
    lost.after.note_loss();
    assert_eq!(lost.result(), None);
    let mut gone = Watched::new();
    gone.table = Table(false);
    assert_eq!(gone.result(), None, "its entry was evicted");
    let mut seen = Watched::new();
    seen.after.note_loss();
    assert_eq!(seen.server(Flags::RST, 0, MS).next(), Next::ResetByServer);
}

#[test]
fn the_end_of_the_input_settles_everything() {
    let mut watched = Watched::new();
    watched.after.finish();
    let settled = watched.after.hold(Vec::new());
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].after, None);
}

#[test]
fn what_is_decided_before_its_attempt_is_handed_over_waits_for_it() {
    let mut watched = Watched { after: Aftermath::new(SPAN), table: Table(true) };
    let mut completes = event(true, kind::ACK, Flags::ACK, 0, 0);
    completes.flags = flag::WATCHED;
    watched.see(completes, Judged::of(1, Verdict::Completes));
    watched.server(Flags::RST, 0, MS);
    assert_eq!(watched.after.hold(Vec::new()), Vec::new());
    let settled = watched.after.hold(vec![Watched::attempt()]);
    assert_eq!(settled[0].after.map(|after| after.next), Some(Next::ResetByServer));
}

/// More than the time of a watch may pass before attempts are handed over: in a recording they lie
/// side by side.
#[test]
fn a_watch_that_is_over_waits_for_its_attempt() {
    let mut watched = Watched { after: Aftermath::new(SPAN), table: Table(true) };
    let mut completes = event(true, kind::ACK, Flags::ACK, 0, 0);
    completes.flags = flag::WATCHED;
    watched.see(completes, Judged::of(1, Verdict::Completes));
    watched.after.expire(SPAN + 1, &watched.table);
    let settled = watched.after.hold(vec![Watched::attempt()]);
    assert_eq!(settled[0].after.map(|after| after.next), Some(Next::Nothing));
}

#[test]
fn what_is_not_watched_is_settled_at_once() {
    let mut after = Aftermath::new(SPAN);
    let mut attempt = Watched::attempt();
    attempt.id = 7;
    assert_eq!(after.hold(vec![attempt]).len(), 1);
}

#[test]
fn an_entry_whose_attempt_is_unknown_is_retired_and_a_new_attempt_ends_the_watch() {
    let mut watched = Watched::new();
    let mut unknown = event(true, kind::ACK, Flags::ACK, 0, 0);
    unknown.flags = flag::WATCHED;
    assert_eq!(watched.see(unknown, Judged::NOT_OURS), None);
    assert_eq!(watched.see(unknown, Judged::of(2, Verdict::Completes)), None);
    let settled = watched.after.hold(Vec::new());
    assert_eq!(settled.iter().map(|attempt| attempt.id).collect::<Vec<_>>(), [1]);
}

#[test]
fn only_so_many_are_watched() {
    let mut after = Aftermath::new(SPAN);
    let table = Table(true);
    for id in 0..MOST as u64 + 10 {
        let mut event = event(true, kind::ACK, Flags::ACK, 0, 0);
        (event.flags, event.source[2]) = (flag::WATCHED, id as u32);
        let layers = handshake_common::packet::tunnel::Layers::NONE;
        let seen = Observation { event, source: 0, frame: 0, layers };
        after.note(&seen, &Judged::of(id, Verdict::Completes), &table);
    }
    assert_eq!(after.watches.len(), MOST);
    after.expire(SPAN + 1, &table);
    let attempts = (0..MOST as u64 + 10).map(|id| Attempt { id, ..Watched::attempt() });
    assert_eq!(after.hold(attempts.collect()).len(), MOST + 10);
    assert_eq!((after.watches.len(), after.flows.len(), after.due.len()), (0, 0, 0));
}
