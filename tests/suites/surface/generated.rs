//! Completions and the manual page are made from the command line's definition, and miss nothing.

use std::io::Write;
use std::process::{Command, Stdio};

use handshake_user::config;

use crate::program::run;

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
            "handshake" => "OPTIONS".to_owned(),
            command => format!("HANDSHAKE {}\n", command.to_uppercase()),
        };
        let dashed = format!("\\-\\-{}", flag.replace('-', "\\-"));
        assert!(section(&title).contains(&dashed), "{command} {flag}");
    }
    for command in commands.iter().filter(|&command| command != "help") {
        section(&format!("HANDSHAKE {}\n", command.to_uppercase()));
    }
    for words in ["77 privilege missing", "handshake replay capture.pcapng"] {
        assert!(page.contains(words), "{words}");
    }
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
