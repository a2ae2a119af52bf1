//! Completion scripts: those that `clap_complete` makes, told what values are. A file is offered
//! where a file is meant, an interface where one is meant, nothing where nothing can be known.
//!
//! For interfaces clap has no word, so the line that completes them is replaced in what it makes;
//! for shells other than bash, zsh and fish there is none (values are not completed at all).

use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

/// The option that takes interfaces, with commas between.
const LONG: &str = "interface";
const SHORT: &str = "i";
/// The name of its value.
const VALUE: &str = "IFACE";

/// Names of interfaces behind the last comma; a word for which there is none stays as it is, so
/// that bash does not go on to files. Names are quoted: whoever makes an interface chooses its name.
const BASH: &str = r#"_handshake_interfaces() {
    local last="${1##*,}" path name
    COMPREPLY=()
    for path in /sys/class/net/*/; do
        name="${path%/}"
        name="${name##*/}"
        if [[ "${name}" == "${last}"* ]]; then
            printf -v name %q "${name}"
            COMPREPLY+=("${1%"${last}"}${name}")
        fi
    done
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
        COMPREPLY=("$1")
    fi
}

"#;

/// `--hook=x` are three words to bash, and the one before the value is `=`.
const BASH_EQUALS: &str = r#"    prev="$3"
    if [[ "${prev}" == "=" && COMP_CWORD -gt 1 ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    elif [[ "${COMP_WORDS[COMP_CWORD]}" == "=" ]]; then
        cur=""
    fi
"#;

/// Without a command, fish does not know an option that still waits for its value.
const FISH_PARSED: &str = " -- $cmd 2>/dev/null\n    or return\n";
const FISH_PARSED_AGAIN: &str = r#" -- $cmd 2>/dev/null
    or begin
        set -e cmd[-1]
        argparse -s (__fish_handshake_global_optspecs) -- $cmd 2>/dev/null
    end
    or return
"#;

/// The script for a shell. `program` is the command line as it is to be offered.
#[must_use]
pub fn script(shell: Shell, program: Command) -> String {
    // Through memory: on a closed pipe the generator would panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut hinted(program), "handshake", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => bash(&script),
        Shell::Zsh => zsh(&script),
        Shell::Fish => fish(&script),
        _ => script.into_owned(),
    }
}

/// With what the values of options are.
fn hinted(program: Command) -> Command {
    let verbs: Vec<_> = program.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let program = program.mut_args(with_hint);
    verbs.iter().fold(program, |program, verb| {
        program.mut_subcommand(verb, |command| command.mut_args(with_hint))
    })
}

fn with_hint(arg: Arg) -> Arg {
    if !arg.get_action().takes_values() || arg.get_long() == Some(LONG) {
        return arg;
    }
    match arg.get_value_hint() {
        ValueHint::AnyPath => arg.value_hint(ValueHint::FilePath),
        ValueHint::Unknown => arg.value_hint(ValueHint::Other),
        _ => arg,
    }
}

/// The line behind `--interface)` and `-i)`.
fn bash(script: &str) -> String {
    let cases = [format!("--{LONG})"), format!("-{SHORT})")];
    let mut is_of_interfaces = false;
    let lines = script.lines().map(|line| {
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_value = std::mem::replace(
            &mut is_of_interfaces,
            cases.iter().any(|case| case == line.trim_start()),
        );
        match is_value {
            true => format!("{indent}_handshake_interfaces \"${{cur}}\"\n"),
            false => format!("{line}\n"),
        }
    });
    let script: String = lines.collect();
    format!("{BASH}{}", script.replacen("    prev=\"$3\"\n", BASH_EQUALS, 1))
}

fn zsh(script: &str) -> String {
    script.replace(&format!(":{VALUE}:_default'"), &format!(":{VALUE}:_sequence _net_interfaces'"))
}

fn fish(script: &str) -> String {
    let lines = script.lines().map(|line| match line.contains(&format!(" -l {LONG} ")) {
        true => format!("{line} -f -a \"(__fish_complete_list , __fish_print_interfaces)\"\n"),
        false => format!("{line}\n"),
    });
    lines.collect::<String>().replacen(FISH_PARSED, FISH_PARSED_AGAIN, 1)
}
