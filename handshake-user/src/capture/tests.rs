//! Every container variant, built in memory, and every way to damage one.

use std::io::{self, Read};

use super::{CaptureReader, Damage, End, MAX_CAPTURED, RECORDER, Settled, Status};

const ETHERNET: u32 = 1;
const NS_PER_S: i64 = 1_000_000_000;

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Big,
    Little,
}

const ORDERS: [Order; 2] = [Order::Big, Order::Little];

/// Bytes in one byte order.
struct Bytes {
    order: Order,
    bytes: Vec<u8>,
}

impl Bytes {
    fn new(order: Order) -> Self {
        Self { order, bytes: Vec::new() }
    }

    fn u16(mut self, value: u16) -> Self {
        let bytes = value.to_be_bytes();
        match self.order {
            Order::Big => self.bytes.extend(bytes),
            Order::Little => self.bytes.extend(bytes.iter().rev()),
        }
        self
    }

    fn u32s(mut self, values: &[u32]) -> Self {
        for value in values {
            let bytes = value.to_be_bytes();
            match self.order {
                Order::Big => self.bytes.extend(bytes),
                Order::Little => self.bytes.extend(bytes.iter().rev()),
            }
        }
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn padded(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }
}

fn pcap_header(order: Order, magic: u32, link_type: u32) -> Vec<u8> {
    let head = Bytes::new(order).u32s(&[magic]).u16(2).u16(4);
    head.u32s(&[0, 0, 65_535, link_type]).bytes
}

fn pcap_record(order: Order, seconds: u32, part: u32, bytes: &[u8], wire_len: u32) -> Vec<u8> {
    let len = bytes.len() as u32;
    Bytes::new(order).u32s(&[seconds, part, len, wire_len]).raw(bytes).bytes
}

fn pcap(order: Order, magic: u32) -> Vec<u8> {
    let extra = if magic == 0xa1b2_cd34 { vec![0xee; 8] } else { Vec::new() };
    let mut file = pcap_header(order, magic, ETHERNET);
    for (seconds, part, bytes, wire_len) in [(10, 20, &b"abc"[..], 3), (11, 21, b"defgh", 1500)] {
        let record = pcap_record(order, seconds, part, bytes, wire_len);
        file.extend(&record[..16]);
        file.extend(&extra);
        file.extend(&record[16..]);
    }
    file
}

fn block(order: Order, block_type: u32, body: &[u8]) -> Vec<u8> {
    let len = body.len().next_multiple_of(4) as u32 + 12;
    Bytes::new(order).u32s(&[block_type, len]).padded(body).u32s(&[len]).bytes
}

fn section(order: Order) -> Vec<u8> {
    let body = Bytes::new(order).u32s(&[0x1a2b_3c4d]).u16(1).u16(0).raw(&[0xff; 8]);
    block(order, 0x0a0d_0d0a, &body.bytes)
}

fn interface(order: Order, link_type: u16, snap_len: u32, options: &[u8]) -> Vec<u8> {
    let body = Bytes::new(order).u16(link_type).u16(0).u32s(&[snap_len]).raw(options);
    block(order, 1, &body.bytes)
}

fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    Bytes::new(order).u16(code).u16(value.len() as u16).padded(value).bytes
}

fn enhanced(order: Order, interface: u32, ticks: u64, bytes: &[u8], wire_len: u32) -> Vec<u8> {
    let head = [interface, (ticks >> 32) as u32, ticks as u32, bytes.len() as u32, wire_len];
    block(order, 6, &Bytes::new(order).u32s(&head).padded(bytes).bytes)
}

fn obsolete(order: Order, interface: u16, ticks: u64, bytes: &[u8], wire_len: u32) -> Vec<u8> {
    let head = [(ticks >> 32) as u32, ticks as u32, bytes.len() as u32, wire_len];
    let body = Bytes::new(order).u16(interface).u16(7).u32s(&head).padded(bytes);
    block(order, 2, &body.bytes)
}

fn simple(order: Order, bytes: &[u8], wire_len: u32) -> Vec<u8> {
    block(order, 3, &Bytes::new(order).u32s(&[wire_len]).padded(bytes).bytes)
}

/// Two sections of opposite byte orders, all three packet blocks, blocks to step over.
fn pcapng(first: Order) -> Vec<u8> {
    let second = if first == Order::Big { Order::Little } else { Order::Big };
    let nanoseconds = option(first, 9, &[9]);
    [
        section(first),
        interface(first, 1, 0, &[]),
        interface(first, 101, 0, &nanoseconds),
        enhanced(first, 0, 5_000_001, b"one", 60),
        block(first, 4, b"name resolution"),
        enhanced(first, 1, 6_000_000_007, b"two", 3),
        simple(first, b"three", 5),
        section(second),
        block(second, 0x8000_0bad, &[0xaa; 40]),
        interface(second, 276, 4, &[]),
        obsolete(second, 0, 7_000_001, b"four", 1500),
        simple(second, b"five", 9000),
    ]
    .concat()
}

/// A record that owns its bytes.
type Owned = (u64, i64, u32, Vec<u8>, usize);

fn read_from(read: impl Read) -> (Vec<Owned>, End) {
    let mut reader = CaptureReader::new(read);
    let mut records = Vec::new();
    while let Some(r) = reader.next_record() {
        records.push((r.number, r.time_ns, r.link_type, r.bytes.to_vec(), r.wire_len));
    }
    assert!(reader.next_record().is_none(), "an ended reader stays at its end");
    (records, reader.end())
}

fn read(file: &[u8]) -> (Vec<Owned>, End) {
    read_from(file)
}

fn damage(file: &[u8]) -> Damage {
    read(file).1.damage.expect("damage")
}

#[test]
fn pcap_of_every_magic_and_order_gives_the_same_records() {
    for order in ORDERS {
        for (magic, unit) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1), (0xa1b2_cd34, 1000)] {
            let file = pcap(order, magic);
            let (records, end) = read(&file);
            let first = (1, 10 * NS_PER_S + 20 * unit, 1, b"abc".to_vec(), 3);
            let second = (2, 11 * NS_PER_S + 21 * unit, 1, b"defgh".to_vec(), 1500);
            assert_eq!(records, [first, second]);
            assert_eq!(end, End { records: 2, offset: file.len() as u64, damage: None });
        }
    }
}

#[test]
fn pcap_link_type_is_the_low_26_bits() {
    let mut file = pcap_header(Order::Little, 0xa1b2_c3d4, 0x5400_0071);
    file.extend(pcap_record(Order::Little, 0, 0, b"x", 1));
    assert_eq!(read(&file).0[0].2, 113);
}

#[test]
fn pcap_sub_second_part_above_its_range_is_added() {
    let mut file = pcap_header(Order::Little, 0xa1b2_c3d4, ETHERNET);
    file.extend(pcap_record(Order::Little, u32::MAX, u32::MAX, b"x", 1));
    let expected = i64::from(u32::MAX) * NS_PER_S + i64::from(u32::MAX) * 1000;
    assert_eq!(read(&file).0[0].1, expected);
}

#[test]
fn pcap_of_only_a_header_is_ok() {
    let (records, end) = read(&pcap_header(Order::Big, 0xa1b2_c3d4, ETHERNET));
    assert_eq!((records.len(), end.status()), (0, Status::Ok));
}

#[test]
fn pcap_captured_length_at_the_limit_is_read_and_above_it_is_malformed() {
    let mut file = pcap_header(Order::Little, 0xa1b2_c3d4, ETHERNET);
    file.extend(pcap_record(Order::Little, 0, 0, &vec![7; MAX_CAPTURED as usize], 300_000));
    let damaged_at = file.len() as u64;
    file.extend(pcap_record(Order::Little, 0, 0, &vec![7; MAX_CAPTURED as usize + 1], 300_000));
    let (records, end) = read(&file);
    assert_eq!(records[0].3.len(), MAX_CAPTURED as usize);
    let damage = Some(Damage::CapturedLength(MAX_CAPTURED + 1));
    assert_eq!(end, End { records: 1, offset: damaged_at, damage });
}

#[test]
fn pcap_impossible_length_in_a_short_file_is_malformed_not_truncated() {
    let mut file = pcap_header(Order::Little, 0xa1b2_c3d4, ETHERNET);
    file.extend(Bytes::new(Order::Little).u32s(&[0, 0, u32::MAX, 60]).bytes);
    assert_eq!(read(&file).1.status(), Status::Malformed);
}

#[test]
fn pcapng_sections_of_both_orders_and_all_packet_blocks_are_read() {
    for order in ORDERS {
        let file = pcapng(order);
        let (records, end) = read(&file);
        assert_eq!(
            records,
            [
                (1, 5_000_001_000, 1, b"one".to_vec(), 60),
                (2, 6_000_000_007, 101, b"two".to_vec(), 3),
                // No time of its own: that of the packet before it.
                (3, 6_000_000_007, 1, b"three".to_vec(), 5),
                (4, 7_000_001_000, 276, b"four".to_vec(), 1500),
                // Cut to the interface's snap length.
                (5, 7_000_001_000, 276, b"five".to_vec(), 9000),
            ]
        );
        assert_eq!(end, End { records: 5, offset: file.len() as u64, damage: None });
    }
}

#[test]
fn pcapng_simple_packet_before_any_other_has_time_zero() {
    let le = Order::Little;
    let file = [section(le), interface(le, 1, 0, &[]), simple(le, b"x", 1)].concat();
    assert_eq!(read(&file).0[0].1, 0);
}

#[test]
fn pcapng_time_resolutions_and_offsets_give_nanoseconds() {
    let cases: [(u8, i64, u64, i64); 10] = [
        (0, 0, 3, 3 * NS_PER_S),
        (3, 0, 1_234, 1_234_000_000),
        (6, 0, 1_000_001, 1_000_001_000),
        (9, 0, 1_000_000_001, 1_000_000_001),
        (12, 0, 1_999_999_999_999, 1_999_999_999),
        (127, 0, u64::MAX, 0),
        (0x80 | 1, 0, 3, 1_500_000_000),
        (0x80 | 32, 0, (5 << 32) | (1 << 31), 5_500_000_000),
        (0x80 | 127, 0, u64::MAX, 0),
        (6, -2, 1_000_000, -NS_PER_S),
    ];
    for order in ORDERS {
        for (resolution, offset, ticks, expected) in cases {
            let offset = match order {
                Order::Big => offset.to_be_bytes(),
                Order::Little => offset.to_le_bytes(),
            };
            let options = [
                option(order, 2, b"eth0"),
                option(order, 9, &[resolution]),
                option(order, 14, &offset),
                option(order, 0, &[]),
            ]
            .concat();
            let interface = interface(order, 1, 0, &options);
            let file = [section(order), interface, enhanced(order, 0, ticks, b"x", 1)].concat();
            assert_eq!(read(&file).0[0].1, expected, "resolution {resolution}");
        }
    }
}

#[test]
fn pcapng_times_beyond_64_bits_are_clamped() {
    let le = Order::Little;
    for (offset, expected) in [(i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
        let options = [option(le, 9, &[0]), option(le, 14, &offset.to_le_bytes())].concat();
        let packet = enhanced(le, 0, u64::MAX >> 1, b"x", 1);
        let file = [section(le), interface(le, 1, 0, &options), packet].concat();
        let expected = if offset < 0 { -NS_PER_S } else { expected };
        assert_eq!(read(&file).0[0].1, expected);
    }
}

#[test]
fn pcapng_malformed_interface_option_ends_the_walk_only() {
    let le = Order::Little;
    let options = [option(le, 9, &[9]), vec![2, 0, 0xff, 0xff]].concat();
    let file = [section(le), interface(le, 1, 0, &options), enhanced(le, 0, 77, b"x", 1)].concat();
    let (records, end) = read(&file);
    assert_eq!((records[0].1, end.status()), (77, Status::Ok));
}

#[test]
fn pcapng_of_only_a_section_header_is_ok() {
    assert_eq!(read(&section(Order::Big)).1.status(), Status::Ok);
}

#[test]
fn pcapng_damage_is_named_and_located_at_its_block() {
    let le = Order::Little;
    let head = [section(le), interface(le, 1, 0, &[]), enhanced(le, 0, 1, b"fine", 4)].concat();
    let with_len = |len: u32| Bytes::new(le).u32s(&[9, len]).raw(&[0; 32]).bytes;
    let mut wrong_trailer = enhanced(le, 0, 2, b"bad", 3);
    let last = wrong_trailer.len() - 4;
    wrong_trailer[last] += 4;
    let huge = Bytes::new(le).u32s(&[0, 0, 0, MAX_CAPTURED + 1, 1]).raw(&[0; 4]).bytes;
    let beyond = Bytes::new(le).u32s(&[0, 0, 0, 9, 9]).raw(&[0; 8]).bytes;
    let cases = [
        (with_len(8), Damage::BlockLength(8)),
        (with_len(21), Damage::BlockLength(21)),
        (wrong_trailer, Damage::BlockTrailer(36, 40)),
        (enhanced(le, 1, 2, b"bad", 3), Damage::Interface(1)),
        (obsolete(le, 9, 2, b"bad", 3), Damage::Interface(9)),
        ([section(le), simple(le, b"bad", 3)].concat(), Damage::Interface(0)),
        (block(le, 6, &huge), Damage::CapturedLength(MAX_CAPTURED + 1)),
        (block(le, 6, &beyond), Damage::CapturedBeyondBlock(9)),
        (block(le, 6, &[0; 16]), Damage::BlockTooShort(28)),
        (block(le, 1, &[0; 4]), Damage::BlockTooShort(16)),
        (block(le, 3, &[]), Damage::BlockTooShort(12)),
        (
            Bytes::new(le).u32s(&[0x0a0d_0d0a, 28, 1]).raw(&[0; 16]).bytes,
            Damage::ByteOrder(1 << 24),
        ),
    ];
    for (tail, expected) in cases {
        let (records, end) = read(&[head.clone(), tail.clone()].concat());
        assert_eq!((records.len(), end.damage), (1, Some(expected)));
        assert_eq!(end.status(), Status::Malformed);
        let skipped = if tail.starts_with(&section(le)) { section(le).len() } else { 0 };
        assert_eq!(end.offset, (head.len() + skipped) as u64);
    }
}

#[test]
fn pcapng_interface_of_an_earlier_section_is_undeclared() {
    let le = Order::Little;
    let file = [section(le), interface(le, 1, 0, &[]), section(le), enhanced(le, 0, 1, b"x", 1)];
    assert_eq!(damage(&file.concat()), Damage::Interface(0));
}

#[test]
fn pcapng_first_section_header_with_a_wrong_trailer_is_malformed() {
    let mut file = section(Order::Little);
    let last = file.len() - 1;
    file[last] = 9;
    assert_eq!(read(&file).1.status(), Status::Malformed);
}

/// A section whose header names the application that wrote it.
fn section_of(order: Order, application: &[u8]) -> Vec<u8> {
    let comment = option(order, 1, b"why");
    let options = [comment, option(order, 4, application), option(order, 0, b"")].concat();
    let fixed = Bytes::new(order).u32s(&[0x1a2b_3c4d]).u16(1).u16(0).u32s(&[u32::MAX, u32::MAX]);
    block(order, 0x0a0d_0d0a, &fixed.raw(&options).bytes)
}

/// Interface statistics at a time in microseconds.
fn statistics(order: Order, interface: u32, ticks: u32) -> Vec<u8> {
    block(order, 5, &Bytes::new(order).u32s(&[interface, 0, ticks]).bytes)
}

fn marked(order: Order, application: &[u8]) -> Vec<u8> {
    let packet = enhanced(order, 0, 1, b"frame", 5);
    [
        section_of(order, application),
        interface(order, 1, 0, b""),
        packet.clone(),
        statistics(order, 0, 2_000_000),
        packet.clone(),
        statistics(order, 0, 3_000_000),
        statistics(order, 0, 0),
        packet.clone(),
        packet,
        statistics(order, 0, 4_000_000),
    ]
    .concat()
}

#[test]
fn pcapng_statistics_are_marks_in_files_of_the_recorder_only() {
    let marks = |file: &[u8]| {
        let mut reader = CaptureReader::new(file);
        let mut marks = Vec::new();
        while let Some(record) = reader.next_record() {
            marks.push(record.settled);
        }
        marks.push(reader.settled());
        assert_eq!((reader.end().records, reader.end().damage), (4, None));
        marks
    };
    let silent = |seconds: i64| Some(Settled::Silent(seconds * NS_PER_S));
    for order in ORDERS {
        let ours = [&RECORDER[..], b"1.2.3"].concat();
        let expected = [None, silent(2), Some(Settled::Unknown), None, silent(4)];
        assert_eq!(marks(&marked(order, &ours)), expected);
        for foreign in [&b"Dumpcap (Wireshark) 4.0.17"[..], b"handshake recorder", b""] {
            assert_eq!(marks(&marked(order, foreign)), [None; 5]);
        }
        // The next section is somebody else's.
        let both = [marked(order, &ours), section(order)].concat();
        assert!(marks(&both).iter().flatten().count() > 0);
    }
}

#[test]
fn pcapng_a_mark_of_an_undeclared_interface_is_malformed() {
    let ours = section_of(Order::Little, &RECORDER[..]);
    let file = [ours, statistics(Order::Little, 0, 1)].concat();
    assert_eq!(damage(&file), Damage::Interface(0));
}

#[test]
fn pcapng_large_unknown_block_is_stepped_over() {
    let le = Order::Little;
    let file = [
        section(le),
        interface(le, 1, 0, &[]),
        block(le, 0xbad, &vec![3; 1 << 20]),
        enhanced(le, 0, 1, b"x", 1),
    ];
    let mut reader = CaptureReader::new(io::Cursor::new(file.concat()));
    assert_eq!(reader.next_record().map(|record| record.number), Some(1));
    assert!(reader.frame.capacity() < 1024, "only frames are held");
}

#[test]
fn what_is_no_capture_is_named() {
    let cases: [(&[u8], Damage); 6] = [
        (b"", Damage::Empty),
        (b"ab", Damage::HalfHeader),
        (b"just some text", Damage::UnknownMagic),
        (&[0x1f, 0x8b, 8, 0, 0, 0], Damage::Gzip),
        (&[0xa1, 0xb2, 0xc3, 0xd4, 0, 2], Damage::HalfHeader),
        (&[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 1, 2, 3, 4], Damage::UnknownMagic),
    ];
    for (file, expected) in cases {
        let (_, end) = read(file);
        assert_eq!(end, End { records: 0, offset: 0, damage: Some(expected) });
        assert_eq!(end.status(), Status::NotACapture);
    }
}

#[test]
fn unsupported_link_type_only_if_every_packet_has_one() {
    let le = Order::Little;
    let (bad, good) = (enhanced(le, 0, 1, b"x", 1), enhanced(le, 1, 1, b"x", 1));
    let head = [section(le), interface(le, 281, 0, &[]), interface(le, 1, 0, &[])].concat();
    let (_, end) = read(&[head.clone(), bad.clone(), bad.clone()].concat());
    assert_eq!((end.records, end.damage), (2, Some(Damage::LinkType(281))));
    assert_eq!(end.status(), Status::UnsupportedLinkType);
    assert_eq!(end.offset, head.len() as u64);
    assert_eq!(read(&[head.clone(), bad, good].concat()).1.status(), Status::Ok);
    assert_eq!(read(&head).1.status(), Status::Ok, "no packet, nothing unsupported");
}

/// Every prefix of `parts` (the file header, then records or blocks, true for packets): whole
/// packets before the cut, the right verdict, never a panic.
fn cut_everywhere(parts: &[(bool, Vec<u8>)]) {
    let file: Vec<u8> = parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    for len in 0..file.len() {
        let (mut whole, mut start) = (0, 0);
        for (packet, bytes) in parts {
            if start + bytes.len() > len {
                break;
            }
            start += bytes.len();
            whole += usize::from(*packet);
        }
        let (records, end) = read(&file[..len]);
        let expected = match (start, len - start) {
            (0, _) => Status::NotACapture,
            (_, 0) => Status::Ok,
            _ => Status::Truncated,
        };
        assert_eq!((records.len(), end.status()), (whole, expected), "cut at {len}");
        assert_eq!(end.offset, start as u64, "cut at {len}");
    }
}

#[test]
fn pcap_cut_at_every_byte_is_truncated() {
    for order in ORDERS {
        for (magic, record) in [(0xa1b2_c3d4, 19), (0xa1b2_cd34, 27)] {
            let file = pcap(order, magic);
            let (first, second) = file[24..].split_at(record);
            let header = (false, file[..24].to_vec());
            cut_everywhere(&[header, (true, first.to_vec()), (true, second.to_vec())]);
        }
    }
}

#[test]
fn pcapng_cut_at_every_byte_is_truncated() {
    for order in ORDERS {
        cut_everywhere(&[
            (false, section(order)),
            (false, interface(order, 1, 0, &option(order, 9, &[9]))),
            (true, enhanced(order, 0, 1, b"one", 3)),
            (true, obsolete(order, 0, 1, b"two", 3)),
            (false, block(order, 5, b"statistics")),
            (true, simple(order, b"three", 5)),
        ]);
    }
}

#[test]
fn pcapng_any_byte_changed_never_panics_and_never_invents_packets() {
    let file = pcapng(Order::Little);
    for at in 0..file.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] = value;
            let (records, end) = read(&changed);
            assert!(records.len() <= 5 && end.offset <= file.len() as u64);
        }
    }
}

/// Hands out one byte at a time, interrupted in between, and fails at last.
struct Awkward<'a> {
    bytes: &'a [u8],
    interrupt: bool,
    fail: bool,
}

impl Read for Awkward<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        match self.bytes {
            _ if self.interrupt => Err(io::ErrorKind::Interrupted.into()),
            [] if self.fail => Err(io::ErrorKind::IsADirectory.into()),
            [] => Ok(0),
            [first, rest @ ..] => {
                to[0] = *first;
                self.bytes = rest;
                Ok(1)
            }
        }
    }
}

#[test]
fn input_in_single_bytes_with_interruptions_reads_the_same() {
    let file = pcapng(Order::Big);
    let awkward = Awkward { bytes: &file, interrupt: false, fail: false };
    assert_eq!(read_from(awkward), read(&file));
}

#[test]
fn input_that_fails_is_unreadable_after_what_was_read() {
    let file = pcap(Order::Big, 0xa1b2_c3d4);
    let (records, end) = read_from(Awkward { bytes: &file, interrupt: false, fail: true });
    assert_eq!((records.len(), end.status()), (2, Status::Unreadable));
    assert_eq!(end.damage, Some(Damage::Read(io::ErrorKind::IsADirectory)));
}
