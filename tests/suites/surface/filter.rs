//! `--filter`: the language holds against any input, and `replay` prints what it says and counts
//! what it must.

use std::collections::BTreeMap;

use handshake_tests::random::Random;
use handshake_user::query::Query;
use serde_json::Value;

use crate::program::{Said, capture, path_text, run};

/// Pieces from which terms are made, right and wrong.
const PIECES: [&str; 44] = [
    "port:",
    "host:",
    "net:",
    "client:",
    "server:",
    "outcome:",
    "role:",
    "iface:",
    "vlan:",
    "retrans:",
    "latency:",
    "latency-server:",
    "-",
    "!",
    "/",
    "\\",
    " ",
    "\t",
    ",",
    ":",
    ">",
    ">=",
    "<",
    "<=",
    "80",
    "1-9",
    "0",
    "65536",
    "10.0.0.0/8",
    "::1",
    "[::1]:443",
    "refused",
    "fail",
    "ed",
    "client",
    "eth*",
    "yes",
    "no",
    "100ms",
    "5h",
    "(",
    "a+",
    "ü",
    "\u{202e}",
];

fn any_text(random: &mut Random) -> String {
    if random.below(4) == 0 {
        let length = random.below(40);
        return String::from_utf8_lossy(&random.bytes(length)).into_owned();
    }
    (0..random.below(12)).map(|_| random.of(&PIECES)).collect()
}

/// One right term of every kind.
fn right_term(random: &mut Random) -> String {
    let spans = ["1", "443", "1-65535", "80-80"];
    let ends = ["10.0.0.0/8", "192.0.2.1", "::/0", "2001:db8::1", "1.2.3.4:5", "[::1]:443"];
    let latencies = [">1ms", "<=2s", ">=1500us", "<1h", ">0ns", "<1m30s", ">0.5s"];
    let (key, values): (&str, &[&str]) = random.of(&[
        ("port", &spans[..]),
        ("host", &ends),
        ("net", &ends),
        ("client", &ends),
        ("server", &ends),
        ("outcome", &["refused", "failed", "*", "completed*", "half-open", "n?-answer"]),
        ("role", &["client", "server", "forwarded"]),
        ("iface", &["lo", "eth*", "?", "*"]),
        ("vlan", &["0", "12", "1-4095"]),
        ("retrans", &["yes", "no", "0", ">3", "<=1", ">=2"]),
        ("latency", &latencies),
        ("latency-server", &latencies),
        ("latency-client", &latencies),
        ("/", &["", "a b", "\\/", "[0-9]+$", "→", "(?i)x|y"]),
    ]);
    let sign = random.of(&["", "", "-", "!"]);
    if key == "/" {
        return format!("{sign}/{}/", random.of(values));
    }
    let several: Vec<_> = (0..=random.below(3)).map(|_| random.of(values)).collect();
    format!("{sign}{key}:{}", several.join(","))
}

/// A suggestion without a gap is a query.
fn assert_meant_is_right(text: &str, error: &str) {
    let meant = error.rsplit_once("did you mean ").and_then(|(_, rest)| rest.strip_suffix('?'));
    if let Some(meant) = meant.filter(|meant| !meant.contains('…') && !meant.contains('/')) {
        assert!(Query::parse(meant).is_ok(), "{text:?}: {meant:?}");
    }
}

#[test]
fn no_text_makes_the_parser_panic_and_what_it_takes_it_says_again() {
    let mut taken = 0;
    for seed in 1..=50_000 {
        let text = any_text(&mut Random::new(seed));
        match Query::parse(&text) {
            Ok(query) => {
                taken += 1;
                let said = query.to_string();
                assert_eq!(Query::parse(&said).as_ref(), Ok(&query), "{text:?} {said:?}");
            }
            Err(error) => {
                let before: String = text.chars().take(error.position - 1).collect();
                assert!(text[before.len()..].starts_with(&error.term), "{text:?} {error:?}");
                assert_meant_is_right(&text, &error.to_string());
            }
        }
    }
    println!("{taken} of 50000 were queries");
    assert!((1_000..40_000).contains(&taken), "{taken}");
}

#[test]
fn every_query_of_right_terms_is_taken_and_said_again() {
    for seed in 1..=20_000 {
        let mut random = Random::new(seed);
        let terms: Vec<_> = (0..random.below(6)).map(|_| right_term(&mut random)).collect();
        let text = terms.join(random.of(&[" ", "  ", "\t"]));
        let query = Query::parse(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let said = query.to_string();
        assert_eq!(Query::parse(&said).as_ref(), Ok(&query), "{text:?} {said:?}");
        let (followed, shown) = query.clone().split();
        assert_eq!(followed.clone().and(shown).to_string().len(), said.len(), "{text:?}");
        assert_eq!(query.is_empty(), terms.is_empty());
    }
}

fn replay(format: &str, filters: &[&str]) -> Said {
    let path = capture("lab-overflow-eth.pcap");
    let mut arguments = vec!["replay", "--format", format, path_text(&path)];
    arguments.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
    let said = run(&arguments);
    assert_eq!(said.code, Some(0), "{filters:?} {}", said.stderr);
    said
}

fn records(filters: &[&str]) -> Vec<Value> {
    let said = replay("json", filters);
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The records that a closure takes are those that the filter takes.
#[track_caller]
fn assert_takes(filters: &[&str], takes: impl Fn(&Value) -> bool) {
    let (all, taken) = (records(&[]), records(filters));
    let expected: Vec<_> = all.iter().filter(|one| takes(one)).cloned().collect();
    assert!(!expected.is_empty() && expected.len() < all.len(), "{filters:?} tells nothing apart");
    // Numbers are given to what is followed, in its order.
    let anonymous = |mut record: Value| {
        record.as_object_mut().expect("an object").remove("id");
        record
    };
    let expected: Vec<_> = expected.into_iter().map(anonymous).collect();
    let taken: Vec<_> = taken.into_iter().map(anonymous).collect();
    assert_eq!(taken, expected, "{filters:?}");
}

#[test]
fn replay_prints_what_the_filter_takes() {
    let all = records(&[]);
    let mut outcomes = BTreeMap::new();
    for record in &all {
        *outcomes.entry(record["outcome"].as_str().expect("a name").to_owned()).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
    let port = all[0]["client_port"].as_u64().expect("a port");
    let failed = |record: &Value| !record["outcome"].as_str().unwrap().starts_with("completed");
    let latency = |record: &Value| record["lat_total_ns"].as_i64();
    assert_takes(&["outcome:failed"], failed);
    assert_takes(&["-outcome:failed"], |record| !failed(record));
    assert_takes(&[&format!("port:{port}")], |record| record["client_port"] == port);
    assert_takes(&[&format!("-port:{port}")], |record| record["client_port"] != port);
    assert_takes(&["outcome:failed", &format!("-port:{port}")], |record| {
        failed(record) && record["client_port"] != port
    });
    assert_takes(&[&format!("/:{port} →/")], |record| record["client_port"] == port);
    let sport = format!("sport:{port}");
    assert_takes(&[&sport], |record| record["client_port"] == port);
    // All go to the same one.
    let server_port = records(&[])[0]["server_port"].clone();
    assert_eq!(records(&[&format!("dport:{server_port}")]).len(), records(&[]).len());
    assert!(records(&[&format!("sport:{server_port}")]).is_empty());
    assert_takes(&["latency:>0s"], |record| latency(record).is_some());
}

#[test]
fn what_is_not_shown_is_counted_and_what_is_not_followed_is_not() {
    let summary = |filters: &[&str]| replay("summary", filters).stdout;
    let all = records(&[]).len();
    let failed = records(&["outcome:failed"]).len();
    let text = summary(&["outcome:failed"]);
    let balance = format!("attempts: {all} started = {all} ended + 0 open");
    assert!(text.starts_with(&balance), "{text}");
    let hidden = format!("of these {} not printed: see --filter and --count", all - failed);
    assert!(text.contains(&hidden), "{text}");
    let text = summary(&["port:1"]);
    assert!(text.starts_with("attempts: 0 started = 0 ended + 0 open\n"), "{text}");
    assert!(text.contains(" ignored (by the filter") && !text.contains("not printed"), "{text}");
}

#[test]
fn a_filter_that_is_none_is_a_usage_error_that_says_where_and_what_was_meant() {
    for command in ["watch", "replay"] {
        let said = run(&[command, "--filter", "port:443 outcom:refused", "x"][..3]);
        let line = "error: invalid value 'port:443 outcom:refused' for '--filter <EXPR>': \
                    \"outcom:refused\" at 10: there is no key \"outcom\"; did you mean outcome:refused?\n";
        assert!(said.stderr.starts_with(line), "{}", said.stderr);
        assert_eq!((said.stdout.as_str(), said.code), ("", Some(2)));
    }
    // A term that begins with a minus is no flag.
    let said = run(&["watch", "--filter", "-prot:22"]);
    assert!(said.stderr.contains("did you mean -port:22?"), "{}", said.stderr);
}
