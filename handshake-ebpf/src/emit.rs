//! Counters and events leave the kernel here; what finds no room is counted.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use handshake_common::abi::{Counter, Hook};
use handshake_common::event::Event;
use handshake_common::observe::What;

use crate::context::{Context, Packet};
use crate::maps::{HS_COUNTERS, HS_RINGS};

/// Boot time: it goes on while the machine sleeps. About 30 ns, so only for certain events.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Adds one to a counter of this hook on this CPU.
#[inline(always)]
pub(crate) fn count(hook: Hook, counter: Counter) {
    if let Some(row) = HS_COUNTERS.get_ptr_mut(hook as u32) {
        // SAFETY: the row is this CPU's own and nothing interrupts us on it; the index is below
        // COUNTERS by the definition of `Counter`.
        unsafe { (*row)[counter as usize] += 1 };
    }
}

/// Writes one event into this CPU's ring, without waking anybody: the reader has a timer.
#[inline(always)]
pub(crate) fn emit<C: Context>(packet: &Packet<C>, hook: Hook, time_ns: u64, what: What<'_>) {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(ring) = HS_RINGS.get(cpu) else {
        #[cfg(feature = "log")]
        aya_log_ebpf::warn!(packet.0.log(), "no ring for CPU {}", cpu);
        count(hook, Counter::EventsNoRing);
        return;
    };
    let Some(mut slot) = ring.reserve(0) else {
        count(hook, Counter::EventsLost);
        return;
    };
    let event = zeroed(&mut slot);
    event.time_ns = time_ns;
    event.ifindex = packet.0.ifindex();
    event.hook = hook as u8;
    what.fill(event, packet);
    if let Some(id) = packet.0.stripped_vlan() {
        event.prepend_vlan(id);
    }
    slot.submit(u64::from(BPF_RB_NO_WAKEUP));
}

/// An event of zeroes in a slot of the ring.
///
/// Word by word and volatile: LLVM makes anything else a call of `memset`, which on this target is
/// a loop over 120 bytes.
#[inline(always)]
fn zeroed(slot: &mut MaybeUninit<Event>) -> &mut Event {
    let words = slot.as_mut_ptr().cast::<u64>();
    let mut word = 0;
    while word < size_of::<Event>() / size_of::<u64>() {
        // SAFETY: the word lies in the slot, which is aligned to 8.
        unsafe { ptr::write_volatile(words.add(word), 0) };
        word += 1;
    }
    // SAFETY: all bytes are initialised, and zeroes are a valid `Event`.
    unsafe { slot.assume_init_mut() }
}
