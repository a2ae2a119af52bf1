//! Placeholder replaced by the first xtask commit.
fn main() {}
