//! The eBPF object: loaded with its sizes and keys, its rings made, its maps found again.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::{ArrayOfMaps, Map, MapData, RingBuf};
use aya::{Ebpf, EbpfLoader};
use handshake_common::abi::{MAX_CPUS, name};
use handshake_common::flow::Keys;
use handshake_common::sample;

use super::bpf;
use super::error::LoadError;
use super::options::{HookChoice, Options};
use super::signals::SignalsWait;
use crate::mapped::{Access, Mapped};

/// The programs, as `cargo xtask build` made them; for tests that run them without a network.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("HANDSHAKE_EBPF_OBJECT"));

/// The programs that attaching to some interface may need.
pub(super) fn programs_to_come(options: &Options) -> Vec<&'static str> {
    let xdp = options.hook != HookChoice::Tc;
    let is_xdp = |one: &&str| [name::XDP, name::XDP_IP].contains(one);
    name::PROGRAMS.into_iter().filter(|one| xdp || !is_xdp(one)).collect()
}

pub(super) fn load_object(options: &Options, keys: &Keys) -> Result<Ebpf, LoadError> {
    // aya finds out what the kernel can by loading small programs, and takes an interrupted one
    // for a feature that is missing.
    let _quiet = SignalsWait::new();
    let buckets = options.table_size();
    let mask = buckets - 1;
    let fill_shift = sample::fill_shift(options.ring_size());
    let keep_frames = u32::from(options.keep_frames);
    let watches = u32::from(options.watches);
    EbpfLoader::new()
        .override_global(name::TABLE_MASK, &mask, true)
        .override_global(name::FILL_SHIFT, &fill_shift, true)
        .override_global(name::KEY_LOW, &keys.low, true)
        .override_global(name::KEY_HIGH, &keys.high, true)
        .override_global(name::KEEP_FRAMES, &keep_frames, true)
        .override_global(name::WATCHES, &watches, true)
        .map_max_entries(name::TABLE, buckets)
        .load(OBJECT)
        .map_err(|error| LoadError::from_object(&error))
}

/// The keys of one run.
pub(super) fn random_keys() -> Keys {
    Keys { low: random(), high: random() }
}

/// A number that nobody outside can guess: a keyed hash with the standard library's random keys.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// A ring for every online CPU that has a slot. Events on CPUs that come later are counted as lost
/// for want of a ring.
pub(super) fn make_rings(bytes: u32) -> Result<Vec<(u32, MapData)>, LoadError> {
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

pub(super) fn store_rings(
    ebpf: &mut Ebpf,
    rings: Vec<(u32, MapData)>,
) -> Result<Vec<(u32, RingBuf<MapData>)>, LoadError> {
    let map = ebpf.map_mut(name::RINGS).ok_or_else(|| no_map(name::RINGS))?;
    let mut slots = ArrayOfMaps::<_, MapData>::try_from(map).map_err(object_error)?;
    let mut buffers = Vec::with_capacity(rings.len());
    for (cpu, ring) in rings {
        slots.set(cpu, &ring, 0).map_err(object_error)?;
        buffers.push((cpu, RingBuf::try_from(Map::RingBuf(ring)).map_err(object_error)?));
    }
    Ok(buffers)
}

pub(super) fn object_error(error: impl Into<aya::EbpfError>) -> LoadError {
    LoadError::from_object(&error.into())
}

pub(super) fn no_map(name: &str) -> LoadError {
    LoadError::Object(format!("it has no {name}"))
}

pub(super) fn map_data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::PerCpuArray(data) | Map::ArrayOfMaps(data) => Some(data),
        _ => None,
    }
}

/// What the kernel charges for a map or program, by its own account.
pub(super) fn map_memory(fd: BorrowedFd<'_>) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let info = fs::read_to_string(path).unwrap_or_default();
    let value = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Maps the values of one of our arrays.
pub(super) fn mapped(
    ebpf: &Ebpf,
    name: &str,
    bytes: usize,
    access: Access,
) -> Result<Mapped, LoadError> {
    let data = ebpf.map(name).and_then(map_data).ok_or_else(|| no_map(name))?;
    Mapped::new(data.fd().as_fd(), 0, bytes, access).map_err(mapping_error)
}

pub(super) fn mapping_error(source: io::Error) -> LoadError {
    LoadError::Io { doing: "map memory of the kernel's maps".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
    }
}
