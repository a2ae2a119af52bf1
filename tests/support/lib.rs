//! What the suites share, and what `cargo xtask demo` is made of.
//!
//! [`lab`] makes network namespaces that vanish with the process, [`traffic`] provokes every outcome
//! in them with real TCP, nftables and, where a kernel would never do it, raw packets built by
//! [`frame`]. [`watcher`] runs the program under test and collects what it says; [`capture`] and
//! [`bpf`] look at the same things without it; [`prometheus`] scrapes it; [`figures`] tells what benches measured. This crate must not depend on `handshake-user`: xtask
//! uses it before anything is built.
pub mod bpf;
pub mod capture;
pub mod demo;
pub mod figures;
pub mod flood;
pub mod frame;
pub mod golden;
pub mod judge;
pub mod lab;
pub mod machine;
pub mod notify;
pub mod process;
pub mod prometheus;
pub mod pty;
pub mod random;
pub mod socket;
pub mod traffic;
pub mod tun;
pub mod watcher;
