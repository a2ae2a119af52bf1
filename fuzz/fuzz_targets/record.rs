//! Records of a ring, decoded: see `handshake_fuzz::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| handshake_fuzz::record::run(data));
