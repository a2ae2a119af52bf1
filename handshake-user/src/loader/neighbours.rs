//! Who else is attached to an interface: the XDP slot, the TCX chains, the filters.
//!
//! Reads only. For the `doctor`; what it means for us is decided there.

use std::collections::HashMap;
use std::io;

use super::bpf::{self, Target};
use super::clsact::{self, Direction, ForeignFilter};
use crate::interfaces::{Interface, InterfacesError, XdpSlot};

/// A foreign program, or one of ours of another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its id (`bpftool prog show id …`).
    pub prog_id: u32,
    /// Its name, where we may ask for it.
    pub name: Option<String>,
    /// The link that holds it; none if there is none.
    pub link_id: Option<u32>,
}

/// Who holds the XDP slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The program and its mode.
    pub slot: XdpSlot,
    /// Its name, where we may ask for it.
    pub name: Option<String>,
    /// The link that holds it, none if it was put there by netlink; an error if we may not ask.
    pub link: Result<Option<u32>, Unknown>,
}

/// The kernel did not tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(pub String);

/// The TCX chain of one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// In the order in which they run; ours go before all of them.
    Programs(Vec<Neighbour>),
    /// This kernel has no TCX.
    None,
    /// The kernel did not tell.
    Unknown(String),
}

/// One direction of TC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tc {
    /// Programs attached by TCX.
    pub chain: Chain,
    /// Filters, by priority; they run after the chain.
    pub filters: Result<Vec<ForeignFilter>, Unknown>,
}

/// Everybody on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbours {
    /// Who holds the XDP slot.
    pub xdp: Option<Holder>,
    /// Who sees received packets at TC.
    pub ingress: Tc,
    /// Who sees sent packets at TC.
    pub egress: Tc,
    /// An `ingress` qdisc is where `clsact` would be; without TCX there is no place for us.
    pub has_ingress_qdisc: bool,
}

impl Neighbours {
    /// Those of an interface.
    #[must_use]
    pub fn of(interface: &Interface, names: &Names) -> Self {
        let index = interface.index;
        Self {
            xdp: interface.xdp.map(|slot| Holder {
                slot,
                name: names.of(slot.prog_id),
                link: bpf::xdp_link(index, slot.prog_id).map_err(|error| unknown(&error)),
            }),
            ingress: Tc::of(index, Direction::Ingress, Target::TcxIngress, names),
            egress: Tc::of(index, Direction::Egress, Target::TcxEgress, names),
            has_ingress_qdisc: clsact::has_ingress_qdisc(index).unwrap_or(false),
        }
    }
}

impl Tc {
    fn of(index: u32, direction: Direction, target: Target, names: &Names) -> Self {
        let chain = match bpf::tcx_chain(index, target) {
            Ok(linked) => Chain::Programs(linked.iter().map(|one| names.neighbour(one)).collect()),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Chain::None,
            Err(error) => Chain::Unknown(error.to_string()),
        };
        let filters = clsact::foreign(index, direction).map_err(|refused| unknown(&refused.io));
        Self { chain, filters }
    }
}

fn unknown(error: &io::Error) -> Unknown {
    Unknown(error.to_string())
}

/// Names of the loaded programs; empty without `CAP_SYS_ADMIN`.
#[derive(Debug, Default)]
pub struct Names(HashMap<u32, String>);

impl Names {
    /// Asks the kernel.
    #[must_use]
    pub fn read() -> Self {
        let loaded = aya::programs::loaded_programs().map_while(Result::ok);
        let named = loaded.filter_map(|one| {
            let name = one.name_as_str().filter(|name| !name.is_empty())?;
            Some((one.id(), name.to_owned()))
        });
        Self(named.collect())
    }

    fn of(&self, id: u32) -> Option<String> {
        self.0.get(&id).cloned()
    }

    fn neighbour(&self, linked: &bpf::Linked) -> Neighbour {
        Neighbour {
            prog_id: linked.prog_id,
            name: self.of(linked.prog_id),
            link_id: (linked.link_id != 0).then_some(linked.link_id),
        }
    }
}

/// True if a filter of this priority would come before ours on a kernel without TCX.
#[must_use]
pub fn is_before_ours(filter: &ForeignFilter) -> bool {
    clsact::is_before_ours(filter.priority)
}

/// A TC filter of ours on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Which and where, in words.
    pub what: String,
    /// Its process still runs.
    pub lives: bool,
}

/// The TC filters of ours on an interface, those of running processes too.
///
/// # Errors
/// If the kernel does not tell.
pub fn left_on(interface: &Interface) -> Result<Vec<Left>, InterfacesError> {
    match clsact::left(interface.index, &interface.name) {
        Ok(found) => Ok(found.into_iter().map(|(what, lives)| Left { what, lives }).collect()),
        // It went away meanwhile, and its filters with it.
        Err(refused) if refused.errno() == Some(libc::ENODEV) => Ok(Vec::new()),
        Err(refused) => Err(refused.into()),
    }
}
