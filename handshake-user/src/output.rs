//! The surfaces: one file each. They show what they are given and compute nothing.

pub mod json;
pub mod lines;
pub mod summary;
