//! Exit codes, and the one error that carries them.

use std::fmt::{self, Display};

use crate::interfaces::{InterfacesError, SelectError};
use crate::loader::{AttachError, LoadError};

/// Something failed while running.
pub const RUNTIME: u8 = 1;
/// Wrong usage or configuration; clap exits with it too.
pub const USAGE: u8 = 2;
/// Nothing could be attached.
pub const NOTHING_ATTACHED: u8 = 3;
/// A privilege is missing.
pub const NO_PRIVILEGE: u8 = 77;

/// An error that says how the program shall exit. (A missing privilege is 77.)
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What, why, and the next command.
    pub message: String,
}

impl Failure {
    /// A failure with `code`.
    pub fn new(code: u8, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::new(error.exit_code(), error)
    }
}

impl From<AttachError> for Failure {
    fn from(error: AttachError) -> Self {
        Self::new(error.exit_code(), error)
    }
}

impl From<InterfacesError> for Failure {
    fn from(error: InterfacesError) -> Self {
        Self::new(error.exit_code(), error)
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Self {
        Self::new(error.exit_code(), error)
    }
}
