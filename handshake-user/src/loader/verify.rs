//! Every program through the verifier, none attached.

use aya::Ebpf;
use aya::programs::Program;
use handshake_common::abi::name;

use super::error::LoadError;
use super::object::{load_object, no_map, random_keys};
use super::options::Options;
use super::{attach, privilege};

/// What the verifier made of a program.
#[derive(Debug)]
pub struct ProgramReport {
    /// The program's name.
    pub name: &'static str,
    /// Sizes, or why it did not load.
    pub result: Result<Verified, LoadError>,
}

/// Sizes of a loaded program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Instructions that the verifier walked through (Linux 5.16).
    pub verified_instructions: Option<u32>,
    /// Bytes of machine code; 0 without a JIT.
    pub jited_bytes: u32,
}

/// Loads every program on this kernel without attaching any.
///
/// # Errors
/// If not even the maps can be made; programs have their own results.
pub fn verify() -> Result<Vec<ProgramReport>, LoadError> {
    privilege::check().map_err(LoadError::Privilege)?;
    let mut ebpf = load_object(&Options::default(), &random_keys())?;
    let report = |name| ProgramReport { name, result: verify_one(&mut ebpf, name) };
    Ok(name::PROGRAMS.into_iter().map(report).collect())
}

pub(super) fn verify_one(ebpf: &mut Ebpf, name: &str) -> Result<Verified, LoadError> {
    attach::program_fd(ebpf, name)?;
    let info = ebpf.program(name).map(Program::info);
    let info = info.and_then(Result::ok).ok_or_else(|| no_map(name))?;
    Ok(Verified {
        verified_instructions: info.verified_instruction_count(),
        jited_bytes: info.size_jitted(),
    })
}
