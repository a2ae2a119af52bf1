//! Loads the eBPF object, attaches it to interfaces, reads its counters.
//!
//! Nothing of ours replaces a foreign program, and nothing stays attached when the process dies,
//! except filters on kernels without TCX, which carry our name ([`cleanup`]). Which hook an
//! interface gets is decided in `plan`, done in `attach`. Events are read by `source::ring`.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::{ArrayOfMaps, Map, MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader};
use handshake_common::abi::{COUNTERS, Counter, DEFAULT_BUCKETS, EVENT_CLASSES, Hook, MAX_CPUS};
use handshake_common::abi::{PACKET_CLASSES, name, state};
use handshake_common::filter::{MAX_BUCKETS, WAYS, is_occupied};
use handshake_common::sample;

use crate::interfaces::Interface;
use crate::mapped::{Access, Mapped};
use crate::source::ring::Rings;

mod attach;
mod bpf;
mod clsact;
mod error;
mod logs;
pub mod neighbours;
mod plan;
mod privilege;
mod shed;
pub(crate) mod signals;
pub mod trial;

pub use attach::{Attachment, Health, How, Placement, State};
pub use clsact::ForeignFilter;
pub use error::{AttachError, LoadError, is_old, kernel_release, locks_memory};
pub use privilege::{Capabilities, Privilege};
pub use shed::every_privilege as shed_every_privilege;

use attach::Attached;
use logs::Logs;
use signals::SignalsWait;

/// The programs, as `cargo xtask build` made them; for tests that run them without a network.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("HANDSHAKE_EBPF_OBJECT"));

/// Default bytes of a ring: room for 8,192 events, which a SYN flood of a million packets a second
/// on one CPU fills in 8 ms.
pub const DEFAULT_RING_BYTES: u32 = 1 << 20;
/// Largest ring that can be asked for; larger ones the kernel refuses on small machines.
const MAX_RING_BYTES: u32 = 1 << 28;
/// Fewest and most buckets of the filter table (64 bytes each).
const BUCKETS: std::ops::RangeInclusive<u32> = 64..=MAX_BUCKETS;

/// Bytes of an entry of the table: a head and its numbers.
const ENTRY_BYTES: usize = 16;

/// Where to attach (`--hook`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HookChoice {
    /// By interface: see `plan`.
    #[default]
    Auto,
    /// XDP; TC where XDP is refused.
    Xdp,
    /// TC.
    Tc,
}

/// How to attach XDP (`--xdp-mode`). Anything but `Auto` asks for XDP, unless the hook is TC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XdpModeChoice {
    /// Native.
    #[default]
    Auto,
    /// Native.
    Native,
    /// Generic.
    Generic,
}

/// How to attach TC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TcChoice {
    /// TCX where the kernel has it.
    #[default]
    Auto,
    /// Filters on `clsact`, as on kernels before 6.6; for tests.
    Clsact,
}

/// What to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to attach.
    pub hook: HookChoice,
    /// How to attach XDP.
    pub xdp_mode: XdpModeChoice,
    /// How to attach TC.
    pub tc: TcChoice,
    /// Wanted bytes of each CPU's ring: see [`Options::ring_size`].
    pub ring_bytes: u32,
    /// Wanted buckets of the filter table, 64 bytes each: see [`Options::table_size`].
    pub table_buckets: u32,
    /// Shall the first bytes of each frame follow its event? A ring then holds 2 events where it
    /// held 5.
    pub keep_frames: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hook: HookChoice::default(),
            xdp_mode: XdpModeChoice::default(),
            tc: TcChoice::default(),
            ring_bytes: DEFAULT_RING_BYTES,
            table_buckets: DEFAULT_BUCKETS,
            keep_frames: false,
        }
    }
}

impl Options {
    /// Bytes that each ring gets: the kernel wants a power of two of at least a page.
    #[must_use]
    pub fn ring_size(&self) -> u32 {
        let page = page_size().min(MAX_RING_BYTES);
        self.ring_bytes.clamp(page, MAX_RING_BYTES).next_power_of_two()
    }

    /// Buckets that the filter table gets: a power of two.
    #[must_use]
    pub fn table_size(&self) -> u32 {
        self.table_buckets.clamp(*BUCKETS.start(), *BUCKETS.end()).next_power_of_two()
    }
}

fn page_size() -> u32 {
    // SAFETY: asks for a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u32::try_from(bytes).unwrap_or(4096)
}

/// What a process that gives up its privileges still does with files that may be others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Files {
    /// Opens none.
    #[default]
    None,
    /// Opens some to read them.
    Read,
    /// Makes and renames some.
    Write,
}

/// The kernel's counters, summed over CPUs since loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters(pub [[u64; COUNTERS]; 3]);

impl Counters {
    /// One counter of one hook.
    #[must_use]
    pub fn of(&self, hook: Hook, counter: Counter) -> u64 {
        self.0[hook as usize][counter as usize]
    }

    /// One counter of all hooks together.
    #[must_use]
    pub fn total(&self, counter: Counter) -> u64 {
        self.0.iter().map(|row| row[counter as usize]).sum()
    }

    /// Packets that a hook saw.
    #[must_use]
    pub fn seen(&self, hook: Hook) -> u64 {
        self.0[hook as usize][..PACKET_CLASSES].iter().sum()
    }

    /// Events that the programs had to report: delivered, lost and sampled out together.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.0.iter().flat_map(|row| &row[..EVENT_CLASSES]).sum()
    }

    /// Events lost because a ring was full or missing.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.total(Counter::EventsLost) + self.total(Counter::EventsNoRing)
    }
}

/// What the verifier made of a program.
#[derive(Debug)]
pub struct ProgramReport {
    /// The program's name.
    pub name: &'static str,
    /// Sizes, or why it did not load.
    pub result: Result<Verified, LoadError>,
}

/// Sizes of a loaded program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Instructions that the verifier walked through (Linux 5.16).
    pub verified_instructions: Option<u32>,
    /// Bytes of machine code; 0 without a JIT.
    pub jited_bytes: u32,
}

/// What a program costs, while that is measured ([`Loader::measure_runs`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramStats {
    /// The program's name.
    pub name: &'static str,
    /// Packets it ran for.
    pub runs: u64,
    /// Time spent in it.
    pub time: Duration,
}

/// The loaded object and everything attached. Dropping it detaches.
pub struct Loader {
    // Before `ebpf`, so that attachments go first.
    attached: Vec<Attached>,
    rings: Option<Rings>,
    ring_memory: u64,
    statistics: Option<OwnedFd>,
    state: Mapped,
    table: Mapped,
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
        Self::assemble(options, load_object(options)?, buffers)
    }

    fn assemble(
        options: &Options,
        mut ebpf: Ebpf,
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
        let table_bytes = options.table_size() as usize * WAYS * ENTRY_BYTES;
        let table = mapped(&ebpf, name::TABLE, table_bytes, Access::Read)?;
        let logs = Logs::of(&mut ebpf);
        let to_come = programs_to_come(options);
        Ok(Self {
            attached: Vec::new(),
            rings,
            ring_memory,
            statistics: None,
            state,
            table,
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

    /// Loads one of the programs that interfaces to come may need; false when none is left. Then
    /// attaching takes no capability that loading takes. One that this kernel refuses is tried
    /// again when it is needed.
    pub fn load_ahead(&mut self) -> bool {
        if let Some(name) = self.to_come.pop() {
            self.loads_later |= attach::program_fd(&mut self.ebpf, name).is_err();
        }
        !self.to_come.is_empty()
    }

    /// Gives up every capability of this thread that is not needed from now on to attach to
    /// interfaces that come, to read counters, and to detach. There is no way back.
    ///
    /// Other threads keep theirs: call it before any is started.
    ///
    /// # Errors
    /// If the kernel refuses; everything works as before then.
    pub fn shed_privileges(&self, files: Files) -> Result<(), LoadError> {
        let filters = self.attached.iter().any(Attached::has_filters);
        let plans =
            shed::Plans { filters, loading: self.loads_later || !self.to_come.is_empty(), files };
        let works = || self.counters().is_ok() && attach::may_link(&self.ebpf);
        shed::to_the_fewest(plans, works).map_err(|error| LoadError::Io {
            doing: "give up capabilities".to_owned(),
            source: std::io::Error::other(error),
        })
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
        let map = self.ebpf.map(name::COUNTERS).ok_or_else(|| no_map(name::COUNTERS))?;
        let map = PerCpuArray::<_, [u64; COUNTERS]>::try_from(map).map_err(object_error)?;
        let mut sum = [[0u64; COUNTERS]; 3];
        for (hook, row) in sum.iter_mut().enumerate() {
            for cpu in map.get(&(hook as u32), 0).map_err(object_error)?.iter() {
                row.iter_mut().zip(cpu).for_each(|(sum, one)| *sum = sum.wrapping_add(*one));
            }
        }
        Ok(Counters(sum))
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

    /// Entries of the filter's table that are in use. Reads the whole table: about 0.1 ms at its
    /// default size.
    #[must_use]
    pub fn table_entries(&self) -> u64 {
        let heads = self.table.words().iter().step_by(ENTRY_BYTES / size_of::<u64>());
        heads.filter(|head| is_occupied(head.load(Ordering::Relaxed))).count() as u64
    }

    /// Entries that the filter's table has.
    #[must_use]
    pub fn table_capacity(&self) -> u64 {
        u64::from(self.options.table_size()) * WAYS as u64
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
        let stats = |name: &'static str| {
            let info = self.ebpf.program(name)?.info().ok()?;
            Some(ProgramStats { name, runs: info.run_count(), time: info.run_time() })
        };
        name::PROGRAMS.into_iter().filter_map(stats).collect()
    }
}

/// Maps the values of one of our arrays.
fn mapped(ebpf: &Ebpf, name: &str, bytes: usize, access: Access) -> Result<Mapped, LoadError> {
    let data = ebpf.map(name).and_then(map_data).ok_or_else(|| no_map(name))?;
    Mapped::new(data.fd().as_fd(), 0, bytes, access).map_err(mapping_error)
}

fn mapping_error(source: io::Error) -> LoadError {
    LoadError::Io { doing: "map memory of the kernel's maps".to_owned(), source }
}

/// Loads every program on this kernel without attaching any.
///
/// # Errors
/// If not even the maps can be made; programs have their own results.
pub fn verify() -> Result<Vec<ProgramReport>, LoadError> {
    privilege::check().map_err(LoadError::Privilege)?;
    let mut ebpf = load_object(&Options::default())?;
    let report = |name| ProgramReport { name, result: verify_one(&mut ebpf, name) };
    Ok(name::PROGRAMS.into_iter().map(report).collect())
}

fn verify_one(ebpf: &mut Ebpf, name: &str) -> Result<Verified, LoadError> {
    attach::program_fd(ebpf, name)?;
    let info = ebpf.program(name).map(aya::programs::Program::info);
    let info = info.and_then(Result::ok).ok_or_else(|| no_map(name))?;
    Ok(Verified {
        verified_instructions: info.verified_instruction_count(),
        jited_bytes: info.size_jitted(),
    })
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

/// The programs that attaching to some interface may need.
fn programs_to_come(options: &Options) -> Vec<&'static str> {
    let xdp = options.hook != HookChoice::Tc;
    let is_xdp = |one: &&str| [name::XDP, name::XDP_IP].contains(one);
    name::PROGRAMS.into_iter().filter(|one| xdp || !is_xdp(one)).collect()
}

fn load_object(options: &Options) -> Result<Ebpf, LoadError> {
    // aya finds out what the kernel can by loading small programs, and takes an interrupted one
    // for a feature that is missing.
    let _quiet = SignalsWait::new();
    let buckets = options.table_size();
    let mask = buckets - 1;
    let fill_shift = sample::fill_shift(options.ring_size());
    let (low, high) = (random(), random());
    let keep_frames = u32::from(options.keep_frames);
    EbpfLoader::new()
        .override_global(name::TABLE_MASK, &mask, true)
        .override_global(name::FILL_SHIFT, &fill_shift, true)
        .override_global(name::KEY_LOW, &low, true)
        .override_global(name::KEY_HIGH, &high, true)
        .override_global(name::KEEP_FRAMES, &keep_frames, true)
        .map_max_entries(name::TABLE, buckets)
        .load(OBJECT)
        .map_err(|error| LoadError::from_object(&error))
}

/// A number that nobody outside can guess: a keyed hash with the standard library's random keys.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// A ring for every online CPU that has a slot. Events on CPUs that come later are counted as lost
/// for want of a ring.
fn make_rings(bytes: u32) -> Result<Vec<(u32, MapData)>, LoadError> {
    let cpus = aya::util::online_cpus().map_err(|(path, error)| LoadError::Io {
        doing: format!("read the list of CPUs from {path}"),
        source: error,
    })?;
    let with_slot = cpus.into_iter().filter(|&cpu| (cpu as usize) < MAX_CPUS);
    with_slot
        .map(|cpu| {
            let ring = bpf::create_ring(bytes).map_err(|error| LoadError::from_ring(bytes, error));
            Ok((cpu, MapData::from_fd(ring?).map_err(object_error)?))
        })
        .collect()
}

fn store_rings(
    ebpf: &mut Ebpf,
    rings: Vec<(u32, MapData)>,
) -> Result<Vec<RingBuf<MapData>>, LoadError> {
    let map = ebpf.map_mut(name::RINGS).ok_or_else(|| no_map(name::RINGS))?;
    let mut slots = ArrayOfMaps::<_, MapData>::try_from(map).map_err(object_error)?;
    let mut buffers = Vec::with_capacity(rings.len());
    for (cpu, ring) in rings {
        slots.set(cpu, &ring, 0).map_err(object_error)?;
        buffers.push(RingBuf::try_from(Map::RingBuf(ring)).map_err(object_error)?);
    }
    Ok(buffers)
}

fn object_error(error: impl Into<aya::EbpfError>) -> LoadError {
    LoadError::from_object(&error.into())
}

fn no_map(name: &str) -> LoadError {
    LoadError::Object(format!("it has no {name}"))
}

fn map_data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::PerCpuArray(data) | Map::ArrayOfMaps(data) => Some(data),
        _ => None,
    }
}

/// What the kernel charges for a map or program, by its own account.
fn map_memory(fd: BorrowedFd<'_>) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let info = fs::read_to_string(path).unwrap_or_default();
    let value = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_to_what_the_kernel_takes() {
        let ring = |ring_bytes| Options { ring_bytes, ..Options::default() }.ring_size();
        assert_eq!((ring(0), ring(5000)), (page_size(), 8192.max(page_size())));
        assert_eq!(ring(u32::MAX), MAX_RING_BYTES);
        let table = |table_buckets| Options { table_buckets, ..Options::default() }.table_size();
        assert_eq!((table(0), table(65), table(u32::MAX)), (64, 128, 1 << 20));
    }

    #[test]
    fn counters_add_up_by_hook_and_class() {
        let mut counters = Counters([[0; COUNTERS]; 3]);
        counters.0[Hook::Xdp as usize][Counter::Syn as usize] = 3;
        counters.0[Hook::TcEgress as usize][Counter::SynAck as usize] = 2;
        counters.0[Hook::TcEgress as usize][Counter::NotIp as usize] = 7;
        counters.0[Hook::TcEgress as usize][Counter::EventsLost as usize] = 1;
        assert_eq!((counters.offered(), counters.lost()), (5, 1));
        assert_eq!((counters.seen(Hook::TcEgress), counters.seen(Hook::Xdp)), (9, 3));
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
    }
}
