//! The surfaces: one file each. They show what they are given and compute nothing.

pub mod completions;
pub mod doctor;
pub mod escape;
pub mod json;
pub mod lines;
pub mod man;
pub mod pcapng;
pub mod prometheus;
pub mod summary;
pub mod tui;
