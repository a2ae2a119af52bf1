//! Tries what `watch` would do, where nobody is disturbed: maps and rings are made, programs loaded
//! and run on a frame of our own, and attached to devices in a network namespace of our own.
//!
//! For the `doctor`. Nothing here touches an interface of the host.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;

use aya::maps::MapData;
use aya::programs::{Program, ProgramError};
use aya::{TestRun, TestRunOptions};
use handshake_common::abi::{Hook, name};
use handshake_common::event::Event;

use super::object::{load_object, make_rings, map_data, map_memory, random_keys};
use super::plan::{self, Ingress};
use super::verify::verify_one;
use super::{
    AttachError, Counters, HookChoice, How, LoadError, Loader, Options, Verified, XdpModeChoice,
    attach,
};
use crate::interfaces::{Interface, InterfacesError};
use crate::netlink::{Message, Refused, Requests};
use crate::source::ring::Rings;

/// The devices that are made; nobody else is in their namespace.
const DEVICE: &str = "hs-trial0";
const PEER: &str = "hs-trial1";
/// `VETH_INFO_PEER` (`linux/veth.h`).
const VETH_INFO_PEER: u16 = 1;
/// Bytes of `struct ifinfomsg`.
const IFINFO_LEN: usize = 16;
/// An MTU that every kind of device takes.
const MTU: u32 = 1500;

/// Ethernet header, then a SYN from 192.0.2.1:4242 to 192.0.2.2:80.
const SYN: [u8; 54] = [
    2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, // Ethernet
    0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, // IPv4
    0x10, 0x92, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0, // TCP
];
/// Bytes of the frame's Ethernet header.
const ETHERNET_LEN: usize = 14;

/// A map that could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapReport {
    /// Its name, or what it is.
    pub name: &'static str,
    /// Its type, for people.
    pub kind: &'static str,
    /// How many of it.
    pub count: usize,
    /// Bytes of all of them, by the kernel's account.
    pub bytes: u64,
}

/// What a program did with a SYN.
#[derive(Debug)]
pub enum Ran {
    /// Passed it on unchanged, counted it, and reported it in an event.
    Right,
    /// Anything else, in words.
    Wrong(String),
    /// The kernel would not run it.
    Refused(io::Error),
}

/// A loaded program and its run.
#[derive(Debug)]
pub struct ProgramTrial {
    /// The verifier's account.
    pub verified: Verified,
    /// The run.
    pub ran: Ran,
}

/// Why a trial attachment did not come about.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// There is no namespace to try it in.
    #[error("a network namespace of our own cannot be made: {0}")]
    Namespace(io::Error),
    /// There is no device to try it on.
    #[error("a veth pair in a namespace of our own cannot be made: {0}")]
    Device(#[from] InterfacesError),
    /// It was refused.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

impl From<Refused> for TrialError {
    fn from(refused: Refused) -> Self {
        Self::Device(refused.into())
    }
}

/// An attachment that came about, and is gone again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// How received packets were seen.
    pub ingress: How,
    /// How sent packets were seen.
    pub egress: How,
    /// Why so; what did not work before.
    pub reason: String,
}

/// Everything loaded for trying; gone when dropped.
pub struct Trial {
    loader: Loader,
    rings: Rings,
    ring_count: usize,
    /// Native XDP by MTU: a host may have hundreds of veth pairs of one MTU.
    native: HashMap<u32, Option<Tried>>,
}

impl Trial {
    /// Makes maps and rings as `watch` would with the same options.
    ///
    /// # Errors
    /// If the process may not, the kernel cannot, or a limit is reached. Unlike [`Loader::load`],
    /// nothing is refused before the kernel has refused it.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        let buffers = make_rings(options.ring_size())?;
        let ring_count = buffers.len();
        let keys = random_keys();
        let ebpf = load_object(options, &keys)?;
        let mut loader = Loader::assemble(options, ebpf, keys, buffers)?;
        let rings = loader.take_rings().ok_or_else(|| LoadError::Object("no rings".to_owned()))?;
        Ok(Self { loader, rings, ring_count, native: HashMap::new() })
    }

    /// What was made.
    #[must_use]
    pub fn maps(&self) -> Vec<MapReport> {
        let bytes = |name| {
            let map: Option<&MapData> = self.loader.ebpf.map(name).and_then(map_data);
            map.map(|map| map_memory(map.fd().as_fd())).unwrap_or_default()
        };
        let one = |name, kind| MapReport { name, kind, count: 1, bytes: bytes(name) };
        let count = self.ring_count;
        vec![
            MapReport { name: "rings", kind: "ring buffer", count, bytes: self.loader.ring_memory },
            one(name::RINGS, "array of maps"),
            one(name::TABLE, "array"),
            one(name::COUNTERS, "per-CPU array"),
        ]
    }

    /// Bytes of kernel memory that everything holds by now.
    #[must_use]
    pub fn kernel_memory_bytes(&self) -> u64 {
        self.loader.kernel_memory_bytes()
    }

    /// Loads one program and runs it on a SYN.
    ///
    /// # Errors
    /// If it does not load.
    pub fn program(&mut self, name: &str) -> Result<ProgramTrial, LoadError> {
        let verified = verify_one(&mut self.loader.ebpf, name)?;
        let ran = match self.run(name) {
            Ok(None) => Ran::Right,
            Ok(Some(wrong)) => Ran::Wrong(wrong),
            Err(error) => Ran::Refused(error),
        };
        Ok(ProgramTrial { verified, ran })
    }

    /// Runs a loaded program; says what was wrong.
    fn run(&mut self, name: &str) -> io::Result<Option<String>> {
        let frame = if is_ip(name) { &SYN[ETHERNET_LEN..] } else { &SYN[..] };
        let before = self.loader.counters().map_err(io::Error::other)?;
        let mut out = vec![0; 2 * SYN.len()];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let result = match self.loader.ebpf.program(name) {
            Some(Program::Xdp(program)) => program.test_run(options),
            Some(Program::SchedClassifier(program)) => program.test_run(options),
            _ => Err(ProgramError::NotLoaded),
        };
        let result = result.map_err(as_io)?;
        let after = self.loader.counters().map_err(io::Error::other)?;
        let mut events = Vec::new();
        let drained = self.rings.drain(1 << 10, &mut events);
        let hook = hook_of(name);
        if result.return_value != pass(hook) {
            return Ok(Some(format!("it returned {} and not pass", result.return_value)));
        }
        if out.get(..result.data_size_out as usize) != Some(frame) {
            return Ok(Some("the frame came back changed".to_owned()));
        }
        Ok(wrong_account(hook, (&before, &after), &events, drained.undecodable))
    }

    /// What becomes of native XDP on a veth pair of this MTU; none if it could not be tried.
    pub fn native_xdp(&mut self, mtu: u32) -> Option<&Tried> {
        if !self.native.contains_key(&mtu) {
            let tried = self.attach_at(HookChoice::Xdp, XdpModeChoice::Native, mtu).ok();
            self.native.insert(mtu, tried);
        }
        self.native.get(&mtu)?.as_ref()
    }

    /// Attaches to a veth pair in a network namespace that is made for it and goes with it, as
    /// `watch` would with this hook and mode, and lets go again.
    ///
    /// # Errors
    /// If there is nothing to try it on, or it is refused.
    pub fn attach(
        &mut self,
        hook: HookChoice,
        xdp_mode: XdpModeChoice,
    ) -> Result<Tried, TrialError> {
        self.attach_at(hook, xdp_mode, MTU)
    }

    fn attach_at(
        &mut self,
        hook: HookChoice,
        xdp_mode: XdpModeChoice,
        mtu: u32,
    ) -> Result<Tried, TrialError> {
        let options = Options { hook, xdp_mode, ..self.loader.options.clone() };
        let ebpf = &mut self.loader.ebpf;
        // The namespace is that of a thread, and ends with it.
        let work = move || {
            own_namespace().map_err(TrialError::Namespace)?;
            let interface = make_veth(mtu)?;
            let attached = attach::attach(ebpf, &options, &interface)?;
            let attachment = &attached.attachment;
            Ok(Tried {
                ingress: attachment.ingress.how,
                egress: attachment.egress.how,
                reason: attachment.reason.clone(),
            })
        };
        std::thread::scope(|scope| {
            let tried = scope.spawn(work).join();
            tried.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// What `auto` and the defaults would try first on an interface, and why.
#[must_use]
pub fn plan(interface: &Interface) -> (Option<How>, String) {
    let plan = plan::plan(&Options::default(), interface);
    let how = match plan.ingress {
        Ingress::XdpNative => Some(How::NativeXdp),
        Ingress::XdpGeneric => Some(How::GenericXdp),
        Ingress::Tc => None,
    };
    (how, plan.reason)
}

fn is_ip(program: &str) -> bool {
    [name::XDP_IP, name::TC_INGRESS_IP, name::TC_EGRESS_IP].contains(&program)
}

fn hook_of(program: &str) -> Hook {
    match program {
        name::XDP | name::XDP_IP => Hook::Xdp,
        name::TC_INGRESS | name::TC_INGRESS_IP => Hook::TcIngress,
        _ => Hook::TcEgress,
    }
}

/// `XDP_PASS`, `TC_ACT_UNSPEC`.
fn pass(hook: Hook) -> u32 {
    if hook == Hook::Xdp { 2 } else { u32::MAX }
}

fn as_io(error: ProgramError) -> io::Error {
    match error {
        ProgramError::SyscallError(error) => error.io_error,
        error => io::Error::other(error),
    }
}

/// What is wrong with the traces of one SYN.
fn wrong_account(
    hook: Hook,
    (before, after): (&Counters, &Counters),
    events: &[Event],
    undecodable: u64,
) -> Option<String> {
    let offered = after.offered() - before.offered();
    let lost = after.lost() - before.lost();
    let reported = events.iter().filter(|event| event.hook == hook as u8).count();
    let right = (offered, lost, reported, undecodable) == (1, 0, 1, 0);
    (!right).then(|| {
        format!("of 1 SYN it offered {offered} events, lost {lost}, and {reported} arrived")
    })
}

/// Moves this thread into a network namespace of its own.
fn own_namespace() -> io::Result<()> {
    // SAFETY: changes the namespace of this thread only, which ends after its work.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn make_veth(mtu: u32) -> Result<Interface, TrialError> {
    let end = |name: &str| {
        Message::new(libc::RTM_NEWLINK, &[0; IFINFO_LEN])
            .attribute(libc::IFLA_IFNAME, format!("{name}\0").as_bytes())
            .attribute(libc::IFLA_MTU, &mtu.to_ne_bytes())
    };
    let data = Message::new(0, &[]).nested(VETH_INFO_PEER, &end(PEER));
    let info = Message::new(0, &[])
        .attribute(libc::IFLA_INFO_KIND, b"veth\0")
        .nested(libc::IFLA_INFO_DATA, &data);
    let request = end(DEVICE).nested(libc::IFLA_LINKINFO, &info);
    let mut requests = Requests::open().map_err(Refused::from)?;
    requests.request(&request, libc::NLM_F_CREATE | libc::NLM_F_EXCL)?;
    let all = crate::interfaces::list()?;
    let made = all.into_iter().find(|one| one.name == DEVICE);
    made.ok_or_else(|| Refused::from(io::Error::from_raw_os_error(libc::ENODEV)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use handshake_common::abi::{COUNTERS, Counter};

    #[test]
    fn every_program_has_its_hook_and_frame() {
        let hooks: Vec<_> = name::PROGRAMS.into_iter().map(hook_of).collect();
        let [xdp, ingress, egress] = Hook::ALL;
        assert_eq!(hooks, [xdp, xdp, ingress, ingress, egress, egress]);
        assert_eq!(name::PROGRAMS.into_iter().filter(|name| is_ip(name)).count(), 3);
    }

    #[test]
    fn a_syn_that_leaves_no_trace_is_wrong() {
        let none = Counters([[0; COUNTERS]; 3]);
        let mut one = none;
        one.0[Hook::Xdp as usize][Counter::Syn as usize] = 1;
        assert!(wrong_account(Hook::Xdp, (&none, &none), &[], 0).is_some());
        let said = wrong_account(Hook::Xdp, (&none, &one), &[], 0).unwrap();
        assert_eq!(said, "of 1 SYN it offered 1 events, lost 0, and 0 arrived");
    }
}
