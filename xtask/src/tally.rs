//! Counts tests while their output passes through: cargo's, and that of suites in a guest.
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

/// What ran so far.
#[derive(Default)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed, and steps that ended without telling why.
    pub(crate) failed: u64,
    /// The names of both kinds.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// Counts something that is a test without being one of cargo's.
    pub(crate) fn step(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => self.failure(format!("{name}: {error:#}")),
        }
    }

    /// Runs `command`, a `cargo test`, and adds up its results.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<()> {
        let failed_before = self.failed;
        let mut child =
            command.stdout(Stdio::piped()).spawn().context("could not start cargo test")?;
        let output = child.stdout.take().context("cargo test has no output")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("could not read what cargo test prints")?;
            self.line(&String::from_utf8_lossy(&line));
        }
        let status = child.wait().context("lost cargo test")?;
        if !status.success() && self.failed == failed_before {
            self.failure(format!("cargo test ended with {status} (see above)"));
        }
        Ok(())
    }

    /// Counts what ran elsewhere: the output of one suite and how it ended. Prints nothing.
    pub(crate) fn suite(&mut self, name: &str, lines: &[String], exit: Option<i32>) {
        let (passed, failed) = (self.passed, self.failed);
        lines.iter().for_each(|line| self.count(line));
        match exit {
            Some(0) if self.passed > passed => {}
            Some(0) => self.failure(format!("{name}: no test ran")),
            Some(_) if self.failed > failed => {}
            Some(code) => self.failure(format!("{name} ended with {code}")),
            None => self.failure(format!("{name} did not end")),
        }
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.count(line);
    }

    fn count(&mut self, line: &str) {
        if let Some((passed, failed)) = result(line) {
            self.passed += passed;
            self.failed += failed;
        } else if let Some(name) = failed_test(line) {
            self.failures.push(name.to_owned());
        }
    }

    fn failure(&mut self, name: String) {
        self.failed += 1;
        self.failures.push(name);
    }
}

/// The numbers of a line like `test result: FAILED. 3 passed; 1 failed; 0 ignored; …`.
fn result(line: &str) -> Option<(u64, u64)> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |what: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
    };
    Some((count("passed")?, count("failed")?))
}

fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_over_binaries() {
        let mut tally = Tally::default();
        tally.line("test tests::a ... ok");
        tally.line("test tests::b ... FAILED");
        tally
            .line("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.line("test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 9 filtered out");
        assert_eq!((tally.passed, tally.failed), (15, 1));
        assert_eq!(tally.failures, ["tests::b"]);
    }

    #[test]
    fn a_binary_that_dies_counts_as_a_failure() -> Result<()> {
        let mut tally = Tally::default();
        tally.run(Command::new("sh").args(["-c", "exit 101"]))?;
        assert_eq!(tally.failed, 1);
        Ok(())
    }

    #[test]
    fn a_suite_elsewhere_must_end_and_run_something() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let fine = lines("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured");
        let bad = lines("test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured");
        let sum = |lines: &[String], exit| {
            let mut tally = Tally::default();
            tally.suite("s", lines, exit);
            (tally.passed, tally.failed)
        };
        assert_eq!(sum(&fine, Some(0)), (2, 0));
        assert_eq!(sum(&bad, Some(101)), (1, 3));
        assert_eq!(sum(&fine, None), (2, 1));
        assert_eq!(sum(&fine, Some(139)), (2, 1));
        assert_eq!(sum(&[], Some(0)), (0, 1));
    }

    #[test]
    fn a_program_that_talks_about_results_is_not_counted() {
        assert_eq!(result("test result: who knows"), None);
        assert_eq!(result("3 passed; 1 failed"), None);
    }
}
