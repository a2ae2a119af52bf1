//! The compiler for the BPF target.
//!
//! Two routes, tried in this order: rustup's nightly with `rust-src`, which compiles `core`
//! itself; any rustc whose sysroot already holds `core` for the BPF target, as Debian's has.
use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::packages;
use crate::workspace::{executable, executables, foreign_toolchain, is_executable, output};

/// The target triple of little-endian BPF.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// Debian's compiler with a prebuilt `core`, and its clippy for `cargo xtask ci`.
const DEBIAN_PACKAGES: &[&str] =
    &["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf", "rust-web-src", "rust-web-clippy"];

const BY_HAND: &str = "install a compiler for the BPF target with `rustup toolchain install \
                       nightly --component rust-src` and its linker with `cargo install bpf-linker`";

/// Something that compiles for the BPF target.
pub(crate) enum Compiler {
    /// `rustup run nightly cargo build -Z build-std=core`.
    Nightly,
    /// A rustc whose sysroot holds `core` for the BPF target, and the cargo beside it.
    Prebuilt {
        /// Passed as `RUSTC`.
        rustc: PathBuf,
        /// Of the same directory as `rustc`.
        cargo: PathBuf,
    },
}

impl Compiler {
    /// Cargo with `verb` for the BPF target, its environment free of the outer toolchain.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = match self {
            Self::Nightly => {
                let mut command = foreign_toolchain("rustup");
                command.args(["run", "nightly", "cargo", verb, "-Z", "build-std=core"]);
                command
            }
            Self::Prebuilt { rustc, cargo } => {
                // Cargo alone would find rustup's clippy first, in `PATH` or beside itself.
                let program = if verb == "clippy" { "cargo-clippy" } else { "cargo" };
                let mut command = foreign_toolchain(cargo.with_file_name(program));
                command.arg(verb).env("CARGO", cargo).env("RUSTC", rustc);
                // aya-ebpf uses an unstable feature on the BPF target.
                command.env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        command.args(["--target", TARGET]);
        command
    }

    /// Whether this toolchain has clippy.
    pub(crate) fn has_clippy(&self) -> bool {
        match self {
            Self::Nightly => output(&mut nightly("cargo-clippy", &["--version"])).is_ok(),
            Self::Prebuilt { cargo, .. } => {
                is_executable(&cargo.with_file_name("cargo-clippy"))
                    && is_executable(&cargo.with_file_name("clippy-driver"))
            }
        }
    }

    /// The major version of the LLVM inside, which the linker's may not be older than.
    pub(crate) fn llvm_major(&self) -> Result<u32> {
        let mut command = match self {
            Self::Nightly => nightly("rustc", &["-vV"]),
            Self::Prebuilt { rustc, .. } => {
                let mut command = foreign_toolchain(rustc);
                command.arg("-vV");
                command
            }
        };
        llvm_major(&output(&mut command)?).context("the compiler does not tell its LLVM version")
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nightly => f.write_str("rustup's nightly, with rust-src"),
            Self::Prebuilt { rustc, .. } => {
                write!(f, "{} (core for {TARGET} in its sysroot)", rustc.display())
            }
        }
    }
}

/// The first complete route, if there is one.
pub(super) fn find() -> Option<Compiler> {
    if nightly_has_source() {
        return Some(Compiler::Nightly);
    }
    executables("rustc").into_iter().find_map(prebuilt)
}

/// Installs the second route where that is possible, else says what to install.
pub(super) fn install() -> Result<Compiler> {
    packages::install("a compiler for the BPF target", DEBIAN_PACKAGES).context(BY_HAND)?;
    find().context(BY_HAND)
}

fn nightly(program: &str, args: &[&str]) -> Command {
    let mut command = foreign_toolchain("rustup");
    // A nightly that is not there must stay so until someone asks for it.
    command.env("RUSTUP_AUTO_INSTALL", "0").args(["run", "nightly", program]).args(args);
    command
}

fn nightly_has_source() -> bool {
    executable("rustup").is_some()
        && output(&mut nightly("rustc", &["--print", "sysroot"])).is_ok_and(|sysroot| {
            Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir()
        })
}

fn prebuilt(rustc: PathBuf) -> Option<Compiler> {
    if is_rustup_proxy(&rustc) {
        return None;
    }
    let cargo = rustc.with_file_name("cargo");
    let sysroot = output(foreign_toolchain(&rustc).args(["--print", "sysroot"])).ok()?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    (core.is_dir() && is_executable(&cargo)).then_some(Compiler::Prebuilt { rustc, cargo })
}

/// A proxy would choose a toolchain of its own, perhaps another one for each command.
fn is_rustup_proxy(rustc: &Path) -> bool {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    home.is_some_and(|home| rustc.starts_with(home)) || rustc.with_file_name("rustup").exists()
}

fn llvm_major(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_version_is_read_from_rustc() {
        let version = "rustc 1.96.0\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.8\n";
        assert_eq!(llvm_major(version), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
    }
}
