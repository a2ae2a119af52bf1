//! What every input must leave standing: one module a target, each with a `run(&[u8])` that panics
//! if it does not.
//!
//! The programs in `fuzz_targets` call them from libFuzzer, the tests' suite `fuzz_smoke` from
//! ordinary Rust; nothing here knows of either.

pub mod capture;
pub mod config;
pub mod frame;
pub mod options;
pub mod query;
pub mod record;
pub mod tracker;
