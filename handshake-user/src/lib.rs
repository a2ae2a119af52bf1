//! The user-space half of handshake: from events to outcomes to outputs.
//!
//! `source` (live rings or a capture file) → `merge` → `tracker` → `metrics` and `output`.
//! `loader`, `interfaces` and `source::ring` are the only users of aya and netlink; the tracker
//! has no clock and does no I/O; outputs compute nothing.
pub mod clock;
pub mod interfaces;
pub mod loader;
pub mod merge;
mod netlink;
pub mod source;
