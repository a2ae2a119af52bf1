//! What runs inside the guest: busybox, one script, the program, two of the suites that test it,
//! and the tools that these call. All are the host's own files, with their libraries.
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Series, kernels::Kernel};
use crate::{
    test,
    workspace::{executable, output, root, run, target_dir},
};

/// Below `kernel/`, in the order in which they must be loaded: network devices, then what clsact
/// filters need.
const MODULES: &[&str] = &[
    "drivers/net/veth",
    "drivers/net/tun",
    "net/llc/llc",
    "net/802/stp",
    "net/bridge/bridge",
    "net/sched/sch_ingress",
    "net/sched/cls_bpf",
    "net/sched/cls_u32",
];

/// What the script and the suites call and busybox has not, or not as they need it.
const TOOLS: &[&str] = &["bpftool", "hping3", "ip", "prlimit", "setpriv", "tc", "unshare"];

/// Suites that make sense on another kernel.
const SUITES: &[&str] = &["attach", "prog_run"];

/// A test of the attach suite that takes half a minute here and is about user space.
const TOO_LONG: &[&str] = &["interfaces_that_come_and_go_leak_nothing"];

/// Tests of the attach suite about TCX itself; the ones about clsact look at the same without.
const NEED_TCX: &[&str] =
    &["auto_takes_tc_on_veth_and_detaching_leaves_nothing", "a_killed_process_leaves_nothing"];

const INIT: &str = include_str!("init.sh");

/// A file for every guest: where it comes from, and where it goes.
pub(super) type Payload = Vec<(PathBuf, PathBuf)>;

/// Builds the suites; collects them, the `program`, the tools and the libraries of all these.
pub(super) fn payload(program: &Path) -> Result<Payload> {
    let dir = target_dir().join("vm");
    fs::create_dir_all(&dir)?;
    let mut files: Payload =
        vec![(stripped(program, &dir.join("handshake"))?, "tools/handshake".into())];
    for (name, built) in test::suites_built(SUITES)? {
        files.push((stripped(&built, &dir.join(&name))?, Path::new("suites").join(name)));
    }
    for name in TOOLS {
        let tool = executable(name)
            .with_context(|| format!("no `{name}`: run `cargo xtask setup --tests --vm`"))?;
        files.push((tool, Path::new("tools").join(name)));
    }
    let mut libraries = BTreeSet::new();
    for (file, _) in &files {
        libraries.extend(libraries_of(file)?);
    }
    let place = |file: PathBuf| Some((file.clone(), file.strip_prefix("/").ok()?.to_owned()));
    files.extend(libraries.into_iter().filter_map(place));
    let busybox =
        executable("busybox").context("busybox has gone: run `cargo xtask setup --vm`")?;
    files.push((busybox, "bin/busybox".into()));
    let captures = fs::read_dir(root().join("tests/fixtures/pcaps"))?;
    for capture in captures {
        let file = capture?.path();
        let name = file.file_name().context("a capture without a name")?.to_owned();
        files.push((file, Path::new("tests/fixtures/pcaps").join(name)));
    }
    Ok(files)
}

/// A copy without debugging information, which is most of a file.
fn stripped(file: &Path, copy: &Path) -> Result<PathBuf> {
    run(Command::new("strip").args(["--strip-debug", "-o"]).arg(copy).arg(file))?;
    Ok(copy.to_owned())
}

/// What the dynamic loader would load, and itself.
fn libraries_of(file: &Path) -> Result<Vec<PathBuf>> {
    // Of a static file, `ldd` says that it is none of its business.
    let Ok(said) = output(Command::new("ldd").arg(file)) else { return Ok(Vec::new()) };
    if said.contains("not found") {
        bail!("{} lacks a library:\n{said}", file.display());
    }
    let paths = said.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

/// An initramfs for `kernel` with the payload in it.
pub(super) fn pack(kernel: &Kernel, series: &Series, payload: &Payload) -> Result<PathBuf> {
    let root = target_dir().join("vm").join(format!("root-{}", series.name));
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for dir in ["bin", "dev", "modules", "proc", "run", "sys", "tmp", "var"] {
        fs::create_dir_all(root.join(dir))?;
    }
    for (from, to) in payload {
        let to = root.join(to);
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let skipped = if series.tcx { &[] } else { NEED_TCX };
    let arguments: String =
        skipped.iter().chain(TOO_LONG).map(|name| format!("--skip {name}\n")).collect();
    fs::write(root.join("suites/attach.arguments"), arguments)?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    copy_modules(kernel, &root.join("modules"))?;
    // Not `with_extension`: to a path, the 1 of 6.1 is one.
    let file = root.with_file_name(format!("initramfs-{}.cpio", series.name));
    archive(&root, &file)?;
    Ok(file)
}

fn copy_modules(kernel: &Kernel, dir: &Path) -> Result<()> {
    for (index, name) in MODULES.iter().enumerate() {
        let Some(file) = kernel.module(name)? else { continue };
        let bytes = if file.extension().is_some_and(|extension| extension == "xz") {
            let output = Command::new("xz").arg("-dc").arg(&file).output().context("no xz")?;
            output.stdout
        } else {
            fs::read(&file)?
        };
        let base = name.rsplit('/').next().unwrap_or(name);
        fs::write(dir.join(format!("{index}-{base}.ko")), bytes)?;
    }
    Ok(())
}

fn archive(root: &Path, file: &Path) -> Result<()> {
    let names = output(Command::new("find").arg(".").current_dir(root))?;
    let mut child = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(file)?)
        .spawn()
        .context("could not start cpio")?;
    child.stdin.take().context("cpio takes no input")?.write_all(names.as_bytes())?;
    if !child.wait()?.success() {
        bail!("cpio failed");
    }
    Ok(())
}
