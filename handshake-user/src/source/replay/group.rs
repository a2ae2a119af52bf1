//! A few records at a time, so that the table is near before it is asked.
//!
//! Each record looks at another place of a table that is larger than a cache. Asked one by one, each
//! waits for memory; here the flows of some records are guessed first, and their places brought near
//! all at once. A guess decides nothing: a wrong one only makes a record wait.

use handshake_common::flow::Flow;

use super::{KEYS, Replay};
use crate::capture::{CaptureReader, Record, Settled};

/// Records of a group.
const RECORDS: usize = 32;

/// A record and its bytes, whose memory is used again.
#[derive(Debug, Default)]
struct Held {
    number: u64,
    time_ns: i64,
    link_type: u32,
    wire_len: usize,
    settled: Option<Settled>,
    bytes: Vec<u8>,
}

impl Held {
    fn record(&self) -> Record<'_> {
        Record {
            number: self.number,
            time_ns: self.time_ns,
            link_type: self.link_type,
            bytes: &self.bytes,
            wire_len: self.wire_len,
            settled: self.settled,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Group {
    held: [Held; RECORDS],
    len: usize,
}

impl Group {
    /// Reads the next records, fewer if more must be waited for; false if there is none.
    pub fn fill<R: std::io::Read>(&mut self, capture: &mut CaptureReader<R>) -> bool {
        self.len = 0;
        for held in &mut self.held {
            let Some(record) = capture.next_record() else { break };
            held.number = record.number;
            held.time_ns = record.time_ns;
            held.link_type = record.link_type;
            held.wire_len = record.wire_len;
            held.settled = record.settled;
            capture.swap_frame(&mut held.bytes);
            self.len += 1;
            if capture.is_drained() {
                break;
            }
        }
        self.len > 0
    }

    /// Brings near what [`Replay::feed`] will read for these records.
    pub fn warm(&self, source: &Replay) {
        for held in self.held() {
            if let Some(fingerprint) = guess(&held.bytes) {
                source.table.prefetch(fingerprint);
            }
        }
    }

    /// The records, in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.held().iter().map(Held::record)
    }

    fn held(&self) -> &[Held] {
        self.held.get(..self.len).unwrap_or_default()
    }
}

/// The fingerprint of a plain TCP segment over IPv4 or IPv6 on Ethernet.
fn guess(frame: &[u8]) -> Option<u64> {
    const ETHERNET: usize = 14;
    let word = |at: usize| Some(u32::from_ne_bytes(*frame.get(at..)?.first_chunk()?));
    let port = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let address = |at: usize| Some([word(at)?, word(at + 4)?, word(at + 8)?, word(at + 12)?]);
    let flow = match frame.get(ETHERNET)? >> 4 {
        4 => {
            let ports = ETHERNET + 20;
            let (source, dest) = (word(ETHERNET + 12)?, word(ETHERNET + 16)?);
            Flow::v4(source, dest, port(ports)?, port(ports + 2)?, &KEYS)
        }
        6 => {
            let ports = ETHERNET + 40;
            let (source, dest) = (address(ETHERNET + 8)?, address(ETHERNET + 24)?);
            Flow::v6(source, dest, port(ports)?, port(ports + 2)?, &KEYS)
        }
        _ => return None,
    };
    Some(flow.fingerprint())
}
