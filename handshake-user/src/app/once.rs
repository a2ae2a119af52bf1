//! The commands that say something and end: `doctor`, `cleanup`, `verify`.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::{STDOUT, color};
use crate::cli::DoctorArgs;
use crate::exit::Failure;
use crate::output::escape::Escaped;
use crate::stderr::say;
use crate::stdout::Output;
use crate::{doctor, loader, output};

/// `handshake doctor`.
///
/// # Errors
/// With a [`Failure`] if there is no such interface, or if stdout fails.
pub fn doctor(args: &DoctorArgs) -> Result<ExitCode> {
    let report = doctor::examine(&args.interfaces)?;
    let mut out = Output::stdout();
    if args.json {
        let _ = out.json(&output::doctor::record(&report)).context(STDOUT)?;
    } else {
        for line in output::doctor::lines(&report, color()) {
            let _ = out.line(&line).context(STDOUT)?;
        }
    }
    let _ = out.flush().context(STDOUT)?;
    Ok(ExitCode::from(report.exit_code()))
}

/// `handshake cleanup`.
///
/// # Errors
/// With a [`Failure`] that carries the exit code.
pub fn cleanup() -> Result<ExitCode> {
    let done = loader::cleanup().map_err(Failure::from)?;
    if done.is_empty() {
        say("nothing of handshake is left behind");
    }
    for line in done {
        say(line);
    }
    Ok(ExitCode::SUCCESS)
}

/// `handshake verify`: one line a program.
///
/// # Errors
/// If a program does not load.
pub fn verify() -> Result<ExitCode> {
    let mut code = 0;
    let mut out = Output::stdout();
    for report in loader::verify().map_err(Failure::from)? {
        let line = match report.result {
            Ok(sizes) => format!(
                "ok {} verified={} jited={}",
                report.name,
                sizes.verified_instructions.map_or("unknown".to_owned(), |n| n.to_string()),
                sizes.jited_bytes
            ),
            Err(error) => {
                code = code.max(error.exit_code());
                format!("failed {}: {}", report.name, Escaped(error))
            }
        };
        let _ = out.line(&line)?;
    }
    let _ = out.flush()?;
    Ok(ExitCode::from(code))
}
