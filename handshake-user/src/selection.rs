//! Which events concern the user: what `--port`, `--net` and the terms `port:` and `host:` of
//! `--filter` ask for. It is applied before the tracker, so that what is outside costs and counts
//! nothing there; the other terms of the filter choose among the ended attempts (`query`).

use handshake_common::event::Event;
use ipnet::IpNet;

use crate::query::Query;

/// Ports, hosts and networks asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection(Query);

impl Selection {
    /// From the flags: what to follow, and which of the ended attempts to show.
    #[must_use]
    pub fn new(ports: &[u16], nets: &[IpNet], filters: &[Query]) -> (Self, Query) {
        let flags = Query::of_ports(ports).and(Query::of_nets(nets));
        let all = filters.iter().cloned().fold(flags, Query::and);
        let (followed, shown) = all.split();
        (Self(followed), shown)
    }

    /// Does the event concern an attempt asked for? Symmetric in direction, so that all segments
    /// of an attempt get the same answer.
    #[must_use]
    pub fn selects(&self, event: &Event) -> bool {
        self.0.selects(event)
    }

    /// The terms, in the language of `--filter`.
    #[must_use]
    pub fn query(&self) -> &Query {
        &self.0
    }
}
