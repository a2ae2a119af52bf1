//! The user-space half of handshake: from events to outcomes to outputs.
//!
//! `source` (live rings or a capture file) → `merge` → `tracker` → `metrics` and `output`.
//! `loader` and `source::ring` are the only users of aya, `interfaces` the only one of netlink; the
//! tracker has no clock and does no I/O; outputs compute nothing.

pub mod after;
pub mod app;
pub mod attempt;
pub mod board;
pub mod capture;
pub mod census;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod evidence;
pub mod exit;
pub mod http;
pub mod interfaces;
pub mod loader;
mod mapped;
pub mod merge;
pub mod metrics;
mod nearest;
mod netlink;
pub mod outcome;
pub mod output;
pub mod pattern;
pub mod pending;
pub mod places;
mod prefetch;
pub mod process;
pub mod query;
pub mod rebuild;
pub mod recorder;
pub mod replay;
pub mod sampling;
pub mod scrape;
pub mod selection;
pub mod series;
pub mod slow;
pub mod snapshot;
pub mod source;
pub mod stderr;
pub mod stdout;
pub mod terminal;
pub mod tracker;
mod usage;
pub mod verdict;
pub mod windows;
