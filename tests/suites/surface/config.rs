//! Options from flags, environment and file: which goes first, and what is wrong is named with its
//! place. The program is asked for interfaces that do not exist, so that it says whom it believed.

use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory;
use handshake_tests::golden::assert_golden;
use handshake_user::cli::{Cli, Command};
use handshake_user::config::{self, ConfigError};

use crate::program::{Said, handshake, path_text, run, said, scratch};

fn watch(words: &[&str]) -> Result<String, ConfigError> {
    let words = ["handshake"].iter().chain(words).map(OsString::from);
    let asked = config::parse(words.collect())?;
    let mut args = match asked.cli.command {
        Some(Command::Watch(args)) => *args,
        _ => asked.cli.watch,
    };
    args.config = None;
    Ok(format!("{args:?}"))
}

fn watch_file(text: &str) -> Result<String, ConfigError> {
    watch_file_and(text, &[])
}

fn watch_file_and(text: &str, flags: &[&str]) -> Result<String, ConfigError> {
    let name = format!("{:?}.toml", std::thread::current().id());
    let file = scratch(&name, text.as_bytes());
    watch(&[&["watch", "--config", path_text(&file)], flags].concat())
}

/// What a flag needs to be taken.
fn needed(long: &str) -> &'static [&'static str] {
    match long {
        "record-outcome" | "record-size" | "record-files" => &["--record=x"],
        "top" => &["--once"],
        "metrics-series" | "metrics-services" => &["--metrics-listen=:1"],
        _ => &[],
    }
}

/// Options of `watch` that a file may give.
fn keys() -> Vec<clap::Arg> {
    let watch = Cli::command().find_subcommand("watch").expect("it is there").clone();
    let is_key = |arg: &&clap::Arg| arg.get_long().is_some_and(|long| long != "config");
    watch.get_arguments().filter(is_key).cloned().collect()
}

fn template() -> String {
    let said = run(&["config"]);
    assert_eq!((said.stderr.as_str(), said.code), ("", Some(0)));
    said.stdout
}

#[test]
fn the_template_is_golden_and_right_and_says_nothing() {
    let text = template();
    assert_golden("handshake.toml", &text);
    assert_eq!(watch_file(&text).unwrap(), watch(&["watch"]).unwrap());
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
}

#[test]
fn every_key_of_the_template_has_its_default() {
    let settings = template();
    let is_setting =
        |line: &&str| line.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' '));
    let settings: Vec<_> =
        settings.lines().filter(is_setting).filter(|line| *line != "#").collect();
    let shown = keys().into_iter().filter(|arg| !arg.is_hide_set());
    assert_eq!(settings.len(), shown.count(), "{settings:?}");
    let text: String = settings.iter().map(|line| format!("{}\n", &line[1..])).collect();
    assert_eq!(watch_file(&text).unwrap(), watch(&["watch"]).unwrap());
}

/// What a flag takes the file takes, as the same value.
#[test]
fn every_flag_can_be_said_by_the_file() {
    let candidates = [
        "5",
        "7s",
        "10.0.0.0/8",
        "port:1",
        "127.0.0.1:9999",
        "json",
        "xdp",
        "native",
        "some-name",
        "100%",
        "1MiB",
        "all",
        "500",
        "server",
        "ended",
    ];
    let unset = watch(&["watch"]).unwrap();
    let mut said = 0;
    for arg in keys() {
        let long = arg.get_long().expect("a name");
        if !arg.get_action().takes_values() {
            let by_flag = watch(&["watch", &format!("--{long}")]).unwrap();
            assert_eq!(watch_file(&format!("{long} = true\n")).unwrap(), by_flag, "{long}");
            assert_eq!(watch_file(&format!("{long} = false\n")).unwrap(), unset, "{long}");
            continue;
        }
        let needed = needed(long);
        let unset = watch(&[&["watch"], needed].concat()).unwrap();
        let flag =
            |value: &str| watch(&[&["watch", &format!("--{long}={value}")], needed].concat());
        let watch_file = |text: &str| watch_file_and(text, needed);
        let differs = |value: &&str| flag(value).is_ok_and(|args| args != unset);
        let value = candidates.into_iter().find(differs);
        let value = value.unwrap_or_else(|| panic!("add a value that --{long} takes"));
        let by_flag = flag(value).unwrap();
        assert_eq!(watch_file(&format!("{long} = {value:?}\n")).unwrap(), by_flag, "{long}");
        assert_eq!(watch_file(&format!("{long} = [{value:?}]\n")).unwrap(), by_flag, "{long}");
        if value.parse::<u64>().is_ok() {
            assert_eq!(watch_file(&format!("{long} = {value}\n")).unwrap(), by_flag, "{long}");
        }
        assert_eq!(watch_file(&format!("{long} = \"\"\n")).unwrap(), unset, "{long}");
        said += 1;
    }
    assert!(said > 10, "{said}");
}

#[test]
fn a_list_of_the_file_is_a_flag_repeated() {
    let by_flags =
        watch(&["watch", "--port=80", "--port=443", "--filter=port:1", "--filter=-vlan:2"]);
    let text = "filter = [\"port:1\", \"-vlan:2\"]\nport = [80, 443]\n";
    assert_eq!(watch_file(text).unwrap(), by_flags.unwrap());
    let commas = watch(&["watch", "--port=80,443"]).unwrap();
    assert_eq!(watch_file("port = [80, 443]").unwrap(), commas);
    assert_eq!(watch_file("port = \"80,443\"").unwrap(), commas);
    assert_eq!(
        watch_file("ring-bytes = 0x1_0000").unwrap(),
        watch(&["--ring-bytes=65536"]).unwrap()
    );
}

/// Whom does it believe? Runs without any privilege: the name is looked at first.
fn believed(file: &Path, variable: Option<&str>, flag: Option<&str>) -> String {
    let mut arguments = vec!["watch", "--config", path_text(file)];
    arguments.extend(flag.iter().flat_map(|name| ["-i", name]));
    let mut command = handshake(&arguments);
    command.envs(variable.map(|name| ("HANDSHAKE_INTERFACE", name)));
    let Said { stderr, code, .. } = said(&mut command);
    assert_eq!(code, Some(3), "{stderr}");
    let name = stderr.split('"').nth(1).expect("a name in quotes");
    name.to_owned()
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let file = scratch("order.toml", b"interface = \"of-file\"\n");
    let (variable, flag) = (Some("of-env"), Some("of-flag"));
    assert_eq!(believed(&file, None, None), "of-file");
    assert_eq!(believed(&file, Some(""), None), "of-file");
    assert_eq!(believed(&file, variable, None), "of-env");
    assert_eq!(believed(&file, None, flag), "of-flag");
    assert_eq!(believed(&file, variable, flag), "of-flag");
}

#[test]
fn the_environment_holds_with_and_without_the_command_and_for_no_other() {
    for arguments in [&[][..], &["watch"]] {
        let mut command = handshake(arguments);
        let said = said(command.env("HANDSHAKE_INTERFACE", "of-env,other"));
        assert!(said.stderr.contains("\"of-env\""), "{arguments:?} {}", said.stderr);
        let mut command = handshake(arguments);
        let file = scratch("env.toml", b"interface = \"of-file\"\n");
        let said = crate::program::said(command.env("HANDSHAKE_CONFIG", file));
        assert!(said.stderr.contains("\"of-file\""), "{arguments:?} {}", said.stderr);
    }
    let mut command = handshake(&["schema"]);
    command.env("HANDSHAKE_FORMAT", "nonsense").env("HANDSHAKE_CONFIG", "/no/such/file");
    assert_eq!(said(&mut command).code, Some(0));
}

/// Every variable reaches its option: what the flag refuses is refused, and the variable is named.
#[test]
fn a_wrong_variable_is_named() {
    let mut refused = 0;
    for (verb, arg) in crate::flags::options() {
        let long = arg.get_long().expect("a name");
        let words: Vec<&str> = verb.split(' ').collect();
        let value = "\u{1}";
        let is_switch = !arg.get_action().takes_values();
        let by_flag = run(&[&words[..], &[&format!("--{long}={value}"), "x"]].concat());
        let is_refused = by_flag.code == Some(2) && by_flag.stderr.contains("invalid value");
        if !is_refused && !is_switch {
            continue;
        }
        let name = arg.get_env().expect("a variable").to_owned();
        let said = said(handshake(&words).env(&name, value));
        assert_eq!((said.stdout.as_str(), said.code), ("", Some(2)), "{verb} {long}");
        let line = format!("handshake: {} in the environment: invalid value ", name.display());
        assert!(said.stderr.starts_with(&line), "{verb} {long}: {}", said.stderr);
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
        refused += 1;
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_variable_says_yes_or_no_of_a_flag_without_a_value() {
    let doctor = |value: &str| {
        let said = said(handshake(&["doctor", "-i", "lo"]).env("HANDSHAKE_DOCTOR_JSON", value));
        said.stdout.starts_with('{')
    };
    for value in ["1", "yes", "true", "on"] {
        assert!(doctor(value), "{value}");
    }
    for value in ["", "0", "no", "false", "off"] {
        assert!(!doctor(value), "{value}");
    }
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_line() {
    for (text, words) in [
        ("\nprot = 80\n", ":2: unknown key \"prot\"; did you mean \"port\"?"),
        ("max_attempts = 1\n", ":1: unknown key \"max_attempts\"; did you mean \"max-attempts\"?"),
        ("zzz = 1\n", ":1: unknown key \"zzz\"; `handshake config` lists all"),
        ("help = true\n", ":1: unknown key \"help\"; "),
        ("config = \"x\"\n", ":1: unknown key \"config\"; "),
        ("[port]\nx = 1\n", ":1: port: expected a text, a number, or a list of them"),
        ("port = true\n", ":1: port: expected a text, a number, or a list of them"),
        ("port = [[1]]\n", ":1: port: expected a text, a number, or a list of them"),
        (
            "# é\nport = [80, 0]\n",
            ":2: port: invalid value '0' for '--port <PORT>': expected a port",
        ),
        (
            "timeout = 5\n",
            ":1: timeout: invalid value '5' for '--timeout <DURATION>': expected a dur",
        ),
        (
            "hook = \"xpd\"\n",
            ":1: hook: invalid value 'xpd' for '--hook <HOOK>' [possible values: ",
        ),
        (
            "hook = [\"xdp\", \"tc\"]\n",
            ":1: hook: the argument '--hook <HOOK>' cannot be used mult",
        ),
        (
            "filter = [\n  \"port:1\",\n \"x\"]\n",
            ":1: filter: invalid value 'x' for '--filter <EXPR>'",
        ),
        ("a = \n", ":1: "),
        ("port = 1\nport = 2\n", ":2: duplicate key"),
        ("\u{1b}[31m = 1\n", ":1: "),
    ] {
        let file = scratch("wrong.toml", text.as_bytes());
        let line = format!("handshake: {}{words}", path_text(&file));
        for arguments in [&["config", "--check"][..], &["watch", "--config"], &["--config"]] {
            let said = run(&[arguments, &[path_text(&file)]].concat());
            assert!(said.stderr.starts_with(&line), "{text:?}: {}", said.stderr);
            assert_eq!((said.stdout.as_str(), said.code), ("", Some(2)), "{text:?}");
            assert_eq!(said.stderr.lines().count(), 1, "{text:?}: {}", said.stderr);
            assert!(!said.stderr.contains('\x1b'), "{:?}", said.stderr);
        }
    }
}

#[test]
fn all_that_is_wrong_in_a_file_is_said_at_once_in_the_order_of_its_lines() {
    let text = "interface = [\"lo\"]\ntimeout = 5\nprot = 80\nnet = 10.0.0.0/8\n\
                filter = [\"outcome:refussed\", \"port:1\", \"x\"]\nport = true\n\
                hook = [\"tc\", \"xdp\"]\n";
    let expected = [
        "2: timeout: invalid value '5' for '--timeout <DURATION>': expected a duration with its \
         unit, such as 10s, 500ms or 2m",
        "3: unknown key \"prot\"; did you mean \"port\"?",
        "4: net: invalid float, expected nothing; a text needs quotes",
        "5: filter: invalid value 'outcome:refussed' for '--filter <EXPR>': \"outcome:refussed\" \
         at 1: \"refussed\" is not the name of an outcome, a glob of one, or \"failed\"; did you \
         mean outcome:refused?",
        "5: filter: invalid value 'x' for '--filter <EXPR>': \"x\" at 1: expected key:value or \
         /text/; did you mean /x/?",
        "7: hook: the argument '--hook <HOOK>' cannot be used multiple times",
    ];
    let file = scratch("wrongs.toml", text.as_bytes());
    let line = |words: &&str| format!("handshake: {}:{words}\n", path_text(&file));
    let expected: String = expected.iter().map(line).collect();
    for arguments in [&["config", "--check"][..], &["watch", "--config"]] {
        let said = run(&[arguments, &[path_text(&file)]].concat());
        assert_eq!((said.stderr.as_str(), said.code), (expected.as_str(), Some(2)));
    }
    // What looks odd beside damage is told when the damage is repaired.
    let repaired = text.replace("10.0.0.0/8", "\"10.0.0.0/8\"");
    let said = run(&["config", "--check", path_text(&scratch("wrongs.toml", repaired.as_bytes()))]);
    assert!(said.stderr.contains(":6: port: expected a text, a number, or a list"), "{said:?}");
}

#[test]
fn of_very_many_problems_the_rest_is_counted() {
    let text: String = (0..50).map(|number| format!("zzz{number} = 1\n")).collect();
    let file = scratch("many.toml", text.as_bytes());
    let said = run(&["config", "--check", path_text(&file)]);
    assert_eq!((said.stderr.lines().count(), said.code), (21, Some(2)));
    assert!(said.stderr.ends_with("many.toml: 30 more problems\n"), "{}", said.stderr);
}

/// One array that is not closed takes the rest of the file with it; that is one problem.
#[test]
fn one_damage_is_one_problem() {
    for (text, words) in [
        ("port = [80,\nhook = \"tc\"\nnet = [\"10.0.0.0/8\"]\n", ":2: port: "),
        ("hook = \"tc\nport = 80\n", ":1: hook: invalid basic string"),
        ("timeout = 5s\n", ":1: timeout: string values must be quoted"),
    ] {
        let file = scratch("damage.toml", text.as_bytes());
        let said = run(&["config", "--check", path_text(&file)]);
        assert_eq!(said.stderr.lines().count(), 1, "{text:?}: {}", said.stderr);
        assert!(said.stderr.contains(words), "{text:?}: {}", said.stderr);
    }
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let said = run(&["watch", "--config", "/no/such.toml"]);
    let line = "handshake: /no/such.toml: cannot be read: No such file or directory (os error 2)\n";
    assert_eq!((said.stderr.as_str(), said.code), (line, Some(2)));
}

#[test]
fn checking_a_right_file_says_so() {
    let file = scratch("right.toml", b"port = [80, 443]\nformat = \"json\"\n");
    let said = run(&["config", "--check", path_text(&file)]);
    assert_eq!(said.stderr, format!("{}: valid, 2 keys set\n", file.display()));
    assert_eq!((said.stdout.as_str(), said.code), ("", Some(0)));
}

/// Bytes of files that somebody edits: never a panic, always an answer.
#[test]
fn no_file_makes_it_panic() {
    let good = template().replace("#port = []", "port = [80]").into_bytes();
    let mut refused = 0;
    for seed in 1..=2_000 {
        let mut random = handshake_tests::random::Random::new(seed);
        let start = random.below(good.len());
        let mut bytes = good[start..].to_vec();
        random.mutate(&mut bytes);
        let file = scratch("mutated.toml", &bytes);
        match config::check(&file) {
            Ok(_) => {}
            Err(ConfigError::Usage(error)) => panic!("seed {seed}: {error}"),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().starts_with(path_text(&file)), "seed {seed}: {error}");
            }
        }
    }
    println!("{refused} refused");
    assert!(refused > 500, "{refused}");
}
