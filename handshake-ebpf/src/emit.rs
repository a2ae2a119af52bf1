//! Counters and events leave the kernel here; what finds no room is counted.

use core::ptr;

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ringbuf_query};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use handshake_common::abi::{Counter, Hook};
use handshake_common::event::{EVENT_LEN, Event};
use handshake_common::filter::Tick;
use handshake_common::kept::{KEPT_LEN, KEPT_RECORD_LEN, KeptRecord, mark};
use handshake_common::observe::What;
use handshake_common::packet::Frame;
use handshake_common::packet::ethernet::Link;
use handshake_common::sample;

use crate::context::{Context, Packet, StrippedTag, copy};
use crate::maps::{HS_COUNTERS, HS_RINGS, fill_shift, keep_frames, must_wake, raise_sample_shift};

/// One SYN or SYN-ACK in so many asks how full the ring is: asking costs 8 ns, and between two answers
/// that differ lies an eighth of the ring.
const LOOK: u64 = 8;

/// Jiffies, of 1 to 10 ms: no helper is called, kernels since 5.6 load the variable.
#[inline(always)]
pub(crate) fn tick() -> Tick {
    // SAFETY: a helper without arguments.
    unsafe { bpf_jiffies64() as Tick }
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

/// A counter of this hook on this CPU.
#[inline(always)]
fn counted(hook: Hook, counter: Counter) -> u64 {
    match HS_COUNTERS.get_ptr_mut(hook as u32) {
        // SAFETY: as in `count`.
        Some(row) => unsafe { (*row)[counter as usize] },
        None => 0,
    }
}

/// Writes one event into this CPU's ring, without waking anybody as long as the reader has a timer.
/// The first bytes of the frame follow it if they are wanted.
///
/// Boot time, because it goes on while the machine sleeps. It is read last: the clock waits for
/// all instructions before it and costs 30 to 50 ns, which an event that finds no room need not pay.
#[inline(always)]
pub(crate) fn emit<C: Context>(packet: &Packet<C>, hook: Hook, link: Link, what: What<'_>) {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(ring) = HS_RINGS.get(cpu) else {
        #[cfg(feature = "log")]
        aya_log_ebpf::warn!(packet.0.log(), "no ring for CPU {}", cpu);
        count(hook, Counter::EventsNoRing);
        return;
    };
    if let Some(counter) = what.begins()
        && counted(hook, counter) % LOOK == 0
    {
        watch_fill(ring);
    }
    let keeps_frames = keep_frames();
    let len = if keeps_frames { KEPT_RECORD_LEN } else { EVENT_LEN };
    let Some(mut slot) = ring.reserve_bytes(len, 0) else {
        count(hook, Counter::EventsLost);
        return;
    };
    let record = slot.as_mut_ptr();
    // SAFETY: the slot is aligned to 8 and has room for an event.
    let event = unsafe { zeroed(record.cast()) };
    event.ifindex = packet.0.ifindex();
    event.hook = hook as u8;
    what.fill(event, packet);
    // SAFETY: a helper without arguments.
    event.time_ns = unsafe { bpf_ktime_get_boot_ns() };
    let tag = packet.0.stripped_tag();
    if let Some(tag) = &tag {
        event.prepend_vlan(tag.id());
    }
    if keeps_frames {
        // SAFETY: the slot is aligned to 8 and was reserved with room for it.
        unsafe { keep(packet, link, tag, record.cast()) };
    }
    let wake = if must_wake() { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    slot.submit(u64::from(wake));
}

/// Asks how full this CPU's ring is, and has fewer flows let in if it fills.
#[inline(always)]
fn watch_fill<T>(ring: &T) {
    let ring = ptr::from_ref(ring).cast_mut().cast();
    // SAFETY: a ring buffer, which the array of rings keeps while the program runs.
    let used = unsafe { bpf_ringbuf_query(ring, u64::from(BPF_RB_AVAIL_DATA)) };
    let wanted = sample::wanted(used >> (fill_shift() & 63));
    if wanted > 0 {
        raise_sample_shift(wanted);
    }
}

/// An event of zeroes.
///
/// Word by word and volatile: LLVM makes anything else a call of `memset`, which on this target is
/// a loop over 120 bytes.
///
/// # Safety
/// `event` must be aligned to 8 and have room for an event, for as long as the answer is used.
#[inline(always)]
unsafe fn zeroed<'a>(event: *mut Event) -> &'a mut Event {
    let words = event.cast::<u64>();
    let mut word = 0;
    while word < size_of::<Event>() / size_of::<u64>() {
        // SAFETY: the word lies in the event, which is aligned to 8.
        unsafe { ptr::write_volatile(words.add(word), 0) };
        word += 1;
    }
    // SAFETY: all bytes are initialised, and zeroes are a valid `Event`; the caller vouches for
    // the rest.
    unsafe { &mut *event }
}

/// Copies the first bytes of the frame behind the event.
///
/// # Safety
/// `record` must be aligned to 8 and have room for a [`KeptRecord`].
#[inline(always)]
unsafe fn keep<C: Context>(
    packet: &Packet<C>,
    link: Link,
    tag: Option<StrippedTag>,
    record: *mut KeptRecord,
) {
    let wire_len = packet.wire_len();
    // SAFETY: the caller gives room for a record; no reference is made to bytes not yet written.
    let to = unsafe { &raw mut (*record).bytes }.cast::<u8>();
    let kept = copy::<KEPT_LEN>(wire_len, 0, KEPT_LEN, |len| packet.0.load_bytes(0, to, len));
    let mut marks = if matches!(link, Link::Ip) { mark::IP } else { 0 };
    let mut tci = 0;
    if let Some(tag) = tag {
        marks |= if tag.is_service { mark::TAG | mark::SERVICE_TAG } else { mark::TAG };
        tci = tag.tci;
    }
    // SAFETY: as above.
    unsafe {
        (&raw mut (*record).wire_len).write(wire_len as u32);
        (&raw mut (*record).kept).write(kept as u8);
        (&raw mut (*record).marks).write(marks);
        (&raw mut (*record).tci).write(tci);
    }
}
