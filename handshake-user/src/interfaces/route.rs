//! Which interfaces are watched if none is named: those of the default routes.

use std::collections::HashSet;

use super::{Interface, InterfacesError, list};
use crate::netlink::{Message, Requests, u16_at, u32_at};

/// Bytes of `struct rtmsg`.
const RTMSG_LEN: usize = 12;
/// `struct rtnexthop`: length, flags, hops, interface.
const NEXTHOP_LEN: usize = 8;

/// Interfaces chosen without being named, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The interfaces; empty if none but loopback is up.
    pub interfaces: Vec<Interface>,
    /// Why these: the end of a sentence for people.
    pub reason: &'static str,
    /// There is a default route.
    pub is_routed: bool,
}

/// The interfaces of the default routes of IPv4 and IPv6; without any, all that are up except
/// loopback. Loopback alone is no choice: what goes through it is not what a host is watched for.
///
/// # Errors
/// If the kernel refuses the requests.
pub fn default_route() -> Result<Chosen, InterfacesError> {
    Ok(choose(&list()?, &default_route_indices()?))
}

pub(super) fn choose(all: &[Interface], routed: &HashSet<u32>) -> Chosen {
    let of = |keep: &dyn Fn(&Interface) -> bool| {
        all.iter().filter(|&interface| keep(interface)).cloned().collect::<Vec<_>>()
    };
    let interfaces = of(&|one| routed.contains(&one.index));
    if !interfaces.is_empty() {
        return Chosen { interfaces, reason: "the default route", is_routed: true };
    }
    Chosen {
        interfaces: of(&|one| one.up && !one.is_loopback),
        reason: "there is no default route, so every interface that is up",
        is_routed: false,
    }
}

fn default_route_indices() -> Result<HashSet<u32>, InterfacesError> {
    let mut requests = Requests::open()?;
    let mut found = HashSet::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut header = [0; RTMSG_LEN];
        header[0] = family as u8;
        match requests.dump(&Message::new(libc::RTM_GETROUTE, &header)) {
            Ok(messages) => found.extend(messages.iter().flat_map(default_route_of)),
            // A kernel without IPv6.
            Err(refused) if refused.errno() == Some(libc::EOPNOTSUPP) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    Ok(found)
}

/// The interfaces of a route message, if it is a default route that leads somewhere.
pub(super) fn default_route_of(message: &Message) -> Vec<u32> {
    let header = &message.payload;
    let Some(&[_, dest_len, _, _, _, _, _, kind]) = header.first_chunk::<8>() else {
        return Vec::new();
    };
    let attributes = message.attributes(RTMSG_LEN);
    let table = attributes.clone().find(libc::RTA_TABLE).and_then(|table| u32_at(table, 0));
    let is_main = table.is_none_or(|table| table == u32::from(libc::RT_TABLE_MAIN));
    if dest_len != 0 || kind != libc::RTN_UNICAST || !is_main {
        return Vec::new();
    }
    let direct = attributes.clone().find(libc::RTA_OIF).and_then(|index| u32_at(index, 0));
    let several = attributes.find(libc::RTA_MULTIPATH).map(NextHops);
    direct.into_iter().chain(several.into_iter().flatten()).collect()
}

/// Walks `RTA_MULTIPATH`.
struct NextHops<'a>(&'a [u8]);

impl Iterator for NextHops<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let len = usize::from(u16_at(self.0, 0)?);
        let index = u32_at(self.0, 4)?;
        if len < NEXTHOP_LEN {
            return None;
        }
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(index)
    }
}
