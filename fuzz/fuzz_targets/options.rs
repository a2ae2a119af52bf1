//! TCP options: see `handshake_fuzz::options`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| handshake_fuzz::options::run(data));
