//! The kernel's counts: packets and events by class, and what the programs cost.

use std::time::Duration;

use aya::Ebpf;
use aya::maps::PerCpuArray;
use handshake_common::abi::{COUNTERS, Counter, EVENT_CLASSES, Hook, PACKET_CLASSES, name};

use super::error::LoadError;
use super::object::{no_map, object_error};

/// The kernel's counters, summed over CPUs since loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters(pub [[u64; COUNTERS]; 3]);

impl Counters {
    /// Reads them; `lost` gets the events that found their ring full, by CPU.
    pub(super) fn read(ebpf: &Ebpf, lost: &mut Vec<u64>) -> Result<Self, LoadError> {
        lost.clear();
        let map = ebpf.map(name::COUNTERS).ok_or_else(|| no_map(name::COUNTERS))?;
        let map = PerCpuArray::<_, [u64; COUNTERS]>::try_from(map).map_err(object_error)?;
        let mut sum = [[0u64; COUNTERS]; 3];
        for (hook, row) in sum.iter_mut().enumerate() {
            let cpus = map.get(&(hook as u32), 0).map_err(object_error)?;
            lost.resize(cpus.len(), 0);
            for (cpu, lost) in cpus.iter().zip(&mut *lost) {
                row.iter_mut().zip(cpu).for_each(|(sum, one)| *sum = sum.wrapping_add(*one));
                *lost += cpu[Counter::EventsLost as usize];
            }
        }
        Ok(Self(sum))
    }

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

/// What a program costs, while that is measured ([`super::Loader::measure_runs`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramStats {
    /// The program's name.
    pub name: &'static str,
    /// Packets it ran for.
    pub runs: u64,
    /// Time spent in it.
    pub time: Duration,
}

/// Runs and run time of the loaded programs.
pub(super) fn program_stats(ebpf: &Ebpf) -> Vec<ProgramStats> {
    let stats = |name: &'static str| {
        let info = ebpf.program(name)?.info().ok()?;
        Some(ProgramStats { name, runs: info.run_count(), time: info.run_time() })
    };
    name::PROGRAMS.into_iter().filter_map(stats).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
