//! A configuration file: see `handshake_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| handshake_fuzz::config::run(data));
