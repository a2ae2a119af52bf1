//! `cargo xtask build`: the eBPF object first, then the program that embeds it.
//!
//! The object is copied to `target/bpf/handshake.o` only when its bytes changed, so that cargo
//! does not rebuild `handshake-user` for nothing.
use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    setup::{self, Toolchain},
    workspace::{cargo, run, target_dir},
};

/// How to build.
#[derive(clap::Args, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Optimise the user-space program too (the eBPF programs always are)
    #[arg(long)]
    pub(crate) release: bool,
    /// Compile the diagnostics of the eBPF programs in (aya-log)
    #[arg(long)]
    pub(crate) bpf_log: bool,
}

/// Builds, and says where the program is.
pub(crate) fn main(options: Options) -> Result<()> {
    let program = program(options)?;
    println!("{}", program.display());
    Ok(())
}

/// Builds everything; returns the path of the program.
pub(crate) fn program(options: Options) -> Result<PathBuf> {
    object(options.bpf_log)?;
    user(options)
}

/// Builds the user-space program around the object that is there.
pub(crate) fn user(options: Options) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "handshake-user", "--target-dir"]).arg(target_dir());
    if options.release {
        command.arg("--release");
    }
    run(&mut command).context("handshake-user does not build")?;
    let profile = if options.release { "release" } else { "debug" };
    Ok(target_dir().join(profile).join("handshake"))
}

/// Builds the eBPF object and installs it where `handshake-user/build.rs` looks for it.
pub(crate) fn object(log: bool) -> Result<()> {
    let toolchain = setup::toolchain()?;
    let target_dir = target_dir().join("bpf");
    let mut command = ebpf_cargo(&toolchain, "build");
    command.arg("--target-dir").arg(&target_dir);
    if log {
        command.args(["--features", "log"]);
    }
    run(&mut command).context("handshake-ebpf does not build")?;
    let built = target_dir.join(setup::TARGET).join("bpf/handshake-ebpf");
    install(&built, &target_dir.join("handshake.o"))
}

/// Cargo with `verb` for the eBPF crate, with the flags the kernel's loader and verifier need.
pub(crate) fn ebpf_cargo(toolchain: &Toolchain, verb: &str) -> std::process::Command {
    let flags = [
        format!("-Clinker={}", toolchain.linker.display()),
        // BTF and the verifier's line information are made from debug information.
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        // 32-bit instructions and unaligned loads: fewer instructions for the same reads. The
        // second is for the linker, where code is made; to rustc it would be an unstable feature.
        "-Ctarget-cpu=v3".into(),
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access".into(),
    ];
    let mut command = toolchain.compiler.cargo(verb);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).args([
        "--profile",
        "bpf",
        "--package",
        "handshake-ebpf",
    ]);
    command
}

/// Copies `from` to `to` in one step, unless `to` holds the same bytes already.
fn install(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("no eBPF object at {}", from.display()))?;
    if fs::read(to).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let partial = to.with_extension("o.partial");
    fs::write(&partial, &bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, to).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_object_keeps_its_time() -> Result<()> {
        let dir = std::env::temp_dir().join(format!("handshake-build-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let (from, to) = (dir.join("from"), dir.join("handshake.o"));
        fs::write(&from, "one")?;
        install(&from, &to)?;
        let first = fs::metadata(&to)?.modified()?;
        install(&from, &to)?;
        assert_eq!(fs::metadata(&to)?.modified()?, first);
        fs::write(&from, "two")?;
        install(&from, &to)?;
        assert_eq!(fs::read(&to)?, b"two");
        fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
