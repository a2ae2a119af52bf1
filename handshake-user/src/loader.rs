//! Loads the eBPF object, attaches it to interfaces, reads its counters.
//!
//! Nothing of ours replaces a foreign program, and nothing stays attached when the process dies,
//! except filters on kernels without TCX, which carry our name ([`cleanup`]). Which hook an
//! interface gets is decided in `plan`, done in `attach`. Events are read by `source::ring`.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aya::Ebpf;
use aya::maps::MapData;
use handshake_common::abi::{name, state};
use handshake_common::filter::WORDS;
use handshake_common::flow::Keys;

use crate::interfaces::Interface;
use crate::mapped::{Access, Mapped};
use crate::pending::Pending;
use crate::source::ring::Rings;

mod attach;
mod bpf;
mod clsact;
mod counters;
mod error;
mod logs;
pub mod neighbours;
mod object;
mod options;
mod plan;
mod privilege;
mod shed;
pub(crate) mod signals;
pub mod trial;
mod verify;

pub use attach::{Attachment, Health, How, Placement, State};
pub use clsact::ForeignFilter;
pub use counters::{Counters, ProgramStats};
pub use error::{AttachError, LoadError, is_old, kernel_release, locks_memory};
pub use object::OBJECT;
pub use options::{DEFAULT_RING_BYTES, HookChoice, Options, TcChoice, XdpModeChoice};
pub use privilege::{Capabilities, Privilege};
pub use shed::{Files, spawn_without_privileges};
pub use verify::{ProgramReport, Verified, verify};

use attach::Attached;
use logs::Logs;
use object::{
    load_object, make_rings, map_data, map_memory, mapped, mapping_error, programs_to_come,
    random_keys, store_rings,
};
use options::page_size;

/// The loaded object and everything attached. Dropping it detaches.
pub struct Loader {
    // Before `ebpf`, so that attachments go first.
    attached: Vec<Attached>,
    rings: Option<Rings>,
    ring_memory: u64,
    statistics: Option<OwnedFd>,
    state: Mapped,
    pending: Arc<Pending>,
    logs: Option<Logs>,
    options: Options,
    /// Programs that may be needed and are not loaded ahead yet.
    to_come: Vec<&'static str>,
    /// One of them could not be loaded.
    loads_later: bool,
    ebpf: Ebpf,
}

impl Loader {
    /// Loads maps and rings; programs are loaded when an interface first needs them.
    ///
    /// # Errors
    /// If the process may not, the kernel cannot, or a limit is reached.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        privilege::check().map_err(LoadError::Privilege)?;
        let buffers = make_rings(options.ring_size())?;
        let keys = random_keys();
        Self::assemble(options, load_object(options, &keys)?, keys, buffers)
    }

    fn assemble(
        options: &Options,
        mut ebpf: Ebpf,
        keys: Keys,
        buffers: Vec<(u32, MapData)>,
    ) -> Result<Self, LoadError> {
        // Before 6.4, the kernel's own account leaves the buffer of a ring out.
        let least = u64::from(options.ring_size());
        let memory = |(_, ring): &(_, MapData)| map_memory(ring.fd().as_fd()).max(least);
        let ring_memory = buffers.iter().map(memory).sum();
        let rings = store_rings(&mut ebpf, buffers)?;
        let rings = Rings::new(rings, page_size() as usize).map_err(mapping_error)?;
        let rings = Some(rings);
        let state_bytes = state::WORDS * size_of::<u64>();
        let state = mapped(&ebpf, name::STATE, state_bytes, Access::Write)?;
        let table_bytes = options.table_size() as usize * WORDS * size_of::<u64>();
        let table = mapped(&ebpf, name::TABLE, table_bytes, Access::Write)?;
        let logs = Logs::of(&mut ebpf);
        let to_come = programs_to_come(options);
        Ok(Self {
            attached: Vec::new(),
            rings,
            ring_memory,
            statistics: None,
            state,
            pending: Arc::new(Pending::new(table, keys)),
            logs,
            options: options.clone(),
            to_come,
            loads_later: false,
            ebpf,
        })
    }

    /// The rings, for the thread that reads them; none the second time.
    pub fn take_rings(&mut self) -> Option<Rings> {
        self.rings.take()
    }

    /// Attaches to both directions of an interface. What was attached to its index before is
    /// detached first.
    ///
    /// # Errors
    /// If no hook of it can be had; nothing is attached to it then.
    pub fn attach(&mut self, interface: &Interface) -> Result<Attachment, AttachError> {
        self.detach(interface.index);
        let attached = attach::attach(&mut self.ebpf, &self.options, interface)?;
        let attachment = attached.attachment.clone();
        self.attached.push(attached);
        Ok(attachment)
    }

    /// Loads the programs that interfaces, also those to come, may need: then attaching takes no
    /// capability that loading takes. One that this kernel refuses is tried again when it is needed.
    ///
    /// The verifier takes tens of milliseconds for each, so call it before anything is attached:
    /// nobody reads the rings meanwhile.
    pub fn load_ahead(&mut self) {
        for name in std::mem::take(&mut self.to_come) {
            self.loads_later |= attach::program_fd(&mut self.ebpf, name).is_err();
        }
    }

    /// Gives up every capability of this thread that is not needed from now on to attach to
    /// interfaces that come, to read counters, and to detach. There is no way back.
    ///
    /// Other threads keep theirs: those that are started before must have given theirs up
    /// ([`spawn_without_privileges`]).
    ///
    /// # Errors
    /// If the kernel refuses; everything works as before then.
    pub fn shed_privileges(&self, files: Files) -> Result<(), LoadError> {
        // If nothing is attached yet, it may become filters.
        let unknown = self.attached.is_empty() && !attach::has_tcx(&self.ebpf);
        let filters = unknown || self.attached.iter().any(Attached::has_filters);
        let plans =
            shed::Plans { filters, loading: self.loads_later || !self.to_come.is_empty(), files };
        let works = || self.counters().is_ok() && attach::may_link(&self.ebpf);
        shed::to_the_fewest(plans, works)
    }

    /// Detaches from an interface; false if nothing was attached to it. Also right for interfaces
    /// that are gone.
    pub fn detach(&mut self, index: u32) -> bool {
        let before = self.attached.len();
        self.attached.retain(|one| one.attachment.index != index);
        self.attached.len() < before
    }

    /// An interface has another name.
    pub fn rename(&mut self, index: u32, name: &str) {
        for one in self.attached.iter_mut().filter(|one| one.attachment.index == index) {
            name.clone_into(&mut one.attachment.name);
        }
    }

    /// Says what the programs have logged, if they were built to (`cargo xtask build --bpf-log`).
    pub fn say_logs(&mut self) {
        if let Some(logs) = &mut self.logs {
            logs.say();
        }
    }

    /// Detaches from all interfaces. Maps, counters and rings stay.
    pub fn detach_all(&mut self) {
        self.attached.clear();
    }

    /// What is attached.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attached.iter().map(|one| &one.attachment)
    }

    /// Asks the kernel whether everything is still where it was attached.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        self.attached.iter().map(Attached::health).collect()
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// If the kernel refuses, which only a bug can make it do.
    pub fn counters(&self) -> Result<Counters, LoadError> {
        Counters::read(&self.ebpf, &mut Vec::new())
    }

    /// Reads the counters; `lost` gets the events that found their ring full, by CPU.
    ///
    /// # Errors
    /// As [`Loader::counters`].
    pub fn counters_and_lost(&self, lost: &mut Vec<u64>) -> Result<Counters, LoadError> {
        Counters::read(&self.ebpf, lost)
    }

    /// Bytes of kernel memory that maps, rings and loaded programs hold.
    #[must_use]
    pub fn kernel_memory_bytes(&self) -> u64 {
        let maps = self.ebpf.maps().filter_map(|(_, map)| map_data(map));
        let maps: u64 = maps.map(|map| map_memory(map.fd().as_fd())).sum();
        let programs = self.ebpf.programs().filter_map(|(_, program)| program.fd().ok());
        let programs: u64 = programs.map(|fd| map_memory(fd.as_fd())).sum();
        maps + programs + self.ring_memory
    }

    /// The word with the sampling in force ([`sample`]).
    #[must_use]
    pub fn sample_word(&self) -> &AtomicU64 {
        &self.state.words()[state::SAMPLE_SHIFT]
    }

    /// The word that says whether the reader of the rings sleeps ([`state::ASLEEP`]).
    #[must_use]
    pub fn asleep_word(&self) -> &AtomicU64 {
        &self.state.words()[state::ASLEEP]
    }

    /// The filter's table.
    #[must_use]
    pub fn pending(&self) -> &Arc<Pending> {
        &self.pending
    }

    /// Bytes of each CPU's ring, after rounding.
    #[must_use]
    pub fn ring_bytes(&self) -> u32 {
        self.options.ring_size()
    }

    /// Has the kernel count the runs of programs and their time, until this is dropped: two readings
    /// of the clock a packet, for every program on this machine.
    ///
    /// # Errors
    /// If the process may not: that takes CAP_SYS_ADMIN.
    pub fn measure_runs(&mut self) -> io::Result<()> {
        let statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime);
        self.statistics = Some(statistics.map_err(|error| error.io_error)?);
        Ok(())
    }

    /// Are the runs of programs counted, by us or because somebody else asked for it?
    #[must_use]
    pub fn measures_runs(&self) -> bool {
        let setting = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled");
        self.statistics.is_some() || setting.is_ok_and(|setting| setting.trim() == "1")
    }

    /// Runs and run time of the loaded programs; zeroes unless [`Loader::measures_runs`].
    #[must_use]
    pub fn program_stats(&self) -> Vec<ProgramStats> {
        counters::program_stats(&self.ebpf)
    }
}

/// Removes TC filters that killed processes of ours left on kernels without TCX. Filters of
/// running ones stay, and so does everything that is not ours. Returns a sentence for each filter
/// of ours.
///
/// # Errors
/// If the process may not.
pub fn cleanup() -> Result<Vec<String>, AttachError> {
    attach::cleanup()
}
