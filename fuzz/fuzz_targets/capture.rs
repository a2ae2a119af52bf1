//! Capture files, to the last line of the output: see `handshake_fuzz::capture`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| handshake_fuzz::capture::run(data));
