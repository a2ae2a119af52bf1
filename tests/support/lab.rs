//! Network namespaces, and the small networks built from them.
//!
//! A namespace lives as long as its anchor process, which ends when its standard input closes: so
//! nothing stays behind whichever way this process ends, and nothing is written to /run/netns.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{eventually, tether};
use crate::tun::Tunnel;

/// What the anchor does: shows the namespace's own devices in /sys, as `ip netns exec` does.
const ANCHOR: &str = "mount -t sysfs sysfs /sys && { mount -t bpf bpf /sys/fs/bpf || true; } \
                      && ip link set lo up && echo ready && exec cat >/dev/null";

/// One network namespace with its own /sys.
#[derive(Debug)]
pub struct Namespace {
    anchor: Child,
}

impl Namespace {
    /// Makes an empty namespace in which only `lo` is up. Needs root.
    pub fn new() -> Result<Self> {
        let mut anchor = Command::new("unshare")
            .args(["--net", "--mount", "--", "sh", "-c", ANCHOR])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C on a terminal is for the program that is watched, not for the network it watches.
            .process_group(0)
            .spawn()
            .context("cannot start unshare")?;
        let mut ready = String::new();
        let stdout = anchor.stdout.take().context("the anchor has no output")?;
        BufReader::new(stdout).read_line(&mut ready)?;
        let namespace = Self { anchor };
        ensure!(ready == "ready\n", "cannot make a network namespace: this needs root");
        Ok(namespace)
    }

    /// The anchor's process id: `nsenter -t PID -n -m` gets in.
    #[must_use]
    pub fn pid(&self) -> String {
        self.anchor.id().to_string()
    }

    /// A command that will run in here, tied to the calling thread. Its working directory is `/`.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid(), "-n", "-m", "--"]).arg(program.as_ref());
        tether(&mut command);
        command
    }

    /// Runs a command in here to its end and returns what it printed; a failure is an error.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let (program, arguments) = words.split_first().context("no command to run")?;
        let output = self.command(program).args(arguments).output()?;
        if !output.status.success() {
            bail!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `work` on a thread that has moved in here. Sockets it makes stay in here for good.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let door = File::open(format!("/proc/{}/ns/net", self.anchor.id()))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || move_into(&door).map(|()| work()));
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .context("cannot enter the namespace")
    }

    /// Adds an address without waiting for duplicate address detection.
    pub fn add_address(&self, device: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let address = format!("{address}/{prefix}");
        let mut words = vec!["ip", "address", "add", &address, "dev", device];
        if address.contains(':') {
            words.push("nodad");
        }
        self.run(&words).map(drop)
    }

    /// Sets a device up, silent by itself: no link-local address, no router solicitations.
    pub fn up(&self, device: &str) -> Result<()> {
        self.run(&["ip", "link", "set", device, "addrgenmode", "none", "up"]).map(drop)
    }

    /// Waits until a device has its carrier.
    pub fn await_carrier(&self, device: &str) -> Result<()> {
        let up = || {
            let links = self.run(&["ip", "-o", "link", "show", "dev", device]);
            links.is_ok_and(|text| text.contains("LOWER_UP"))
        };
        eventually(&format!("{device} is up"), Duration::from_secs(5), up)
    }

    /// Writes a `net.*` setting of this namespace, named by its path below /proc/sys.
    pub fn set(&self, setting: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{setting}");
        self.enter(|| std::fs::write(&path, value))?.with_context(|| format!("cannot set {path}"))
    }

    /// Loads nftables rules.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let mut child = self.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("nft has no input")?.write_all(rules.as_bytes())?;
        ensure!(child.wait()?.success(), "nft refused: {rules}");
        Ok(())
    }

    /// The hardware address of a device.
    pub fn mac(&self, device: &str) -> Result<String> {
        let address = self.run(&["cat", &format!("/sys/class/net/{device}/address")])?;
        Ok(address.trim().to_owned())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Both can only fail if the anchor is gone already, and with it the namespace.
        drop(self.anchor.kill());
        drop(self.anchor.wait());
    }
}

fn move_into(door: &File) -> io::Result<()> {
    // SAFETY: setns takes an open descriptor and a flag; it changes only the calling thread, which
    // ends right after its work.
    match unsafe { libc::setns(door.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Joins two namespaces by a pair of virtual Ethernet devices and waits until it carries.
pub fn veth(a: &Namespace, a_name: &str, b: &Namespace, b_name: &str) -> Result<()> {
    let b_pid = b.pid();
    a.run(&["ip", "link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", &b_pid])?;
    a.up(a_name)?;
    b.up(b_name)?;
    a.await_carrier(a_name)?;
    b.await_carrier(b_name)
}

/// The two address families; everything here works in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// IPv4 and IPv6, for loops.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// An address of each family.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// the IPv4 address
    pub v4: Ipv4Addr,
    /// the IPv6 address
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// Host `host` of test network `network`: 10.77.N.H and fd77:N::H.
    #[must_use]
    pub const fn of(network: u8, host: u8) -> Self {
        Self {
            v4: Ipv4Addr::new(10, 77, network, host),
            v6: Ipv6Addr::new(0xfd77, network as u16, 0, 0, 0, 0, 0, host as u16),
        }
    }

    /// The one of that family.
    #[must_use]
    pub fn ip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }
}

/// A network with a client and a server in it.
#[derive(Debug)]
pub struct Lab {
    /// where connections come from
    pub client: Arc<Namespace>,
    /// where connections go to; the same namespace as the client's in [`Lab::loopback`]
    pub server: Arc<Namespace>,
    /// what forwards between them, in [`Lab::routed`]
    pub router: Option<Arc<Namespace>>,
    /// the client's device
    pub client_device: &'static str,
    /// the server's device
    pub server_device: &'static str,
    client_addresses: Addresses,
    server_addresses: Addresses,
    tunnel: Option<Tunnel>,
}

impl Lab {
    /// Client and server on one wire, `cli0` to `srv0`.
    pub fn direct() -> Result<Self> {
        let lab = Self::apart("cli0", "srv0", Addresses::of(0, 1), Addresses::of(0, 2))?;
        veth(&lab.client, "cli0", &lab.server, "srv0")?;
        lab.number()
    }

    /// Client and server with a router between them, whose devices are `rtc0` and `rts0`.
    pub fn routed() -> Result<Self> {
        let mut lab = Self::apart("cli0", "srv0", Addresses::of(1, 1), Addresses::of(2, 1))?;
        let router = Arc::new(Namespace::new()?);
        router.set("net/ipv4/ip_forward", "1")?;
        router.set("net/ipv6/conf/all/forwarding", "1")?;
        for (host, device, side, network) in
            [(&lab.client, "cli0", "rtc0", 1), (&lab.server, "srv0", "rts0", 2)]
        {
            veth(host, device, &router, side)?;
            assign(&router, side, Addresses::of(network, 254))?;
            // A router asks for its neighbours from its link-local address only.
            let local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, network.into());
            router.add_address(side, local.into(), 64)?;
        }
        lab.router = Some(router);
        let lab = lab.number()?;
        for (host, network) in [(&lab.client, 1), (&lab.server, 2)] {
            let gateway = Addresses::of(network, 254);
            host.run(&["ip", "route", "add", "default", "via", &gateway.v4.to_string()])?;
            host.run(&["ip", "-6", "route", "add", "default", "via", &gateway.v6.to_string()])?;
        }
        Ok(lab)
    }

    /// Client and server on one host, over `lo`.
    pub fn loopback() -> Result<Self> {
        let both = Arc::new(Namespace::new()?);
        let here = Addresses { v4: Ipv4Addr::LOCALHOST, v6: Ipv6Addr::LOCALHOST };
        Ok(Self {
            client: Arc::clone(&both),
            server: both,
            router: None,
            client_device: "lo",
            server_device: "lo",
            client_addresses: here,
            server_addresses: here,
            tunnel: None,
        })
    }

    /// Client and server joined by two layer-3 `tun` devices, `tunc` and `tuns`.
    pub fn tunnelled() -> Result<Self> {
        let mut lab = Self::apart("tunc", "tuns", Addresses::of(3, 1), Addresses::of(3, 2))?;
        lab.tunnel = Some(Tunnel::new(&lab.client, "tunc", &lab.server, "tuns")?);
        for (host, device) in [(&lab.client, "tunc"), (&lab.server, "tuns")] {
            host.up(device)?;
            host.await_carrier(device)?;
        }
        lab.number()
    }

    fn apart(
        client_device: &'static str,
        server_device: &'static str,
        client_addresses: Addresses,
        server_addresses: Addresses,
    ) -> Result<Self> {
        let (client, server) = (Arc::new(Namespace::new()?), Arc::new(Namespace::new()?));
        let (router, tunnel) = (None, None);
        let lab = Self {
            client,
            server,
            router,
            client_device,
            server_device,
            client_addresses,
            server_addresses,
            tunnel,
        };
        Ok(lab)
    }

    fn number(self) -> Result<Self> {
        assign(&self.client, self.client_device, self.client_addresses)?;
        assign(&self.server, self.server_device, self.server_addresses)?;
        Ok(self)
    }

    /// The client's address.
    #[must_use]
    pub fn client_ip(&self, family: Family) -> IpAddr {
        self.client_addresses.ip(family)
    }

    /// The server's address and a port.
    #[must_use]
    pub fn server(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.server_addresses.ip(family), port)
    }

    /// An address next to the server's where nobody is, although the neighbour table says so: what
    /// is sent there gets no answer, not even "host unreachable".
    pub fn absent_host(&self, family: Family, port: u16) -> Result<SocketAddr> {
        let (namespace, device) = match &self.router {
            Some(router) => (router, "rts0"),
            None => (&self.client, self.client_device),
        };
        let network = self.server_addresses.v4.octets()[2];
        let ip = Addresses::of(network, 99).ip(family);
        let words = ["ip", "neigh", "replace", &ip.to_string(), "lladdr", "02:00:00:00:00:99"];
        namespace.run(&[&words[..], &["dev", device, "nud", "permanent"]].concat())?;
        Ok(SocketAddr::new(ip, port))
    }
}

fn assign(host: &Namespace, device: &str, addresses: Addresses) -> Result<()> {
    host.add_address(device, addresses.v4.into(), 24)?;
    host.add_address(device, addresses.v6.into(), 64)
}
