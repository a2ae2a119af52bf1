//! Open attempts, counted as they begin, are answered and end, so that whoever wants to know how many
//! there are need not look at all of them.
//!
//! By service for gauges; and which have begun since that was last asked. Kept by the tracker, if somebody asked for it; read by [`crate::series`]. At most as many
//! services as attempts may be open, in 36 bytes each.

use std::net::SocketAddr;

use ahash::AHashMap as HashMap;

use crate::attempt::{Endpoint, Key, Nanos, SourceId, ip_addr};

/// Room for services that is kept when none is waited for any more.
const KEPT_ROOM: usize = 1024;

/// Open attempts of one service, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Attempts open.
    pub open: u64,
    /// Those of them that the server has answered.
    pub half_open: u64,
    /// Those of them whose client has sent its SYN again.
    pub repeated: u64,
}

/// An attempt that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Who with whom.
    pub key: Key,
    /// Time of its first packet.
    pub began: Nanos,
    /// Where that was seen.
    pub source: SourceId,
}

/// A server's address and port without padding: a scan may ask many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Service {
    at: Endpoint,
    ip_version: u8,
}

impl Service {
    fn of(key: &Key) -> Self {
        Self { at: key.server, ip_version: key.ip_version }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(ip_addr(self.at.address, self.ip_version), self.at.port)
    }
}

impl From<&SocketAddr> for Service {
    fn from(address: &SocketAddr) -> Self {
        let (address, port, ip_version) = match address {
            SocketAddr::V4(v4) => {
                ([0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes(v4.ip().octets())], v4.port(), 4)
            }
            SocketAddr::V6(v6) => {
                let mut words = [0; 4];
                for (word, bytes) in words.iter_mut().zip(v6.ip().octets().chunks_exact(4)) {
                    *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
                (words, v6.port(), 6)
            }
        };
        Self { at: Endpoint { address, port }, ip_version }
    }
}

/// [`Waiting`] of one service: no more than may be open.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    open: u32,
    half_open: u32,
    repeated: u32,
}

const _: () = assert!(size_of::<(Service, Count)>() == 36);

impl From<Count> for Waiting {
    fn from(count: Count) -> Self {
        Self {
            open: count.open.into(),
            half_open: count.half_open.into(),
            repeated: count.repeated.into(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Census {
    all: Waiting,
    services: HashMap<Service, Count>,
    begun: Vec<Begun>,
}

impl Census {
    /// All open attempts.
    #[must_use]
    pub fn all(&self) -> Waiting {
        self.all
    }

    /// Those at one service.
    #[must_use]
    pub fn of(&self, service: &SocketAddr) -> Waiting {
        self.services.get(&service.into()).copied().unwrap_or_default().into()
    }

    /// Every service that has open attempts, in no order.
    pub fn services(&self) -> impl Iterator<Item = (SocketAddr, Waiting)> {
        self.services.iter().map(|(service, count)| (service.address(), (*count).into()))
    }

    /// What has begun since the last call: whoever keeps a census takes it after every step.
    pub fn take_begun(&mut self) -> std::vec::Drain<'_, Begun> {
        self.begun.drain(..)
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self, begun: Begun, is_half_open: bool) {
        self.begun.push(begun);
        let service = self.services.entry(Service::of(&begun.key)).or_default();
        service.open += 1;
        service.half_open += u32::from(is_half_open);
        self.all.open += 1;
        self.all.half_open += u64::from(is_half_open);
    }

    /// An open attempt would now end as `half-open`.
    pub(crate) fn answer(&mut self, key: &Key) {
        self.services.entry(Service::of(key)).or_default().half_open += 1;
        self.all.half_open += 1;
    }

    /// The client of an open attempt has sent its SYN again for the first time.
    pub(crate) fn repeat(&mut self, key: &Key) {
        self.services.entry(Service::of(key)).or_default().repeated += 1;
        self.all.repeated += 1;
    }

    /// An attempt ends.
    pub(crate) fn end(&mut self, key: &Key, is_half_open: bool, is_repeated: bool) {
        let key = Service::of(key);
        let Some(service) = self.services.get_mut(&key) else { return };
        service.open -= 1;
        service.half_open -= u32::from(is_half_open);
        service.repeated -= u32::from(is_repeated);
        self.all.open -= 1;
        self.all.half_open -= u64::from(is_half_open);
        self.all.repeated -= u64::from(is_repeated);
        if service.open == 0 {
            self.services.remove(&key);
        }
        if self.services.is_empty() {
            self.services.shrink_to(KEPT_ROOM);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// A service is looked up by its address, whatever it was counted by.
    #[test]
    fn a_service_is_the_same_in_both_families_and_both_ways() {
        let v4 = SocketAddr::from((Ipv4Addr::new(10, 1, 2, 3), 443));
        let mapped = SocketAddr::from((Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped(), 443));
        let v6 = SocketAddr::from(("2001:db8::1:2".parse::<Ipv6Addr>().expect("IPv6"), 80));
        let mut census = Census::default();
        for (address, times) in [(v4, 3), (mapped, 2), (v6, 1)] {
            let Service { at, ip_version } = Service::from(&address);
            let key = Key { client: at, server: at, ip_version };
            assert_eq!((Service::of(&key).address(), key.server_addr()), (address, address));
            let begun = Begun { key, began: 0, source: 0 };
            (0..times).for_each(|_| census.begin(begun, false));
        }
        assert_eq!([v4, mapped, v6].map(|address| census.of(&address).open), [3, 2, 1]);
    }
}
