//! Finds the eBPF object that `cargo xtask build` made, so that it can be embedded.
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=HANDSHAKE_EBPF_OBJECT");
    let object = std::env::var_os("HANDSHAKE_EBPF_OBJECT").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/handshake.o")),
        PathBuf::from,
    );
    println!("cargo:rerun-if-changed={}", object.display());
    match std::fs::canonicalize(&object) {
        Ok(path) => println!("cargo:rustc-env=HANDSHAKE_EBPF_OBJECT={}", path.display()),
        Err(_) => {
            eprintln!(
                "\nthe eBPF object is not built yet: run `cargo xtask build`, which makes it and \
                 then builds everything (a plain `cargo build` works after that)\n"
            );
            std::process::exit(1);
        }
    }
}
