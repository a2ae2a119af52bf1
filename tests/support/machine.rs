//! A throw-away copy of this system, for what must not be done to the system itself: installing
//! packages, and being an init.
//!
//! Its files are those of `/` with a layer in memory above, its processes have their own ids, and
//! its network is that of a [`Namespace`]. `/sys` and `/proc/sys` are read-only and `/dev` is its
//! own, so that nothing of an init reaches the host's kernel. It ends, with all its processes, with
//! the thread that started it.
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::Namespace;
use crate::process::{eventually, tether};

/// Enters the control group `$1`, so that what an init makes there is in one place, and the network
/// of the process `$2`; gets other namespaces of its own. `$3` is the script inside, `$4` a directory
/// for mounts, the rest the init.
const ENTER: &str = r#"
echo $$ > "$1/cgroup.procs"
network=$2 script=$3
shift 3
exec nsenter -t "$network" -n -- \
    unshare --mount --pid --fork --kill-child --uts --ipc --cgroup sh -euc "$script" "$@"
"#;

/// Runs as the first process. Everything above the host's files is in `/run/above`.
const INSIDE: &str = r#"
top=$0
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$top"
mkdir "$top/above" "$top/work" "$top/root"
mount -t overlay -o "lowerdir=/,upperdir=$top/above,workdir=$top/work" overlay "$top/root"
cd "$top/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys
mount -t sysfs sysfs sys
mount -o remount,bind,ro sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8; mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm dev/mqueue dev/hugepages run/above
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount --bind "$top/above" run/above
# Containers say here that nothing may be started; this one may. No index of manual pages is made.
rm -f usr/sbin/policy-rc.d var/lib/man-db/auto-update
pivot_root . mnt
exec chroot . sh -euc 'umount -l /mnt; echo ready; exec setpriv --bounding-set \
    -sys_module,-sys_rawio,-sys_time,-sys_boot,-syslog env -i container=other \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"' sh "$@"
"#;

/// Waits for nothing, and for its children.
const IDLE: [&str; 3] = ["sh", "-c", "while :; do sleep 1000; done"];

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    outer: Child,
    /// The host's number of the first process in it.
    init: String,
    group: PathBuf,
    top: PathBuf,
}

impl Machine {
    /// One in which nothing runs.
    pub fn idle(namespace: &Namespace) -> Result<Self> {
        Self::start(namespace, &IDLE)
    }

    /// One in which systemd runs, as far as its basic target.
    pub fn booted(namespace: &Namespace) -> Result<Self> {
        let init = ["/lib/systemd/systemd", "--system", "--unit=basic.target"];
        let machine = Self::start(namespace, &init)?;
        let up = || {
            let mut state = machine.command("systemctl");
            let said = state.arg("is-system-running").stderr(Stdio::null()).output();
            said.is_ok_and(|said| [&b"running\n"[..], b"degraded\n"].contains(&&said.stdout[..]))
        };
        eventually("systemd is up", Duration::from_secs(60), up)?;
        Ok(machine)
    }

    fn start(namespace: &Namespace, init: &[&str]) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("handshake-machine-{}-{number}", std::process::id());
        let (group, top) = (own_group()?.join(&name), std::env::temp_dir().join(&name));
        fs::create_dir(&group).context("cannot make a control group: this needs root")?;
        fs::create_dir(&top)?;
        let mut command = Command::new("sh");
        command.args(["-euc", ENTER, "sh"]).arg(&group).args([&namespace.pid(), INSIDE]);
        command.arg(&top).args(init).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut outer = tether(&mut command).spawn()?;
        let stdout = outer.stdout.take().context("no output")?;
        let mut machine = Self { outer, init: String::new(), group, top };
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready)?;
        ensure!(ready == "ready\n", "cannot make a machine (overlayfs, cgroup2 and root needed)");
        let id = machine.outer.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        machine.init = children.trim().to_owned();
        Ok(machine)
    }

    /// A command that will run in here.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", program]);
        tether(&mut command);
        command
    }

    /// Runs a command in here to its end and returns what it printed; a failure is an error.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let (program, arguments) = words.split_first().context("no command to run")?;
        let output = self.command(program).args(arguments).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("{} ({}): {said}{error}", words.join(" "), output.status);
        }
        Ok(said)
    }

    /// A path of the machine as the host sees it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        Path::new("/proc").join(&self.init).join("root").join(inside.trim_start_matches('/'))
    }

    /// Every file, link and new empty directory that is not as on the host, in order.
    pub fn changes(&self) -> Result<Vec<String>> {
        let found = self.run(&[
            "find",
            "/run/above",
            "-mindepth",
            "1",
            "(",
            "-not",
            "-type",
            "d",
            "-or",
            "-empty",
            ")",
            "-printf",
            "/%P\n",
        ])?;
        // A directory of the host's is copied to the layer when something in it changes.
        let is_new = |path: &&str| !Path::new(path).is_dir();
        let mut changes: Vec<String> = found.lines().filter(is_new).map(str::to_owned).collect();
        changes.sort();
        Ok(changes)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With the outer process goes the first one in it, and with that all others.
        drop(self.outer.kill());
        drop(self.outer.wait());
        let gone = || remove_groups(&self.group).is_ok();
        drop(eventually("its control groups are empty", Duration::from_secs(5), gone));
        drop(fs::remove_dir(&self.top));
    }
}

/// The control group (version 2) that this process is in.
fn own_group() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = mounts.find(|words| words.get(2) == Some(&"cgroup2"));
    let mount = mount.and_then(|words| words.get(1).copied()).context("cgroup2 is not mounted")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).context("no cgroup2")?;
    Ok(Path::new(mount).join(own))
}

/// Removes a group and those below it; they must be empty.
fn remove_groups(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
