//! Keeps signals from a thread: from the one that waits for the verifier, and from helpers.

use std::mem::MaybeUninit;
use std::ptr;

/// While this lives, signals to its thread wait (all but SIGKILL and SIGSTOP). Not to be sent to
/// another thread.
pub(crate) struct SignalsWait {
    before: Option<libc::sigset_t>,
    _stays: std::marker::PhantomData<*const ()>,
}

impl SignalsWait {
    /// Blocks all signals to this thread.
    pub(crate) fn new() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: `sigfillset` initialises `all`; both sets are valid for the call.
        let result = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr())
        };
        // SAFETY: a call that succeeded has written the former set.
        let before = (result == 0).then(|| unsafe { before.assume_init() });
        Self { before, _stays: std::marker::PhantomData }
    }
}

impl Drop for SignalsWait {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: `before` is a valid set, of this thread since the guard cannot leave it.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
        }
    }
}
