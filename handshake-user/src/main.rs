//! The `handshake` program: parses arguments and hands over.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use handshake_user::cli::{Cli, Command, ReplayArgs};
use handshake_user::exit::{Failure, RUNTIME};
use handshake_user::output::{json, man};
use handshake_user::stderr::say;
use handshake_user::stdout::Output;
use handshake_user::{app, replay};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("handshake: {error:#}"));
            let code = error.downcast_ref::<Failure>().map_or(RUNTIME, |failure| failure.code);
            ExitCode::from(code)
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        None => app::watch(&cli.watch),
        Some(Command::Watch(args)) => app::watch(&args),
        Some(Command::Replay(args)) => replay_files(&args),
        Some(Command::Doctor(args)) => app::doctor(&args),
        Some(Command::Cleanup) => app::cleanup(),
        Some(Command::Verify) => app::verify(),
        Some(Command::Completions { shell }) => {
            // Through memory: on a closed pipe the generator would panic.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "handshake", &mut script);
            print(&script)
        }
        Some(Command::Man) => print(&man::page(Cli::command())?),
        Some(Command::Schema) => print(json::schema().as_bytes()),
    }
}

fn replay_files(args: &ReplayArgs) -> Result<ExitCode> {
    let color = app::color();
    let fine = replay::run(args, &mut Output::stdout(), color).context(STDOUT)?;
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(RUNTIME) })
}

/// Prints a text; if nobody reads it to its end, that is fine.
fn print(text: &[u8]) -> Result<ExitCode> {
    let _ = Output::stdout().text(text).context(STDOUT)?;
    Ok(ExitCode::SUCCESS)
}

const STDOUT: &str = "cannot write to standard output";
