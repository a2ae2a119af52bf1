//! What was asked for on the command line, in the terms of the other rooms.

use std::time::Duration;

use crate::attempt::nanos;
use crate::cli::{HookArg, WatchArgs, XdpModeArg};
use crate::loader::{HookChoice, Options, XdpModeChoice};
use crate::output::json::FilterRecord;
use crate::query::Query;
use crate::stderr::say;
use crate::tracker::Config;

pub(super) fn options(args: &WatchArgs) -> Options {
    Options {
        hook: match args.hook {
            HookArg::Auto => HookChoice::Auto,
            HookArg::Xdp => HookChoice::Xdp,
            HookArg::Tc => HookChoice::Tc,
        },
        xdp_mode: match args.xdp_mode {
            XdpModeArg::Auto => XdpModeChoice::Auto,
            XdpModeArg::Native => XdpModeChoice::Native,
            XdpModeArg::Generic => XdpModeChoice::Generic,
        },
        // About as many events as without their frames.
        ring_bytes: args.ring_bytes.saturating_mul(if args.record.is_some() { 2 } else { 1 }),
        table_buckets: args.table_entries.div_ceil(handshake_common::filter::WAYS as u32),
        keep_frames: args.record.is_some(),
        watches: !args.after.is_zero(),
        ..Options::default()
    }
}

pub(super) fn config(args: &WatchArgs) -> Config {
    Config { timeout: nanos(args.timeout), linger: nanos(LINGER), max_attempts: args.max_attempts }
}

/// How long an ended attempt is remembered (docs/semantics.md section 3).
const LINGER: Duration = Duration::from_secs(60);

pub(super) fn filter_record(followed: &Query, shown: &Query) -> FilterRecord {
    FilterRecord { followed: followed.to_string(), shown: shown.to_string() }
}

/// What is left out shall surprise nobody.
pub(super) fn say_filter(followed: &Query, shown: &Query) {
    if !followed.is_empty() {
        say(format_args!("following and counting only {followed}"));
    }
    if !shown.is_empty() {
        say(format_args!("printing only {shown}; all that is followed is counted"));
    }
}
