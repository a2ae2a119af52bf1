//! Which captures there are and what is expected of each.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

/// How much a capture asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Core,
    /// Tunnels and link types that only replay decodes.
    Extended,
    /// No capture, or a damaged one.
    BadInput,
}

/// One capture and its expectation.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) tier: Tier,
    pub(crate) status: String,
    /// Column of the status table and its value: packets, tcp, syn, synack, attempts.
    pub(crate) counts: Vec<(&'static str, u64)>,
    /// Skip reason and its count.
    pub(crate) skipped: Vec<(String, u64)>,
    pub(crate) attempts: Vec<Value>,
    path: PathBuf,
}

impl Case {
    pub(crate) fn capture(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

/// A set of captures.
#[derive(Debug)]
pub(crate) struct Corpus {
    pub(crate) cases: Vec<Case>,
    /// Where it was looked for.
    pub(crate) place: String,
    /// Captures known by name that are not there.
    pub(crate) absent: usize,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names in the first column of a table.
fn names(table: &str) -> Vec<String> {
    table.lines().skip(1).filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
}

impl Corpus {
    /// Our own captures.
    pub(crate) fn own() -> Self {
        let fixtures = fixtures();
        let cases = cases(&fixtures.join("pcaps"), &fixtures.join("expected"));
        Self { cases, place: fixtures.display().to_string(), absent: 0 }
    }

    /// Captures of other projects: those in the external directory that are not our own.
    pub(crate) fn public() -> Self {
        let root = env::var_os("HANDSHAKE_CORPUS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
            PathBuf::from,
        );
        let expected = root.join("oracle/expected");
        let mut cases =
            if expected.is_dir() { cases(&root.join("pcaps"), &expected) } else { Vec::new() };
        let own: HashSet<_> =
            names(&read(&fixtures().join("expected/STATUS.tsv"))).into_iter().collect();
        cases.retain(|case| !own.contains(&case.name));
        let there: HashSet<_> = cases.iter().map(|case| case.name.clone()).collect();
        let known = names(&read(&fixtures().join("public-captures.tsv")));
        let absent = known.iter().filter(|name| !there.contains(*name)).count();
        Self { cases, place: root.display().to_string(), absent }
    }
}

fn cases(captures: &Path, expected: &Path) -> Vec<Case> {
    let table = read(&expected.join("STATUS.tsv"));
    let mut lines = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    lines.map(|row| case(&header, &row, captures, expected)).collect()
}

fn case(header: &[&str], row: &[&str], captures: &Path, expected: &Path) -> Case {
    let column = |name: &str| {
        let at = header.iter().position(|column| *column == name).expect("a known column");
        row[at]
    };
    let name = column("file").to_owned();
    let count = |name: &'static str| (name, column(name).parse().expect("a count"));
    let attempts = read(&expected.join(format!("{name}.jsonl")));
    Case {
        tier: match column("tier") {
            "core" => Tier::Core,
            "extended" => Tier::Extended,
            _ => Tier::BadInput,
        },
        status: column("status").to_owned(),
        counts: ["packets", "tcp", "syn", "synack", "attempts"].map(count).to_vec(),
        skipped: column("skipped")
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(reason, count)| (reason.to_owned(), count.parse().expect("a count")))
            .collect(),
        attempts: attempts.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(),
        path: captures.join(&name),
        name,
    }
}
