//! The program on live interfaces: real connections in network namespaces, tcpdump beside it.
//!
//! Needs root and fails without. Run with `--test-threads=1`: times are compared.
#[path = "live/accounting.rs"]
mod accounting;
#[path = "live/after.rs"]
mod after;
#[path = "live/comings_and_goings.rs"]
mod comings_and_goings;
#[path = "live/configured.rs"]
mod configured;
#[path = "live/fetches.rs"]
mod fetches;
#[path = "live/neighbours.rs"]
mod neighbours;
#[path = "live/once.rs"]
mod once;
#[path = "live/outage.rs"]
mod outage;
#[path = "live/outcomes.rs"]
mod outcomes;
#[path = "live/overload.rs"]
mod overload;
#[path = "live/patterns.rs"]
mod patterns;
#[path = "live/recording.rs"]
mod recording;
#[path = "live/refusals.rs"]
mod refusals;
#[path = "live/reload.rs"]
mod reload;
#[path = "live/screen.rs"]
mod screen;
#[path = "live/unread.rs"]
mod unread;
#[path = "live/waiting.rs"]
mod waiting;
