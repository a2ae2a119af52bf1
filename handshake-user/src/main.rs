//! The `handshake` program: parses arguments and hands over.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use handshake_user::cli::{Cli, Command, ReplayArgs};
use handshake_user::config::{self, Asked, Checked, Ignored, template};
use handshake_user::exit::{Failure, RUNTIME};
use handshake_user::output::{completions, json, man};
use handshake_user::stderr::say;
use handshake_user::stdout::Output;
use handshake_user::{app, replay};

fn main() -> ExitCode {
    let asked = config::parse(std::env::args_os().collect()).unwrap_or_else(|error| error.exit());
    match dispatch(asked) {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("handshake: {error:#}"));
            let code = error.downcast_ref::<Failure>().map_or(RUNTIME, |failure| failure.code);
            ExitCode::from(code)
        }
    }
}

fn dispatch(asked: Asked) -> Result<ExitCode> {
    let Asked { cli, sources, ignored } = asked;
    tell(&cli, &ignored);
    match cli.command {
        None => app::watch(&cli.watch, sources),
        Some(Command::Watch(args)) => app::watch(&args, sources),
        Some(Command::Replay(args)) => replay_files(&args),
        Some(Command::Doctor(args)) => app::doctor(&args),
        Some(Command::Cleanup) => app::cleanup(),
        Some(Command::Verify) => app::verify(),
        Some(Command::Config { check: None }) => print(template::template().as_bytes()),
        Some(Command::Config { check: Some(file) }) => Ok(check(&file)),
        Some(Command::Completions { shell }) => {
            print(completions::script(shell, config::shown()).as_bytes())
        }
        Some(Command::Man { directory: None }) => print(&man::page(config::command())?),
        Some(Command::Man { directory: Some(directory) }) => write_pages(&directory),
        Some(Command::Schema) => print(json::schema().as_bytes()),
    }
}

/// Says what does nothing, where options count: a script that prints a completion stays quiet.
fn tell(cli: &Cli, ignored: &[Ignored]) {
    let counts = match &cli.command {
        None | Some(Command::Watch(_) | Command::Replay(_) | Command::Doctor(_)) => true,
        Some(Command::Config { check }) => check.is_some(),
        Some(_) => false,
    };
    let strange = if counts { config::strange_variables() } else { Vec::new() };
    for ignored in strange.iter().chain(ignored) {
        say(format_args!("handshake: {ignored}"));
    }
}

fn replay_files(args: &ReplayArgs) -> Result<ExitCode> {
    let color = app::color();
    let fine = replay::run(args, &mut Output::stdout(), color).context(STDOUT)?;
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(RUNTIME) })
}

fn write_pages(directory: &Path) -> Result<ExitCode> {
    for (name, page) in man::pages(config::command())? {
        let file = directory.join(name);
        fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says whether a configuration file is valid.
fn check(file: &Path) -> ExitCode {
    match config::check(file) {
        Ok(Checked { keys, ignored }) => {
            let s = if keys == 1 { "" } else { "s" };
            ignored.iter().for_each(|ignored| say(format_args!("handshake: {ignored}")));
            let found =
                if keys == 0 { "only defaults".to_owned() } else { format!("{keys} key{s} set") };
            say(format_args!("{}: valid, {found}", file.display()));
        }
        Err(error) => error.exit(),
    }
    ExitCode::SUCCESS
}

/// Prints a text; if nobody reads it to its end, that is fine.
fn print(text: &[u8]) -> Result<ExitCode> {
    let _ = Output::stdout().text(text).context(STDOUT)?;
    Ok(ExitCode::SUCCESS)
}

const STDOUT: &str = "cannot write to standard output";
