//! `handshake schema` describes every record, and records have the fields of the contract.

use handshake_tests::golden::assert_golden;
use handshake_user::attempt::Attempt;
use handshake_user::capture::CaptureReader;
use handshake_user::output::json::{
    self, FilterRecord, InterfaceRecord, LossRecord, RELOADS, ReloadRecord, SCHEMA, StartRecord,
    SummaryRecord,
};
use handshake_user::snapshot::{AttemptView, Place, Role, Summary};
use handshake_user::source::replay::Replay;
use handshake_user::stdout::Output;
use handshake_user::tracker::{Config, Tracker};
use jsonschema::Validator;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::program::{capture, path_text, run};

/// Fields of a replayed attempt, in their order; docs/outcomes.md says what each means.
const REPLAY: [&str; 39] = [
    "id",
    "client_ip",
    "client_port",
    "server_ip",
    "server_port",
    "outcome",
    "ended_by",
    "t_first",
    "t_syn",
    "t_syn_last",
    "t_synack",
    "t_synack_last",
    "t_ack",
    "t_end",
    "lat_syn_synack_ns",
    "lat_synack_ack_ns",
    "lat_total_ns",
    "lat_end_ns",
    "rtt_server_ns",
    "rtt_client_ns",
    "syn_retrans",
    "synack_retrans",
    "synack_isns",
    "bad_synack",
    "bad_rst",
    "client_isn",
    "server_isn",
    "syn",
    "synack",
    "ack_len",
    "ack_exact",
    "rst_from",
    "icmp",
    "simultaneous",
    "isn_repeat",
    "pattern",
    "after",
    "encap",
    "frames",
];
const OPENING: [&str; 10] =
    ["win", "mss", "wscale", "sack_ok", "ts", "tfo", "mptcp", "flags", "len", "ttl"];
const ICMP: [&str; 4] = ["type", "code", "src", "quotes"];
const FRAMES: [&str; 6] = ["first", "syn", "peer_syn", "synack", "ack", "end"];
/// What live attempts have besides, and what they lack.
const LIVE: [&str; 6] = ["type", "schema", "iface", "hook", "role", "uncertain"];
const NOT_LIVE: &str = "frames";

fn schema() -> Value {
    let said = run(&["schema"]);
    assert_eq!((said.stderr.as_str(), said.code), ("", Some(0)));
    serde_json::from_str(&said.stdout).expect("the schema is JSON")
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).expect("the schema is a schema")
}

#[track_caller]
fn assert_valid(validator: &Validator, record: &str) -> Value {
    let value: Value = serde_json::from_str(record).expect("a record is JSON");
    let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{record}\n{}", errors.join("\n"));
    value
}

/// The lines of every capture that can be read.
fn replayed() -> Vec<String> {
    let folder = capture("lab-basic-eth.pcap").parent().expect("a folder").to_owned();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path_text(path).contains("/lab-"))
        .collect();
    files.sort();
    let mut arguments = vec!["replay", "--format", "json"];
    arguments.extend(files.iter().map(|path| path_text(path)));
    run(&arguments).stdout.lines().map(str::to_owned).collect()
}

/// Keys of an object as they stand in its text.
fn keys(object: &str) -> Vec<String> {
    struct Keys(Vec<String>);
    impl<'de> serde::Deserialize<'de> for Keys {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Self(Vec::new()))
        }
    }
    impl<'de> serde::de::Visitor<'de> for Keys {
        type Value = Self;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
            while let Some((key, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                self.0.push(key);
            }
            Ok(self)
        }
    }
    serde_json::from_str::<Keys>(object).expect("an object").0
}

/// The text of a member that is an object.
fn member<'a>(record: &'a str, key: &str) -> Option<&'a str> {
    let start = record.find(&format!("\"{key}\":{{"))? + key.len() + 3;
    let end = start + record[start..].find('}')? + 1;
    Some(&record[start..end])
}

#[test]
fn the_schema_is_golden_and_valid() {
    let said = run(&["schema"]);
    assert_golden("schema.json", &said.stdout);
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    if let Err(error) = jsonschema::meta::validate(&schema) {
        panic!("{error}");
    }
}

#[test]
fn every_field_in_the_schema_says_what_it_is() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    for (name, definition) in definitions {
        let no_fields = Map::new();
        for (field, what) in definition["properties"].as_object().unwrap_or(&no_fields) {
            // Numbers of packets are named as the fields whose packets they are.
            let is_said = what["description"].is_string() || name == "FramesRecord";
            assert!(is_said, "{name}.{field}");
        }
    }
}

#[test]
fn every_replayed_record_validates() {
    let validator = validator();
    let records = replayed();
    assert!(records.len() > 1900, "only {} records", records.len());
    for record in &records {
        assert_valid(&validator, record);
    }
}

#[test]
fn replay_prints_the_fields_of_the_contract_in_their_order() {
    let mut nested = [0; 4];
    for record in replayed() {
        assert_eq!(keys(&record), REPLAY, "{record}");
        for (index, (name, fields)) in
            [("syn", &OPENING[..]), ("synack", &OPENING), ("icmp", &ICMP)].into_iter().enumerate()
        {
            if let Some(object) = member(&record, name) {
                assert_eq!(keys(object), fields, "{record}");
                nested[index] += 1;
            }
        }
        let frames = keys(member(&record, "frames").expect("frames"));
        let known: Vec<_> =
            FRAMES.into_iter().filter(|name| frames.iter().any(|one| one == name)).collect();
        assert_eq!(frames, known, "{record}");
        nested[3] += 1;
    }
    assert!(nested.iter().all(|count| *count > 0), "{nested:?}");
}

/// The attempts of a capture, as the engine hands them to outputs.
fn attempts(name: &str) -> Vec<Attempt> {
    let bytes = std::fs::read(capture(name)).expect("a fixture");
    let (mut reader, mut source) = (CaptureReader::new(&bytes[..]), Replay::default());
    let config = Config { timeout: 10_000_000_000, linger: 60_000_000_000, max_attempts: 1000 };
    let mut tracker = Tracker::new(config);
    while let Some(record) = reader.next_record() {
        tracker.expire(record.time_ns);
        if let Some(observation) = source.feed(&record) {
            tracker.observe(&observation);
        }
    }
    tracker.finish();
    tracker.drain().collect()
}

/// A record as `watch --format json` prints it.
fn printed<T: Serialize>(record: &T) -> String {
    let mut bytes = Vec::new();
    let mut out = Output::new(&mut bytes);
    let _ = out.json(record).expect("memory is writable");
    let _ = out.flush().expect("memory is writable");
    drop(out);
    String::from_utf8(bytes).expect("UTF-8").trim_end().to_owned()
}

fn live(attempt: &Attempt, interface: &str, role: Role) -> String {
    let place = Some(Place { interface, hook: "tc-ingress", role });
    printed(&json::attempt(&AttemptView { attempt, place, to_wall: 1_700_000_000_000_000_000 }))
}

#[test]
fn live_attempts_validate_and_have_their_fields() {
    let validator = validator();
    let expected = || {
        let both = REPLAY.iter().filter(|&&field| field != NOT_LIVE);
        let mut fields: Vec<_> = both.chain(&LIVE).copied().collect();
        fields.sort_unstable();
        fields
    };
    for name in ["lab-basic-eth.pcap", "lab-icmp-eth.pcapng", "lab-simopen-eth-ns.pcap"] {
        for attempt in attempts(name) {
            for role in [Role::Client, Role::Server, Role::Forwarded] {
                let record = live(&attempt, "eth0", role);
                let value = assert_valid(&validator, &record);
                let mut fields = keys(&record);
                assert_eq!(fields[..2], ["type", "schema"], "{record}");
                fields.sort_unstable();
                assert_eq!(fields, expected(), "{record}");
                assert_eq!(value["role"], role.name());
            }
        }
    }
}

fn start() -> StartRecord {
    StartRecord {
        kind: "start",
        schema: SCHEMA,
        time: json::seconds(1_700_000_000_123_456_789),
        version: "0.1.0",
        kernel: "6.1.0".to_owned(),
        interfaces: vec![InterfaceRecord {
            name: "eth0".to_owned(),
            index: 2,
            ingress: "xdp",
            ingress_mode: "native XDP".to_owned(),
            egress: "tc-egress",
            egress_mode: "TCX".to_owned(),
            reason: "driver virtio_net takes native XDP while it runs".to_owned(),
        }],
        filter: FilterRecord { followed: "port:443".to_owned(), shown: String::new() },
    }
}

fn loss() -> LossRecord {
    let time = json::seconds(1_700_000_001_000_000_000);
    LossRecord { kind: "loss", schema: SCHEMA, time, reason: "ring-full", count: 7 }
}

fn reload() -> ReloadRecord {
    ReloadRecord {
        kind: "reload",
        schema: SCHEMA,
        time: json::seconds(1_700_000_001_000_000_000),
        file: Some("handshake.toml".to_owned()),
        result: RELOADS[2],
        error: Some("handshake.toml:1: unknown key".to_owned()),
        changed: vec!["port".to_owned()],
        restart: Vec::new(),
        filter: FilterRecord { followed: String::new(), shown: "outcome:refused".to_owned() },
    }
}

fn summary(summary: &Summary) -> SummaryRecord<'_> {
    let time = json::seconds(1_700_000_002_000_000_000);
    SummaryRecord { kind: "summary", schema: SCHEMA, time, duration_s: 2.5, summary }
}

#[test]
fn other_live_records_validate() {
    let validator = validator();
    let mut counted = Summary { started: 3, open: 1, ..Summary::default() };
    counted.outcomes.insert("completed".to_owned(), 2);
    for (record, kind) in [
        (printed(&start()), "start"),
        (printed(&loss()), "loss"),
        (printed(&reload()), "reload"),
        (printed(&summary(&Summary::default())), "summary"),
        (printed(&summary(&counted)), "summary"),
    ] {
        assert_eq!(assert_valid(&validator, &record)["type"], kind);
    }
}

/// A schema that everything matches would prove nothing.
#[test]
fn what_is_no_record_does_not_validate() {
    let validator = validator();
    let attempt = &attempts("lab-basic-eth.pcap")[0];
    let good: Value = serde_json::from_str(&live(attempt, "eth0", Role::Client)).expect("JSON");
    let with = |field: &str, value: Value| {
        let mut record = good.clone();
        record[field] = value;
        record
    };
    let mut incomplete = good.clone();
    incomplete.as_object_mut().expect("an object").remove("outcome");
    assert!(validator.is_valid(&good));
    for bad in [
        incomplete,
        with("outcome", "established".into()),
        with("ended_by", "fin".into()),
        with("type", "loss".into()),
        with("schema", 2.into()),
        with("t_first", "yesterday".into()),
        with("t_end", "1.5".into()),
        with("client_port", 65_536.into()),
        with("client_isn", (-1).into()),
        with("role", "observer".into()),
        with("hook", "tc".into()),
        Value::Object(Map::new()),
        Value::Null,
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

/// An interface may be called anything but `/`, `:` and white space.
#[test]
fn names_from_outside_reach_no_terminal_as_they_are() {
    let name = "\u{1b}[2J\u{7f}\u{9b}\u{202e}0hte";
    let record = live(&attempts("lab-basic-eth.pcap")[0], name, Role::Client);
    assert!(record.contains(r#""iface":"\u001b[2J\u007f\u009b\u202e0hte""#), "{record}");
    assert_eq!(assert_valid(&validator(), &record)["iface"], name);
}
