//! Every flag comes from one definition: help, manual, completions, environment, configuration file
//! and documentation say the same of it, or all say nothing.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use clap::{Arg, Command};
use handshake_tests::golden::assert_golden;
use handshake_user::config::{self, template};

use crate::program::run;

fn program() -> Command {
    let mut program = config::command();
    program.build();
    program
}

/// `--help` and `--version` give nothing.
fn is_option(arg: &&Arg) -> bool {
    arg.get_long().is_some_and(|long| !["help", "version"].contains(&long))
}

/// Every option of every command, hidden ones too. (Those without a command are those of `watch`.)
pub(crate) fn options() -> Vec<(String, Arg)> {
    let program = program();
    let of = |verb: &Command| {
        let name = verb.get_name().to_owned();
        let options: Vec<_> = verb.get_arguments().filter(is_option).cloned().collect();
        options.into_iter().map(move |arg| (name.clone(), arg))
    };
    program.get_subcommands().filter(|verb| verb.get_name() != "help").flat_map(of).collect()
}

fn is_hidden(verb: &str, arg: &Arg) -> bool {
    let program = program();
    let command = program.find_subcommand(verb).expect("it is there");
    command.is_hide_set() || arg.is_hide_set()
}

fn docs() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/flags.md");
    std::fs::read_to_string(path).expect("docs/flags.md")
}

/// Flags of a text as it writes them, with dashes.
fn mentions(text: &str, long: &str) -> bool {
    let flag = format!("--{long}");
    text.match_indices(&flag).any(|(at, _)| {
        let next = text[at + flag.len()..].chars().next();
        !next.is_some_and(|one| one.is_alphanumeric() || one == '-')
    })
}

/// The section of a command in the manual, with plain dashes.
fn manual(verb: &str) -> String {
    let page = run(&["man"]).stdout.replace("\\-", "-");
    let title = format!("\n.SH HANDSHAKE {}\n", verb.to_uppercase());
    let start = page.find(&title).map(|at| at + title.len());
    start
        .map(|at| page[at..].split("\n.SH ").next().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

/// What knows a flag of a command: every one of these, or none.
fn surfaces(verb: &str, arg: &Arg) -> BTreeMap<&'static str, bool> {
    let long = arg.get_long().expect("a name");
    let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
    let variable = variable.unwrap_or_else(|| panic!("{verb} --{long} has no variable"));
    assert_eq!(variable, config::variable((verb != "watch").then_some(verb), long));
    let (help, manual, docs) = (run(&[verb, "--help"]).stdout, manual(verb), docs());
    let section = format!("\n## {verb}\n");
    let docs = docs.split_once(&section).map_or("", |(_, rest)| rest);
    let docs = docs.split("\n## ").next().unwrap_or_default();
    let script = |shell| run(&["completions", shell]).stdout;
    let fish = script("fish");
    let of_verb = |line: &&str| {
        line.contains(&format!("_subcommand {verb}\"")) || line.contains(&format!("from {verb}\""))
    };
    let fish = fish.lines().filter(of_verb).any(|line| {
        line.split(' ').collect::<Vec<_>>().windows(2).any(|pair| pair == ["-l", long])
    });
    let bash = script("bash");
    let case = format!("\n        handshake__subcmd__{}", verb.replace('-', "__"));
    let old_case = format!("\n        handshake__{})", verb.replace('-', "__"));
    let at = bash.find(&case).or_else(|| bash.find(&old_case));
    let bash = at.map_or("", |at| bash[at..].split("COMPREPLY").next().unwrap_or_default());
    let zsh = script("zsh");
    let zsh = zsh.split_once(&format!("({verb})\n_arguments")).map_or("", |(_, rest)| rest);
    let zsh = zsh.split("\n;;").next().unwrap_or_default();
    let mut known = BTreeMap::from([
        ("help", mentions(&help, long) && help.contains(&format!("[env: {variable}]"))),
        ("man", mentions(&manual, long) && manual.contains(&variable)),
        ("docs/flags.md", mentions(docs, long) && docs.contains(&format!("`{variable}`"))),
        ("fish", fish),
        ("bash", mentions(bash, long)),
        ("zsh", mentions(zsh, long)),
    ]);
    if verb == "watch" && long != "config" {
        known.insert("template", run(&["config"]).stdout.contains(&format!("\n#{long} = ")));
    }
    known
}

#[test]
fn every_surface_knows_every_flag_that_is_shown_and_none_that_is_hidden() {
    let options = options();
    assert!(options.len() > 15, "{options:?}");
    for (verb, arg) in &options {
        let shown = !is_hidden(verb, arg);
        let surfaces = surfaces(verb, arg);
        let long = arg.get_long().expect("a name");
        assert!(surfaces.values().all(|knows| *knows == shown), "{verb} --{long}: {surfaces:?}");
    }
}

#[test]
fn hidden_commands_are_nowhere() {
    let program = program();
    let hidden: Vec<_> = program.get_subcommands().filter(|verb| verb.is_hide_set()).collect();
    assert!(!hidden.is_empty(), "nothing is hidden: this test has nothing to see");
    for verb in hidden {
        let name = verb.get_name();
        for shell in ["bash", "zsh", "fish"] {
            let script = run(&["completions", shell]).stdout;
            let word = |word: &str| word == name;
            assert!(!script.split(|one: char| !one.is_alphanumeric()).any(word), "{shell} {name}");
        }
        for arguments in [&["--help"][..], &["man"], &["config"]] {
            let text = run(arguments).stdout;
            let line = |line: &str| line.trim_start().starts_with(&format!("{name} "));
            assert!(!text.lines().any(line), "{arguments:?} {name}");
        }
        assert!(!docs().contains(&format!("## {name}\n")), "{name}");
        assert_eq!(manual(name), "", "{name}");
    }
}

#[test]
fn docs_have_the_table_that_is_made_of_the_definition() {
    let head = "\
# Flags, variables and keys

Made from the definition of the command line. A flag goes before its variable, the variable before \
the key of the file that `--config` names ([configuration.md](configuration.md)). Without a \
command, the flags are those of `watch`.
";
    let text = format!("{head}{}", template::table());
    assert_golden("../../../docs/flags.md", &text);
}

#[test]
fn no_two_flags_share_a_variable_and_none_is_the_tests() {
    let testing = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/testing.md");
    let testing = std::fs::read_to_string(testing).expect("docs/testing.md");
    let knobs = testing.split("## Knobs").nth(1).expect("the table of variables");
    let knobs =
        knobs.lines().filter_map(|line| line.strip_prefix("| `HANDSHAKE_")?.split('`').next());
    let mut taken: HashSet<String> = knobs.map(|knob| format!("HANDSHAKE_{knob}")).collect();
    assert!(taken.len() > 5, "{taken:?}");
    for (verb, arg) in options() {
        let name = arg.get_env().expect("a variable").to_string_lossy().into_owned();
        assert!(taken.insert(name.clone()), "{verb}: {name} is taken");
    }
}
