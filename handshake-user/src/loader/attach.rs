//! Attaching to one interface, and letting go of it.
//!
//! Everything held here detaches by being dropped; links also by the death of the process.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use aya::programs::{Program, ProgramError, SchedClassifier, Xdp};
use handshake_common::abi::{Hook, name};

use super::bpf::{Link, Target};
use super::clsact::{self, Direction, Filter, FilterError, Qdisc};
use super::error::{AttachError, LoadError};
use super::plan::{self, Ingress};
use super::privilege::Privilege;
use super::signals::SignalsWait;
use super::{Options, TcChoice};
use crate::interfaces::{self, Interface, LinkKind};

/// How often a program is loaded at most if the verifier is interrupted all the same.
const LOAD_TRIES: usize = 5;

/// The way a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// XDP in the driver.
    NativeXdp,
    /// XDP in the stack.
    GenericXdp,
    /// TC by a link (Linux 6.6).
    Tcx,
    /// TC by a filter on a qdisc, which survives a killed process until `cleanup`.
    Clsact,
}

impl How {
    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NativeXdp => "native XDP",
            Self::GenericXdp => "generic XDP",
            Self::Tcx => "TCX",
            Self::Clsact => "clsact",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where one program of an interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The hook, as events carry it.
    pub hook: Hook,
    /// The way it is attached.
    pub how: How,
}

/// What is attached to an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Interface index.
    pub index: u32,
    /// Interface name when it was attached.
    pub name: String,
    /// What its frames begin with.
    pub link: LinkKind,
    /// Packets that arrive.
    pub ingress: Placement,
    /// Packets that leave.
    pub egress: Placement,
    /// Why this hook, and what did not work before: the end of a sentence for people.
    pub reason: String,
}

/// Whether a program is still where it was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is.
    Attached,
    /// The interface is gone, or somebody detached it (`bpftool link detach`, `tc qdisc del`).
    Detached,
}

/// The state of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Interface index.
    pub index: u32,
    /// Interface name when it was attached.
    pub name: String,
    /// Packets that arrive.
    pub ingress: State,
    /// Packets that leave.
    pub egress: State,
}

/// What keeps a program attached.
#[derive(Debug)]
enum Held {
    Link(Link),
    Filter(Filter),
}

impl Held {
    fn state(&self) -> State {
        let attached = match self {
            Self::Link(link) => link.interface().is_ok_and(|index| index != 0),
            Self::Filter(filter) => filter.is_attached(),
        };
        if attached { State::Attached } else { State::Detached }
    }
}

/// An attachment and what keeps it. Fields are dropped in order: filters before their qdisc.
#[derive(Debug)]
pub(super) struct Attached {
    ingress: Held,
    egress: Held,
    _qdisc: Option<Qdisc>,
    pub(super) attachment: Attachment,
}

impl Attached {
    /// Whether any direction is a filter and not a link.
    pub(super) fn has_filters(&self) -> bool {
        [&self.ingress, &self.egress].into_iter().any(|held| matches!(held, Held::Filter(_)))
    }

    pub(super) fn health(&self) -> Health {
        Health {
            index: self.attachment.index,
            name: self.attachment.name.clone(),
            ingress: self.ingress.state(),
            egress: self.egress.state(),
        }
    }
}

/// Attaches to `interface`.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    options: &Options,
    interface: &Interface,
) -> Result<Attached, AttachError> {
    if let LinkKind::Other(hardware) = interface.link {
        return Err(AttachError::Link { name: interface.name.clone(), hardware });
    }
    if interface.name.contains('\0') || interface.index == 0 {
        return Err(AttachError::Name(interface.name.clone()));
    }
    let mut place = Place { ebpf, options, interface, qdisc: None };
    let plan = plan::plan(options, interface);
    // Verifying takes milliseconds. Between the two attachments answers would pass unseen meanwhile,
    // and what they answer would look like failures.
    program_fd(place.ebpf, tc_program(Direction::Egress, interface).1)?;
    let (ingress_how, ingress, reason) = place.ingress(plan.ingress, plan.reason)?;
    let (egress_how, egress) = place.tc(Direction::Egress)?;
    let hook = match ingress_how {
        How::NativeXdp | How::GenericXdp => Hook::Xdp,
        How::Tcx | How::Clsact => Hook::TcIngress,
    };
    let attachment = Attachment {
        index: interface.index,
        name: interface.name.clone(),
        link: interface.link,
        ingress: Placement { hook, how: ingress_how },
        egress: Placement { hook: Hook::TcEgress, how: egress_how },
        reason,
    };
    Ok(Attached { ingress, egress, _qdisc: place.qdisc, attachment })
}

/// One interface while programs are being attached to it.
struct Place<'a> {
    ebpf: &'a mut Ebpf,
    options: &'a Options,
    interface: &'a Interface,
    qdisc: Option<Qdisc>,
}

impl Place<'_> {
    fn ingress(
        &mut self,
        planned: Ingress,
        reason: String,
    ) -> Result<(How, Held, String), AttachError> {
        let (target, how) = match planned {
            Ingress::XdpNative => (Target::XdpNative, How::NativeXdp),
            Ingress::XdpGeneric => (Target::XdpGeneric, How::GenericXdp),
            Ingress::Tc => {
                let (how, held) = self.tc(Direction::Ingress)?;
                return Ok((how, held, reason));
            }
        };
        let refusal = match self.xdp(target) {
            Ok(held) => return Ok((how, held, reason)),
            Err(XdpRefusal::Final(error)) => return Err(error),
            Err(XdpRefusal::TryTc(refusal)) => refusal,
        };
        let (tc, held) = self.tc(Direction::Ingress)?;
        Ok((tc, held, format!("{how} was refused: {refusal}")))
    }

    fn xdp(&mut self, target: Target) -> Result<Held, XdpRefusal> {
        let name = match self.interface.link {
            LinkKind::Ip => name::XDP_IP,
            LinkKind::Ethernet | LinkKind::Other(_) => name::XDP,
        };
        let program = program_fd(self.ebpf, name).map_err(|error| match error {
            // `bpf_xdp_load_bytes` came with 5.18; TC works without.
            LoadError::Rejected { reason, .. } => XdpRefusal::TryTc(reason),
            error => XdpRefusal::Final(error.into()),
        })?;
        match Link::create(program, self.interface.index, target) {
            Ok(link) => Ok(Held::Link(link)),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let privilege = Privilege::explain("attach an XDP program");
                Err(XdpRefusal::Final(AttachError::Privilege(privilege)))
            }
            Err(error) => Err(XdpRefusal::TryTc(self.why_no_xdp(&error))),
        }
    }

    /// The kernel's answer in words, with the remedy where there is one.
    fn why_no_xdp(&self, error: &io::Error) -> String {
        let name = self.interface.name.escape_debug();
        let driver = self.interface.driver.as_deref().or(self.interface.kind.as_deref());
        let driver = driver.unwrap_or("the driver");
        match error.raw_os_error() {
            Some(libc::EBUSY | libc::EEXIST) => self.holder(),
            Some(libc::EOPNOTSUPP) => format!("{driver} has no XDP in this mode or configuration"),
            Some(libc::ERANGE) => {
                format!("MTU {} is too large for {driver}", self.interface.mtu)
            }
            Some(libc::EINVAL) => format!(
                "{driver} does not take it with MTU {} and its offloads (`sudo ethtool -K {name} \
                 lro off` may help)",
                self.interface.mtu
            ),
            Some(libc::ENOMEM) => {
                format!("{driver} has too few spare queues (`ethtool -l {name}` shows them)")
            }
            _ => error.to_string(),
        }
    }

    fn holder(&self) -> String {
        let all = interfaces::list().unwrap_or_default();
        let now = all.into_iter().find(|one| one.index == self.interface.index);
        let slot = now.and_then(|now| now.xdp);
        slot.map_or_else(|| "another program is in the XDP slot".to_owned(), plan::holder)
    }

    fn tc(&mut self, direction: Direction) -> Result<(How, Held), AttachError> {
        let (target, name) = tc_program(direction, self.interface);
        let program = program_fd(self.ebpf, name)?;
        if self.options.tc == TcChoice::Auto {
            match Link::create(program, self.interface.index, target) {
                Ok(link) => return Ok((How::Tcx, Held::Link(link))),
                // No TCX: before 6.6, or built without it.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {}
                Err(error) => return Err(refused(self.interface, direction, &error, None)),
            }
        }
        if self.qdisc.is_none() {
            let qdisc = Qdisc::ensure(self.interface.index);
            self.qdisc = Some(qdisc.map_err(|error| no_filter(self.interface, direction, error))?);
        }
        Filter::attach(program, name, self.interface.index, direction)
            .map(|filter| (How::Clsact, Held::Filter(filter)))
            .map_err(|error| no_filter(self.interface, direction, error))
    }
}

/// Where a direction attaches by TCX, and which program.
fn tc_program(direction: Direction, interface: &Interface) -> (Target, &'static str) {
    match (direction, interface.link) {
        (Direction::Ingress, LinkKind::Ip) => (Target::TcxIngress, name::TC_INGRESS_IP),
        (Direction::Ingress, _) => (Target::TcxIngress, name::TC_INGRESS),
        (Direction::Egress, LinkKind::Ip) => (Target::TcxEgress, name::TC_EGRESS_IP),
        (Direction::Egress, _) => (Target::TcxEgress, name::TC_EGRESS),
    }
}

/// What to do about XDP that does not work.
enum XdpRefusal {
    Final(AttachError),
    TryTc(String),
}

/// Loads a program if it is not loaded yet.
pub(super) fn program_fd<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<BorrowedFd<'a>, LoadError> {
    let missing = || LoadError::Object(format!("it has no program {name}"));
    let program = ebpf.program_mut(name).ok_or_else(missing)?;
    let failed = |error: ProgramError| LoadError::from_program(name, &error);
    if program.fd().is_err() {
        load(program).map_err(failed)?;
    }
    program.fd().map(AsFd::as_fd).map_err(failed)
}

/// Whether this process may attach by links. Asked for an interface that cannot be: the kernel looks
/// at capabilities first.
pub(super) fn may_link(ebpf: &Ebpf) -> bool {
    link_to_nothing(ebpf) != Some(libc::EPERM)
}

/// Does this kernel attach to TC by links? Asked by somebody who may.
pub(super) fn has_tcx(ebpf: &Ebpf) -> bool {
    link_to_nothing(ebpf) == Some(libc::ENODEV)
}

/// The kernel's answer to a link to an interface that cannot be.
fn link_to_nothing(ebpf: &Ebpf) -> Option<i32> {
    const NO_INTERFACE: u32 = i32::MAX as u32;
    let program = ebpf.program(name::TC_EGRESS).and_then(|program| program.fd().ok())?;
    Link::create(program.as_fd(), NO_INTERFACE, Target::TcxEgress).err()?.raw_os_error()
}

/// Loads a program. A signal makes the verifier give up with EAGAIN, and aya does not try again:
/// signals wait until it is done (at most about a second).
fn load(program: &mut Program) -> Result<(), ProgramError> {
    let _quiet = SignalsWait::new();
    let mut tries = 0;
    loop {
        let result = match program {
            Program::Xdp(program) => Xdp::load(program),
            Program::SchedClassifier(program) => SchedClassifier::load(program),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        tries += 1;
        match result {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) && tries < LOAD_TRIES => {}
            result => return result,
        }
    }
}

fn no_filter(interface: &Interface, direction: Direction, error: FilterError) -> AttachError {
    match error {
        FilterError::IngressQdisc => AttachError::IngressQdisc { name: interface.name.clone() },
        FilterError::Refused(error) => refused(interface, direction, &error.io, error.said),
    }
}

fn refused(
    interface: &Interface,
    direction: Direction,
    error: &io::Error,
    said: Option<String>,
) -> AttachError {
    let (name, hook) = (interface.name.clone(), direction.name());
    match error.raw_os_error() {
        Some(libc::EPERM) => AttachError::Privilege(Privilege::explain("attach a TC program")),
        Some(libc::ENODEV) => AttachError::Gone { name, index: interface.index },
        Some(libc::ERANGE) => AttachError::Full { name, hook },
        _ => {
            let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
            AttachError::Refused { name, hook, reason: format!("{error}{said}") }
        }
    }
}

/// See [`super::cleanup`].
pub(super) fn cleanup() -> Result<Vec<String>, AttachError> {
    let all = interfaces::list().map_err(|error| AttachError::Refused {
        name: "*".to_owned(),
        hook: "tc",
        reason: error.to_string(),
    })?;
    let mut said = Vec::new();
    for interface in all {
        let done = clsact::cleanup(interface.index, &interface.name);
        match done {
            Ok(lines) => said.extend(lines),
            // It went away meanwhile, and its filters with it.
            Err(error) if error.errno() == Some(libc::ENODEV) => {}
            Err(error) => {
                return Err(refused(&interface, Direction::Ingress, &error.io, error.said));
            }
        }
    }
    Ok(said)
}
