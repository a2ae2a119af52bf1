//! The fuzz targets without a fuzzer: what they must survive, in a few seconds and on any
//! toolchain.
//!
//! Every target gets its corpus (`fuzz/corpus`, with what earlier findings left there), random
//! mutations of it, and random bytes. `HANDSHAKE_FUZZ_RUNS` sets how many.

#[expect(unreachable_pub, reason = "a crate of its own when a fuzzer runs it")]
#[expect(dead_code, reason = "the suite of properties asks the tracker's books for more")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::{env, fs};

use handshake_tests::random::Random;

fn runs(default: usize) -> usize {
    env::var("HANDSHAKE_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(default)
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut corpus: Vec<_> = files
        .map(|file| {
            let path = file.expect("a file").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a readable file"))
        })
        .collect();
    corpus.sort();
    assert!(!corpus.is_empty(), "no seeds in {}", directory.display());
    corpus
}

/// Runs a target over its corpus, then over what comes of it.
fn smoke(target: &str, run: fn(&[u8]), default_runs: usize, longest: usize) {
    let survives = |what: &str, bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| run(bytes))).is_err() {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{target}: {what}: {hex}");
        }
    };
    let corpus = corpus(target);
    for (name, bytes) in &corpus {
        survives(name, bytes);
    }
    let mut random = Random::new(target.len() as u64);
    for number in 0..runs(default_runs) {
        let bytes = if number % 4 == 0 {
            let len = random.below(longest);
            random.bytes(len)
        } else {
            let mut bytes = corpus[random.below(corpus.len())].1.clone();
            for _ in 0..=random.below(3) {
                random.mutate(&mut bytes);
            }
            bytes
        };
        survives(&format!("run {number}"), &bytes);
    }
}

#[test]
fn frames() {
    smoke("frame", targets::frame::run, 50_000, 200);
}

#[test]
fn options() {
    smoke("options", targets::options::run, 200_000, 44);
}

#[test]
fn records() {
    smoke("record", targets::record::run, 20_000, 300);
}

#[test]
fn tracker() {
    smoke("tracker", targets::tracker::run, 5_000, 2_000);
}

#[test]
fn captures() {
    smoke("capture", targets::capture::run, 500, 1_000);
}

#[test]
fn queries() {
    smoke("query", targets::query::run, 30_000, 60);
}

#[test]
fn configuration_files() {
    smoke("config", targets::config::run, 1_500, 200);
}
