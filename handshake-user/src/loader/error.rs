//! What can go wrong while loading and attaching, in the user's terms.

use std::error::Error;
use std::io;

use aya::EbpfError;
use aya::programs::ProgramError;

use super::privilege::Privilege;

/// Oldest kernel whose verifier knows the instruction that the filter table needs
/// (`BPF_CMPXCHG`).
const OLDEST: (u32, u32) = (5, 12);

/// Why nothing could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The process may not.
    #[error("{0}")]
    Privilege(Privilege),
    /// The kernel lacks something.
    #[error("this kernel ({kernel}) has no {feature}, which came with Linux {since}; {remedy}")]
    Feature {
        /// What it lacks.
        feature: &'static str,
        /// Since when kernels have it.
        since: &'static str,
        /// The running kernel's release.
        kernel: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A limit of this process or of its control group is too low.
    #[error("cannot {doing}: {limit} is reached; {remedy}")]
    Limit {
        /// What was being done.
        doing: String,
        /// The limit.
        limit: &'static str,
        /// What to do.
        remedy: String,
    },
    /// The verifier refused a program.
    #[error(
        "the verifier of this kernel ({kernel}) refuses program {program}: {reason}; this is a \
         bug of handshake: please report it with the output of `sudo handshake verify`"
    )]
    Rejected {
        /// The program's name.
        program: String,
        /// The running kernel's release.
        kernel: String,
        /// The verifier's last words.
        reason: String,
    },
    /// The object in this binary is damaged or not the one this loader knows.
    #[error(
        "the embedded eBPF object does not fit this program: {0}; build both again with \
         `cargo xtask build`"
    )]
    Object(String),
    /// The capabilities that loading needed cannot be given up.
    #[error("cannot drop privileges: {0}; a seccomp filter or a security module may forbid it")]
    KeepsPrivileges(String),
    /// A thread still has capabilities that it should not have.
    #[error(
        "cannot drop the privileges of thread {thread:?}: it still has {capabilities}; this is a \
         bug of handshake: please report it"
    )]
    ThreadKeepsPrivileges {
        /// Its name.
        thread: String,
        /// Those, with commas.
        capabilities: String,
    },
    /// Something else.
    #[error("cannot {doing}: {source}; see `sudo dmesg | tail`")]
    Io {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl LoadError {
    /// The program's exit code: 77 without permission, 3 if the kernel cannot, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Privilege(_) => 77,
            Self::Feature { .. } => 3,
            Self::Limit { .. }
            | Self::Rejected { .. }
            | Self::Object(_)
            | Self::KeepsPrivileges(_)
            | Self::ThreadKeepsPrivileges { .. }
            | Self::Io { .. } => 1,
        }
    }

    /// What `error` means while `doing`.
    pub(super) fn from_io(doing: &str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) => Self::Privilege(Privilege::explain(doing)),
            Some(libc::ENOSYS) => Self::Feature {
                feature: "eBPF (CONFIG_BPF_SYSCALL)",
                since: "5.12",
                kernel: kernel_release(),
                remedy: "boot a distribution kernel",
            },
            Some(libc::EMFILE) => Self::Limit {
                doing: doing.to_owned(),
                limit: "the limit of open files (RLIMIT_NOFILE)",
                remedy: "raise it with `ulimit -n 1024`".to_owned(),
            },
            Some(libc::ENOMEM) => Self::Limit {
                doing: doing.to_owned(),
                limit: "the memory limit of the machine or the control group",
                remedy: "choose smaller rings and tables, or raise MemoryMax".to_owned(),
            },
            _ => Self::Io { doing: doing.to_owned(), source: error },
        }
    }

    /// What the refusal of a ring buffer means.
    pub(super) fn from_ring(bytes: u32, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EINVAL) => Self::Feature {
                feature: "ring buffer map",
                since: "5.8",
                kernel: kernel_release(),
                remedy: "boot Linux 5.12 or later",
            },
            _ => Self::from_io(&format!("make a ring of {bytes} bytes"), error),
        }
    }

    /// What aya says about the object.
    pub(super) fn from_object(error: &EbpfError) -> Self {
        match os_error(error) {
            Some(errno) => Self::from_io(
                &format!("load the eBPF object ({})", chain(error)),
                io::Error::from_raw_os_error(errno),
            ),
            None => Self::Object(chain(error)),
        }
    }

    /// What aya says about a program.
    pub(super) fn from_program(program: &str, error: &ProgramError) -> Self {
        let ProgramError::LoadError { io_error, verifier_log } = error else {
            return Self::Object(format!("{program}: {}", chain(error)));
        };
        let log = verifier_log.to_string();
        match io_error.raw_os_error() {
            Some(libc::EPERM | libc::ENOMEM | libc::EMFILE) => {
                let doing = format!("load program {program}");
                let errno = io_error.raw_os_error().unwrap_or_default();
                Self::from_io(&doing, io::Error::from_raw_os_error(errno))
            }
            _ => Self::from_verifier(program, format!("{}: {io_error}", last_words(&log))),
        }
    }

    fn from_verifier(program: &str, reason: String) -> Self {
        let privilege = Privilege::explain(&format!("load program {program}"));
        if !privilege.missing.is_empty() {
            return Self::Privilege(privilege);
        }
        let kernel = kernel_release();
        if version(&kernel).is_some_and(|version| version < OLDEST) {
            return Self::Feature {
                feature: "atomic compare-and-exchange in eBPF",
                since: "5.12",
                kernel,
                remedy: "boot Linux 5.12 or later",
            };
        }
        Self::Rejected { program: program.to_owned(), kernel, reason }
    }
}

/// Why an interface could not be watched.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The process may not.
    #[error("{0}")]
    Privilege(Privilege),
    /// A program could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The name cannot be one of an interface.
    #[error("{0:?} is no interface name; `ip link` lists all")]
    Name(String),
    /// The interface has gone.
    #[error("interface {name:?} (index {index}) is gone; `ip link` lists what is there")]
    Gone {
        /// Its name.
        name: String,
        /// Its index.
        index: u32,
    },
    /// Its frames start with neither Ethernet nor IP.
    #[error(
        "interface {name:?} carries frames of ARPHRD type {hardware}, which handshake cannot \
         read; watch an Ethernet or IP interface"
    )]
    Link {
        /// Its name.
        name: String,
        /// The type of its frames.
        hardware: u16,
    },
    /// Others hold all places.
    #[error("all 63 TCX places of {hook} on {name:?} are taken; see `bpftool net show dev {name}`")]
    Full {
        /// The interface's name.
        name: String,
        /// "ingress" or "egress".
        hook: &'static str,
    },
    /// An `ingress` qdisc is where `clsact` should be.
    #[error(
        "{name:?} has an `ingress` qdisc, which has no egress hook, and this kernel has no TCX; \
         if nothing else needs it: `sudo tc qdisc replace dev {} clsact`",
        .name.escape_debug()
    )]
    IngressQdisc {
        /// The interface's name.
        name: String,
    },
    /// Anything else that the kernel answers.
    #[error("cannot attach to {hook} of {name:?}: {reason}; see `sudo dmesg | tail`")]
    Refused {
        /// The interface's name.
        name: String,
        /// The hook.
        hook: &'static str,
        /// The kernel's answer.
        reason: String,
    },
}

impl AttachError {
    /// The program's exit code: 77 without permission, else 3, nothing attached.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Privilege(_) => 77,
            Self::Load(error) => error.exit_code(),
            Self::Name(_)
            | Self::Gone { .. }
            | Self::Link { .. }
            | Self::Full { .. }
            | Self::IngressQdisc { .. }
            | Self::Refused { .. } => 3,
        }
    }
}

/// The running kernel's release.
#[must_use]
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}

/// Is a kernel older than those whose verifier can take the programs? None if its number cannot be
/// read.
#[must_use]
pub fn is_old(release: &str) -> Option<bool> {
    version(release).map(|version| version < OLDEST)
}

/// Are maps charged to the limit of locked memory? Since 5.11 the control group is charged.
#[must_use]
pub fn locks_memory(release: &str) -> bool {
    version(release).is_some_and(|version| version < (5, 11))
}

/// Major and minor number of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|one: char| !one.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The errno at the bottom of an error.
fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error())
}

/// An error with its causes, each once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    for cause in std::iter::successors(error.source(), |&error| error.source()) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// The line of a verifier log that tells: the last one before the statistics.
fn last_words(log: &str) -> String {
    let is_statistic = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("processed ")
            && !line.starts_with("verification time")
            && !line.starts_with("stack depth")
    };
    log.lines().map(str::trim).rfind(is_statistic).unwrap_or("no log").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_versions() {
        assert_eq!(version("6.1.0-49-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("5.4.0"), Some((5, 4)));
        assert!(version("5.4.0") < Some(OLDEST) && version("6.18-rc1") > Some(OLDEST));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn the_last_words_of_the_verifier_are_found() {
        let log = "0: (b7) r0 = 1\nR1 type=scalar expected=fp\nprocessed 9 insns\nstack depth 8\n";
        assert_eq!(last_words(log), "R1 type=scalar expected=fp");
        assert_eq!(last_words(""), "no log");
    }

    #[test]
    fn errors_choose_the_exit_code() {
        let io = |errno| LoadError::from_io("test", io::Error::from_raw_os_error(errno));
        assert_eq!(io(libc::EPERM).exit_code(), 77);
        assert_eq!(io(libc::ENOSYS).exit_code(), 3);
        assert_eq!(io(libc::EIO).exit_code(), 1);
        let ring = LoadError::from_ring(4096, io::Error::from_raw_os_error(libc::EINVAL));
        assert_eq!(ring.exit_code(), 3);
        assert_eq!(AttachError::Load(io(libc::EPERM)).exit_code(), 77);
    }

    /// `doctor` takes them apart there.
    #[test]
    fn every_message_ends_in_what_to_do_after_a_semicolon() {
        let errnos = [libc::EPERM, libc::ENOSYS, libc::EMFILE, libc::ENOMEM, libc::EIO];
        let from_io = |errno| LoadError::from_io("test", io::Error::from_raw_os_error(errno));
        let rejected = LoadError::Rejected {
            program: "p".to_owned(),
            kernel: "6.1".to_owned(),
            reason: "why".to_owned(),
        };
        let mut said: Vec<_> = errnos.into_iter().map(|errno| from_io(errno).to_string()).collect();
        said.push(rejected.to_string());
        said.push(LoadError::Object("why".to_owned()).to_string());
        said.push(LoadError::KeepsPrivileges("why".to_owned()).to_string());
        said.push(
            LoadError::ThreadKeepsPrivileges {
                thread: "keys".to_owned(),
                capabilities: "CAP_NET_ADMIN".to_owned(),
            }
            .to_string(),
        );
        let name = || "eth0".to_owned();
        said.push(AttachError::Full { name: name(), hook: "ingress" }.to_string());
        said.push(AttachError::IngressQdisc { name: name() }.to_string());
        said.push(AttachError::Gone { name: name(), index: 2 }.to_string());
        said.push(AttachError::Link { name: name(), hardware: 280 }.to_string());
        for message in said {
            let (what, remedy) = message.rsplit_once("; ").unwrap_or_else(|| panic!("{message}"));
            assert!(!what.is_empty() && remedy.len() > 10, "{message}");
        }
    }

    #[test]
    fn an_errno_is_found_below_the_words_of_aya() {
        let error = EbpfError::MapError(aya::maps::MapError::CreateError {
            name: "HS_TABLE".to_owned(),
            io_error: io::Error::from_raw_os_error(libc::ENOMEM),
        });
        let said = LoadError::from_object(&error).to_string();
        assert!(said.contains("HS_TABLE") && said.contains("MemoryMax"), "{said}");
    }
}
