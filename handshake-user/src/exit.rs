//! Exit codes, and the one error that carries them.

use std::fmt;

/// Exit codes of the program; API (`product` contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Something failed while running.
    Runtime = 1,
    /// Usage or configuration.
    Usage = 2,
    /// Nothing could be attached.
    NothingAttached = 3,
    /// A privilege is missing.
    NoPrivilege = 77,
}

/// An error that says how the program shall exit.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What, why, and the next command.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
