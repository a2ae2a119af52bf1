//! `cargo xtask setup`: finds or installs what the other verbs need.
//!
//! Says what it is about to do before it does it, and does nothing twice: tools land in a
//! per-user cache, packages are recognised by the executables they bring. When everything is
//! there, it touches neither the network nor the disk.
//!
//! `toolchain` finds the compiler, `linker` finds or builds bpf-linker, `packages` calls apt,
//! `unpacked` fetches packages without installing them.
mod linker;
mod packages;
mod toolchain;
pub(crate) mod unpacked;

use std::path::PathBuf;

use anyhow::Result;
pub(crate) use toolchain::{Compiler, TARGET};

/// What to set up beside the BPF toolchain.
#[derive(clap::Args, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Also what the privileged tests call: tcpdump, tshark, nft, ip, curl, bpftool, setcap,
    /// systemd, man, nmap, prometheus, haproxy, nginx
    #[arg(long)]
    tests: bool,
    /// Also what `vm-test` needs: QEMU, busybox, cpio
    #[arg(long)]
    vm: bool,
}

/// A complete BPF toolchain.
pub(crate) struct Toolchain {
    /// Compiles for the BPF target.
    pub(crate) compiler: Compiler,
    /// Links the result; an absolute path.
    pub(crate) linker: PathBuf,
}

/// Sets everything up and says what is there.
pub(crate) fn main(options: Options) -> Result<()> {
    let mut changed = false;
    let toolchain = ensure(&mut changed)?;
    if options.tests {
        changed |= packages::ensure(packages::TESTS)?;
        changed |= unpacked::prometheus()?.1;
        for daemon in DAEMONS {
            changed |= unpacked::daemon(daemon)?.1;
        }
    }
    if options.vm {
        changed |= packages::ensure(packages::VM)?;
    }
    println!("BPF compiler: {}", toolchain.compiler);
    println!("BPF linker:   {}", toolchain.linker.display());
    println!("{}", if changed { "setup is complete" } else { "nothing to do" });
    Ok(())
}

/// The BPF toolchain, installed first if it is not there; silent when it is.
pub(crate) fn toolchain() -> Result<Toolchain> {
    ensure(&mut false)
}

/// What the privileged tests call, installed first if it is not there.
pub(crate) fn test_packages() -> Result<()> {
    packages::ensure(packages::TESTS).map(drop)
}

/// What `package` calls, installed first if it is not there.
pub(crate) fn package_packages() -> Result<()> {
    packages::ensure(packages::PACKAGE).map(drop)
}

/// The directory of Prometheus's programs, fetched first if they are not there.
pub(crate) fn prometheus() -> Result<PathBuf> {
    unpacked::prometheus().map(|(dir, _)| dir)
}

/// What tests start that others have for a service.
pub(crate) const DAEMONS: [&str; 2] = ["haproxy", "nginx"];

/// The directory of one of [`DAEMONS`], fetched first if it is not there.
pub(crate) fn daemon(name: &str) -> Result<PathBuf> {
    unpacked::daemon(name).map(|(dir, _)| dir)
}

/// What `vm-test` needs, installed first if it is not there.
pub(crate) fn vm_packages() -> Result<()> {
    packages::ensure(packages::VM)?;
    test_packages()
}

fn ensure(changed: &mut bool) -> Result<Toolchain> {
    let compiler = match toolchain::find() {
        Some(compiler) => compiler,
        None => {
            *changed = true;
            toolchain::install()?
        }
    };
    let linker = match linker::find()? {
        Some(linker) => linker,
        None => {
            *changed = true;
            linker::install(&compiler)?
        }
    };
    Ok(Toolchain { compiler, linker })
}
