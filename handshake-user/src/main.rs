//! The `handshake` program.
fn main() {}
