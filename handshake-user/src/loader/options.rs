//! What to load and where to attach, as the user asks for it.

use handshake_common::abi::DEFAULT_BUCKETS;
use handshake_common::filter::MAX_BUCKETS;

/// Default bytes of a ring: room for 8,192 events, which a SYN flood of a million packets a second
/// on one CPU fills in 8 ms.
pub const DEFAULT_RING_BYTES: u32 = 1 << 20;
/// Largest ring that can be asked for; larger ones the kernel refuses on small machines.
const MAX_RING_BYTES: u32 = 1 << 28;
/// Fewest and most buckets of the filter table (128 bytes each).
const BUCKETS: std::ops::RangeInclusive<u32> = 32..=MAX_BUCKETS;

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
    /// Wanted buckets of the filter table, 128 bytes each: see [`Options::table_size`].
    pub table_buckets: u32,
    /// Shall the first bytes of each frame follow its event? A ring then holds 2 events where it
    /// held 5.
    pub keep_frames: bool,
    /// Is what comes after a completion wanted ([`crate::after`])?
    pub watches: bool,
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
            watches: false,
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

pub(super) fn page_size() -> u32 {
    // SAFETY: asks for a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u32::try_from(bytes).unwrap_or(4096)
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
        assert_eq!((table(0), table(33), table(u32::MAX)), (32, 64, 1 << 19));
    }
}
