//! Reads a configuration file: TOML, one key for each option of `watch`, values as after the flag.

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use clap::{Arg, Command};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

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

/// Reads the entries of a file in their order.
pub(super) fn read(file: &Path, watch: &Command) -> Result<Vec<Entry>, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { file: file.to_owned(), error };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let line = |span: &Range<usize>| text[..span.start.min(text.len())].matches('\n').count() + 1;
    let wrong = |span: &Range<usize>, problem| ConfigError::File {
        file: file.to_owned(),
        line: line(span),
        problem,
    };
    let table = DeTable::parse(&text).map_err(|error| {
        wrong(&error.span().unwrap_or_default(), Problem::Syntax(error.message().to_owned()))
    })?;
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        entry(key.get_ref(), value.get_ref(), watch)
            .map(|found| Entry { line: line(&key.span()), ..found })
            .map_err(|problem| wrong(&key.span(), problem))
    };
    entries.into_iter().map(entry).collect()
}

/// The options that a file may give.
pub(super) fn keys(watch: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let options = watch.get_arguments().filter(|arg| is_option(arg));
    options.filter_map(|arg| Some((arg.get_long()?, arg))).filter(|(long, _)| *long != CONFIG)
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
