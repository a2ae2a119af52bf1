//! JSON: one object a line. Field names are API; `handshake schema` prints their schema.

use handshake_common::options::Mptcp;
use handshake_common::packet::tcp::Flags;
use handshake_common::packet::tunnel::Layer;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use crate::after::{After, Next};
use crate::attempt::{Attempt, Frames, Nanos, Opening};
use crate::outcome::{Doubt, EndedBy, Outcome, Side};
use crate::output::doctor::DoctorRecord;
use crate::pattern::Pattern;
use crate::sampling::one_in;
use crate::snapshot::{AttemptView, Role, Summary};

/// Version of the records.
pub const SCHEMA: u32 = 1;
/// Pattern of absolute times.
const TIME: &str = r"^-?[0-9]+\.[0-9]{9}$";
/// Names of the hooks; "?" is a source that is no longer known.
const HOOKS: [&str; 4] = ["xdp", "tc-ingress", "tc-egress", "?"];

/// An ended attempt. Absolute times are strings of seconds since 1970 with nine decimals,
/// latencies signed nanoseconds; unknown is null.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AttemptRecord {
    /// "attempt"; live only.
    #[schemars(extend("const" = "attempt"))]
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Version of the record; live only.
    #[schemars(extend("const" = SCHEMA))]
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<u32>,
    /// 1, 2, … in order of first packet.
    id: u64,
    /// Address of the end that opened it.
    client_ip: String,
    /// Its port.
    client_port: u16,
    /// Address of the end that was asked.
    server_ip: String,
    /// Its port.
    server_port: u16,
    /// What became of it.
    #[schemars(extend("enum" = Outcome::ALL.map(Outcome::name)))]
    outcome: &'static str,
    /// What ended it.
    #[schemars(extend("enum" = EndedBy::ALL.map(EndedBy::name)))]
    ended_by: &'static str,
    /// First packet of the attempt.
    #[schemars(extend("pattern" = TIME))]
    t_first: String,
    /// First SYN.
    #[schemars(extend("pattern" = TIME))]
    t_syn: Option<String>,
    /// Last SYN.
    #[schemars(extend("pattern" = TIME))]
    t_syn_last: Option<String>,
    /// First copy of the SYN-ACK taken.
    #[schemars(extend("pattern" = TIME))]
    t_synack: Option<String>,
    /// Last valid SYN-ACK.
    #[schemars(extend("pattern" = TIME))]
    t_synack_last: Option<String>,
    /// Completing segment of the client.
    #[schemars(extend("pattern" = TIME))]
    t_ack: Option<String>,
    /// End; null if the input ended first.
    #[schemars(extend("pattern" = TIME))]
    t_end: Option<String>,
    /// `t_synack - t_syn`.
    lat_syn_synack_ns: Option<Nanos>,
    /// `t_ack - t_synack`.
    lat_synack_ack_ns: Option<Nanos>,
    /// `t_ack - t_syn`.
    lat_total_ns: Option<Nanos>,
    /// `t_end - t_first`.
    lat_end_ns: Option<Nanos>,
    /// `t_synack` minus the last SYN before it; ambiguous (Karn) if `syn_retrans` > 0.
    rtt_server_ns: Option<Nanos>,
    /// `t_ack` minus the last copy of the SYN-ACK taken.
    rtt_client_ns: Option<Nanos>,
    /// Copies of the SYN beyond the first.
    syn_retrans: u32,
    /// Copies of SYN-ACKs beyond the first of each ISN.
    synack_retrans: u32,
    /// Distinct server ISNs.
    synack_isns: u32,
    /// Disbelieved SYN-ACKs.
    bad_synack: u32,
    /// Disbelieved RSTs.
    bad_rst: u32,
    /// Sequence number of the client's SYN.
    client_isn: u32,
    /// Sequence number of the SYN-ACK taken.
    server_isn: Option<u32>,
    /// First copy of the SYN.
    syn: Option<OpeningRecord>,
    /// First copy of the SYN-ACK taken.
    synack: Option<OpeningRecord>,
    /// Payload of the completing client segment.
    ack_len: Option<u32>,
    /// Did the third ACK have exactly the expected numbers?
    ack_exact: Option<bool>,
    /// "client" or "server".
    #[schemars(extend("enum" = ["client", "server", null]))]
    rst_from: Option<&'static str>,
    /// The ICMP error that ended it.
    icmp: Option<IcmpRecord>,
    /// Both ends sent a SYN.
    simultaneous: bool,
    /// An earlier attempt with the same ISN ended before this one.
    isn_repeat: bool,
    /// It is part of a health check ("probe"), a scan or a flood.
    #[schemars(extend("enum" = ["probe", "scan", "flood", null]))]
    pattern: Option<&'static str>,
    /// What came right after the completion; null if it was not completed, or that is unknown.
    after: Option<AfterRecord>,
    /// Tags of the first packet, outermost first.
    encap: Vec<String>,
    /// Packet numbers; replay only.
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<FramesRecord>,
    /// Interface that saw the first packet; live only.
    #[serde(skip_serializing_if = "Option::is_none")]
    iface: Option<String>,
    /// Hook that saw the first packet; live only.
    #[schemars(extend("enum" = HOOKS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<&'static str>,
    /// The host's part; live only.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// Not all may have been seen while it was open; live only.
    #[serde(skip_serializing_if = "Option::is_none")]
    uncertain: Option<bool>,
    /// Why it is uncertain; only if it is, live only.
    #[schemars(extend("enum" = Doubt::ALL.map(Doubt::name)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    doubt: Option<&'static str>,
    /// It stands for so many attempts, of which only it was followed; only if more than 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    one_in: Option<u64>,
}

/// What a SYN or SYN-ACK said of its sender.
#[derive(Debug, Serialize, JsonSchema)]
struct OpeningRecord {
    /// Window, unscaled.
    win: u16,
    /// Maximum segment size, in bytes.
    mss: Option<u16>,
    /// Window scale, in bits.
    wscale: Option<u8>,
    /// Selective acknowledgements permitted.
    sack_ok: bool,
    /// Timestamps present.
    ts: bool,
    /// Fast Open cookie in hex, "" for a request.
    tfo: Option<String>,
    /// "capable", "join" or "other".
    #[schemars(extend("enum" = ["capable", "join", "other", null]))]
    mptcp: Option<&'static str>,
    /// Letters of the flags A (AE), C, E, U, P that are set.
    flags: String,
    /// Payload in bytes.
    len: u32,
    /// TTL or hop limit.
    ttl: u8,
}

/// What came right after a completion, for as long as `--after` says; times are since then.
#[derive(Debug, Serialize, JsonSchema)]
struct AfterRecord {
    /// What it comes to: "data" is what one expects.
    #[schemars(extend("enum" = Next::ALL.map(Next::name)))]
    what: &'static str,
    /// When that was seen; with "nothing", and with "data" if the server sent none, how long it was
    /// watched.
    at_ns: Nanos,
    /// SYN-ACKs that the server repeated although the third ACK had passed.
    synack_retrans: u32,
    /// The client's first byte; null if none was seen.
    first_byte_client_ns: Option<Nanos>,
    /// The server's first byte; null if none was seen.
    first_byte_server_ns: Option<Nanos>,
}

/// An ICMP error that quotes the handshake.
#[derive(Debug, Serialize, JsonSchema)]
struct IcmpRecord {
    /// ICMP type.
    #[serde(rename = "type")]
    icmp_type: u8,
    /// ICMP code.
    code: u8,
    /// Who sent it.
    src: String,
    /// "syn" or "synack".
    #[schemars(extend("enum" = ["syn", "synack"]))]
    quotes: &'static str,
}

/// Numbers of packets in the file, from 1; absent if not seen.
#[derive(Debug, Serialize, JsonSchema)]
struct FramesRecord {
    first: u64,
    #[serde(skip_serializing_if = "is_zero")]
    syn: u64,
    #[serde(skip_serializing_if = "is_zero")]
    peer_syn: u64,
    #[serde(skip_serializing_if = "is_zero")]
    synack: u64,
    #[serde(skip_serializing_if = "is_zero")]
    ack: u64,
    #[serde(skip_serializing_if = "is_zero")]
    end: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// First record of a live stream.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StartRecord {
    /// "start".
    #[serde(rename = "type")]
    #[schemars(extend("const" = "start"))]
    pub kind: &'static str,
    /// Version of the records.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// Wall-clock time.
    #[schemars(extend("pattern" = TIME))]
    pub time: String,
    /// Version of handshake.
    pub version: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// What is watched.
    pub interfaces: Vec<InterfaceRecord>,
    /// What the user asked for.
    pub filter: FilterRecord,
}

/// One watched interface.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct InterfaceRecord {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Hook of received packets.
    pub ingress: &'static str,
    /// How it is attached: "native XDP", "generic XDP", "TCX", "clsact".
    pub ingress_mode: String,
    /// Hook of sent packets.
    pub egress: &'static str,
    /// How it is attached.
    pub egress_mode: String,
    /// Why so.
    pub reason: String,
}

/// What `--filter`, `--port` and `--net` ask for, in the language of `--filter`; empty is everything.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FilterRecord {
    /// Attempts outside are not followed and not counted.
    pub followed: String,
    /// Of the ended attempts, only these have records; all are counted.
    pub shown: String,
}

/// Events were lost.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LossRecord {
    /// "loss".
    #[serde(rename = "type")]
    #[schemars(extend("const" = "loss"))]
    pub kind: &'static str,
    /// Version of the records.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// Wall-clock time at which it was noticed.
    #[schemars(extend("pattern" = TIME))]
    pub time: String,
    /// "ring-full", "no-ring", "filter-…" (the kernel forgot pending attempts), "interface-gone",
    /// "detached" (we were blind; the count is 0), "not-recorded" (attempts that `--record` should
    /// have kept).
    pub reason: &'static str,
    /// How many since the last such record.
    pub count: u64,
}

/// What can become of a reload: the file changes something, says the same as before, is wrong and
/// changes nothing, or was never named.
pub const RELOADS: [&str; 4] = ["applied", "unchanged", "failed", "nothing"];

/// SIGHUP came.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReloadRecord {
    /// "reload".
    #[serde(rename = "type")]
    #[schemars(extend("const" = "reload"))]
    pub kind: &'static str,
    /// Version of the records.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// Wall-clock time.
    #[schemars(extend("pattern" = TIME))]
    pub time: String,
    /// The configuration file, if one was named.
    pub file: Option<String>,
    /// "applied", "unchanged", "failed" (all stays as it was) or "nothing" (no file was named).
    #[schemars(extend("enum" = RELOADS))]
    pub result: &'static str,
    /// What is wrong, with file and line; null unless it failed.
    pub error: Option<String>,
    /// Options that have other values from now on.
    pub changed: Vec<String>,
    /// Options whose new values only a restart can apply.
    pub restart: Vec<String>,
    /// What is asked for from now on.
    pub filter: FilterRecord,
}

/// Rings fill, and only some flows are followed; or that has changed or ended.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SamplingRecord {
    /// "sampling".
    #[serde(rename = "type")]
    #[schemars(extend("const" = "sampling"))]
    pub kind: &'static str,
    /// Version of the records.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// Wall-clock time.
    #[schemars(extend("pattern" = TIME))]
    pub time: String,
    /// 1 in so many flows is followed from now on; 1 is all.
    pub one_in: u64,
    /// The same when it was most since the last such record.
    pub highest_one_in: u64,
    /// SYNs and SYN-ACKs that made no event since the last such record.
    pub count: u64,
}

/// Last record of a live stream.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SummaryRecord<'a> {
    /// "summary".
    #[serde(rename = "type")]
    #[schemars(extend("const" = "summary"))]
    pub kind: &'static str,
    /// Version of the records.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// Wall-clock time.
    #[schemars(extend("pattern" = TIME))]
    pub time: String,
    /// Seconds watched.
    pub duration_s: f64,
    /// All counters.
    #[serde(flatten)]
    pub summary: &'a Summary,
}

/// Any line of a live stream, or what `doctor` found; its schema is what `handshake schema` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Record<'a> {
    /// First line.
    Start(StartRecord),
    /// An ended attempt.
    Attempt(Box<AttemptRecord>),
    /// Events were lost.
    Loss(LossRecord),
    /// The configuration was read again.
    Reload(ReloadRecord),
    /// Only some flows are followed.
    Sampling(SamplingRecord),
    /// Last line.
    Summary(SummaryRecord<'a>),
    /// All that `doctor --json` prints.
    Doctor(DoctorRecord),
}

/// The JSON Schema of [`Record`], indented, with a line break at its end.
#[must_use]
pub fn schema() -> String {
    // As written, not as read: what is always there is required, also if it may be null.
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = generator.root_schema_for::<Record<'_>>();
    let mut text = format!("{:#}", schema.as_value());
    text.push('\n');
    text
}

/// Seconds with nine decimals.
#[must_use]
pub fn seconds(ns: Nanos) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    format!("{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// The record of an ended attempt.
#[must_use]
pub fn attempt(view: &AttemptView<'_>) -> AttemptRecord {
    let a = view.attempt;
    let key = &a.key;
    let at = |time: Nanos| seconds(time.saturating_add(view.to_wall));
    let (client, server) = (key.client_addr(), key.server_addr());
    let live = view.place.is_some();
    AttemptRecord {
        kind: live.then_some("attempt"),
        schema: live.then_some(SCHEMA),
        id: a.id,
        client_ip: client.ip().to_string(),
        client_port: client.port(),
        server_ip: server.ip().to_string(),
        server_port: server.port(),
        outcome: a.outcome.name(),
        ended_by: a.ended_by.name(),
        t_first: at(a.t_first),
        t_syn: a.t_syn.map(at),
        t_syn_last: a.t_syn_last.map(at),
        t_synack: a.t_synack.map(at),
        t_synack_last: a.t_synack_last.map(at),
        t_ack: a.t_ack.map(at),
        t_end: a.t_end.map(at),
        lat_syn_synack_ns: a.latency_server(),
        lat_synack_ack_ns: a.latency_client(),
        lat_total_ns: a.latency_total(),
        lat_end_ns: a.latency_end(),
        rtt_server_ns: a.rtt_server,
        rtt_client_ns: a.rtt_client,
        syn_retrans: a.syn_retrans,
        synack_retrans: a.synack_retrans,
        synack_isns: a.synack_isns,
        bad_synack: a.bad_synack,
        bad_rst: a.bad_rst,
        client_isn: a.client_isn,
        server_isn: a.server_isn,
        syn: a.syn.as_ref().map(opening),
        synack: a.synack.as_ref().map(opening),
        ack_len: a.ack_len,
        ack_exact: a.ack_exact,
        rst_from: a.rst_from.map(Side::name),
        icmp: a.icmp.map(|icmp| IcmpRecord {
            icmp_type: icmp.icmp_type,
            code: icmp.code,
            src: icmp.source.to_string(),
            quotes: if icmp.quotes == Side::Client { "syn" } else { "synack" },
        }),
        simultaneous: a.simultaneous,
        isn_repeat: a.isn_repeat,
        pattern: a.pattern.map(Pattern::name),
        after: a.after.map(after),
        encap: encap(a),
        frames: (!live).then(|| frames(&a.frames)),
        iface: view.place.map(|place| place.interface.to_owned()),
        hook: view.place.map(|place| place.hook),
        role: view.place.map(|place| place.role),
        uncertain: live.then_some(a.uncertain.is_some()),
        doubt: a.uncertain.filter(|_| live).map(Doubt::name),
        one_in: (a.sample_shift > 0).then(|| one_in(a.sample_shift)),
    }
}

fn after(after: After) -> AfterRecord {
    AfterRecord {
        what: after.next.name(),
        at_ns: after.at,
        synack_retrans: after.synack_retrans,
        first_byte_client_ns: after.first_byte_client,
        first_byte_server_ns: after.first_byte_server,
    }
}

fn encap(attempt: &Attempt) -> Vec<String> {
    if let Some(layers) = &attempt.layers {
        return layers.iter().map(|layer| layer.to_string()).collect();
    }
    let count = usize::from(attempt.vlan_count);
    attempt.vlan.iter().take(count).map(|id| Layer::Vlan(*id).to_string()).collect()
}

fn frames(frames: &Frames) -> FramesRecord {
    let Frames { first, syn, synack, ack, end, peer_syn } = *frames;
    FramesRecord { first, syn, peer_syn, synack, ack, end }
}

fn opening(opening: &Opening) -> OpeningRecord {
    const LETTERS: [(u16, char); 5] = [
        (Flags::AE, 'A'),
        (Flags::CWR, 'C'),
        (Flags::ECE, 'E'),
        (Flags::URG, 'U'),
        (Flags::PSH, 'P'),
    ];
    let options = opening.options();
    let flags = Flags(opening.flags);
    OpeningRecord {
        win: opening.window,
        mss: options.mss,
        wscale: options.window_scale,
        sack_ok: options.sack_permitted,
        ts: options.timestamps,
        tfo: options.fast_open.map(hex),
        mptcp: options.mptcp.map(|mptcp| match mptcp {
            Mptcp::Capable => "capable",
            Mptcp::Join => "join",
            Mptcp::Other => "other",
        }),
        flags: LETTERS.iter().filter(|(bit, _)| flags.has(*bit)).map(|(_, c)| *c).collect(),
        len: opening.payload_len,
        ttl: opening.ttl,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
