//! A capture file, to the last line of the output.

use std::io::{self, Read};
use std::time::Duration;

use handshake_user::capture::{CaptureReader, End, MAX_CAPTURED, Status};
use handshake_user::cli::{ReplayArgs, ReplayFormat};
use handshake_user::replay;
use handshake_user::stdout::Output;

/// Reads the file at once and byte by byte, then replays it.
pub fn run(data: &[u8]) {
    let (records, end) = read(data);
    assert_eq!(records.len() as u64, end.records);
    assert!(end.offset <= data.len() as u64);
    assert_eq!(read(Dribble(data)), (records, end));
    for format in [ReplayFormat::Json, ReplayFormat::Lines] {
        let args = ReplayArgs {
            files: Vec::new(),
            format,
            timeout: Duration::from_secs(10),
            after: Duration::from_secs(3),
            linger: Duration::from_secs(60),
            filters: Vec::new(),
        };
        let mut printed = Vec::new();
        let mut out = Output::new(&mut printed);
        let report = replay::replay(data, &args, &mut out, false).expect("memory is writable");
        drop(out);
        assert_eq!(report.end, end);
        let summary = report.summary;
        assert_eq!(summary.packets.values().sum::<u64>(), end.records);
        assert_eq!(summary.outcomes.values().sum::<u64>(), summary.started);
        assert_eq!(summary.open, 0);
        if format == ReplayFormat::Json {
            let lines = printed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            assert_eq!(lines.count() as u64, summary.started);
        }
    }
}

/// Number, time, link type, length on the wire and bytes of each record.
type Records = Vec<(u64, i64, u32, usize, Vec<u8>)>;

fn read(input: impl Read) -> (Records, End) {
    let mut reader = CaptureReader::new(input);
    let mut records = Records::new();
    while let Some(record) = reader.next_record() {
        assert!(record.bytes.len() <= MAX_CAPTURED as usize);
        assert_eq!(record.number, records.len() as u64 + 1);
        let bytes = record.bytes.to_vec();
        records.push((record.number, record.time_ns, record.link_type, record.wire_len, bytes));
    }
    assert!(reader.next_record().is_none(), "the end is the end");
    assert_ne!(reader.end().status(), Status::Unreadable);
    (records, reader.end())
}

/// Gives a byte at a time.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = to.len().min(1);
        self.0.read(&mut to[..len])
    }
}
