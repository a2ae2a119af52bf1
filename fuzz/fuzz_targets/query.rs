//! The filter language: see `handshake_fuzz::query`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| handshake_fuzz::query::run(data));
