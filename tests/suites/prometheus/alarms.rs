//! Each alert of the shipped rules is provoked by real traffic and fires; no other does, and nothing
//! that is healthy raises one.
//!
//! Each scenario has namespaces and a `handshake` of its own, all at the same time; one Prometheus in a
//! namespace between them scrapes all. The rules are the shipped ones, with all durations divided by
//! [`SCALE`].
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::flood;
use handshake_tests::frame::{RST, Segment};
use handshake_tests::lab::{Family, Lab, Namespace, veth};
use handshake_tests::process::{eventually, tether};
use handshake_tests::prometheus::Prometheus;
use handshake_tests::socket::abort_on_close;
use handshake_tests::traffic::{
    self, CLOSED, HTTP, LOSSY, Loss, PUPPETS, Puppet, SILENT, Services, Side,
};
use handshake_tests::watcher::Watcher;

use super::{packaging, scratch};

/// Durations in the rules are divided by this: 5 minutes are 15 seconds.
const SCALE: u64 = 20;
const PORT: u16 = 19435;
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(40);
/// Port of nginx.
const NGINX: u16 = 8090;
/// Port of a server that accepts and resets.
const RESETTING: u16 = 8091;

/// A rule file whose durations, after `for:` and in brackets, are divided by [`SCALE`].
fn scaled(rules: &str) -> String {
    let scaled = |text: &str| -> Option<String> {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        Some(format!("{}s", number.parse::<u64>().ok()? * seconds / SCALE))
    };
    let mut lines = Vec::new();
    for line in rules.lines() {
        if let Some((indent, duration)) = line.split_once("for: ")
            && let Some(duration) = scaled(duration)
        {
            lines.push(format!("{indent}for: {duration}"));
            continue;
        }
        let mut pieces = line.split('[');
        let mut new = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (inside, rest) = piece.split_once(']').unwrap_or((piece, ""));
            let inside = scaled(inside).unwrap_or_else(|| inside.to_owned());
            new += &format!("[{inside}]{rest}");
        }
        lines.push(new);
    }
    lines.join("\n") + "\n"
}

#[test]
fn only_durations_are_scaled() -> Result<()> {
    let line = "  expr: rate(a[5m]) / increase(b[1h]) > handshake:rate5m\n  for: 2m\n";
    let expected = "  expr: rate(a[15s]) / increase(b[180s]) > handshake:rate5m\n  for: 6s\n";
    assert_eq!(scaled(line), expected);
    let rules = fs::read_to_string(packaging("prometheus/handshake.rules.yml"))?;
    let scaled = scaled(&rules);
    ensure!(!scaled.contains("m]") && !scaled.contains("h]"), "{scaled}");
    assert_eq!(scaled.lines().count(), rules.lines().count());
    Ok(())
}

/// What happens at one host, until it is told to stop.
type Story = fn(&Lab, &AtomicBool) -> Result<()>;

/// A host with its own network, and what happens there.
struct Scenario {
    name: &'static str,
    /// Arguments of `handshake watch`, beside what all have.
    arguments: &'static [&'static str],
    story: Story,
    /// Alerts that must fire: name, and the port of the service if it is about one.
    alerts: &'static [(&'static str, Option<u16>)],
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "outage",
        arguments: &["-i", "srv0"],
        story: outage,
        alerts: &[("HandshakeServiceFailing", Some(CLOSED)), ("HandshakeNoAnswer", Some(SILENT))],
    },
    Scenario {
        name: "flood",
        arguments: &["-i", "srv0"],
        story: flooded,
        alerts: &[("HandshakeHalfOpenFlood", Some(HTTP))],
    },
    Scenario {
        name: "loss",
        arguments: &["-i", "srv0"],
        story: lossy,
        alerts: &[("HandshakeServiceSlow", Some(LOSSY))],
    },
    Scenario {
        name: "small-table",
        arguments: &["-i", "srv0", "--max-attempts", "16"],
        story: small_table,
        alerts: &[("HandshakeCannotKeepUp", None)],
    },
    Scenario {
        name: "lost-link",
        arguments: &["-i", "srv0", "-i", "ext0"],
        story: lost_link,
        alerts: &[("HandshakeDetached", None)],
    },
    Scenario {
        name: "blind",
        arguments: &["-i", "srv0"],
        story: blind,
        alerts: &[("HandshakeBlind", None)],
    },
    Scenario {
        name: "unserved",
        arguments: &["-i", "srv0"],
        story: unserved,
        alerts: &[("HandshakeServiceUnserved", Some(RESETTING))],
    },
    Scenario { name: "checks", arguments: &["-i", "srv0"], story: checked, alerts: &[] },
    Scenario { name: "scan", arguments: &["-i", "srv0"], story: scanned, alerts: &[] },
    Scenario {
        name: "deploy",
        arguments: &["-i", "srv0", "-i", "veth*"],
        story: deployed,
        alerts: &[],
    },
];

/// Works until it is time to stop.
fn repeat(stop: &AtomicBool, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        work()?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// One connection that completes.
fn connect(lab: &Lab) -> Result<()> {
    traffic::complete(lab, Family::V4, 1).map(drop)
}

/// One service refuses, one is silent, one is well.
fn outage(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    repeat(stop, || {
        connect(lab)?;
        traffic::refused(lab, Family::V4)?;
        traffic::silent(lab, Family::V4, Duration::from_millis(30)).map(drop)
    })
}

/// One service resets every connection that it accepts.
fn unserved(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    let listener = lab.server.enter(|| TcpListener::bind(("0.0.0.0", RESETTING)))??;
    let address = lab.server(Family::V4, RESETTING);
    repeat(stop, || {
        connect(lab)?;
        let client = lab.client.enter(|| TcpStream::connect(address))??;
        abort_on_close(&listener.accept()?.0)?;
        drop(client);
        Ok(())
    })
}

/// A flood of a service that serves its clients meanwhile.
fn flooded(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    const BATCH: u32 = 50;
    let client = lab.client_ip(Family::V4).to_string();
    lab.server.run(&["ip", "route", "add", "100.64.0.0/10", "via", &client])?;
    let mut sent = 0;
    repeat(stop, || {
        flood::at_listener(lab, HTTP, sent, BATCH, 500)?;
        sent += BATCH;
        connect(lab)
    })
}

/// On the way to one service SYNs are lost.
fn lossy(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    repeat(stop, || {
        connect(lab)?;
        traffic::completed_despite(lab, Family::V4, Loss::Syns(1)).map(drop)
    })
}

/// More open attempts than there is room for; their client cancels them.
fn small_table(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    let puppet = Puppet::new(lab, Side::Client, Family::V4)?;
    let to = lab.server(Family::V4, *PUPPETS.start());
    let mut isn = 0;
    repeat(stop, || {
        connect(lab)?;
        isn += 1_000_000;
        let froms = (20_000..20_100).map(|port| SocketAddr::new(lab.client_ip(Family::V4), port));
        froms.clone().try_for_each(|from| puppet.send(&traffic::syn(from, to, isn)))?;
        let mut froms = froms;
        froms.try_for_each(|from| puppet.send(&Segment::new(from, to, RST, isn + 1, 0)))
    })
}

/// One of two interfaces goes away.
fn lost_link(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    lab.server.run(&["ip", "link", "delete", "ext0"])?;
    repeat(stop, || connect(lab))
}

/// The only interface goes away.
fn blind(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    lab.server.run(&["ip", "link", "delete", "srv0"])?;
    repeat(stop, || Ok(()))
}

/// haproxy checks two healthy servers, of which one has clients, too.
fn checked(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    let directory = scratch("haproxy");
    fs::create_dir_all(&directory)?;
    let server = |name: &str, port| {
        let address = lab.server(Family::V4, port);
        format!("  server {name} {address} check inter 250ms\n")
    };
    let config = format!(
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n\
         listen front\n  bind 127.0.0.1:7000\n{}{}",
        server("a", HTTP),
        server("b", LOSSY)
    );
    let file = directory.join("haproxy.cfg");
    fs::write(&file, config)?;
    let mut command = lab.client.command(daemon("haproxy"));
    command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null());
    let log = fs::File::create(directory.join("log"))?;
    let child = tether(command.stdout(log.try_clone()?).stderr(log)).spawn();
    let _haproxy = Ended(child.context("no haproxy: run `cargo xtask setup --tests`")?);
    repeat(stop, || connect(lab))
}

/// A program that ends with this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// nmap looks for open ports, again and again, beside a client.
fn scanned(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    let target = lab.server(Family::V4, 0).ip().to_string();
    repeat(stop, || {
        for _ in 0..40 {
            connect(lab)?;
            thread::sleep(PAUSE);
        }
        lab.client.run(&["nmap", "-sS", "-Pn", "-n", "-p", "1-300", &target]).map(drop)
    })
}

/// A daemon that the tests' setup has unpacked, else one in `PATH`.
fn daemon(name: &str) -> PathBuf {
    let dir = std::env::var_os(format!("HANDSHAKE_{}", name.to_uppercase()));
    dir.map_or_else(|| PathBuf::from(name), |dir| Path::new(&dir).join(name))
}

/// nginx in the foreground, without anything of the host's.
fn nginx(lab: &Lab, directory: &Path) -> Result<Ended> {
    let path = directory.display();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log {path}/log;\nevents {{}}\n\
         http {{\naccess_log off;\nclient_body_temp_path {path}/b;\nproxy_temp_path {path}/p;\n\
         fastcgi_temp_path {path}/f;\nuwsgi_temp_path {path}/u;\nscgi_temp_path {path}/s;\n\
         server {{ listen {NGINX}; return 200 hello; }}\n}}\n"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = lab.server.command(daemon("nginx"));
    command.arg("-c").arg(&file).args(["-p", &path.to_string()]).stdin(Stdio::null());
    let log = fs::File::create(directory.join("words"))?;
    let child = tether(command.stdout(log.try_clone()?).stderr(log)).spawn();
    Ok(Ended(child.context("no nginx: run `cargo xtask setup --tests`")?))
}

/// One request to nginx; refused while it restarts.
fn request(lab: &Lab) -> Result<()> {
    let address = lab.server(Family::V4, NGINX);
    let patience = Duration::from_secs(2);
    let Ok(mut client) = lab.client.enter(|| TcpStream::connect_timeout(&address, patience))?
    else {
        return Ok(());
    };
    client.set_read_timeout(Some(patience))?;
    client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    drop(client.read_to_end(&mut Vec::new()));
    Ok(())
}

/// 50 containers come and go, and nginx is restarted: for a second nothing listens.
fn deployed(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    const ALIVE: u32 = 5;
    let directory = scratch("nginx");
    fs::create_dir_all(&directory)?;
    let before = nginx(lab, &directory)?;
    thread::scope(|scope| {
        let clients = scope.spawn(|| repeat(stop, || request(lab)));
        let links = |verb: &str, n: u32| {
            let (name, peer) = (format!("veth{n}"), format!("pod{n}"));
            let add = ["ip", "link", "add", &name, "up", "type", "veth", "peer", "name", &peer];
            let delete = ["ip", "link", "delete", &name];
            lab.server.run(if verb == "add" { &add[..] } else { &delete[..] }).map(drop)
        };
        for n in 0..50 {
            links("add", n)?;
            if n >= ALIVE {
                links("delete", n - ALIVE)?;
            }
            thread::sleep(Duration::from_millis(100));
        }
        drop(before);
        thread::sleep(Duration::from_secs(1));
        let _after = nginx(lab, &directory)?;
        repeat(stop, || Ok(()))?;
        clients.join().map_err(|_| anyhow::anyhow!("it panicked"))?
    })
}

/// A scenario's network and program.
struct Host {
    lab: Lab,
    _services: Services,
    watcher: Watcher,
    address: SocketAddr,
}

impl Host {
    /// Joined to `hub` as its neighbour of this number.
    fn new(hub: &Namespace, number: u8, scenario: &Scenario) -> Result<Self> {
        let lab = Lab::direct()?;
        let services = Services::start(&lab)?;
        let spoke = format!("spoke{number}");
        veth(hub, &spoke, &lab.server, "mon0")?;
        let address = |host| IpAddr::V4(Ipv4Addr::new(10, 78, number, host));
        hub.add_address(&spoke, address(1), 24)?;
        lab.server.add_address("mon0", address(2), 24)?;
        if scenario.arguments.contains(&"ext0") {
            let words = ["ip", "link", "add", "ext0", "up", "type", "veth", "peer", "name", "ext1"];
            lab.server.run(&words)?;
        }
        let listen = format!("0.0.0.0:{PORT}");
        let common = ["--timeout", "2s", "--metrics-listen", &listen];
        let watcher = Watcher::start(&lab.server, &[scenario.arguments, &common].concat())?;
        let address = SocketAddr::new(address(2), PORT);
        Ok(Self { lab, _services: services, watcher, address })
    }
}

/// An alert, the instance it is about, and the port of the service if it is about one.
type Fired = (String, String, Option<u16>);

/// Every alert that has fired so far.
fn fired(prometheus: &Prometheus<'_>) -> Result<BTreeSet<Fired>> {
    let series = prometheus.query("max_over_time(ALERTS{alertstate=\"firing\"}[10m])")?;
    let alert = |(labels, _): (serde_json::Value, f64)| {
        let of = |name: &str| labels[name].as_str().map(str::to_owned);
        let port = of("server_port").and_then(|port| port.parse().ok());
        (of("alertname").unwrap_or_default(), of("instance").unwrap_or_default(), port)
    };
    Ok(series.into_iter().map(alert).collect())
}

#[test]
fn each_alert_fires_on_its_provocation_and_on_no_other() -> Result<()> {
    let hub = Namespace::new()?;
    let hosts: Vec<Host> = SCENARIOS
        .iter()
        .zip(1..)
        .map(|(scenario, number)| Host::new(&hub, number, scenario).context(scenario.name))
        .collect::<Result<_>>()?;
    let names = SCENARIOS.iter().map(|scenario| scenario.name);
    let mut targets: Vec<(&str, String)> =
        names.zip(hosts.iter().map(|host| host.address.to_string())).collect();
    // A program that has ended.
    targets.push(("ended", SocketAddr::new(hosts[0].address.ip(), PORT + 1).to_string()));
    let targets: Vec<(&str, &str)> = targets.iter().map(|(name, at)| (*name, &at[..])).collect();
    let rules = scaled(&fs::read_to_string(packaging("prometheus/handshake.rules.yml"))?);
    let prometheus =
        Prometheus::with_rules(&hub, (19092, &targets), &scratch("alarms"), false, &rules)?;
    let all_up = || prometheus.value("sum(up)").is_ok_and(|sum| sum == SCENARIOS.len() as f64);
    eventually("all are scraped", PATIENCE, all_up).with_context(|| prometheus.log())?;

    let mut expected: BTreeSet<Fired> = SCENARIOS
        .iter()
        .flat_map(|scenario| {
            let of = |(alert, port): &(&str, Option<u16>)| {
                ((*alert).to_owned(), scenario.name.to_owned(), *port)
            };
            scenario.alerts.iter().map(of)
        })
        .collect();
    expected.insert(("HandshakeDown".to_owned(), "ended".to_owned(), None));

    let stop = AtomicBool::new(false);
    let all = thread::scope(|scope| {
        let stop = &stop;
        let stories: Vec<_> = SCENARIOS
            .iter()
            .zip(&hosts)
            .map(|(scenario, host)| {
                let lab = &host.lab;
                let story = move || (scenario.story)(lab, stop).context(scenario.name);
                (scenario.name, scope.spawn(story))
            })
            .collect();
        let begun = std::time::Instant::now();
        let mut seen = BTreeSet::new();
        let all = eventually("all alerts fire", PATIENCE, || {
            if let Ok(now) = fired(&prometheus)
                && now != seen
            {
                for one in now.difference(&seen) {
                    println!("{:4.1} s: {one:?}", begun.elapsed().as_secs_f32());
                }
                seen = now;
            }
            expected.is_subset(&seen) || stories.iter().any(|(_, story)| story.is_finished())
        });
        stop.store(true, Ordering::Relaxed);
        for (name, story) in stories {
            story.join().map_err(|_| anyhow::anyhow!("{name} panicked"))??;
        }
        all
    });
    let fired = fired(&prometheus)?;
    all.with_context(|| format!("{:?} are missing", expected.difference(&fired)))?;
    assert_eq!(fired, expected, "{}", prometheus.log());
    for (host, scenario) in hosts.into_iter().zip(SCENARIOS) {
        let report = host.watcher.stop()?;
        println!("{}: {:?}", scenario.name, report.summary.map(|all| all["outcomes"].clone()));
    }
    Ok(())
}
