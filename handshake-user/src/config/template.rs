//! A configuration file that says what could be in it, and the table of docs/flags.md: both made
//! from the definition of the command line.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::file::keys;

/// Columns of a comment.
const WIDTH: usize = 96;

const HEAD: &str = "\
# Configuration of `handshake watch --config FILE`, in TOML.
#
# Every key is a flag without its dashes, and takes what the flag takes. Flags go before the
# environment, the environment before this file, this file before the defaults. On SIGHUP the file
# is read again: port, net, filter and format change at once, the others when handshake is started
# again. `handshake config --check FILE` reports the errors of a file.
#
# Below, each key has its default. An empty text or list counts as not set.
";

/// A file in which every key is commented out with its default.
#[must_use]
pub fn template() -> String {
    let watch = super::watch();
    let mut text = HEAD.to_owned();
    for (key, arg) in keys(&watch).filter(|(_, arg)| !arg.is_hide_set()) {
        text.push('\n');
        for line in help(arg).lines() {
            let _ = writeln!(text, "{}", format!("# {line}").trim_end());
        }
        let _ = writeln!(text, "#{key} = {}", default(arg));
    }
    text
}

/// Help as comments: the long text, and the values there are.
fn help(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut lines: Vec<String> = help.lines().flat_map(|line| wrapped(line, "")).collect();
    for value in arg.get_possible_values().iter().filter(|value| !value.is_hide_set()) {
        let what = value.get_help().map(ToString::to_string).unwrap_or_default();
        lines.extend(wrapped(&format!("- {}: {what}", value.get_name()), "  "));
    }
    lines.join("\n")
}

/// Breaks a line between words; the lines that follow begin with `indent`.
fn wrapped(line: &str, indent: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last().map_or(0, |line| line.chars().count());
        let is_first = last == 0;
        if !is_first && last + 1 + word.chars().count() > WIDTH - 2 {
            lines.push(format!("{indent}{word}"));
        } else if let Some(line) = lines.last_mut() {
            line.push_str(if is_first { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

fn default(arg: &Arg) -> String {
    let is_list = matches!(arg.get_action(), clap::ArgAction::Append);
    let values = arg.get_default_values();
    match values.first().map(|value| value.to_string_lossy()) {
        _ if !arg.get_action().takes_values() => "false".to_owned(),
        None if is_list => "[]".to_owned(),
        Some(number) if number.parse::<i64>().is_ok() => number.into_owned(),
        value => format!("{:?}", value.unwrap_or_default()),
    }
}

/// The table of docs/flags.md: every option of every command, with its variable and default.
#[must_use]
pub fn table() -> String {
    let mut all = super::command();
    all.build();
    let mut text = String::new();
    for verb in all.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let options: Vec<_> = options(verb).collect();
        if options.is_empty() || verb.get_name() == "help" {
            continue;
        }
        let _ = writeln!(text, "\n## {}", verb.get_name());
        let in_file = if verb.get_name() == super::WATCH { " key |" } else { "" };
        let _ = writeln!(text, "| flag | variable |{in_file} default | |");
        let _ = writeln!(text, "|---|---|{}---|---|", if in_file.is_empty() { "" } else { "---|" });
        for arg in options {
            text.push_str(&row(arg, !in_file.is_empty()));
        }
    }
    text
}

fn options(verb: &Command) -> impl Iterator<Item = &Arg> {
    verb.get_arguments().filter(|arg| super::is_option(arg) && !arg.is_hide_set())
}

fn row(arg: &Arg, has_key: bool) -> String {
    let long = arg.get_long().unwrap_or_default();
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let value = arg.get_value_names().and_then(|names| names.first());
    let value = value.filter(|_| arg.get_action().takes_values());
    let value = value.map(|value| format!(" {value}")).unwrap_or_default();
    // From its name: what is empty in this environment has none in the definition.
    let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
    let key = match long {
        _ if !has_key => String::new(),
        super::CONFIG => " |".to_owned(),
        long => format!(" `{long}` |"),
    };
    let defaults: Vec<_> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.display())).collect();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
    format!(
        "| {short}`--{long}{value}` | `{}` |{key} {} | {help} |\n",
        variable.unwrap_or_default(),
        defaults.join(", ")
    )
}
