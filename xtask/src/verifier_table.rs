//! `docs/verifier.md`: how many instructions each kernel's verifier walked through.
//!
//! A program that costs the verifier much more than it did is near the limit of one million
//! before anyone notices; so growth fails until someone accepts it with `--bless`.
use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::root;

/// Growth that is not worth a question.
const MAX_GROWTH_PERCENT: u64 = 10;

/// Program and kernel series, as in `("handshake_xdp", "6.1")`, to verified instructions.
pub(crate) type Counts = BTreeMap<(String, String), u64>;

/// What stands above the numbers.
const HEADER: &str = "| program | kernel | verified instructions |\n|---|---|---|\n";

/// What stands before the kernels that were booted.
const KERNELS: &str = "Kernels booted:";

/// One program's name and count from a line of `handshake verify`, which for a program that the
/// kernel took is `ok NAME verified=COUNT …`.
pub(crate) fn parse_line(line: &str) -> Option<(&str, u64)> {
    let mut words = line.strip_prefix("ok ")?.split_whitespace();
    let name = words.next()?;
    let count = words.find_map(|word| word.strip_prefix("verified="))?;
    Some((name, count.parse().ok()?))
}

/// Compares `counts` with the checked-in table, or makes them the table.
pub(crate) fn check(counts: &Counts, bless: bool) -> Result<()> {
    let file = file();
    if bless {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = replace(&text, counts).context("docs/verifier.md has no table of counts")?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("docs/verifier.md now holds {} numbers", counts.len());
        return Ok(());
    }
    let table = fs::read_to_string(&file).map(|text| parse(&text)).unwrap_or_default();
    let complaints = complaints(&table, counts);
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("docs/verifier.md disagrees; accept the numbers with `cargo xtask vm-test --bless`");
    }
    Ok(())
}

/// The kernel of a series that the numbers of the table were measured on, as in `6.1.192`.
pub(crate) fn measured_on(series: &str) -> Option<String> {
    version_in(&fs::read_to_string(file()).ok()?, series)
}

fn version_in(text: &str, series: &str) -> Option<String> {
    let words = text.split_once(KERNELS)?.1.lines().next()?.split_whitespace();
    let words = words.map(|word| word.trim_end_matches([',', '.', ';']));
    let of_series =
        |word: &&str| word.strip_prefix(series).is_some_and(|rest| rest.starts_with('.'));
    words.filter(|word| !word.is_empty()).find(of_series).map(str::to_owned)
}

fn file() -> PathBuf {
    root().join("docs/verifier.md")
}

fn complaints(table: &Counts, counts: &Counts) -> Vec<String> {
    let mut complaints = Vec::new();
    for ((program, kernel), &count) in counts {
        match table.get(&(program.clone(), kernel.clone())) {
            None => complaints.push(format!("{program} on {kernel}: {count}, not in the table")),
            Some(&old) if count * 100 > old * (100 + MAX_GROWTH_PERCENT) => {
                complaints.push(format!("{program} on {kernel}: {count}, was {old}"));
            }
            Some(_) => {}
        }
    }
    complaints
}

/// `text` with the numbers of its table replaced; what people wrote around it stays, and so do the
/// numbers of kernels that `counts` does not have.
fn replace(text: &str, counts: &Counts) -> Option<String> {
    let (before, rest) = text.split_once(HEADER)?;
    let rows = rest.split_inclusive('\n').take_while(|line| line.starts_with('|'));
    let after = &rest[rows.map(str::len).sum::<usize>()..];
    let mut all = parse(text);
    all.retain(|(_, kernel), _| !counts.keys().any(|(_, blessed)| blessed == kernel));
    all.extend(counts.clone());
    Some(format!("{before}{}{after}", render(&all)))
}

fn render(counts: &Counts) -> String {
    let rows = counts
        .iter()
        .map(|((program, kernel), count)| format!("| {program} | {kernel} | {count} |\n"));
    rows.fold(HEADER.to_owned(), |text, row| text + &row)
}

fn parse(text: &str) -> Counts {
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let (program, kernel) = (cells.next()?, cells.next()?);
        Some(((program.to_owned(), kernel.to_owned()), cells.next()?.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(&str, &str, u64)]) -> Counts {
        rows.iter().map(|&(name, kernel, n)| ((name.to_owned(), kernel.to_owned()), n)).collect()
    }

    #[test]
    fn a_table_reads_back() {
        let some = counts(&[("xdp", "6.1", 36_127), ("tc", "6.12", 9)]);
        assert_eq!(parse(&render(&some)), some);
    }

    #[test]
    fn blessing_keeps_the_words_and_the_kernels_not_measured() {
        let old = counts(&[("tc", "6.1", 1), ("xdp", "6.1", 2), ("xdp", "6.18", 3)]);
        let text = format!("# Title\n\nBefore.\n\n{}\nAfter.\n", render(&old));
        let blessed = replace(&text, &counts(&[("xdp", "6.1", 5)])).unwrap();
        let expected = counts(&[("xdp", "6.1", 5), ("xdp", "6.18", 3)]);
        assert_eq!(blessed, format!("# Title\n\nBefore.\n\n{}\nAfter.\n", render(&expected)));
        assert_eq!(replace("no table", &expected), None);
    }

    #[test]
    fn growth_above_a_tenth_is_a_complaint() {
        let table = counts(&[("xdp", "6.1", 1000)]);
        assert!(complaints(&table, &counts(&[("xdp", "6.1", 1100)])).is_empty());
        assert!(complaints(&table, &counts(&[("xdp", "6.1", 10)])).is_empty());
        assert_eq!(complaints(&table, &counts(&[("xdp", "6.1", 1101)])).len(), 1);
        assert_eq!(complaints(&table, &counts(&[("xdp", "6.12", 1)])).len(), 1);
    }

    #[test]
    fn the_kernel_of_a_series_stands_in_the_text() {
        let text = "Before 6.1.1.\nKernels booted: 6.12.117, 6.1.192 (in QEMU) and 6.18.44.\n";
        let version = |series| version_in(text, series);
        assert_eq!(version("6.1").as_deref(), Some("6.1.192"));
        assert_eq!(version("6.12").as_deref(), Some("6.12.117"));
        assert_eq!(version("6.18").as_deref(), Some("6.18.44"));
        assert_eq!(version("6.6"), None);
    }

    #[test]
    fn a_line_of_verify_is_a_name_and_a_number() {
        assert_eq!(parse_line("ok hs_xdp verified=36127 jited=1024"), Some(("hs_xdp", 36_127)));
        assert_eq!(parse_line("ok hs_xdp verified=unknown jited=1024"), None);
        assert_eq!(parse_line("failed hs_xdp: invalid argument 22"), None);
    }
}
