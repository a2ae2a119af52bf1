//! What an outcome means and what to check next, in two or three sentences: where nobody has the
//! documents at hand. `docs/outcomes.md` says more.

use crate::after::Next;
use crate::board::Row;
use crate::outcome::{Outcome, Side};

/// What to check next. Open attempts get that of silence.
pub(super) fn advice(row: &Row) -> String {
    let a = &row.attempt;
    let port = a.key.server.port;
    let queues = "nstat -az TcpExtListenDrops TcpExtListenOverflows";
    match a.outcome {
        _ if let Some(text) = a.after.and_then(|after| unserved(after.next, port)) => text,
        Outcome::Completed | Outcome::SimultaneousOpen if row.is_slow() => slow(row),
        Outcome::Completed | Outcome::SimultaneousOpen => {
            "It completed. Server is the time from SYN to SYN-ACK, client that from there to the third ACK, as \
             seen here."
                .to_owned()
        }
        Outcome::CompletedPartial => "It completed, but a part was not seen. A few are normal; if nearly all are \
             so, only one direction passes here (asymmetric routing): watch the other interface, too."
            .to_owned(),
        Outcome::Refused => format!(
            "Nothing listens on port {port} there, or a firewall rejects with a reset. Next, on the server: ss -ltn \
             'sport = :{port}'. If something listens, does it on this address? Then its firewall: nft list ruleset."
        ),
        Outcome::ResetByServer => "The server's stack had answered, then something reset it: an application that \
             closes at once, a listener that went away, a load balancer without a backend, a middlebox. Next: the \
             server's log at that time; nstat -az TcpExtTCPAbortOnClose TcpExtTCPAbortOnData."
            .to_owned(),
        Outcome::ResetByClient => "The client reset it after the SYN-ACK: a health check, a scan, a cancelled connect, \
             or a SYN-ACK that came after the client's time-out. Next: compare the time to the SYN-ACK with the \
             client's connect time-out. The server answered; it is not at fault."
            .to_owned(),
        Outcome::Aborted => "The client gave up before any answer and said so. Real stacks rarely do; a scan of which \
             only one side is seen looks like this."
            .to_owned(),
        Outcome::IcmpUnreachable => icmp(row),
        Outcome::NoAnswer if row.is_cancelled() => "The client sent one SYN and never again, so it cancelled the \
             connect within a second (a race between IPv4 and IPv6, or a short time-out). If the other family \
             works, this one is broken or slow on the way."
            .to_owned(),
        Outcome::NoAnswer => format!(
            "Silence: the host is down, a firewall drops, or the accept queue is full. Next: watch on the server. If \
             the SYN does not arrive there, it is the path; if it does, look at the server's firewall (nft list \
             ruleset) and queue: {queues}."
        ),
        Outcome::HalfOpen => format!(
            "The server answered and the client did not follow. Many addresses: a SYN flood or spoofed sources. \
             Real clients: the SYN-ACK is lost on its way back (watch on the client), or the server's accept queue \
             is full: {queues}."
        ),
        Outcome::Unfinished => "Watching ended or evidence was lost before it was decided: this says nothing of the \
             server. If it was lost: raise --table-entries (filter-...) or --ring-bytes (ring-full)."
            .to_owned(),
        Outcome::Evicted => "More attempts were open than --max-attempts. If that happens without a flood, raise it."
            .to_owned(),
    }
}

/// The handshake was completed, and the server did not serve it.
fn unserved(next: Next, port: u16) -> Option<String> {
    Some(match next {
        Next::ResetByServer => format!(
            "The handshake was completed, then the server reset the connection: an application that closes with data \
             unread, or a proxy without a backend. Next: the log of what listens on port {port}; on the server: \
             nstat -az TcpExtTCPAbortOnClose TcpExtTCPAbortOnData."
        ),
        Next::ClosedWithoutData => format!(
            "The handshake was completed, then the server closed the connection without a byte: an access list of the \
             application, a limit of connections, or a proxy without a backend. Next: the log of what listens on port \
             {port}."
        ),
        Next::NotAccepted => format!(
            "The client holds the connection for open, but the server repeats its SYN-ACK: it never took the third ACK. \
             Its accept queue is full, or the ACK is lost on the way to it. Next, on the server: ss -ltn 'sport = \
             :{port}' (Recv-Q against Send-Q); nstat -az TcpExtListenOverflows."
        ),
        _ => return None,
    })
}

/// Something was sent twice, or it took long.
fn slow(row: &Row) -> String {
    let a = &row.attempt;
    if a.syn_retrans > 0 {
        return "The client had to send its SYN again: the SYN or its SYN-ACK was lost, or the server's accept queue \
                was full for a moment. Next, on the server: nstat -az TcpExtListenOverflows; on the way: loss on \
                the interfaces (ip -s link)."
            .to_owned();
    }
    if a.synack_retrans > 0 {
        return "The server had to send its SYN-ACK again: it or the third ACK was lost on the client's side of this \
                host, or the server's accept queue is full (ss -ltn: Recv-Q against Send-Q)."
            .to_owned();
    }
    let is_server = a.latency_server() >= a.latency_client();
    let side = if is_server { "server" } else { "client" };
    format!(
        "Nothing was sent twice: the time was spent on the {side}'s side of this host, in its stack or on the way to \
         it. Next: the distance (ping), then the load of that host."
    )
}

fn icmp(row: &Row) -> String {
    let Some(icmp) = row.attempt.icmp else {
        return "A router or host says that it cannot be reached.".to_owned();
    };
    let is_v4 = icmp.source.is_ipv4();
    let what = match (is_v4, icmp.icmp_type, icmp.code) {
        (true, 3, 0..=1) | (false, 1, 0 | 3) => {
            "has no route to that host, or the host does not answer there. Next: ip route get and ip neigh on it"
        }
        (true, 3, 9 | 10 | 13) | (false, 1, 1 | 5 | 6) => {
            "forbids it. Next: its firewall (nft list ruleset)"
        }
        (true, 3, 3) | (false, 1, 4) => {
            "says that nothing listens there, or its firewall rejects. Next: ss -ltn and nft list ruleset on it"
        }
        (true, 11, _) | (false, 3, _) => {
            "forwarded it too often: a routing loop. Next: traceroute to that address"
        }
        _ => "sent it back. Next: look at the type and code above",
    };
    let turned = match icmp.quotes {
        Side::Client => "",
        Side::Server => {
            " What was turned back is the server's answer: the fault is on the way to the client."
        }
    };
    format!("{} {what}.{turned}", icmp.source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{Attempt, Endpoint, Key};
    use crate::board::Board;
    use crate::snapshot::AttemptView;

    #[test]
    fn every_outcome_has_two_or_three_sentences_and_names_no_file() {
        let end = Endpoint { address: [0; 4], port: 443 };
        let key = Key { client: end, server: end, ip_version: 4 };
        let mut board = Board::new(0, 100);
        for outcome in Outcome::ALL {
            let attempt = Attempt::blank(key, outcome);
            board.record(&AttemptView { attempt: &attempt, place: None, to_wall: 0 }, None);
        }
        assert_eq!(board.ended.len(), Outcome::ALL.len());
        for row in board.ended.since(0) {
            let text = advice(row);
            assert!((40..400).contains(&text.len()), "{text}");
            assert!(text.is_ascii() && !text.contains(".md"), "{text}");
        }
    }
}
