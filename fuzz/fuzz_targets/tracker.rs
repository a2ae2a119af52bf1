//! Any sequence of events through the tracker: see `handshake_fuzz::tracker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| handshake_fuzz::tracker::run(data));
