//! bpf-linker: links LLVM bitcode to one BPF object with BTF.
//!
//! One that is installed already (in `PATH`, by `cargo install`, or by an earlier set-up) is
//! used as it is; else it is built once into the per-user cache.
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{packages, toolchain::Compiler};
use crate::workspace::{cache_dir, cargo, executables, is_executable, output, run};

/// The oldest version that is known to link what a current compiler emits.
const VERSION: (u32, u32) = (0, 13);

/// What bpf-linker is linked with, beside LLVM itself.
const LIBRARIES: &[&str] = &["g++", "libzstd-dev", "zlib1g-dev", "libxml2-dev", "libffi-dev"];

/// An installed bpf-linker, if there is one that is new enough.
pub(super) fn find() -> Result<Option<PathBuf>> {
    let mut candidates = executables("bpf-linker");
    candidates.extend(cargo_home().map(|home| home.join("bin/bpf-linker")));
    candidates.push(tools_dir()?.join("bin/bpf-linker"));
    Ok(candidates.into_iter().find(|file| is_new_enough(file)))
}

/// Builds bpf-linker against the LLVM that `compiler` has inside.
pub(super) fn install(compiler: &Compiler) -> Result<PathBuf> {
    let major = compiler.llvm_major()?;
    let by_hand =
        "install it with `cargo install bpf-linker` (which needs LLVM's development files)";
    let llvm = ensure_llvm(major).context(by_hand)?;
    let root = tools_dir()?;
    eprintln!(
        "setup: building bpf-linker {}.{} against LLVM {major} into {} (once; about a minute)",
        VERSION.0,
        VERSION.1,
        root.display()
    );
    run(&mut install_command(major, &llvm, &root))
        .context("bpf-linker could not be built")
        .context(by_hand)?;
    Ok(root.join("bin/bpf-linker"))
}

fn install_command(major: u32, llvm: &Path, root: &Path) -> Command {
    let mut command = cargo();
    command
        .args(["install", "bpf-linker", "--locked", "--no-default-features"])
        .args(["--version", &format!("^{}.{}", VERSION.0, VERSION.1)])
        .args(["--features", &format!("llvm-{major}")])
        .arg("--root")
        .arg(root)
        // llvm-sys finds LLVM by the one, bpf-linker's build script its library by the other:
        // without that, linking ends with "unable to find library -lLLVM".
        .env(format!("LLVM_SYS_{major}1_PREFIX"), llvm)
        .env("LLVM_PREFIX", llvm);
    command
}

/// Where LLVM's development files are, installed first if they are not there.
fn ensure_llvm(major: u32) -> Result<PathBuf> {
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{major}"));
    if !prefix.join("include/llvm-c/Core.h").exists() {
        let (llvm, polly) = (format!("llvm-{major}-dev"), format!("libpolly-{major}-dev"));
        let mut names = vec![llvm.as_str(), polly.as_str()];
        names.extend(LIBRARIES);
        packages::install("LLVM's development files, for bpf-linker", &names)?;
    }
    Ok(prefix)
}

fn tools_dir() -> Result<PathBuf> {
    Ok(cache_dir()?.join("tools"))
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
}

fn is_new_enough(file: &Path) -> bool {
    is_executable(file)
        && output(Command::new(file).arg("--version"))
            .is_ok_and(|words| version(&words).is_some_and(|found| found >= VERSION))
}

fn version(words: &str) -> Option<(u32, u32)> {
    let mut numbers = words.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("bpf-linker 0.13.0\n").is_some_and(|found| found >= VERSION));
        assert!(version("bpf-linker 0.9.15").is_some_and(|found| found < VERSION));
        assert!(version("bpf-linker 1.0.0").is_some_and(|found| found >= VERSION));
        assert_eq!(version("command not found"), None);
    }

    #[test]
    fn the_install_names_llvm_twice() {
        let command = install_command(22, Path::new("/usr/lib/llvm-22"), Path::new("/tools"));
        let names: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        assert!(names.contains(&"LLVM_SYS_221_PREFIX".into()));
        assert!(names.contains(&"LLVM_PREFIX".into()));
    }
}
