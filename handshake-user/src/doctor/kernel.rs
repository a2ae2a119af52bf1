//! The kernel: its release and its type information.

use std::fs::File;
use std::io::{self, Read};

use super::{Check, Group, Verdict};
use crate::loader;

const BTF: &str = "/sys/kernel/btf/vmlinux";
/// `BTF_MAGIC`, in host order.
const BTF_MAGIC: [u8; 2] = 0xeb9f_u16.to_ne_bytes();

pub(super) fn checks() -> [Check; 2] {
    [release(), btf(read_btf())]
}

/// Says which kernel it is. What it can is found out by trying.
fn release() -> Check {
    let (release, machine) = (loader::kernel_release(), std::env::consts::ARCH);
    let finding = format!("Linux {release} on {machine}");
    let check = |verdict, finding| Check::new(Group::Kernel, "release", verdict, finding);
    match loader::is_old(&release) {
        Some(false) => check(Verdict::Ok, finding),
        Some(true) => check(Verdict::Degraded, format!("{finding}, older than 5.12"))
            .advice("boot Linux 5.12 or later, unless the programs below load all the same"),
        None => check(Verdict::Unknown, format!("{finding}: the number cannot be read")),
    }
}

fn read_btf() -> io::Result<[u8; 2]> {
    let mut magic = [0; 2];
    File::open(BTF)?.read_exact(&mut magic)?;
    Ok(magic)
}

fn btf(read: io::Result<[u8; 2]>) -> Check {
    let check = |verdict, finding: String| Check::new(Group::Kernel, "BTF", verdict, finding);
    let wrong = match read {
        Ok(BTF_MAGIC) => return check(Verdict::Ok, format!("{BTF} can be read")),
        Ok(_) => "does not hold BTF".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "is empty".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    let check = check(Verdict::Degraded, format!("{BTF} {wrong}; handshake does without"));
    check.advice(format!(
        "for other eBPF tools: a kernel with CONFIG_DEBUG_INFO_BTF; in a container, `umount {BTF}` \
         if something is mounted over it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_btf_is_btf() {
        assert_eq!(btf(Ok(BTF_MAGIC)).verdict, Verdict::Ok);
        assert!(btf(Ok([0; 2])).finding.contains("does not hold BTF"));
        let empty = btf(Err(io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(empty.verdict, Verdict::Degraded);
        assert!(empty.finding.contains("is empty"));
    }
}
