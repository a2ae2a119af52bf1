//! The kernel's side of `handshake_common::observe`: this hook's time, table, counters and ring.

use handshake_common::abi::{Counter, Hook};
use handshake_common::filter::Tick;
use handshake_common::observe::{self, Sink, What};
use handshake_common::packet::ethernet::Link;
use handshake_common::sample::Shift;

use crate::context::{Context, Packet};
use crate::emit::{count, emit, tick};
use crate::maps::{self, KernelTable, keys};

/// Looks at one packet. Adds one to exactly one packet class.
#[inline(always)]
pub(crate) fn observe<C: Context>(context: C, hook: Hook, link: Link) {
    observe::observe(&Packet(context), link, &keys(), &mut AtHook(hook, link));
}

struct AtHook(Hook, Link);

impl<C: Context> Sink<Packet<C>> for AtHook {
    type Memory<'a> = KernelTable;

    #[inline(always)]
    fn memory(&mut self, fingerprint: u64) -> KernelTable {
        KernelTable { fingerprint }
    }

    #[inline(always)]
    fn tick(&self) -> Tick {
        tick()
    }

    #[inline(always)]
    fn sample_shift(&self) -> Shift {
        maps::sample_shift()
    }

    #[inline(always)]
    fn watches(&self) -> bool {
        maps::watches() && maps::sample_shift() == 0
    }

    #[inline(always)]
    fn count(&mut self, counter: Counter) {
        count(self.0, counter);
    }

    #[inline(always)]
    fn emit(&mut self, packet: &Packet<C>, what: What<'_>) {
        emit(packet, self.0, self.1, what);
    }
}
