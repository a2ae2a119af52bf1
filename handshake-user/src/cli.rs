//! The command line: types and texts, no logic.

mod values;

pub(crate) use values::bytes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use ipnet::IpNet;

use crate::loader::DEFAULT_RING_BYTES;
use crate::query::Query;
use crate::recorder::Wanted;
use crate::series;

/// Follows every TCP handshake to its outcome.
#[derive(Debug, Parser)]
#[command(
    name = "handshake",
    version,
    about = "Follows every TCP connection attempt to exactly one outcome: completed, refused, no answer, half-open, …",
    long_about = "Follows every TCP connection attempt to exactly one outcome (completed, refused, no answer, half-open, …) \
with its latency split between client and server.\n\n\
Watches live interfaces with eBPF programs that never drop, change or delay a packet, or replays capture files through \
the same engine. Without a command it watches the interfaces of the default route.",
    after_help = "Examples:\n  \
handshake                                  watch the interfaces of the default route\n  \
handshake watch -i eth0 --port 443         attempts to or from port 443 on eth0\n  \
handshake watch -i 'veth*' --format json   one JSON object a line\n  \
handshake replay capture.pcapng            the same for a capture file\n\n\
Data goes to stdout, words go to stderr. Exit codes: 0 fine, 1 runtime failure, 2 usage or configuration, \
3 nothing attached, 77 privilege missing. Each option has a variable of the environment, \
HANDSHAKE_PORT for --port.",
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
    /// detaches, reports what is still open as unfinished, and prints the summary to stderr. Needs
    /// root, or the capabilities that the refusal names.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(Box<WatchArgs>),
    /// Replay capture files (pcap, pcapng) through the same engine; needs no privilege.
    ///
    /// Prints attempts in order of their first packet. Time is the capture's own, so the result is
    /// the same on every run. Of a damaged file, what was readable is reported, then what is wrong
    /// and at which byte; the exit code is 1.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Try what `watch` needs, and say what is in its way and which command helps.
    ///
    /// Makes the maps, loads the programs and runs them on a SYN, and attaches them to devices in a
    /// network namespace of its own; interfaces of the host are only looked at. One line a check: ok,
    /// degraded (works, but less than it could), unknown (could not be tried) or blocked. Needs no
    /// privilege, but finds out more with it. The exit code is 0 unless something is blocked: then 77
    /// if a privilege is missing, else 3.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Remove classic TC filters that a killed handshake left behind on kernels without TCX.
    Cleanup,
    /// Print a template of the file for `watch --config`, or check a file.
    #[command(after_help = CONFIG_EXAMPLES)]
    Config {
        /// Check this file instead: says what is wrong, and in which line; exits with 0 or 2.
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
        /// Write all pages, one a command, here instead.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
    /// Print the JSON Schema of the records that `--format json` prints.
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
  handshake watch --record fails.pcapng           and keep the packets of what fails";

const REPLAY_EXAMPLES: &str = "Examples:
  handshake replay capture.pcapng                 one line an attempt
  handshake replay --format summary *.pcap        a summary of each file
  tcpdump -Uw - | handshake replay -              what another program captures
  handshake replay --format json a.pcap | jq 'select(.outcome == \"refused\")'";

const DOCTOR_EXAMPLES: &str = "Examples:
  sudo handshake doctor                  the default route's interfaces
  sudo handshake doctor -i 'veth*'       those that match
  handshake doctor                       what a user without privilege lacks
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
    /// Generic: late and slow, for drivers without native XDP; never chosen by itself.
    Generic,
}

/// What goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WatchFormat {
    /// `tui` on a terminal, else `lines`.
    Auto,
    /// The terminal UI: what fails, live; `?` shows its keys.
    Tui,
    /// One readable line an attempt.
    Lines,
    /// One JSON object a line.
    Json,
    /// Nothing; the summary still goes to stderr.
    None,
}

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Read options from this file, where neither flags nor the environment give them.
    ///
    /// `handshake config` prints a template. On SIGHUP the file is read again: ports, networks,
    /// filters and the format change without losing an attempt, the rest needs a restart.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Interface to watch: a name or a glob such as 'eth*'; several with commas, or repeated.
    ///
    /// Without it, the interfaces of the default route.
    #[arg(short, long = "interface", value_name = "IFACE", value_delimiter = ',')]
    pub interfaces: Vec<String>,

    /// Where received packets are seen (sent ones are always seen at TC egress).
    #[arg(long, value_enum, default_value = "auto")]
    pub hook: HookArg,

    /// How XDP is attached.
    #[arg(long, value_enum, default_value = "auto")]
    pub xdp_mode: XdpModeArg,

    /// What to print on stdout.
    #[arg(long, value_enum, default_value = "auto")]
    pub format: WatchFormat,

    /// Wait at least this long for the next segment of a handshake: 10s, 500ms, 2m.
    ///
    /// Longer where retransmissions show that the sender waits longer. Then the attempt is
    /// "no-answer", or "half-open" if the server had answered.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub timeout: Duration,

    /// Stop after this long: 30s, 5m, 1h.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub duration: Option<Duration>,

    /// Stop after so many attempts have ended and been printed.
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub count: Option<u64>,

    /// Only attempts from or to this port; several with commas, or repeated: any of them counts.
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', value_parser = values::port)]
    pub ports: Vec<u16>,

    /// Only attempts from or to this network (10.0.0.0/8, fd00::/8) or address; several with
    /// commas, or repeated.
    ///
    /// Together with `--port`, both must hold.
    #[arg(long = "net", value_name = "CIDR", value_delimiter = ',', value_parser = values::network)]
    pub nets: Vec<IpNet>,

    /// Only attempts for which this holds: 'port:443 outcome:refused'; may be repeated, all must
    /// hold.
    ///
    /// Terms are separated by blanks and must all hold; a value may be several with commas between;
    /// `-` or `!` before a term is its contrary. Keys are port: host: (or net:) client: server:
    /// outcome: role: iface: vlan: retrans: latency: latency-server: latency-client: and /text/ is a
    /// regular expression on the printed line. port: and host: decide what is followed and counted,
    /// the others only which of the ended attempts are printed.
    #[arg(long = "filter", value_name = "EXPR", value_parser = Query::parse,
          allow_hyphen_values = true)]
    pub filters: Vec<Query>,

    /// Serve metrics for Prometheus at this address: 127.0.0.1:9435, [::1]:9435, or :9435.
    ///
    /// Without an address, on loopback. Anybody who can connect can read them.
    #[arg(long, value_name = "ADDR", value_parser = values::listen_address)]
    pub metrics_listen: Option<SocketAddr>,

    /// Most series that the metrics may have; what finds no place is counted as `other`.
    #[arg(long, value_name = "N", default_value_t = series::DEFAULT_SERIES,
          value_parser = values::max_series)]
    pub metrics_series: usize,

    /// Most services that may have series of their own, the busiest first.
    #[arg(long, value_name = "N", default_value_t = series::DEFAULT_SERVICES,
          value_parser = values::max_services)]
    pub metrics_services: usize,

    /// Keep the handshake packets of failed attempts as evidence, in a pcapng file.
    ///
    /// For Wireshark, and for `handshake replay`, which tells the same outcomes. Each packet has a
    /// comment that says what it meant, the last one of an attempt the outcome. A file that exists
    /// is not overwritten; {time} in its name is the time of the start.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Which attempts to record: outcomes, "failed", "uncertain" or "all"; several with commas.
    #[arg(long = "record-outcome", value_name = "OUTCOME", default_value = "failed",
          value_delimiter = ',', value_parser = values::wanted())]
    pub record_outcomes: Vec<Wanted>,

    /// Bytes (or 16MiB, 1GiB) after which recording goes on in a new file: FILE_00002, FILE_00003, …
    #[arg(long, value_name = "BYTES", default_value = values::shown(64 << 20), value_parser = values::bytes)]
    pub record_size: u64,

    /// Recorded files that are kept; the oldest one of this run is removed.
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = values::record_files)]
    pub record_files: usize,

    /// Most attempts open at once, and most ended ones remembered; bare SYNs are evicted first.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_ATTEMPTS,
          value_parser = values::max_attempts)]
    pub max_attempts: usize,

    /// Bytes (or 64KiB, 4MiB) of each CPU's event ring, rounded up to a power of two of pages.
    ///
    /// Twice as many with `--record`, where events are larger.
    #[arg(long, value_name = "BYTES", default_value = values::shown(DEFAULT_RING_BYTES.into()),
          value_parser = values::ring_bytes)]
    pub ring_bytes: u32,

    /// Measure how often handshake's programs run and how long, for the summary.
    ///
    /// The kernel then reads its clock twice a packet, for every eBPF program of the machine. What
    /// else handshake costs is always in the summary. Needs CAP_SYS_ADMIN.
    #[arg(long)]
    pub self_cost: bool,

    /// Attempts that the kernel remembers as pending, rounded up to a power of two.
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = values::table_entries)]
    pub table_entries: u32,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Interface to look at: a name or a glob such as 'eth*'; several with commas, or repeated.
    ///
    /// Without it, the interfaces of the default route.
    #[arg(short, long = "interface", value_name = "IFACE", value_delimiter = ',')]
    pub interfaces: Vec<String>,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Default of `--max-attempts`: 64 MiB, if so many are open and answered (377 bytes each) and as
/// many remembered (113). A flood of bare SYNs takes half of that (145 bytes each).
pub const DEFAULT_MAX_ATTEMPTS: usize = 131_072;

/// What `replay` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReplayFormat {
    /// One readable line an attempt, then the summary on stderr.
    Lines,
    /// One JSON object an attempt, and no summary.
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

    /// Wait at least this long for the next segment, on the capture's clock: 10s, 500ms, 2m.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub timeout: Duration,

    /// Remember an ended attempt for this long, to tell late copies from new attempts.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = values::duration)]
    pub linger: Duration,

    /// Only attempts for which this holds: 'port:443 outcome:refused'; may be repeated, all must
    /// hold.
    ///
    /// Terms are separated by blanks and must all hold; a value may be several with commas between;
    /// `-` or `!` before a term is its contrary. Keys are port: host: (or net:) client: server:
    /// outcome: role: iface: vlan: retrans: latency: latency-server: latency-client: and /text/ is a
    /// regular expression on the printed line. port: and host: decide what is followed and counted,
    /// the others only which of the ended attempts are printed. Of a capture no interface and no role is
    /// known: iface: and role: hold for none.
    #[arg(long = "filter", value_name = "EXPR", value_parser = Query::parse,
          allow_hyphen_values = true)]
    pub filters: Vec<Query>,
}
