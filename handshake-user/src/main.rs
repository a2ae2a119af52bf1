//! The `handshake` program: parses arguments and hands over.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use handshake_user::cli::{Cli, Command, ReplayArgs};
use handshake_user::exit::{Failure, RUNTIME};
use handshake_user::output::json;
use handshake_user::stdout::Output;
use handshake_user::{app, replay};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("handshake: {error:#}");
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
        Some(Command::Cleanup) => app::cleanup(),
        Some(Command::Verify) => app::verify(),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "handshake", &mut io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Man) => man(),
        Some(Command::Schema) => schema(),
    }
}

fn replay_files(args: &ReplayArgs) -> Result<ExitCode> {
    let color = app::color();
    let fine = replay::run(args, &mut Output::stdout(), color)?;
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(RUNTIME) })
}

fn man() -> Result<ExitCode> {
    clap_mangen::Man::new(Cli::command()).render(&mut io::stdout())?;
    Ok(ExitCode::SUCCESS)
}

fn schema() -> Result<ExitCode> {
    let schema = schemars::schema_for!(json::Record<'_>);
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&schema)?)?;
    Ok(ExitCode::SUCCESS)
}
