//! Rust source without what only people read: comments, strings and characters become blanks,
//! lines stay where they are.

/// `text` with the contents of comments and literals blanked out.
pub(super) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// The identifiers of `code` that are used as the first or a later part of a path (`name::`), or
/// that stand anywhere in a `use` declaration, each with its line number from 1.
pub(super) fn imports(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_use = false;
    for (index, line) in code.lines().enumerate() {
        for (start, word) in words(line) {
            let rest = &line[start + word.len()..];
            if word == "use" {
                in_use = true;
            } else if in_use || rest.trim_start().starts_with("::") {
                found.push((index + 1, word));
            }
            if rest.trim_start().starts_with(';') || rest.trim_start().starts_with("};") {
                in_use = false;
            }
        }
        if line.trim_end().ends_with(';') {
            in_use = false;
        }
    }
    found
}

/// How many lines come before the unit tests.
pub(super) fn lines_before_tests(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod ")
    });
    tests.unwrap_or(lines.len())
}

fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.split(move |c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
}

/// Where the comment or literal at `at` ends; `at` itself if there is none.
fn skipped(chars: &[char], at: usize) -> usize {
    match (chars[at], chars.get(at + 1)) {
        ('/', Some('/')) => find(chars, at, |rest| rest[0] == '\n'),
        ('/', Some('*')) => block_comment(chars, at),
        ('"', _) => string(chars, at + 1),
        ('r', Some('"' | '#')) if !follows_word(chars, at) => raw_string(chars, at),
        ('\'', Some(_)) => character(chars, at),
        _ => at,
    }
}

fn find(chars: &[char], from: usize, is_end: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|&index| is_end(&chars[index..])).unwrap_or(chars.len())
}

fn follows_word(chars: &[char], at: usize) -> bool {
    // `b` and `c` may stand before a raw string's `r`.
    let before = |back: usize| at.checked_sub(back).map(|index| chars[index]);
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match before(1) {
        Some('b' | 'c') => is_word(before(2)),
        other => is_word(other),
    }
}

fn block_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut index = at;
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

fn string(chars: &[char], mut index: usize) -> usize {
    while index < chars.len() && chars[index] != '"' {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    (index + 1).min(chars.len())
}

fn raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let closes = |rest: &[char]| {
        rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|&c| c == '#')
    };
    (find(chars, open + 1, closes) + 1 + hashes).min(chars.len())
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime.
fn character(chars: &[char], at: usize) -> usize {
    if chars[at + 1] == '\\' {
        return (find(chars, at + 3, |rest| rest[0] == '\'') + 1).min(chars.len());
    }
    if chars.get(at + 2) == Some(&'\'') { at + 3 } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_become_blanks() {
        let text = "a // dbg!\n/* x /* y */ z */ b \"todo!\\\"\" c r#\"\"q\"# '\"' d";
        let words: Vec<_> = code(text).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["a", "b", "c", "d"]);
    }

    #[test]
    fn lifetimes_and_lines_survive() {
        let text = "fn f<'a>(x: &'a str) {\n    g('\\'', '\\u{1b}');\n}\n";
        let code = code(text);
        assert_eq!(code.lines().count(), 3);
        assert!(code.contains("<'a>(x: &'a str)"));
        assert!(code.ends_with("g(    ,         );\n}\n"), "{code}");
    }

    #[test]
    fn imports_are_paths_and_use_declarations() {
        let code = "use std::{fs,\n    io};\nfn f() { tracker.run(); aya::load(); }\n";
        let words: Vec<_> = imports(code).into_iter().map(|(_, word)| word).collect();
        assert_eq!(words, ["std", "fs", "io", "aya"]);
    }

    #[test]
    fn tests_are_not_counted() {
        assert_eq!(lines_before_tests("a\nb\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert_eq!(lines_before_tests("a\n#[cfg(test)]\nfn b() {}\n"), 3);
    }
}
