//! Frames of every link type through parser and filter: see `handshake_fuzz::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| handshake_fuzz::frame::run(data));
