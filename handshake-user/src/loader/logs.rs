//! What the programs log through aya-log: rare diagnostics, and only in objects built with them.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use crate::stderr::say;

/// A reader of the programs' log ring.
pub(super) struct Logs(EbpfLogger<Stderr>);

impl Logs {
    /// The logs of an object; none if its programs do not log.
    pub(super) fn of(ebpf: &mut Ebpf) -> Option<Self> {
        EbpfLogger::init_with_logger(ebpf, Stderr).ok().map(Self)
    }

    /// Says what has been logged since the last call.
    pub(super) fn say(&mut self) {
        self.0.flush();
    }
}

/// Sends log records to standard error.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        say(format_args!("kernel: {}", record.args()));
    }

    fn flush(&self) {}
}
