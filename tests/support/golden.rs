//! Golden files: what a surface looks like, kept beside the tests and compared byte for byte.
//!
//! After a change on purpose, run the suite with `HANDSHAKE_BLESS=1` and read the diff in git.
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines shown before and after a difference.
const CONTEXT: usize = 3;
/// Lines shown of a difference, for each side.
const SHOWN: usize = 40;

/// Where the files are.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden")
}

/// `text` is what the golden file `name` says; panics with the difference.
#[track_caller]
pub fn assert_golden(name: &str, text: &str) {
    let path = directory().join(name);
    if std::env::var_os("HANDSHAKE_BLESS").is_some_and(|value| !value.is_empty()) {
        bless(&path, text);
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "not what fixtures/golden/{name} says (-), but (+):\n{}\nIf that is meant, run the suite \
         again with HANDSHAKE_BLESS=1",
        difference(&golden, text)
    );
}

fn bless(path: &Path, text: &str) {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = written.and_then(|()| fs::write(path, text));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// The lines that differ, between those that two texts have in common at their start and end.
#[must_use]
pub fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (split(old), split(new));
    let same = |(a, b): &(&&str, &&str)| a == b;
    let start = old.iter().zip(&new).take_while(same).count();
    let rest = old[start..].iter().rev().zip(new[start..].iter().rev());
    let end = rest.take_while(same).count();
    let mut text = format!("@@ line {} @@\n", start + 1);
    show(&mut text, ' ', &old[start.saturating_sub(CONTEXT)..start]);
    show(&mut text, '-', &old[start..old.len() - end]);
    show(&mut text, '+', &new[start..new.len() - end]);
    let after = old.len() - end;
    show(&mut text, ' ', &old[after..(after + CONTEXT).min(old.len())]);
    text
}

/// Lines with their ends, so that a missing one at the end of a text is a difference.
fn split(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn show(text: &mut String, mark: char, lines: &[&str]) {
    for line in lines.iter().take(SHOWN) {
        let (line, end) =
            line.strip_suffix('\n').map_or((*line, " (no line end)"), |one| (one, ""));
        let _ =
            writeln!(text, "{mark} {}{end}", line.escape_debug().to_string().replace("\\\"", "\""));
    }
    if lines.len() > SHOWN {
        let _ = writeln!(text, "{mark} … and {} more lines", lines.len() - SHOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let (old, new) = ("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n5b\n6\n7\n8\n9\n");
        let shown = "@@ line 5 @@\n  2\n  3\n  4\n- 5\n+ five\n+ 5b\n  6\n  7\n  8\n";
        assert_eq!(difference(old, new), shown);
    }

    #[test]
    fn invisible_differences_are_shown() {
        assert_eq!(
            difference("a\t", "a\x1b\n"),
            "@@ line 1 @@\n- a\\t (no line end)\n+ a\\u{1b}\n"
        );
    }
}
