//! TC filters on the `clsact` qdisc: the way to TC before TCX (Linux 6.6).
//!
//! A filter outlives the process, so each carries a name that says whose it is: the program, and
//! the process that attached it. Filters of processes that are no more are ours to remove; nothing
//! else is. A qdisc is removed only by whoever made it, and only when it is empty.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use handshake_common::abi::name;

use crate::netlink::{Attributes, Message, Refused, Requests, text, u32_at};

/// Bytes of `struct tcmsg`.
const TCMSG_LEN: usize = 20;
/// `TC_H_CLSACT`, and the classes of its two hooks (`pkt_sched.h`).
const PARENT: u32 = 0xffff_fff1;
const HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// Attributes within `TCA_OPTIONS` of a BPF filter (`pkt_cls.h`), and the flag that the program's
/// result is the verdict.
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const BPF_ID: u16 = 11;
const DIRECT_ACTION: u32 = 1;
/// Priorities to try: early, so that another filter's verdict does not hide packets from us, and
/// several, because a priority belongs to one kind of filter.
const PRIORITIES: std::ops::Range<u16> = 11..19;
/// All protocols, in network order.
const PROTOCOL: u32 = (libc::ETH_P_ALL as u16).to_be() as u32;

/// One of the two hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    fn parent(self) -> u32 {
        match self {
            Self::Ingress => INGRESS,
            Self::Egress => EGRESS,
        }
    }
}

/// A filter of ours; dropping it removes it.
#[derive(Debug)]
pub(super) struct Filter {
    index: u32,
    direction: Direction,
    name: String,
}

/// A filter as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    priority: u16,
    handle: u32,
    kind: String,
    name: String,
    prog_id: Option<u32>,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        self.prog_id.map_or(Ok(()), |id| write!(f, " (program {id})"))
    }
}

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    /// The place of `clsact` is taken by `ingress`.
    #[error("an ingress qdisc is in the way")]
    IngressQdisc,
    /// The kernel's answer.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<io::Error> for FilterError {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl Filter {
    /// Attaches `program` under the name of `program_name` and this process, after removing
    /// filters that dead processes of ours left at this hook.
    pub(super) fn attach(
        program: BorrowedFd<'_>,
        program_name: &str,
        index: u32,
        direction: Direction,
    ) -> Result<Self, FilterError> {
        let mut requests = Requests::open()?;
        remove_stale(&mut requests, index, direction)?;
        let name = Owner::this().label(program_name);
        let mut last = None;
        for priority in PRIORITIES {
            let message = add(program, &name, index, direction, priority);
            match requests.request(&message, libc::NLM_F_CREATE | libc::NLM_F_EXCL) {
                Ok(()) => return Ok(Self { index, direction, name }),
                // The priority holds a filter of another kind.
                Err(refused)
                    if matches!(
                        refused.errno(),
                        Some(libc::EINVAL | libc::EEXIST | libc::ENOENT)
                    ) =>
                {
                    last = Some(refused);
                }
                Err(refused) => return Err(refused.into()),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EEXIST).into()).into())
    }

    /// True if the kernel still lists it.
    pub(super) fn is_attached(&self) -> bool {
        Requests::open()
            .map_err(Refused::from)
            .and_then(|mut requests| listed(&mut requests, self.index, self.direction))
            .is_ok_and(|filters| filters.iter().any(|one| one.name == self.name))
    }

    fn remove(&self) -> Result<(), Refused> {
        let mut requests = Requests::open()?;
        for filter in listed(&mut requests, self.index, self.direction)? {
            if filter.name == self.name {
                delete(&mut requests, self.index, self.direction, &filter)?;
            }
        }
        Ok(())
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // If the interface is gone, so is the filter; what else may fail, `cleanup` repairs.
        drop(self.remove());
    }
}

/// A `clsact` qdisc; dropping it removes it if it was made here and is empty.
#[derive(Debug)]
pub(super) struct Qdisc {
    index: u32,
    made: bool,
}

impl Qdisc {
    /// Makes sure that there is one.
    pub(super) fn ensure(index: u32) -> Result<Self, FilterError> {
        let mut requests = Requests::open()?;
        let message = header(libc::RTM_NEWQDISC, index, HANDLE, PARENT, 0)
            .attribute(libc::TCA_KIND, b"clsact\0");
        match requests.request(&message, libc::NLM_F_CREATE | libc::NLM_F_EXCL) {
            Ok(()) => Ok(Self { index, made: true }),
            Err(refused) if refused.errno() == Some(libc::EEXIST) => {
                match kind(&mut requests, index)?.as_deref() {
                    Some("ingress") => Err(FilterError::IngressQdisc),
                    _ => Ok(Self { index, made: false }),
                }
            }
            Err(refused) => Err(refused.into()),
        }
    }

    fn remove_if_ours(&self) -> Result<(), Refused> {
        if !self.made {
            return Ok(());
        }
        let mut requests = Requests::open()?;
        for direction in Direction::BOTH {
            if !listed(&mut requests, self.index, direction)?.is_empty() {
                return Ok(());
            }
        }
        let message = header(libc::RTM_DELQDISC, self.index, HANDLE, PARENT, 0);
        requests.request(&message, 0)
    }
}

impl Drop for Qdisc {
    fn drop(&mut self) {
        // An empty qdisc that stays does no harm.
        drop(self.remove_if_ours());
    }
}

/// Removes the filters of ours on an interface whose process is no more; says what was done.
pub(super) fn cleanup(index: u32, interface: &str) -> Result<Vec<String>, Refused> {
    let mut requests = Requests::open()?;
    let mut said = Vec::new();
    for (direction, filter, lives) in ours(&mut requests, index)? {
        let place = direction.name();
        if lives {
            said.push(format!(
                "left filter {filter} on {place} of {interface:?}: its process runs"
            ));
            continue;
        }
        delete(&mut requests, index, direction, &filter)?;
        said.push(format!("removed filter {filter} from {place} of {interface:?}"));
    }
    Ok(said)
}

/// The filters of ours on an interface, in words, and whether their process runs.
pub(super) fn left(index: u32, interface: &str) -> Result<Vec<(String, bool)>, Refused> {
    let found = ours(&mut Requests::open()?, index)?;
    let say = |(direction, filter, lives): (Direction, Listed, bool)| {
        (format!("filter {filter} on {} of {interface:?}", direction.name()), lives)
    };
    Ok(found.into_iter().map(say).collect())
}

/// The filters of ours on an interface, and whether their process runs.
fn ours(requests: &mut Requests, index: u32) -> Result<Vec<(Direction, Listed, bool)>, Refused> {
    let mut found = Vec::new();
    for direction in Direction::BOTH {
        for filter in listed(requests, index, direction)? {
            if let Some(owner) = owner(&filter.name) {
                let lives = owner.is_some_and(|owner| owner.lives());
                found.push((direction, filter, lives));
            }
        }
    }
    Ok(found)
}

/// A filter of anybody, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignFilter {
    /// Lower ones come first.
    pub priority: u16,
    /// "bpf", "u32", "flower" and so on.
    pub kind: String,
    /// The name of a BPF filter, or empty.
    pub name: String,
    /// The program of a BPF filter.
    pub prog_id: Option<u32>,
}

/// The filters at a hook that are not ours, by priority.
pub(super) fn foreign(index: u32, direction: Direction) -> Result<Vec<ForeignFilter>, Refused> {
    let mut found: Vec<_> = listed(&mut Requests::open()?, index, direction)?
        .into_iter()
        .filter(|one| owner(&one.name).is_none())
        .map(|Listed { priority, kind, name, prog_id, .. }| ForeignFilter {
            priority,
            kind,
            name,
            prog_id,
        })
        .collect();
    found.sort_by_key(|one| one.priority);
    // Some kinds (u32) list their tables like filters.
    found.dedup();
    Ok(found)
}

/// True if a filter of this priority comes before ours where ours are filters too.
pub(super) fn is_before_ours(priority: u16) -> bool {
    priority < PRIORITIES.start
}

/// True if an `ingress` qdisc is where `clsact` would be.
pub(super) fn has_ingress_qdisc(index: u32) -> Result<bool, Refused> {
    Ok(kind(&mut Requests::open()?, index)?.as_deref() == Some("ingress"))
}

fn remove_stale(requests: &mut Requests, index: u32, direction: Direction) -> Result<(), Refused> {
    for filter in listed(requests, index, direction)? {
        if owner(&filter.name).is_some_and(|owner| owner.is_none_or(|owner| !owner.lives())) {
            delete(requests, index, direction, &filter)?;
        }
    }
    Ok(())
}

/// The process that attached a filter: enough to tell whether it still runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// Start time in ticks since boot: process ids come back.
    start: u64,
    /// Namespace of the process id: processes of another one cannot be seen.
    namespace: u64,
}

impl Owner {
    fn this() -> Self {
        let pid = std::process::id();
        Self { pid, start: start_of("self").unwrap_or_default(), namespace: pid_namespace() }
    }

    fn label(&self, program: &str) -> String {
        format!("{program} pid {} start {} ns {}", self.pid, self.start, self.namespace)
    }

    fn lives(&self) -> bool {
        self.namespace != pid_namespace() || start_of(&self.pid.to_string()) == Some(self.start)
    }
}

/// Whose filter a name says it is: none if it is not ours, and no owner if the name has none.
fn owner(label: &str) -> Option<Option<Owner>> {
    let mut words = label.split_whitespace();
    let program = words.next()?;
    if !name::PROGRAMS.contains(&program) {
        return None;
    }
    let mut number = |before: &str| {
        if words.next()? == before { words.next()?.parse::<u64>().ok() } else { None }
    };
    let owner = (|| {
        let pid = u32::try_from(number("pid")?).ok()?;
        Some(Owner { pid, start: number("start")?, namespace: number("ns")? })
    })();
    Some(owner)
}

/// Field 22 of `/proc/PID/stat`; the second field may hold anything up to the last bracket.
fn start_of(pid: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn pid_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino())
}

/// A message that starts with `struct tcmsg`.
fn header(kind: u16, index: u32, handle: u32, parent: u32, info: u32) -> Message {
    let mut bytes = Vec::with_capacity(TCMSG_LEN);
    for word in [libc::AF_UNSPEC as u32, index, handle, parent, info] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    Message::new(kind, &bytes)
}

fn add(
    program: BorrowedFd<'_>,
    name: &str,
    index: u32,
    direction: Direction,
    priority: u16,
) -> Message {
    let mut label = name.as_bytes().to_vec();
    label.push(0);
    let options = Message::new(0, &[])
        .attribute(BPF_FD, &program.as_raw_fd().to_ne_bytes())
        .attribute(BPF_NAME, &label)
        .attribute(BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes());
    let info = u32::from(priority) << 16 | PROTOCOL;
    header(libc::RTM_NEWTFILTER, index, 0, direction.parent(), info)
        .attribute(libc::TCA_KIND, b"bpf\0")
        .nested(libc::TCA_OPTIONS, &options)
}

fn delete(
    requests: &mut Requests,
    index: u32,
    direction: Direction,
    filter: &Listed,
) -> Result<(), Refused> {
    let info = u32::from(filter.priority) << 16 | PROTOCOL;
    let message = header(libc::RTM_DELTFILTER, index, filter.handle, direction.parent(), info)
        .attribute(libc::TCA_KIND, b"bpf\0");
    match requests.request(&message, 0) {
        // Somebody was quicker.
        Err(refused) if refused.errno() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// The filters at a hook, of any kind; none without a qdisc.
fn listed(
    requests: &mut Requests,
    index: u32,
    direction: Direction,
) -> Result<Vec<Listed>, Refused> {
    let message = header(libc::RTM_GETTFILTER, index, 0, direction.parent(), 0);
    match requests.dump(&message) {
        Ok(messages) => Ok(messages.iter().filter_map(Listed::decode).collect()),
        Err(refused)
            if matches!(refused.errno(), Some(libc::EINVAL | libc::ENOENT | libc::EOPNOTSUPP)) =>
        {
            Ok(Vec::new())
        }
        Err(refused) => Err(refused),
    }
}

impl Listed {
    fn decode(message: &Message) -> Option<Self> {
        let handle = u32_at(&message.payload, 8)?;
        let info = u32_at(&message.payload, 16)?;
        let options = message.attributes(TCMSG_LEN).find(libc::TCA_OPTIONS).unwrap_or_default();
        let option = |kind| Attributes(options).find(kind);
        let kind = message.attributes(TCMSG_LEN).find(libc::TCA_KIND).map(text);
        let kind = kind.unwrap_or_default();
        let is_bpf = kind == "bpf";
        Some(Self {
            priority: (info >> 16) as u16,
            handle,
            kind,
            name: option(BPF_NAME).filter(|_| is_bpf).map(text).unwrap_or_default(),
            prog_id: option(BPF_ID).filter(|_| is_bpf).and_then(|id| u32_at(id, 0)),
        })
    }
}

/// The kind of the qdisc in the place of `clsact`.
fn kind(requests: &mut Requests, index: u32) -> Result<Option<String>, Refused> {
    let message = header(libc::RTM_GETQDISC, index, 0, 0, 0);
    let is_there = |message: &&Message| {
        u32_at(&message.payload, 4) == Some(index) && u32_at(&message.payload, 12) == Some(PARENT)
    };
    let messages = requests.dump(&message)?;
    let found = messages.iter().find(is_there);
    Ok(found.and_then(|message| message.attributes(TCMSG_LEN).find(libc::TCA_KIND)).map(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_tells_its_owner() {
        let this = Owner::this();
        let label = this.label(name::TC_INGRESS);
        assert!(label.len() < 256, "CLS_BPF_NAME_LEN");
        assert_eq!(owner(&label), Some(Some(this.clone())));
        assert!(this.lives());
        assert!(!Owner { start: this.start + 1, ..this }.lives(), "the process id came back");
    }

    #[test]
    fn only_names_of_our_programs_are_ours() {
        assert_eq!(owner("cil_from_netdev pid 1 start 2 ns 3"), None);
        assert_eq!(owner(""), None);
        assert_eq!(owner("hs_tc_in"), Some(None));
        assert_eq!(owner("hs_tc_in pid x"), Some(None));
    }

    #[test]
    fn filters_of_other_kinds_have_no_name() {
        let options = Message::new(0, &[]).attribute(BPF_NAME, b"hs_tc_in\0");
        let filter = |kind: &[u8]| {
            let message = header(libc::RTM_NEWTFILTER, 2, 5, INGRESS, 11 << 16)
                .attribute(libc::TCA_KIND, kind)
                .nested(libc::TCA_OPTIONS, &options);
            Listed::decode(&message).unwrap()
        };
        assert_eq!(filter(b"bpf\0").name, "hs_tc_in");
        assert_eq!((filter(b"u32\0").name.as_str(), filter(b"u32\0").priority), ("", 11));
    }
}
