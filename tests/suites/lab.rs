//! The lab itself: each generator puts on the wire what it promises, judged by tcpdump alone. When a
//! suite about the program fails, look here first.
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use handshake_tests::bpf::{Counter, Hook, attachments};
use handshake_tests::capture::{Capture, Handshake, handshakes};
use handshake_tests::lab::{Family, Lab, Namespace};
use handshake_tests::process::eventually;
use handshake_tests::traffic::{self, Loss, Services};

/// What happened on the server's device while `provoke` ran: the handshake of the client it names.
fn wire(
    lab: &Lab,
    family: Family,
    provoke: impl FnOnce(&Lab, Family) -> Result<SocketAddr>,
) -> Result<Handshake> {
    let capture = Capture::start(&lab.server, lab.server_device)?;
    let client = provoke(lab, family)?;
    let packets = capture.stop()?;
    let mut found = handshakes(&packets);
    let key = found.keys().copied().find(|key| key.0 == client);
    let key = key.unwrap_or_else(|| panic!("{client} is not among {:?}", found.keys()));
    Ok(found.remove(&key).unwrap_or_default())
}

/// Numbers of SYNs, SYN-ACKs and RSTs, and whether the client acknowledged.
fn shape(handshake: &Handshake) -> (usize, usize, usize, bool) {
    let Handshake { syns, synacks, rsts, acks } = handshake;
    (syns.len(), synacks.len(), rsts.len(), !acks.is_empty())
}

const PATIENCE: Duration = Duration::from_millis(300);

#[test]
fn each_generator_puts_its_outcome_on_the_wire() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    for family in Family::BOTH {
        let one = |lab: &Lab, family| traffic::complete(lab, family, 1).map(|all| all[0]);
        assert_eq!(shape(&wire(&lab, family, one)?), (1, 1, 0, true), "complete");
        let refused = wire(&lab, family, traffic::refused)?;
        assert_eq!(shape(&refused), (1, 0, 1, false), "refused");
        let silent = wire(&lab, family, |lab, family| traffic::silent(lab, family, PATIENCE))?;
        assert_eq!(shape(&silent), (1, 0, 0, false), "silent");
        let absent = wire(&lab, family, |lab, family| traffic::absent(lab, family, PATIENCE))?;
        assert_eq!(shape(&absent), (1, 0, 0, false), "absent");
        let full = wire(&lab, family, |lab, family| traffic::queue_full(lab, family, PATIENCE))?;
        assert_eq!(shape(&full), (1, 0, 0, false), "queue full");
        let rejected = wire(&lab, family, traffic::rejected)?;
        assert!(rejected.synacks.is_empty() && rejected.acks.is_empty(), "rejected");
        assert_eq!(shape(&wire(&lab, family, traffic::aborted)?), (1, 0, 1, false), "aborted");
        assert_eq!(shape(&wire(&lab, family, traffic::scanned)?), (1, 1, 1, false), "scanned");
        let reset = wire(&lab, family, traffic::reset_by_server)?;
        assert_eq!(shape(&reset), (1, 1, 1, false), "reset by server");
        let superseded = wire(&lab, family, traffic::superseded)?;
        assert_eq!(shape(&superseded), (2, 0, 1, false), "superseded");
        let reused = wire(&lab, family, |lab, family| traffic::reused(lab, family, 3))?;
        assert_eq!(reused.syns.len(), 3, "reused");
    }
    Ok(())
}

#[test]
fn lost_segments_are_repeated_by_the_kernels() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    for family in Family::BOTH {
        let despite = |loss| {
            wire(&lab, family, move |lab, family| traffic::completed_despite(lab, family, loss))
        };
        let syns = despite(Loss::Syns(2))?;
        assert_eq!(shape(&syns), (3, 1, 0, true), "two SYNs lost");
        let synacks = despite(Loss::SynAcks(1))?;
        assert!(synacks.synacks.len() > 1 && !synacks.acks.is_empty(), "a SYN-ACK lost");
        let acks = despite(Loss::Acks(1))?;
        assert_eq!(acks.synacks.len(), 2, "the third ACK lost");
        let by_data = wire(&lab, family, traffic::completed_by_data)?;
        assert!(!by_data.acks[0].segment.payload.is_empty(), "data is the first acknowledgement");
    }
    Ok(())
}

#[test]
fn a_handshake_can_stay_half_open_or_open_from_both_ends() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    for family in Family::BOTH {
        let patience = Duration::from_millis(1300);
        let half = wire(&lab, family, |lab, family| traffic::half_open(lab, family, patience))?;
        assert_eq!(shape(&half), (1, 2, 0, false), "half-open");
        let both = wire(&lab, family, traffic::simultaneous)?;
        assert_eq!(both.syns.len(), 1, "one SYN from this side");
        let crossed = wire(&lab, family, traffic::crossed)?;
        assert_eq!(crossed.syns.len(), 1, "crossed");
    }
    Ok(())
}

#[test]
fn all_networks_carry_both_families() -> Result<()> {
    for build in [Lab::direct, Lab::routed, Lab::loopback, Lab::tunnelled] {
        let lab = build()?;
        let services = Services::start(&lab)?;
        for family in Family::BOTH {
            assert_eq!(traffic::complete(&lab, family, 3)?.len(), 3);
        }
        assert_eq!(services.answered(), 6);
    }
    Ok(())
}

#[test]
fn a_namespace_ends_with_its_guard() -> Result<()> {
    let namespace = Namespace::new()?;
    let anchor = format!("/proc/{}", namespace.pid());
    assert!(std::path::Path::new(&anchor).exists());
    drop(namespace);
    eventually("the anchor ends", Duration::from_secs(1), || {
        !std::path::Path::new(&anchor).exists()
    })
}

#[test]
fn a_foreign_program_counts_what_passes_and_goes_with_its_guard() -> Result<()> {
    let lab = Lab::direct()?;
    let services = Services::start(&lab)?;
    for hook in Hook::ALL {
        assert_eq!(attachments(&lab.server, "srv0")?, Vec::<String>::new());
        let counter = Counter::attach(&lab.server, "srv0", hook)?;
        assert_eq!(attachments(&lab.server, "srv0")?.len(), 1, "{hook:?}");
        traffic::complete(&lab, Family::V4, 2)?;
        assert!(counter.packets()? >= 6, "{hook:?}: {}", counter.packets()?);
    }
    assert_eq!(attachments(&lab.server, "srv0")?, Vec::<String>::new());
    assert_eq!(services.answered(), 6);
    Ok(())
}
