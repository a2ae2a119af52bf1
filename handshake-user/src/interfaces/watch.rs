//! Follows interfaces and addresses as they change.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::route::default_route_of;
use super::{Interface, InterfacesError, list};
use crate::netlink::{Message, Parts};

/// Larger than any notification (the kernel makes them of at most 32 KiB).
const RECEIVE_BYTES: usize = 64 * 1024;

/// Something that happened to an interface or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An interface appeared (it may be down, see [`Interface::up`]) or went up.
    LinkUp(Interface),
    /// An interface went down; what is attached to it stays attached.
    LinkDown(Interface),
    /// The carrier of an interface that is up came or went ([`Interface::carrier`]).
    Carrier(Interface),
    /// An interface was deleted or moved to another namespace; what was attached to it is gone.
    LinkGone {
        /// Its former index.
        index: u32,
        /// Its last name.
        name: String,
    },
    /// An interface got another name; what is attached to it stays attached.
    Renamed {
        /// Its former name.
        from: String,
        /// The interface as it is now.
        interface: Interface,
    },
    /// Addresses were added or removed: ask `addresses()` again.
    AddressesChanged,
    /// A default route was added: ask `default_route()` again. Only of [`Watch::with_routes`].
    DefaultRoute,
    /// The kernel dropped notifications. What they said about interfaces follows as changes;
    /// addresses must be asked for again.
    Overrun,
}

/// A stream of changes.
pub struct Watch {
    socket: AsyncFd<Socket>,
    known: Known,
    ready: VecDeque<Change>,
}

/// Starts to watch. Changes are told relative to the interfaces that exist now
/// ([`Watch::interfaces`]).
///
/// # Errors
/// If the kernel refuses the socket or the list.
///
/// # Panics
/// Outside a tokio runtime with I/O.
pub fn watch() -> Result<Watch, InterfacesError> {
    Watch::open(None)
}

/// Groups of notifications about routes.
const ROUTES: i32 = libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE;

impl Watch {
    /// As [`watch`], with a socket buffer of about `receive_bytes` for notifications.
    ///
    /// # Errors
    /// As [`watch`].
    pub fn open(receive_bytes: Option<usize>) -> Result<Self, InterfacesError> {
        Self::subscribed(receive_bytes, 0)
    }

    /// As [`watch`], and default routes that come are told. On a router each of its routes that
    /// changes makes a notification, so this is for those who want it.
    ///
    /// # Errors
    /// As [`watch`].
    pub fn with_routes() -> Result<Self, InterfacesError> {
        Self::subscribed(None, ROUTES)
    }

    fn subscribed(receive_bytes: Option<usize>, more: i32) -> Result<Self, InterfacesError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR | more;
        socket.bind(&SocketAddr::new(0, groups as u32))?;
        if let Some(bytes) = receive_bytes {
            socket.set_rx_buf_sz(i32::try_from(bytes).unwrap_or(i32::MAX))?;
        }
        socket.set_non_blocking(true)?;
        // Subscribed first, so that nothing falls between the list and the first notification.
        let known = Known::new(list()?);
        // SAFETY: a `Socket` owns its file descriptor, gives the same one each time, and stays in
        // this `AsyncFd` until it is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        let socket = socket.map_err(io::Error::from)?;
        Ok(Self { socket, known, ready: VecDeque::new() })
    }

    /// The interfaces as of the last change that was returned, or a little later.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.known.0.values()
    }

    /// Waits for the next change. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the kernel refuses to go on; the watch is then of no more use.
    pub async fn next(&mut self) -> Result<Change, InterfacesError> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            let mut guard = self.socket.readable().await?;
            let mut bytes = Vec::with_capacity(RECEIVE_BYTES);
            match guard.try_io(|socket| socket.get_ref().recv(&mut bytes, 0)) {
                Err(_would_block) => {}
                Ok(Ok(_)) => self.take(&bytes),
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => self.resync()?,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for part in Parts(bytes) {
            let message = part.into_message();
            match message.kind {
                libc::RTM_NEWLINK => self.ready.extend(self.known.on_link(&message)),
                libc::RTM_DELLINK => self.ready.extend(self.known.on_gone(&message)),
                libc::RTM_NEWADDR | libc::RTM_DELADDR
                    if self.ready.back() != Some(&Change::AddressesChanged) =>
                {
                    self.ready.push_back(Change::AddressesChanged);
                }
                libc::RTM_NEWROUTE
                    if !self.ready.contains(&Change::DefaultRoute)
                        && !default_route_of(&message).is_empty() =>
                {
                    self.ready.push_back(Change::DefaultRoute);
                }
                _ => {}
            }
        }
    }

    fn resync(&mut self) -> Result<(), InterfacesError> {
        self.ready.push_back(Change::Overrun);
        let changes = self.known.replace(list()?);
        self.ready.extend(changes);
        Ok(())
    }
}

/// The interfaces as last told, by index.
struct Known(BTreeMap<u32, Interface>);

impl Known {
    fn new(all: Vec<Interface>) -> Self {
        Self(all.into_iter().map(|one| (one.index, one)).collect())
    }

    fn on_link(&mut self, message: &Message) -> Vec<Change> {
        Interface::decode(message).map(|now| self.update(now)).unwrap_or_default()
    }

    fn on_gone(&mut self, message: &Message) -> Option<Change> {
        let gone = Interface::decode(message)?;
        self.0.remove(&gone.index)?;
        Some(Change::LinkGone { index: gone.index, name: gone.name })
    }

    fn update(&mut self, now: Interface) -> Vec<Change> {
        let Some(before) = self.0.insert(now.index, now.clone()) else {
            return vec![Change::LinkUp(now)];
        };
        let mut changes = Vec::new();
        if before.name != now.name {
            changes.push(Change::Renamed { from: before.name, interface: now.clone() });
        }
        match (before.up, now.up) {
            (false, true) => changes.push(Change::LinkUp(now)),
            (true, false) => changes.push(Change::LinkDown(now)),
            (true, true) if before.carrier != now.carrier => changes.push(Change::Carrier(now)),
            _ => {}
        }
        changes
    }

    /// The changes from what was known to `all`.
    fn replace(&mut self, all: Vec<Interface>) -> Vec<Change> {
        let now = Self::new(all);
        let gone = self.0.values().filter(|one| !now.0.contains_key(&one.index));
        let mut changes: Vec<_> =
            gone.map(|one| Change::LinkGone { index: one.index, name: one.name.clone() }).collect();
        self.0.retain(|index, _| now.0.contains_key(index));
        for interface in now.0.into_values() {
            changes.extend(self.update(interface));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::tests::interface;

    #[test]
    fn a_new_list_becomes_the_changes_that_lead_to_it() {
        let mut known = Known::new(vec![interface(1, "lo"), interface(2, "a"), interface(3, "b")]);
        let down = Interface { up: false, ..interface(1, "lo") };
        let renamed = interface(3, "c");
        let new = interface(4, "d");
        let changes = known.replace(vec![down.clone(), renamed.clone(), new.clone()]);
        assert_eq!(
            changes,
            [
                Change::LinkGone { index: 2, name: "a".to_owned() },
                Change::LinkDown(down),
                Change::Renamed { from: "b".to_owned(), interface: renamed },
                Change::LinkUp(new),
            ]
        );
        assert!(known.replace(known.0.values().cloned().collect()).is_empty());
    }

    #[test]
    fn a_carrier_is_told_of_what_is_up() {
        let mut known = Known::new(vec![interface(2, "a")]);
        let without = Interface { carrier: false, ..interface(2, "a") };
        assert_eq!(known.update(without.clone()), [Change::Carrier(without.clone())]);
        assert!(known.update(without.clone()).is_empty());
        let down = Interface { up: false, ..without.clone() };
        assert_eq!(known.update(down.clone()), [Change::LinkDown(down)]);
        assert_eq!(known.update(without.clone()), [Change::LinkUp(without)]);
        assert_eq!(known.update(interface(2, "a")), [Change::Carrier(interface(2, "a"))]);
    }

    #[test]
    fn an_index_that_comes_back_is_a_new_interface() {
        let mut known = Known::new(vec![interface(2, "a")]);
        assert_eq!(known.replace(Vec::new()).len(), 1);
        assert_eq!(known.update(interface(2, "a")), [Change::LinkUp(interface(2, "a"))]);
    }

    #[tokio::test]
    async fn watching_starts_with_what_is_there() {
        let watch = watch().unwrap();
        assert!(watch.interfaces().any(|one| one.is_loopback));
    }
}
