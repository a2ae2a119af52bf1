//! What users and their scripts meet: texts, records, exit codes, terminals. Names and formats are
//! API, so they are compared with golden files (`support/golden.rs` says how to change them).
//!
//! Needs the built program (`HANDSHAKE_BIN`, else `cargo xtask build`), no root and no BPF.

#[path = "surface/bad_input.rs"]
mod bad_input;
#[path = "surface/config.rs"]
mod config;
#[path = "surface/doctor.rs"]
mod doctor;
#[path = "surface/filter.rs"]
mod filter;
#[path = "surface/flags.rs"]
mod flags;
#[path = "surface/generated.rs"]
mod generated;
#[path = "surface/help.rs"]
mod help;
#[path = "surface/ignored.rs"]
mod ignored;
#[path = "surface/metrics.rs"]
mod metrics;
#[path = "surface/pipes.rs"]
mod pipes;
#[path = "surface/program.rs"]
mod program;
#[path = "surface/refusals.rs"]
mod refusals;
#[path = "surface/replay.rs"]
mod replay;
#[path = "surface/schema.rs"]
mod schema;
#[path = "surface/screens.rs"]
mod screens;
#[path = "surface/terminal.rs"]
mod terminal;
