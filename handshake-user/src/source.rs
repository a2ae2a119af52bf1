//! Where events come from: per-CPU rings of the kernel, or a capture file.

pub mod replay;
pub mod ring;
