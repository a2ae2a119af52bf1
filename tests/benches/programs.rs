//! The kernel's programs, loaded for test runs, and their rings: shared by the benches `kernel` and
//! `ring`.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use aya::maps::{ArrayOfMaps, Map, MapData, RingBuf};
use aya::programs::Program;
use aya::{Ebpf, EbpfLoader};
use handshake_common::abi::{MAX_CPUS, name};
use handshake_common::sample::fill_shift;
use handshake_tests::bpf::create_ring;
use handshake_user::loader::OBJECT;

/// Do the programs sample flows when a ring fills?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// As in the product.
    Watched,
    /// What is measured does not change by itself.
    Unwatched,
}

/// Do the programs watch what comes after a completion?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// As in the product.
    Watched,
    /// `--after 0`.
    Unwatched,
}

/// The loaded object; its maps live as long as it.
pub(crate) struct Programs {
    pub(crate) ebpf: Ebpf,
    rings: Vec<RingBuf<MapData>>,
}

impl Programs {
    /// Loads the object with this many rings of `bytes`, which the CPUs take in turn: as many as CPUs
    /// is what the product has, with one all CPUs write into the same, without any no event is kept.
    pub(crate) fn load(rings: usize, bytes: u32, fill: Fill, after: After) -> Result<Self> {
        let (low, high) = (0x9ae1_6a3b_2f90_404f_u64, 0xc2b2_ae3d_27d4_eb4f_u64);
        // No ring is ever an eighth full if its bytes are shifted right by 63.
        let shift = if fill == Fill::Watched { fill_shift(bytes) } else { 63 };
        let watches = u32::from(after == After::Watched);
        let mut ebpf = EbpfLoader::new()
            .override_global(name::WATCHES, &watches, true)
            .override_global(name::FILL_SHIFT, &shift, true)
            .override_global(name::KEY_LOW, &low, true)
            .override_global(name::KEY_HIGH, &high, true)
            .load(OBJECT)
            .context("cannot load the object: this needs root")?;
        let made = (0..rings).map(|_| Ok(MapData::from_fd(create_ring(bytes)?)?));
        let made = made.collect::<Result<Vec<MapData>>>()?;
        let map = ebpf.map_mut(name::RINGS).context("no rings")?;
        let mut slots = ArrayOfMaps::<_, MapData>::try_from(map)?;
        let cpus = aya::util::online_cpus().map_err(|(path, error)| error_in(path, error))?;
        for (turn, cpu) in cpus.into_iter().enumerate() {
            if rings > 0 && (cpu as usize) < MAX_CPUS {
                slots.set(cpu, &made[turn % rings], 0)?;
            }
        }
        let rings = made.into_iter().map(|ring| Ok(RingBuf::try_from(Map::RingBuf(ring))?));
        let rings = rings.collect::<Result<_>>()?;
        Ok(Self { ebpf, rings })
    }

    /// Loads one program and returns a descriptor of it.
    pub(crate) fn program(&mut self, name: &str) -> Result<OwnedFd> {
        let program = self.ebpf.program_mut(name).with_context(|| format!("no {name}"))?;
        match program {
            Program::Xdp(program) => program.load()?,
            Program::SchedClassifier(program) => program.load()?,
            _ => anyhow::bail!("{name} is of another type"),
        }
        Ok(program.fd()?.as_fd().try_clone_to_owned()?)
    }

    /// Empties the rings; how many events there were.
    pub(crate) fn drain(&mut self) -> u64 {
        let mut events = 0;
        for ring in &mut self.rings {
            while ring.next().is_some() {
                events += 1;
            }
        }
        events
    }
}

fn error_in(path: &str, error: std::io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("cannot read {path}"))
}
