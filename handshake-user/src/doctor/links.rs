//! Interfaces of the host: looked at, never attached to.

use super::{Check, Group, Verdict, program, quoted};
use crate::interfaces::{self, Details, Interface, LinkKind, XdpMode};
use crate::loader::neighbours::{Chain, Holder, Names, Neighbour, Neighbours, Tc, is_before_ours};
use crate::loader::trial::{self, Trial, Tried};
use crate::loader::{ForeignFilter, How};

/// Programs that a TCX hook takes (`BPF_MPROG_MAX` less 1).
const CHAIN_MAX: usize = 63;
/// Largest MTU at which every driver takes native XDP.
const SAFE_MTU: u32 = 1500;

/// There is nothing to watch.
pub(super) fn none() -> Check {
    let finding = "none is up, not even loopback";
    Check::new(Group::Interface, "interfaces", Verdict::Blocked, finding)
        .command("sudo ip link set dev lo up")
}

/// What is the same for all interfaces.
pub(super) struct Host<'a> {
    /// All that there are.
    all: Vec<Interface>,
    programs: Names,
    trial: Option<&'a mut Trial>,
    /// Attaching by TC was tried and worked.
    attachable: bool,
}

impl<'a> Host<'a> {
    pub(super) fn new(trial: Option<&'a mut Trial>, attachable: bool) -> Self {
        let all = interfaces::list().unwrap_or_default();
        Self { all, programs: Names::read(), trial, attachable }
    }

    /// The checks of one interface.
    pub(super) fn checks(&mut self, interface: &Interface) -> Vec<Check> {
        let details = interfaces::details(interface).unwrap_or_default();
        let neighbours = Neighbours::of(interface, &self.programs);
        let mut checks = vec![link(interface, &details, &self.all)];
        checks.extend(offloads(interface, &details));
        checks.push(slot(interface, neighbours.xdp.as_ref()));
        checks.extend(self.native(interface, &details));
        let stuck = neighbours.has_ingress_qdisc;
        checks.push(tc(interface, "TC ingress", &neighbours.ingress, stuck));
        checks.push(tc(interface, "TC egress", &neighbours.egress, stuck));
        let blocked = checks.iter().any(|check| check.verdict == Verdict::Blocked);
        checks.push(hook(interface, blocked, self.attachable));
        checks
    }

    /// Would a veth pair of this MTU take native XDP? Tried on one of our own.
    fn native(&mut self, interface: &Interface, details: &Details) -> Option<Check> {
        if interface.kind.as_deref() != Some("veth") {
            return None;
        }
        // The kernel asks for the peer's MTU, because the peer's frames arrive here.
        let peer = details.below.filter(|_| !details.below_elsewhere);
        let peer = self.all.iter().find(|one| Some(one.index) == peer);
        let mtu = peer.map_or(interface.mtu, |peer| peer.mtu);
        let tried = self.trial.as_mut()?.native_xdp(mtu)?;
        Some(native(interface, peer, mtu, tried))
    }
}

fn name_of(all: &[Interface], index: u32) -> String {
    let found = all.iter().find(|one| one.index == index);
    found.map_or_else(|| format!("index {index}"), |one| one.name.clone())
}

fn check(on: &Interface, name: &str, verdict: Verdict, finding: impl Into<String>) -> Check {
    let interface = Some(on.name.clone());
    Check { interface, ..Check::new(Group::Interface, name, verdict, finding) }
}

/// What it is and whether it is up.
fn link(interface: &Interface, details: &Details, all: &[Interface]) -> Check {
    let mut finding = described(interface, details, all);
    let name = quoted(&interface.name);
    if let LinkKind::Other(hardware) = interface.link {
        finding.push_str(&format!(
            "; its frames (ARPHRD type {hardware}) start with neither Ethernet nor IP"
        ));
        return check(interface, "link", Verdict::Blocked, finding)
            .advice("watch an Ethernet or IP interface; `ip link` lists all");
    }
    if !interface.up {
        finding.push_str("; down: nothing passes");
        return check(interface, "link", Verdict::Degraded, finding)
            .command(format!("sudo ip link set dev {name} up"));
    }
    if !details.carrier {
        finding.push_str("; up, but without carrier: nothing passes");
        return check(interface, "link", Verdict::Degraded, finding)
            .advice("plug the cable in, or set the other end up");
    }
    if details.part_of.as_deref() == Some("bond") {
        let bond = interface.master.map(|index| name_of(all, index)).unwrap_or_default();
        finding.push_str("; up: one member sees only its share of a connection's packets");
        return check(interface, "link", Verdict::Degraded, finding).command(format!(
            "{} watch -i {}",
            program(),
            quoted(&bond)
        ));
    }
    finding.push_str("; up");
    check(interface, "link", Verdict::Ok, finding)
}

fn described(interface: &Interface, details: &Details, all: &[Interface]) -> String {
    let mut parts = vec![match (&interface.driver, &interface.kind) {
        (Some(driver), _) => format!("driver {driver}"),
        (None, Some(kind)) => kind.clone(),
        (None, None) if interface.is_loopback => "loopback".to_owned(),
        (None, None) if interface.is_physical => "device of unknown driver".to_owned(),
        (None, None) => "no device behind it".to_owned(),
    }];
    parts.push(match interface.link {
        LinkKind::Ethernet => "Ethernet".to_owned(),
        LinkKind::Ip => "IP without Ethernet header".to_owned(),
        LinkKind::Other(_) => "unreadable".to_owned(),
    });
    parts.push(format!("MTU {}", interface.mtu));
    match (details.below, details.below_elsewhere, interface.kind.as_deref()) {
        (Some(_), true, Some("veth")) => parts.push("peer in another namespace".to_owned()),
        (Some(peer), false, Some("veth")) => parts.push(format!("peer {}", name_of(all, peer))),
        (Some(below), false, _) if below != interface.index => {
            parts.push(format!("on {}", name_of(all, below)));
        }
        _ => {}
    }
    if let Some(master) = interface.master {
        let kind = details.part_of.as_deref().unwrap_or("master");
        parts.push(format!("in {kind} {}", name_of(all, master)));
    }
    parts.join(", ")
}

/// LRO and queues of a NIC: what drivers refuse native XDP for.
fn offloads(interface: &Interface, details: &Details) -> Option<Check> {
    if !interface.is_physical {
        return None;
    }
    let queues = details.channels.map_or_else(
        || "queues not told".to_owned(),
        |channels| format!("{} of {} queues", channels.now, channels.most),
    );
    Some(match details.lro {
        Some(true) => {
            let finding = format!("LRO on, {queues}; drivers refuse native XDP with LRO");
            check(interface, "offloads", Verdict::Degraded, finding)
                .command(format!("sudo ethtool -K {} lro off", quoted(&interface.name)))
        }
        Some(false) => check(interface, "offloads", Verdict::Ok, format!("LRO off, {queues}")),
        None => check(interface, "offloads", Verdict::Unknown, format!("LRO not told, {queues}")),
    })
}

/// Who holds the XDP slot.
fn slot(interface: &Interface, holder: Option<&Holder>) -> Check {
    let check = |verdict, finding| check(interface, "XDP slot", verdict, finding);
    let Some(holder) = holder else { return check(Verdict::Ok, "free".to_owned()) };
    let mode = match holder.slot.mode {
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Offloaded => "offloaded",
        XdpMode::Several => "more than one",
    };
    let who = called(holder.slot.prog_id, holder.name.as_deref());
    if holder.name.as_deref().is_some_and(|name| name.starts_with("hs_xdp")) {
        return check(Verdict::Ok, format!("{who} of a running handshake, {mode} mode"));
    }
    let finding =
        format!("{who} holds it in {mode} mode: TC sees only the packets that it lets pass");
    let check = check(Verdict::Degraded, finding);
    let name = quoted(&interface.name);
    match (&holder.link, holder.slot.mode) {
        (Ok(Some(link)), _) => check.command(format!("sudo bpftool link detach id {link}")),
        (Ok(None), XdpMode::Native) => {
            check.command(format!("sudo ip link set dev {name} xdpdrv off"))
        }
        (Ok(None), XdpMode::Generic) => {
            check.command(format!("sudo ip link set dev {name} xdpgeneric off"))
        }
        (Ok(None), XdpMode::Offloaded) => {
            check.command(format!("sudo ip link set dev {name} xdpoffload off"))
        }
        (Ok(None), XdpMode::Several) | (Err(_), _) => {
            check.command(format!("sudo bpftool net show dev {name}"))
        }
    }
}

fn called(id: u32, name: Option<&str>) -> String {
    name.map_or_else(|| format!("program {id}"), |name| format!("program {id} ({name})"))
}

fn native(on: &Interface, peer: Option<&Interface>, mtu: u32, tried: &Tried) -> Check {
    let check = |verdict, finding| check(on, "native XDP", verdict, finding);
    if tried.ingress == How::NativeXdp {
        let finding = format!("works on a veth pair of its own with MTU {mtu}; `--hook xdp` only");
        return check(Verdict::Ok, finding);
    }
    let finding = format!(
        "`--hook xdp` gets {} with a peer of MTU {mtu}, tried on a veth pair of its own: {}",
        tried.ingress, tried.reason
    );
    let check = check(Verdict::Degraded, finding);
    match peer {
        Some(peer) => {
            let peer = quoted(&peer.name);
            check.command(format!("sudo ip link set dev {peer} mtu {SAFE_MTU}"))
        }
        None => check.advice(format!(
            "in the namespace of the peer: `sudo ip link set dev PEER mtu {SAFE_MTU}`"
        )),
    }
}

/// Who is at one direction of TC, and whether there is a place for us.
fn tc(interface: &Interface, name: &str, tc: &Tc, has_ingress_qdisc: bool) -> Check {
    let check = |verdict, finding: String| check(interface, name, verdict, finding);
    let device = quoted(&interface.name);
    let filters = match &tc.filters {
        Ok(filters) => filters.as_slice(),
        Err(error) => {
            return check(Verdict::Unknown, format!("the TC filters cannot be read: {error}"));
        }
    };
    match &tc.chain {
        Chain::Unknown(error) => {
            check(Verdict::Unknown, format!("the TCX chain cannot be read: {error}"))
                .command(format!("sudo {} doctor -i {device}", program()))
        }
        Chain::Programs(chain) if chain.len() >= CHAIN_MAX => {
            let check = check(
                Verdict::Blocked,
                format!(
                    "all {CHAIN_MAX} TCX places are taken; one must go, such as the last, {}",
                    { chain.last().map(neighbour).unwrap_or_default() }
                ),
            );
            match chain.last().and_then(|last| last.link_id) {
                Some(link) => check.command(format!("sudo bpftool link detach id {link}")),
                None => check.command(format!("sudo bpftool net show dev {device}")),
            }
        }
        Chain::Programs(chain) => check(Verdict::Ok, after_ours(chain, filters)),
        Chain::None if has_ingress_qdisc => check(
            Verdict::Blocked,
            "an `ingress` qdisc is where `clsact` should be, and this kernel has no TCX".to_owned(),
        )
        .command(format!("sudo tc qdisc replace dev {device} clsact")),
        Chain::None => by_filters(filters, &check, &device, name),
    }
}

fn neighbour(one: &Neighbour) -> String {
    called(one.prog_id, one.name.as_deref())
}

fn filter(one: &ForeignFilter) -> String {
    let name = if one.name.is_empty() { String::new() } else { format!(" {:?}", one.name) };
    format!("{} filter{name} of priority {}", one.kind, one.priority)
}

/// With TCX ours come first.
fn after_ours(chain: &[Neighbour], filters: &[ForeignFilter]) -> String {
    let all: Vec<_> = chain.iter().map(neighbour).chain(filters.iter().map(filter)).collect();
    if all.is_empty() {
        "nobody else".to_owned()
    } else {
        format!("after ours: {}", all.join(", "))
    }
}

/// Without TCX ours are filters, and what comes before may end the chain.
fn by_filters(
    filters: &[ForeignFilter],
    check: &dyn Fn(Verdict, String) -> Check,
    device: &str,
    name: &str,
) -> Check {
    let before: Vec<_> = filters.iter().filter(|one| is_before_ours(one)).collect();
    let Some(first) = before.first() else {
        return check(Verdict::Ok, format!("no TCX; as filters, {}", after_ours(&[], filters)));
    };
    let all: Vec<_> = before.iter().map(|one| filter(one)).collect();
    let direction = name.trim_start_matches("TC ");
    let finding =
        format!("no TCX; before ours, which see only what it lets go on: {}", all.join(", "));
    check(Verdict::Degraded, finding)
        .command(format!("sudo tc filter del dev {device} {direction} pref {}", first.priority))
}

/// What `auto` takes, by the same decision as `watch`.
fn hook(interface: &Interface, blocked: bool, attachable: bool) -> Check {
    let check = |verdict, finding| check(interface, "hook", verdict, finding);
    if blocked {
        return check(Verdict::Blocked, "none can be had: see above".to_owned());
    }
    let (how, reason) = trial::plan(interface);
    let finding = match how {
        Some(how) => format!("auto tries {how} ({reason}), not tried here; TC if it is refused"),
        None => format!("auto takes TC: {}", reason.trim_start_matches("TC because ")),
    };
    if attachable {
        return check(Verdict::Ok, finding);
    }
    check(Verdict::Unknown, format!("{finding}; attaching was not tried or failed, see above"))
}

#[cfg(test)]
mod tests;
