//! Reads a configuration file: TOML, one key for each option of `watch`, values as after the flag.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command};
use toml::de::{DeTable, DeValue};

use super::{CONFIG, ConfigError, is_option};
use crate::nearest::nearest;

/// What can be wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is no TOML.
    #[error("{0}")]
    Syntax(String),
    /// No option has this name.
    #[error("unknown key {key:?}{}", match nearest {
        Some(near) => format!("; did you mean {near:?}?"),
        None => "; `handshake config` lists all".to_owned(),
    })]
    Unknown {
        /// The key.
        key: String,
        /// The name that comes near.
        nearest: Option<String>,
    },
    /// A value that no flag could have.
    #[error("{key}: expected {expected}")]
    Kind {
        /// The key.
        key: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A value that clap refuses.
    #[error("{key}: {message}")]
    Refused {
        /// The key.
        key: String,
        /// What clap says.
        message: String,
    },
}

/// A key and its value, as arguments.
#[derive(Debug)]
pub(super) struct Entry {
    /// Name of the option.
    pub(super) key: String,
    /// clap's name of it.
    pub(super) id: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// None for what is empty or false.
    pub(super) arguments: Vec<OsString>,
}

/// What is wrong in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What could be read of a file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// In their order.
    pub(super) entries: Vec<Entry>,
    /// In no order.
    pub(super) wrong: Vec<Wrong>,
}

/// Reads the entries of a file, and what is wrong with it.
pub(super) fn read(file: &Path, watch: &Command) -> Result<Contents, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { file: file.to_owned(), error };
    Ok(contents(&std::fs::read_to_string(file).map_err(unreadable)?, watch))
}

/// The same of a text.
pub(super) fn contents(text: &str, watch: &Command) -> Contents {
    let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut pairs: Vec<_> = table.get_ref().iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    let mut damage: Vec<_> = errors.iter().map(|error| (start(error), error.message())).collect();
    damage.sort_unstable();
    let mut contents = Contents::default();
    let mut syntax = Vec::new();
    for (key, value) in pairs {
        let span = key.span().start..=value.span().end;
        let (inside, outside): (Vec<_>, _) =
            damage.into_iter().partition(|(at, _)| span.contains(at));
        damage = outside;
        if let Some((at, message)) = inside.first() {
            // One damage looks like several; and what was made of the value nobody wrote.
            let written = text.get(value.span()).unwrap_or_default();
            syntax.push((*at, of_value(key.get_ref(), written, message)));
            continue;
        }
        let line = line(key.span().start);
        match entry(key.get_ref(), value.get_ref(), watch) {
            Ok(found) => contents.entries.push(Entry { line, ..found }),
            // Where a line is damaged, its neighbours may look like what they are not.
            Err(Problem::Kind { .. }) if !errors.is_empty() => {}
            Err(problem) => contents.wrong.push(Wrong { line, problem }),
        }
    }
    let outside = damage.into_iter().map(|(at, message)| (at, message.to_owned()));
    syntax.extend(outside);
    syntax.sort_unstable();
    syntax.dedup_by_key(|(at, _)| line(*at));
    let wrong = |(at, message)| Wrong { line: line(at), problem: Problem::Syntax(message) };
    contents.wrong.extend(syntax.into_iter().map(wrong));
    contents
}

/// What TOML says of a value; it takes a network or a duration without quotes for a number.
fn of_value(key: &str, written: &str, message: &str) -> String {
    let is_bare = written.starts_with(|first: char| first.is_ascii_digit());
    match is_bare && !message.contains("quoted") {
        true => format!("{key}: {message}; a text needs quotes"),
        false => format!("{key}: {message}"),
    }
}

/// The options that a file may give.
pub(super) fn keys(watch: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let options = watch.get_arguments().filter(|arg| is_option(arg));
    options.filter_map(|arg| Some((arg.get_long()?, arg))).filter(|(long, _)| *long != CONFIG)
}

fn start(error: &toml::de::Error) -> usize {
    error.span().unwrap_or_default().start
}

fn entry(key: &str, value: &DeValue<'_>, watch: &Command) -> Result<Entry, Problem> {
    let unknown = || Problem::Unknown {
        key: key.to_owned(),
        nearest: nearest(key, keys(watch).map(|(long, _)| long)).map(str::to_owned),
    };
    let (_, arg) = keys(watch).find(|(long, _)| *long == key).ok_or_else(unknown)?;
    let kind = |expected| Problem::Kind { key: key.to_owned(), expected };
    let values = if arg.get_action().takes_values() {
        texts(value).ok_or_else(|| kind("a text, a number, or a list of them"))?
    } else {
        switch(value).ok_or_else(|| kind("true or false"))?
    };
    let arguments = values.into_iter().map(|value| match value {
        Some(value) => format!("--{key}={value}").into(),
        None => format!("--{key}").into(),
    });
    let id = arg.get_id().to_string();
    Ok(Entry { key: key.to_owned(), id, line: 0, arguments: arguments.collect() })
}

/// Texts and numbers; what is empty says nothing.
fn texts(value: &DeValue<'_>) -> Option<Vec<Option<String>>> {
    match value {
        DeValue::Array(all) => {
            let each = all.iter().map(|one| scalar(one.get_ref()).map(Some));
            each.collect()
        }
        DeValue::String(text) if text.is_empty() => Some(Vec::new()),
        one => Some(vec![Some(scalar(one)?)]),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Some(parsed.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn switch(value: &DeValue<'_>) -> Option<Vec<Option<String>>> {
    match value {
        DeValue::Boolean(true) => Some(vec![None]),
        DeValue::Boolean(false) => Some(Vec::new()),
        _ => None,
    }
}
