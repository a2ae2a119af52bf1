//! Habits that can be seen in one file.
use super::{File, source};

/// Longer files need an argument; this is where the argument is lost.
const MAX_LINES: usize = 700;

/// What may not stand in code, and what to do about it.
const FORBIDDEN: &[(&str, &str)] = &[
    ("todo!(", "finish it, or return an error"),
    ("dbg!(", "remove it"),
    ("#[allow(", "use `#[expect(…, reason = \"…\")]`"),
    ("#![allow(", "use `#![expect(…, reason = \"…\")]`"),
];

/// Complaints about style, each beginning with `:line: `.
pub(super) fn check(file: &File) -> Vec<String> {
    let mut complaints = whitespace(&file.text);
    if file.path.ends_with(".rs") {
        complaints.extend(rust(file));
    }
    complaints
}

fn whitespace(text: &str) -> Vec<String> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.ends_with([' ', '\t']));
    let mut complaints: Vec<String> =
        lines.map(|(index, _)| format!(":{}: trailing whitespace", index + 1)).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        complaints.push(format!(":{}: no newline at the end", text.lines().count()));
    }
    complaints
}

fn rust(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    if !file.text.starts_with("//!") {
        complaints.push(":1: does not begin with `//!` saying what the module is for".to_owned());
    }
    let code = source::code(&file.text);
    for (index, line) in code.lines().enumerate() {
        for (what, instead) in FORBIDDEN.iter().filter(|(what, _)| contains_word(line, what)) {
            complaints.push(format!(":{}: `{what}`: {instead}", index + 1));
        }
    }
    let lines = source::lines_before_tests(&code);
    if lines > MAX_LINES && !file.path.contains("tests/") {
        complaints.push(format!(":{lines}: longer than {MAX_LINES} lines without its tests"));
    }
    complaints
}

/// Whether `line` contains `what`, not as the end of a longer word.
fn contains_word(line: &str, what: &str) -> bool {
    line.match_indices(what).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(&File { path: path.into(), text: text.into() })
    }

    #[test]
    fn an_orderly_file_is_left_alone() {
        let text = "//! Purpose.\nfn f() {\n    g(\"todo!()\"); // dbg!(x)\n    my_dbg!(1);\n}\n";
        assert_eq!(complaints("a/src/b.rs", text), Vec::<String>::new());
    }

    #[test]
    fn a_module_says_what_it_is_for() {
        assert_eq!(complaints("a/src/b.rs", "fn f() {}\n").len(), 1);
    }

    #[test]
    fn unfinished_and_silenced_code_is_refused() {
        let text = "//! Purpose.\n#[allow(dead_code)]\nfn f() {\n    todo!();\n    dbg!(1);\n}\n";
        let lines: Vec<_> = complaints("a/src/b.rs", text);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with(":2: "));
    }

    #[test]
    fn whitespace_is_checked_in_every_text() {
        assert_eq!(
            complaints("README.md", "word \nword"),
            [":1: trailing whitespace", ":2: no newline at the end"]
        );
    }

    #[test]
    fn a_long_file_is_long_without_its_tests() {
        let long = format!("//! Purpose.\n{}", "fn f() {}\n".repeat(MAX_LINES));
        assert_eq!(complaints("a/src/b.rs", &long).len(), 1);
        assert_eq!(complaints("tests/suites/live.rs", &long).len(), 0);
        let tested = format!("//! P.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(MAX_LINES));
        assert_eq!(complaints("a/src/b.rs", &tested).len(), 0);
    }
}
