//! Reading packets in the kernel: the only packet pointers of this crate.
//!
//! Each read computes its pointer once, compares its end with `data_end`, and loads through the
//! same pointer. The pointer is made opaque before the comparison: LLVM would otherwise compute
//! it a second time for the load, and the verifier (seen on 6.1 to 6.18) then says "invalid access
//! to packet, R3 offset is outside of the packet". The asm is one real instruction, because an
//! empty one leaves two source lines on one instruction ("Invalid line_info[3].insn_off"). Both
//! may go when LLVM's BPF backend keeps compared pointers together.

use core::arch::asm;
use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};
use handshake_common::packet::Frame;
use handshake_common::packet::tcp::MAX_OPTIONS;

/// Nothing is read behind this offset: eight extension headers of 2,048 bytes end before it.
const MAX_OFFSET: usize = 0x7fff;

/// Makes the verifier forget the bounds of `value`: it takes the exclusive or with a number that it
/// does not know for unknown, and twice the same gives the value again. (Two byte swaps do it up
/// to 6.12, but 6.18 follows constants through them.) `unknown` comes from memory.
#[inline(always)]
pub(crate) fn widen(value: usize, unknown: u64) -> usize {
    let mut value = value as u64;
    // SAFETY: two instructions on registers.
    unsafe {
        asm!(
            "{0} ^= {1}",
            "{0} ^= {1}",
            inout(reg) value,
            in(reg) unknown,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    value as usize
}

/// EtherType of an 802.1ad tag.
const SERVICE_TAG: u16 = 0x88a8;

/// Reads a `T` at `offset` between `data` and `data_end`.
///
/// Both come fresh from the context for each read: a packet pointer that stays alive carries the
/// range proven for it, which makes the verifier follow each way through the parser to its end
/// (TC programs then exceed 1,000,000 instructions on 6.18).
#[inline(always)]
fn read<T>(data: usize, data_end: usize, offset: usize) -> Option<T> {
    // Headers end long before this, and the verifier wants to see that (it follows packet pointers
    // up to 0xffff).
    let mut start = data + (offset & MAX_OFFSET);
    // SAFETY: the instruction moves a register to itself.
    unsafe {
        asm!("{0} = {0}", inout(reg) start, options(pure, nomem, nostack, preserves_flags));
    }
    if start + size_of::<T>() > data_end {
        return None;
    }
    // SAFETY: the bytes lie between `data` and `data_end`, which the kernel keeps valid for the
    // run of the program; T is an integer or an array of them.
    Some(unsafe { (start as *const T).read_unaligned() })
}

/// What XDP and TC do each in their own way.
pub(crate) trait Context {
    /// What aya-log wants to know of a program.
    #[cfg(feature = "log")]
    fn log(&self) -> impl aya_ebpf::EbpfContext;
    /// `data` and `data_end`, read afresh.
    fn ends(&self) -> (usize, usize);
    /// Length of the packet in bytes.
    fn len(&self) -> usize;
    /// Reads what lies behind `data_end`, where the hook has a way to.
    fn load<T>(&self, offset: usize) -> Option<T>;
    /// Copies `len` bytes to `to`, which has room for them; 0 if all went well.
    fn load_bytes(&self, offset: u32, to: *mut u8, len: u32) -> i64;
    /// Index of the interface.
    fn ifindex(&self) -> u32;
    /// The VLAN tag that was taken out of the frame, where the hook knows it.
    fn stripped_tag(&self) -> Option<StrippedTag>;
}

/// A VLAN tag that the NIC or the kernel took out of a frame.
pub(crate) struct StrippedTag {
    /// Tag control information.
    pub(crate) tci: u16,
    /// 802.1ad, not 802.1Q.
    pub(crate) is_service: bool,
}

impl StrippedTag {
    /// The VLAN id.
    #[inline(always)]
    pub(crate) fn id(&self) -> u16 {
        self.tci & 0x0fff
    }
}

/// A frame at a hook.
pub(crate) struct Packet<C>(pub(crate) C);

impl<C: Context> Packet<C> {
    /// Reads from the linear part.
    #[inline(always)]
    fn near<T>(&self, offset: usize) -> Option<T> {
        let (data, data_end) = self.0.ends();
        read(data, data_end, offset)
    }

    #[inline(always)]
    fn read<T>(&self, offset: usize) -> Option<T> {
        match self.near(offset) {
            Some(value) => Some(value),
            None => self.0.load(offset),
        }
    }
}

impl<C: Context> Frame for Packet<C> {
    #[inline(always)]
    fn widen(&self, offset: usize) -> usize {
        widen(offset, self.wire_len() as u64)
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        self.read(offset)
    }

    #[inline(always)]
    fn at_hand<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        self.near(offset)
    }

    #[inline(always)]
    fn at_hand_u16(&self, offset: usize) -> Option<u16> {
        self.near(offset).map(u16::from_be)
    }

    #[inline(always)]
    fn be16(&self, offset: usize) -> Option<u16> {
        self.read(offset).map(u16::from_be)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn copy(&self, offset: usize, len: usize, to: &mut [u8; 40]) -> usize {
        copy::<MAX_OPTIONS>(self.wire_len(), offset, len, |len| {
            self.0.load_bytes(offset as u32, to.as_mut_ptr(), len)
        })
    }
}

/// XDP. Only the linear part is read: handshake headers always lie there.
impl Context for &XdpContext {
    #[cfg(feature = "log")]
    fn log(&self) -> impl aya_ebpf::EbpfContext {
        XdpContext::new(self.ctx)
    }

    #[inline(always)]
    fn ends(&self) -> (usize, usize) {
        // SAFETY: the kernel passes a valid context.
        unsafe {
            let data = ptr::read_volatile(&raw const (*self.ctx).data);
            let data_end = ptr::read_volatile(&raw const (*self.ctx).data_end);
            (data as usize, data_end as usize)
        }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        let (data, data_end) = self.ends();
        data_end - data
    }

    #[inline(always)]
    fn load<T>(&self, _offset: usize) -> Option<T> {
        None
    }

    #[inline(always)]
    fn load_bytes(&self, offset: u32, to: *mut u8, len: u32) -> i64 {
        // SAFETY: the caller gives room for `len` bytes.
        unsafe { bpf_xdp_load_bytes(self.ctx, offset, to.cast(), len) }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the kernel passes a valid context.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn stripped_tag(&self) -> Option<StrippedTag> {
        None
    }
}

/// TC. Headers outside the linear part, where they seldom lie, are loaded by the helper.
impl Context for &TcContext {
    #[cfg(feature = "log")]
    fn log(&self) -> impl aya_ebpf::EbpfContext {
        TcContext::new(self.skb.skb)
    }

    #[inline(always)]
    fn ends(&self) -> (usize, usize) {
        let skb = self.skb.skb;
        // SAFETY: the kernel passes a valid context.
        unsafe {
            let data = ptr::read_volatile(&raw const (*skb).data);
            let data_end = ptr::read_volatile(&raw const (*skb).data_end);
            (data as usize, data_end as usize)
        }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the kernel passes a valid context.
        unsafe { (*self.skb.skb).len as usize }
    }

    #[inline(always)]
    fn load<T>(&self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr().cast();
        if self.load_bytes(offset as u32, to, size_of::<T>() as u32) != 0 {
            return None;
        }
        // SAFETY: the helper has filled `value`, an integer or an array of them.
        Some(unsafe { value.assume_init() })
    }

    #[inline(always)]
    fn load_bytes(&self, offset: u32, to: *mut u8, len: u32) -> i64 {
        // SAFETY: the caller gives room for `len` bytes.
        unsafe { bpf_skb_load_bytes(self.skb.skb.cast(), offset, to.cast(), len) }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the kernel passes a valid context.
        unsafe { (*self.skb.skb).ifindex }
    }

    #[inline(always)]
    fn stripped_tag(&self) -> Option<StrippedTag> {
        let skb = self.skb.skb;
        // SAFETY: the kernel passes a valid context.
        let (present, tci) = unsafe { ((*skb).vlan_present, (*skb).vlan_tci) };
        if present == 0 {
            return None;
        }
        // SAFETY: as above. In network order.
        let protocol = unsafe { (*skb).vlan_proto } as u16;
        Some(StrippedTag { tci: tci as u16, is_service: protocol == SERVICE_TAG.to_be() })
    }
}

/// Copies what there is of `len` bytes, at most `MAX`, at `offset` in a packet of `packet_len`.
#[inline(always)]
pub(crate) fn copy<const MAX: usize>(
    packet_len: usize,
    offset: usize,
    len: usize,
    load: impl FnOnce(u32) -> i64,
) -> usize {
    let mut len = len;
    if offset >= packet_len {
        return 0;
    }
    if packet_len - offset < len {
        len = packet_len - offset;
    }
    // One comparison bounds both sides: kernel 6.1 learns nothing from `len != 0` and then says "R3
    // min value is outside of the allowed memory range".
    let mut less_one = len.wrapping_sub(1);
    // SAFETY: the instruction moves a register to itself. It hides where the number comes from, so
    // that the very register that the helper gets is the one compared.
    unsafe {
        asm!("{0} = {0}", inout(reg) less_one, options(pure, nomem, nostack, preserves_flags));
    }
    if less_one >= MAX {
        return 0;
    }
    let len = less_one + 1;
    if load(len as u32) == 0 { len } else { 0 }
}
