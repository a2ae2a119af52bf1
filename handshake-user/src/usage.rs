//! What this process has used of the machine, by the kernel's account (`getrusage(2)`).

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time in user space, all threads, in nanoseconds.
    pub(crate) user_ns: u64,
    /// CPU time in the kernel, likewise.
    pub(crate) system_ns: u64,
    /// Most memory it ever had.
    pub(crate) resident_highest_bytes: u64,
}

impl Usage {
    /// Until now.
    pub(crate) fn of_process() -> Self {
        // SAFETY: zeroes are a valid `rusage`, and the call fills it; it cannot fail for these.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            usage
        };
        let ns =
            |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
        Self {
            user_ns: ns(usage.ru_utime),
            system_ns: ns(usage.ru_stime),
            resident_highest_bytes: usage.ru_maxrss as u64 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_show() {
        let before = Usage::of_process();
        let mut bytes = vec![1_u8; 64 << 20];
        while Usage::of_process().user_ns == before.user_ns {
            bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
        }
        assert!(Usage::of_process().resident_highest_bytes >= bytes.len() as u64);
    }
}
