//! Completions and the manual page are made from the command line's definition, and miss nothing.

use std::io::Write;
use std::process::{Command, Stdio};

use handshake_user::config;

use crate::program::{run, scratch};

/// Every long flag, with the command that has it; and every command.
fn vocabulary() -> (Vec<(String, String)>, Vec<String>) {
    let mut program = config::command();
    program.build();
    let visible = |command: &&clap::Command| !command.is_hide_set();
    let mut flags = Vec::new();
    for command in std::iter::once(&program).chain(program.get_subcommands().filter(visible)) {
        let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
        let longs = arguments.filter_map(|argument| argument.get_long());
        flags.extend(longs.map(|long| (command.get_name().to_owned(), long.to_owned())));
    }
    let commands = program.get_subcommands().filter(visible);
    (flags, commands.map(|command| command.get_name().to_owned()).collect())
}

fn generated(arguments: &[&str]) -> String {
    let said = run(arguments);
    assert_eq!((said.stderr.as_str(), said.code), ("", Some(0)), "{arguments:?}");
    said.stdout
}

#[test]
fn completions_know_every_flag_and_command() {
    let (flags, commands) = vocabulary();
    assert!(flags.len() > 15 && commands.len() > 5, "{flags:?} {commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = generated(&["completions", shell]);
        for (command, flag) in &flags {
            let dashed = if shell == "fish" { format!("-l {flag}") } else { format!("--{flag}") };
            assert!(script.contains(&dashed), "{shell}: {command} {flag}");
        }
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell}: {command}");
        }
    }
}

/// bash is everywhere the tests run; a script that it cannot parse would break a login.
#[test]
fn bash_can_read_its_completions() {
    let mut bash = Command::new("bash");
    let child = bash.arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("bash starts");
    let script = generated(&["completions", "bash"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(script.as_bytes()).expect("bash reads");
    drop(stdin);
    let output = child.wait_with_output().expect("bash ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What bash offers for the last of these words, in a folder with one file and one folder.
fn offered(words: &[&str]) -> Vec<String> {
    let folder = scratch("offered/a-file", b"").parent().expect("a folder").to_owned();
    std::fs::create_dir_all(folder.join("a-folder")).expect("a writable folder");
    // One for each thread: tests run side by side.
    let name = format!("handshake-{:?}.bash", std::thread::current().id());
    let script = scratch(&name, generated(&["completions", "bash"]).as_bytes());
    // As readline calls it: the line, the word, the one before.
    let ask = r#"compopt() { :; }; source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
        _handshake handshake "${COMP_WORDS[COMP_CWORD]#=}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.current_dir(folder).args(["--norc", "-c", ask, "bash"]).arg(script).args(words);
    let output = bash.output().expect("bash starts");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_interfaces_where_one_is_meant() {
    for words in [
        &["handshake", "watch", "-i", "l"][..],
        &["handshake", "-i", "l"],
        &["handshake", "doctor", "--interface", "l"],
        &["handshake", "watch", "--interface", "=", "l"],
    ] {
        let offered = offered(words);
        assert!(offered.contains(&"lo".to_owned()), "{words:?}: {offered:?}");
        assert!(offered.iter().all(|name| name.starts_with('l')), "{words:?}: {offered:?}");
    }
    assert!(offered(&["handshake", "watch", "-i", "x*,l"]).contains(&"x*,lo".to_owned()));
    // What matches nothing stays, or bash goes on to files.
    assert_eq!(offered(&["handshake", "watch", "-i", "a-f"]), ["a-f"]);
}

#[test]
fn bash_offers_files_where_a_file_is_meant_and_nowhere_else() {
    let mut program = config::shown();
    program.build();
    let (mut files, mut others) = (Vec::new(), 0);
    for verb in program.get_subcommands() {
        let valued = verb.get_arguments().filter(|arg| arg.get_action().takes_values());
        for long in valued.filter_map(|arg| arg.get_long()) {
            let offered = offered(&["handshake", verb.get_name(), &format!("--{long}"), "a-f"]);
            match offered.iter().any(|name| name.starts_with("a-fi")) {
                true => files.push(format!("{} --{long}", verb.get_name())),
                false => others += 1,
            }
        }
    }
    files.sort();
    assert_eq!(files, ["config --check", "watch --config", "watch --record"]);
    assert!(others > 15, "{others}");
    assert_eq!(offered(&["handshake", "watch", "--hook", ""]), ["auto", "xdp", "tc"]);
    assert_eq!(offered(&["handshake", "watch", "--hook", "="]), ["auto", "xdp", "tc"]);
    assert_eq!(offered(&["handshake", "watch", "--hook", "=", "x"]), ["xdp"]);
    assert_eq!(offered(&["handshake", "watch", "--duration", ""]), [""]);
}

/// No test has these shells; what they run for a value is in the script.
#[test]
fn zsh_and_fish_are_told_what_a_value_is() {
    let zsh = generated(&["completions", "zsh"]);
    assert_eq!(zsh.matches(":IFACE:_sequence _net_interfaces'").count(), 6, "-i of three commands");
    assert!(!zsh.contains(":_default"), "{zsh}");
    assert!(zsh.contains(":DIR:_files -/'") && zsh.contains(":DURATION:'"), "{zsh}");
    let files = zsh.lines().filter(|line| line.contains(":_files'")).count();
    assert_eq!(files, 6, "--config, --record twice; FILE of replay; config --check");
    let fish = generated(&["completions", "fish"]);
    let interfaces = " -l interface ";
    let of_interfaces = fish.lines().filter(|line| line.contains(interfaces));
    let asks = "(__fish_complete_list , __fish_print_interfaces)\"";
    assert_eq!(of_interfaces.filter(|line| line.ends_with(asks)).count(), 3, "{fish}");
    assert!(!fish.lines().any(|line| line.ends_with(" -r")), "that would offer files: {fish}");
    assert!(fish.contains("\n    or begin\n        set -e cmd[-1]\n"), "{fish}");
}

#[test]
fn the_manual_page_has_every_flag_command_and_exit_code() {
    let page = generated(&["man"]);
    assert!(page.contains(".TH handshake 1 "), "{page}");
    let (flags, commands) = vocabulary();
    let sections: Vec<_> = page.split("\n.SH ").collect();
    let section = |title: &str| {
        let found = sections.iter().find(|section| section.starts_with(title));
        *found.unwrap_or_else(|| panic!("no section {title}"))
    };
    for (command, flag) in flags {
        let title = match command.as_str() {
            _ if ["help", "version"].contains(&flag.as_str()) => "OPTIONS".to_owned(),
            "handshake" => "HANDSHAKE WATCH\n".to_owned(),
            command => format!("HANDSHAKE {}\n", command.to_uppercase()),
        };
        let dashed = format!("\\-\\-{}", flag.replace('-', "\\-"));
        assert!(section(&title).contains(&dashed), "{command} {flag}");
    }
    for command in commands.iter().filter(|&command| command != "help") {
        section(&format!("HANDSHAKE {}\n", command.to_uppercase()));
    }
    let values = "[\\fB\\-\\-port\\fR \\fIPORT\\fR]";
    for words in ["77 privilege missing", "handshake replay capture.pcapng", values] {
        assert!(page.contains(words), "{words}");
    }
    // Each option is described once in the section of its command.
    assert_eq!(page.matches("\n\\fB\\-\\-record\\fR").count(), 1, "{page}");
}

#[test]
fn every_command_has_a_page_with_its_flags_and_examples() {
    let dir = std::env::temp_dir().join(format!("handshake-man-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    assert_eq!(generated(&["man", "--directory", &dir.to_string_lossy()]), "");
    let page = |name: &str| {
        let file = dir.join(format!("{name}.1"));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    assert_eq!(page("handshake"), generated(&["man"]));
    let (flags, commands) = vocabulary();
    for (command, flag) in flags.iter().filter(|(command, _)| command != "handshake") {
        let dashed = format!("\\-\\-{}", flag.replace('-', "\\-"));
        assert!(page(&format!("handshake-{command}")).contains(&dashed), "{command} {flag}");
    }
    for command in commands.iter().filter(|&command| command != "help") {
        let page = page(&format!("handshake-{command}"));
        assert!(page.contains(&format!(".TH handshake-{command} 1 ")), "{page}");
        assert!(page.contains(".SH SEE ALSO"), "{page}");
    }
    assert!(page("handshake-watch").contains("\n\\&  handshake watch"), "its examples");
    std::fs::remove_dir_all(&dir).expect("it goes");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let said = run(&["man", "--directory", "/nonexistent"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("cannot write /nonexistent/handshake.1"), "{}", said.stderr);
}
