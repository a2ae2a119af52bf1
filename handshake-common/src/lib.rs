//! What both sides of the kernel boundary must agree on.
//!
//! Here live the frame parser ([`packet`]), the canonical flow and its keyed fingerprint
//! ([`flow`]), the decision which segments deserve an event ([`filter`], and over whole frames
//! [`observe`]), which flows are left out when too many come ([`sample`]), the event bytes
//! ([`event`], and with its frame [`kept`]) and the names, counters and limits shared with the
//! eBPF object ([`abi`]).
//! The eBPF program and user space compile this same code, so a capture file replayed in user
//! space meets exactly what a packet meets in the kernel.
//!
//! Nothing here allocates, panics on packet content, reads a clock or does I/O.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod event;
pub mod filter;
pub mod flow;
pub mod kept;
pub mod observe;
pub mod options;
pub mod packet;
pub mod quick;
pub mod sample;
