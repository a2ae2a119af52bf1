//! What runs inside the guest: busybox, one script, and the program linked statically.
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;
use crate::workspace::{cargo, executable, output, run, target_dir};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Below `kernel/`, in the order in which they must be loaded: network devices, and what the
/// clsact fallback needs.
const MODULES: &[&str] = &["drivers/net/veth", "net/sched/sch_ingress", "net/sched/cls_bpf"];

/// Watches before it connects: the start record says that the programs are attached.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*.ko; do insmod "$module"; done
ip link set lo up
# Ends the line that the firmware began.
echo
echo "=== verify"
/handshake verify
echo "=== verify exit $?"
echo "=== watch"
timeout -s KILL 40 /handshake watch -i lo --format json --duration 3s >/watch.json 2>/watch.words &
watcher=$!
tries=0
until grep -q '"start"' /watch.json; do
    tries=$((tries + 1))
    [ $tries -lt 150 ] || break
    sleep 0.1
done
nc -l -p 8080 </dev/null >/dev/null &
sleep 0.3
echo hello | nc -w 2 127.0.0.1 8080
wait $watcher
watched=$?
cat /watch.json
echo "=== watch exit $watched"
echo "=== words"
cat /watch.words
echo "=== words exit 0"
poweroff -f
"#;

/// The program as one static file, in a target directory of its own.
pub(super) fn build_static() -> Result<PathBuf> {
    let dir = target_dir().join("vm");
    let mut command = cargo();
    command
        .args(["build", "--release", "--package", "handshake-user", "--target", TARGET])
        .arg("--target-dir")
        .arg(&dir)
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Cstrip=symbols")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(&mut command).context("handshake-user does not build statically")?;
    Ok(dir.join(TARGET).join("release/handshake"))
}

/// An initramfs for `kernel` with `program` in it.
pub(super) fn pack(kernel: &Kernel, series: &str, program: &Path) -> Result<PathBuf> {
    let root = target_dir().join("vm").join(format!("root-{series}"));
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for dir in ["bin", "dev", "modules", "proc", "sys"] {
        fs::create_dir_all(root.join(dir))?;
    }
    let busybox =
        executable("busybox").context("busybox has gone: run `cargo xtask setup --vm`")?;
    fs::copy(&busybox, root.join("bin/busybox"))?;
    fs::copy(program, root.join("handshake"))
        .with_context(|| format!("cannot copy {}", program.display()))?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    copy_modules(kernel, &root.join("modules"))?;
    let file = root.with_file_name(format!("initramfs-{series}.cpio"));
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

/// What the guest's script printed, by section.
pub(super) struct Transcript {
    sections: Vec<Section>,
}

struct Section {
    name: String,
    lines: Vec<String>,
    exit: Option<i32>,
}

impl Transcript {
    /// Reads a console: sections begin with `=== NAME` and end with `=== NAME exit CODE`.
    pub(super) fn parse(console: &str) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        for line in console.lines().map(str::trim_end) {
            match (line.strip_prefix("=== "), sections.last_mut()) {
                (Some(marker), last) => match (marker.split_once(" exit "), last) {
                    (Some((_, code)), Some(section)) => section.exit = code.parse().ok(),
                    _ => sections.push(Section::new(marker)),
                },
                (None, Some(section)) if section.exit.is_none() => {
                    section.lines.push(line.to_owned());
                }
                _ => {}
            }
        }
        Self { sections }
    }

    /// Name and lines of each section.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.sections.iter().map(|section| (section.name.as_str(), section.lines.as_slice()))
    }

    /// The lines of one section; none if it never began.
    pub(super) fn lines(&self, name: &str) -> &[String] {
        self.section(name).map_or(&[], |section| &section.lines)
    }

    /// The exit code of one section; none if it never ended.
    pub(super) fn exit(&self, name: &str) -> Option<i32> {
        self.section(name)?.exit
    }

    fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

impl Section {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: Vec::new(), exit: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_read_by_section() {
        let console = "noise\r\n=== verify\r\nxdp ok 1\r\n=== verify exit 0\r\nnoise\r\n\
                       === watch\r\n{}\r\n=== watch exit 3\r\n=== words\r\nunfinished";
        let transcript = Transcript::parse(console);
        assert_eq!(transcript.lines("verify"), ["xdp ok 1"]);
        assert_eq!(transcript.exit("verify"), Some(0));
        assert_eq!(transcript.exit("watch"), Some(3));
        assert_eq!(transcript.exit("words"), None);
        assert_eq!(transcript.sections().count(), 3);
    }
}
