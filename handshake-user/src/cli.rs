//! The command line: types and texts, no logic.

mod values;

pub(crate) use values::bytes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use handshake_common::abi::DEFAULT_BUCKETS;
use handshake_common::filter::WAYS;
use ipnet::IpNet;

use crate::loader::DEFAULT_RING_BYTES;
use crate::query::Query;
use crate::recorder::Wanted;
use crate::series;

/// Tracks every TCP connection attempt and reports one outcome for each.
#[derive(Debug, Parser)]
#[command(
    name = "handshake",
    version,
    about = "Tracks every TCP connection attempt and reports one outcome for each: completed, refused, no answer, half-open, …",
    long_about = "Tracks every TCP connection attempt and reports one outcome for each (completed, refused, no answer, \
half-open, …), with its latency split between client and server.\n\n\
Watches live interfaces with eBPF programs that never drop, change or delay a packet, or replays capture files through \
the same engine. Without a command it watches the interfaces of the default route.",
    after_help = "Examples:\n  \
handshake                                  watch the interfaces of the default route\n  \
handshake watch -i eth0 --port 443         attempts to or from port 443 on eth0\n  \
handshake watch -i 'veth*' --format json   one JSON object per line\n  \
handshake replay capture.pcapng            the same for a capture file\n\n\
Results go to stdout, messages to stderr. Exit codes: 0 success, 1 runtime failure, 2 usage or configuration error, \
3 nothing could be attached, 77 privilege missing. Each option can be set by an environment variable, \
for example HANDSHAKE_PORT for --port.",
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; `watch` if not given.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `watch`.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch live interfaces.
    ///
    /// Prints each attempt when it has ended. On Ctrl-C, SIGTERM, `--duration` or `--count` it
    /// detaches, reports attempts that are still open as unfinished, and prints a summary to stderr.
    /// Needs root, or the capabilities that the error message names.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(Box<WatchArgs>),
    /// Replay capture files (pcap, pcapng) through the same engine; needs no privilege.
    ///
    /// Prints attempts in the order of their first packets. All times come from the capture, so the
    /// result is the same on every run. For a damaged file it reports what was readable, then what
    /// is wrong and at which byte, and exits with 1.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Check whether `watch` can work here, and print the commands that remove obstacles.
    ///
    /// Creates the maps, loads the programs, runs them on a SYN, and attaches them to devices in a
    /// temporary network namespace; the host's interfaces are only read. Prints one line per check: ok,
    /// degraded (works with restrictions), unknown (could not be checked) or blocked. Needs no
    /// privilege, but can check more with it. Exits with 0 unless something is blocked: then with 77
    /// if a privilege is missing, else with 3.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Remove TC filters that a killed handshake left behind (only on kernels without TCX).
    Cleanup,
    /// Print a template for `watch --config`, or check such a file.
    #[command(after_help = CONFIG_EXAMPLES)]
    Config {
        /// Check this file instead: reports errors with their lines; exits with 0 or 2.
        #[arg(long, value_name = "FILE")]
        check: Option<PathBuf>,
    },
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page: `handshake man | man -l -`.
    Man {
        /// Write one page per command here instead.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
    /// Print the JSON Schema of the output of `--format json`.
    Schema,
    /// Load every program on this kernel without attaching it.
    #[command(hide = true)]
    Verify,
}

const WATCH_EXAMPLES: &str = "Examples:
  handshake watch                                 until Ctrl-C
  handshake watch -i eth0 -i 'veth*' --port 443   two kinds of interface, one port
  handshake watch --net 10.0.0.0/8 --format json  see `handshake schema`
  handshake watch --duration 1m --format none     only a summary of one minute
  handshake watch --record fails.pcapng           and keep the packets of failures";

const REPLAY_EXAMPLES: &str = "Examples:
  handshake replay capture.pcapng                 one line per attempt
  handshake replay --format summary *.pcap        a summary of each file
  tcpdump -Uw - | handshake replay -              captured by another program
  handshake replay --format json a.pcap | jq 'select(.outcome == \"refused\")'";

const DOCTOR_EXAMPLES: &str = "Examples:
  sudo handshake doctor                  the default route's interfaces
  sudo handshake doctor -i 'veth*'       those that match
  handshake doctor                       what is missing without privilege
  sudo handshake doctor --json | jq '.checks[] | select(.verdict != \"ok\")'";

const CONFIG_EXAMPLES: &str = "Examples:
  handshake config > handshake.toml
  handshake config --check handshake.toml
  handshake watch --config handshake.toml";

const COMPLETIONS_EXAMPLES: &str = "Examples:
  handshake completions bash > /etc/bash_completion.d/handshake
  handshake completions zsh > /usr/local/share/zsh/site-functions/_handshake
  handshake completions fish > ~/.config/fish/completions/handshake.fish";

/// Which hook sees received packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HookArg {
    /// Native XDP on a physical NIC that supports it, TC elsewhere.
    Auto,
    /// XDP: earliest, before the kernel's network stack.
    Xdp,
    /// TC ingress: on every kind of interface.
    Tc,
}

/// Which kind of XDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum XdpModeArg {
    /// Native wherever `--hook` leads to XDP.
    Auto,
    /// Native, in the driver; asks for XDP where `--hook auto` would choose TC.
    Native,
    /// Generic: late and slow, for drivers without native XDP; never chosen automatically.
    Generic,
}

/// What goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WatchFormat {
    /// `tui` on a terminal, else `lines`.
    Auto,
    /// The terminal UI: failures live; `?` shows its keys.
    Tui,
    /// One readable line per attempt.
    Lines,
    /// One JSON object per line.
    Json,
    /// Nothing; the summary still goes to stderr.
    None,
}

/// A column of the attempts in the terminal UI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColumnArg {
    /// When it ended.
    Time,
    /// What became of it.
    Outcome,
    /// Address and port of the client.
    Client,
    /// Address and port of the server.
    Server,
    /// From the first packet to the end.
    Latency,
    /// SYNs and SYN-ACKs sent again.
    Retrans,
    /// Where it was seen.
    Iface,
    /// What says so.
    Evidence,
}

/// A column of the services, or of the client networks, on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServiceColumnArg {
    /// Address and port, or network.
    Name,
    /// Attempts that ended, a second.
    Rate,
    /// Part that completed.
    Completed,
    /// Failures of the service.
    Failed,
    /// Failures by outcome.
    Failures,
    /// Completed, and then not served.
    Unserved,
    /// Since when it fails.
    Since,
    /// Half-open now.
    HalfOpen,
    /// SYN to SYN-ACK, median.
    ServerP50,
    /// SYN to SYN-ACK, 99th percentile.
    ServerP99,
    /// SYN-ACK to third ACK, median.
    ClientP50,
    /// SYN-ACK to third ACK, 99th percentile.
    ClientP99,
    /// Part in which something was sent again.
    Retrans,
    /// Ended by the client itself.
    Cancelled,
    /// Attempts that ended.
    Ended,
    /// When it was flooded.
    Flood,
}

/// Options of `watch` that the help without a command shows.
pub(crate) const COMMON: [&str; 10] = [
    "config",
    "interface",
    "port",
    "net",
    "filter",
    "duration",
    "count",
    "format",
    "record",
    "metrics-listen",
];

/// What that help says of the others.
pub(crate) const OTHERS: &str = "These are the most used options of `watch`. All of them: \
`handshake watch -h` (one line each), `handshake watch --help` (in full).";

/// Headings of the help of `watch`, in this order.
const WHAT: &str = "What to watch";
const HOW_LONG: &str = "How long";
const OUTPUT: &str = "Output";
const RECORDING: &str = "Recording";
const METRICS: &str = "Metrics";
const LIMITS: &str = "Hooks and limits";

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Read options from this file; flags and the environment override it.
    ///
    /// `handshake config` prints a template. On SIGHUP the file is read again: ports, networks,
    /// filters and the format change without losing an attempt, everything else needs a restart.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Interface to watch: a name, a glob such as 'eth*', or any.
    ///
    /// Comma-separated or repeated. A glob also takes interfaces that appear later, and waits if
    /// nothing matches yet; `any` is every interface that is up, loopback too. Without `-i`, the
    /// interfaces of the default route, also when it moves; without a default route, every interface
    /// that is up, except loopback.
    #[arg(short, long = "interface", value_name = "IFACE", value_delimiter = ',',
          help_heading = WHAT)]
    pub interfaces: Vec<String>,

    /// Only attempts from or to this port; comma-separated or repeated.
    ///
    /// Matches either end; with several ports, any of them.
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', value_parser = values::port,
          help_heading = WHAT)]
    pub ports: Vec<u16>,

    /// Only attempts from or to this network or address.
    ///
    /// For example 10.0.0.0/8 or fd00::/8. Comma-separated or repeated; any of them counts. Together
    /// with `--port`, both must match.
    #[arg(long = "net", value_name = "CIDR", value_delimiter = ',', value_parser = values::network,
          help_heading = WHAT)]
    pub nets: Vec<IpNet>,

    /// Only attempts that match: 'port:443 outcome:refused'.
    ///
    /// May be repeated; all must match. Terms are separated by blanks and must all match; a value may
    /// be several, separated by commas; `-` or `!` before a term negates it. Keys are port:
    /// client-port: server-port: (or sport: dport:) host: (or net:) client: server: outcome: role: iface: vlan: retrans: latency: latency-server:
    /// latency-client: and /text/ is a regular expression on the printed line. port: and host: decide
    /// what is tracked and counted, the others only which of the ended attempts are printed.
    #[arg(long = "filter", value_name = "EXPR", value_parser = Query::parse,
          allow_hyphen_values = true, help_heading = WHAT)]
    pub filters: Vec<Query>,

    /// Stop after this time: 30s, 5m, 1h.
    #[arg(long, value_name = "DURATION", value_parser = values::duration, help_heading = HOW_LONG)]
    pub duration: Option<Duration>,

    /// Stop after printing N attempts.
    #[arg(long, value_name = "N", value_parser = values::count, help_heading = HOW_LONG)]
    pub count: Option<u64>,

    /// Wait for the next segment of a handshake: 10s, 500ms, 2m.
    ///
    /// It waits longer where retransmissions show that the sender waits longer. Then the attempt is
    /// "no-answer", or "half-open" if the server had answered.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration,
          help_heading = HOW_LONG)]
    pub timeout: Duration,

    /// Watch so long what follows a completion: 3s, 0.
    ///
    /// Does the server reset, close without a byte, or repeat its SYN-ACK? Else: how long does the first
    /// byte of each side take? 0 does not watch. A completed attempt is printed when this is decided, at the latest after
    /// this time; `after` in JSON has it.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = values::span,
          help_heading = HOW_LONG)]
    pub after: Duration,

    /// Print one table of the services after --duration (10s), and end.
    ///
    /// What happened, and the services with completion, failures and latencies: those that fail first.
    #[arg(long, conflicts_with = "format", help_heading = OUTPUT)]
    pub once: bool,

    /// Services in the table of --once.
    #[arg(long, value_name = "N", default_value = "20", value_parser = values::top, requires = "once",
          help_heading = OUTPUT)]
    pub top: usize,

    /// What to print on stdout: tui, lines, json or none.
    #[arg(long, value_enum, default_value = "auto", help_heading = OUTPUT)]
    pub format: WatchFormat,

    /// Leave the mouse to the terminal.
    ///
    /// Otherwise the wheel scrolls the terminal UI, and a click chooses a row, a view, or a column to
    /// sort by; text is then selected with Shift held.
    #[arg(long, help_heading = OUTPUT)]
    pub no_mouse: bool,

    /// Columns of the attempts in the terminal UI: time,server,outcome.
    ///
    /// In this order; comma-separated or repeated. All are time, outcome, client, server, latency,
    /// retrans, iface, evidence: that is also the default. Those for which there is no room are left out; their values stand
    /// below the table for the chosen row.
    #[arg(long, value_name = "COLUMN", value_enum, value_delimiter = ',', hide_possible_values = true,
          hide_default_value = true,
          default_value = "time,outcome,client,server,latency,retrans,iface,evidence",
          help_heading = OUTPUT)]
    pub columns: Vec<ColumnArg>,

    /// Sort the attempts in the terminal UI by this column.
    ///
    /// The largest value first; the keys s, S and r choose another order.
    #[arg(long, value_name = "COLUMN", value_enum, default_value = "time", help_heading = OUTPUT)]
    pub sort: ColumnArg,

    /// Columns of services and peers in the terminal UI: name,failures.
    ///
    /// Peers are client networks. As --columns; all are name, rate, completed, failed, failures, unserved, since, half-open,
    /// server-p50, server-p99, client-p50, client-p99, retrans, cancelled, ended, flood.
    #[arg(long, value_name = "COL", value_enum, value_delimiter = ',', hide_possible_values = true,
          hide_default_value = true,
          default_value = "name,rate,completed,failed,failures,unserved,since,half-open,server-p50,\
                           server-p99,client-p50,client-p99,retrans,cancelled,ended,flood",
          help_heading = OUTPUT)]
    pub service_columns: Vec<ServiceColumnArg>,

    /// Sort services and peers by this column.
    ///
    /// As --sort.
    #[arg(long, value_name = "COL", value_enum, default_value = "failed",
          hide_possible_values = true, help_heading = OUTPUT)]
    pub service_sort: ServiceColumnArg,

    /// Keep the handshake packets of failed attempts in a pcapng file.
    ///
    /// For Wireshark, and for `handshake replay`, which reproduces the same outcomes. Each packet has
    /// a comment that says what it meant; the last packet of an attempt has the outcome. An existing
    /// file is not overwritten; {time} in the name becomes the time of the start.
    #[arg(long, value_name = "FILE", help_heading = RECORDING)]
    pub record: Option<PathBuf>,

    /// Outcomes to record, or failed, uncertain, all.
    ///
    /// Comma-separated or repeated.
    #[arg(long = "record-outcome", value_name = "OUTCOME", default_value = "failed",
          value_delimiter = ',', value_parser = values::wanted(), help_heading = RECORDING)]
    pub record_outcomes: Vec<Wanted>,

    /// Start a new file after this size: 16MiB, 1GiB.
    ///
    /// The files are FILE, FILE_00002, FILE_00003, …
    #[arg(long, value_name = "BYTES", default_value = values::shown(64 << 20),
          value_parser = values::bytes, help_heading = RECORDING)]
    pub record_size: u64,

    /// Number of recorded files to keep.
    ///
    /// When there are more, the oldest file of this run is removed.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = values::record_files,
          help_heading = RECORDING)]
    pub record_files: usize,

    /// Serve metrics for Prometheus: 127.0.0.1:9435, or :9435.
    ///
    /// :9435 means the loopback address. Other addresses, also [::1]:9435, can be given. The metrics
    /// have no password: they can be read by whatever can connect to this address.
    #[arg(long, value_name = "ADDR", value_parser = values::listen_address, help_heading = METRICS)]
    pub metrics_listen: Option<SocketAddr>,

    /// Maximum number of series; the rest is added to `other`.
    #[arg(long, value_name = "N", default_value_t = series::DEFAULT_SERIES,
          value_parser = values::max_series, help_heading = METRICS)]
    pub metrics_series: usize,

    /// Maximum number of services with their own series.
    ///
    /// The busiest ones.
    #[arg(long, value_name = "N", default_value_t = series::DEFAULT_SERVICES,
          value_parser = values::max_services, help_heading = METRICS)]
    pub metrics_services: usize,

    /// Where received packets are seen: auto, xdp or tc.
    ///
    /// Sent packets are always seen at TC egress.
    #[arg(long, value_enum, default_value = "auto", help_heading = LIMITS)]
    pub hook: HookArg,

    /// How XDP is attached: auto, native or generic.
    #[arg(long, value_enum, default_value = "auto", help_heading = LIMITS)]
    pub xdp_mode: XdpModeArg,

    /// Maximum number of attempts in memory.
    ///
    /// That many open attempts, and as many ended ones, which tell late copies from new attempts. If there are more, attempts with nothing but a SYN are given up first.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_ATTEMPTS,
          value_parser = values::max_attempts, help_heading = LIMITS)]
    pub max_attempts: usize,

    /// Number of pending attempts in the kernel's table.
    ///
    /// Rounded up to a power of two.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TABLE_ENTRIES, value_parser = values::table_entries,
          help_heading = LIMITS)]
    pub table_entries: u32,

    /// Size of each CPU's event ring: 64KiB, 4MiB.
    ///
    /// Rounded up to a power of two of pages; doubled with `--record`, where events are larger.
    #[arg(long, value_name = "BYTES", default_value = values::shown(DEFAULT_RING_BYTES.into()),
          value_parser = values::ring_bytes, help_heading = LIMITS)]
    pub ring_bytes: u32,

    /// Measure the run time of handshake's own eBPF programs.
    ///
    /// For the summary. The kernel then reads its clock twice per packet, for every eBPF program of
    /// the machine. The other costs are always in the summary. Needs CAP_SYS_ADMIN.
    #[arg(long, help_heading = LIMITS)]
    pub self_cost: bool,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Interface to check: a name or a glob such as 'eth*'.
    ///
    /// Comma-separated or repeated. Without it, the interfaces of the default route.
    #[arg(short, long = "interface", value_name = "IFACE", value_delimiter = ',')]
    pub interfaces: Vec<String>,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Default of `--max-attempts`: 64 MiB, if so many are open and answered (377 bytes each) and as
/// many remembered (113). A flood of bare SYNs takes half of that (145 bytes each).
pub const DEFAULT_MAX_ATTEMPTS: usize = 131_072;

/// Default of `--table-entries`.
const DEFAULT_TABLE_ENTRIES: u32 = DEFAULT_BUCKETS * WAYS as u32;

/// What `replay` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReplayFormat {
    /// One readable line per attempt, then the summary on stderr.
    Lines,
    /// One JSON object per attempt, and no summary.
    Json,
    /// The summary only, one for each file.
    Summary,
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Capture files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// What to print on stdout.
    #[arg(long, value_enum, default_value = "lines")]
    pub format: ReplayFormat,

    /// Wait for the next segment, in the capture's time: 10s, 500ms, 2m.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub timeout: Duration,

    /// Watch so long what follows a completion: 3s, 0.
    ///
    /// Does the server reset, close without a byte, or repeat its SYN-ACK? Else: how long does the first
    /// byte of each side take? In the capture's time; 0 does not watch.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = values::span)]
    pub after: Duration,

    /// Remember ended attempts, to recognize late copies: 60s.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = values::duration)]
    pub linger: Duration,

    /// Only attempts that match: 'port:443 outcome:refused'.
    ///
    /// May be repeated; all must match. Terms are separated by blanks and must all match; a value may
    /// be several, separated by commas; `-` or `!` before a term negates it. Keys are port:
    /// client-port: server-port: (or sport: dport:) host: (or net:) client: server: outcome: role: iface: vlan: retrans: latency: latency-server:
    /// latency-client: and /text/ is a regular expression on the printed line. port: and host: decide
    /// what is tracked and counted, the others only which of the ended attempts are printed. A capture
    /// has no interface and no role: iface: and role: match nothing.
    #[arg(long = "filter", value_name = "EXPR", value_parser = Query::parse,
          allow_hyphen_values = true)]
    pub filters: Vec<Query>,
}
