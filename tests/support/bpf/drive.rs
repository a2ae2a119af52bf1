//! A program that makes the next packet out of the last one and hands it to the program under test
//! (a tail call), so that one repeated test run shows it many flows while nothing but the table is
//! cold. What the driver itself costs is in both of two programs compared.
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{Attributes, Hook, MAP_CREATE, instruction, load};
use crate::frame::{ACK, SYN};

const MAP_UPDATE: libc::c_long = 2;
const MAP_TYPE_PROG_ARRAY: u32 = 3;

/// Flows before the first comes again, in an order without pattern.
pub const FLOWS: u32 = 1 << 16;
/// Handshakes that [`Packets::Handshakes`] has under way.
pub const UNDER_WAY: u32 = 1 << 10;
/// Bytes of the Ethernet header; its first four count the packets.
const ETHERNET: i16 = 14;
/// The client's and the server's first sequence number.
const NUMBERS: (u32, u32) = (1000, 5000);
const SERVER_PORT: u16 = 443;
/// Bytes of the TCP header of a frame for [`Packets::Handshakes`]: 20 of options.
const HEADER_LEN: u8 = 40;

/// What the driver makes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packets {
    /// The same, of the next of [`FLOWS`] flows (another source port).
    Flows,
    /// A thousand SYNs, their SYN-ACKs, their third ACKs, and so on. Both addresses must be equal, and
    /// the TCP header have 20 bytes of options.
    Handshakes,
    /// The same from another address and port.
    Sources,
}

/// See the module.
#[derive(Debug)]
pub struct Driver {
    program: OwnedFd,
    target: OwnedFd,
}

impl Driver {
    /// Loads a driver of frames with Ethernet and a plain IP header.
    pub fn load(hook: Hook, packets: Packets, is_v6: bool) -> io::Result<Self> {
        let mut map = Attributes::default();
        for (at, value) in [(0, MAP_TYPE_PROG_ARRAY), (4, 4), (8, 4), (12, 1)] {
            map.put(at, value);
        }
        let target = map.descriptor(MAP_CREATE)?;
        let code = code(hook, packets, is_v6, target.as_raw_fd());
        Ok(Self { program: load(hook, hook.expected_attach_type(), &code)?, target })
    }

    /// Chooses the program that gets the packets.
    pub fn aim(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let (key, value) = (0_u32, program.as_raw_fd());
        let mut attributes = Attributes::default();
        attributes.put(0, self.target.as_raw_fd().cast_unsigned());
        attributes.put_pointer(8, &raw const key);
        attributes.put_pointer(16, &raw const value);
        attributes.call(MAP_UPDATE).map(|_| ())
    }

    /// The driver itself.
    #[must_use]
    pub fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// The frame as the driver takes it up at packet `number`.
#[must_use]
pub fn from_number(frame: &[u8], number: u32) -> Vec<u8> {
    [&number.to_ne_bytes(), &frame[4..]].concat()
}

/// An instruction on two registers, an offset and an immediate.
const fn op(operation: u8, to: u8, from: u8, offset: i16, immediate: i32) -> [u8; 8] {
    instruction(operation, from << 4 | to, offset, immediate)
}

/// r6 is the context, r7 the frame, r8 the number of the packet, r9 what tells flows apart.
fn code(hook: Hook, packets: Packets, is_v6: bool, target: i32) -> Vec<[u8; 8]> {
    let tcp = ETHERNET + if is_v6 { 40 } else { 20 };
    let (data, end) = if hook == Hook::Xdp { (0, 4) } else { (76, 80) };
    let change = match packets {
        Packets::Flows => flows(tcp),
        Packets::Sources => sources(tcp, ETHERNET + if is_v6 { 20 } else { 12 }),
        Packets::Handshakes => handshakes(tcp),
    };
    let mut code = vec![
        op(0xbf, 6, 1, 0, 0),                           // r6 = r1
        op(0x61, 7, 6, data, 0),                        // r7 = data
        op(0x61, 3, 6, end, 0),                         // r3 = end
        op(0xbf, 2, 7, 0, 0),                           // r2 = r7
        op(0x07, 2, 0, 0, i32::from(tcp) + 20),         // r2 += headers
        op(0x2d, 2, 3, 4 + change.len() as i16 + 5, 0), // if r2 > r3 pass
        op(0x61, 8, 7, 0, 0),                           // r8 = number
        op(0xbc, 1, 8, 0, 0),                           // w1 = w8
        op(0x04, 1, 0, 0, 1),                           // w1 += 1
        op(0x63, 7, 1, 0, 0),                           // number = w1
    ];
    code.extend(change);
    code.extend([
        op(0xbf, 1, 6, 0, 0),      // r1 = r6
        op(0x18, 2, 1, 0, target), // r2 = programs, two slots
        op(0x00, 0, 0, 0, 0),
        op(0xb7, 3, 0, 0, 0),              // r3 = 0
        op(0x85, 0, 0, 0, 12),             // tail call
        op(0xb7, 0, 0, 0, hook.verdict()), // pass: r0 = verdict
        op(0x95, 0, 0, 0, 0),              // exit
    ]);
    code
}

/// w9 = the client's port: number `from`, shuffled (an odd factor, so every port once in 2^16).
fn shuffle(from: u8) -> [[u8; 8]; 4] {
    [
        op(0xbc, 9, from, 0, 0),   // w9 = w`from`
        op(0x24, 9, 0, 0, 0x6b5f), // w9 *= odd
        op(0x04, 9, 0, 0, 0x35),   // w9 += something
        op(0x54, 9, 0, 0, 0xffff), // w9 &= port
    ]
}

/// Both ports in one store. All stores are as wide as the loads of the program under test: a load
/// that cannot take its bytes from one store waits until everything stored before is in the cache.
fn ports(tcp: i16, from_client: bool) -> Vec<[u8; 8]> {
    let server = i32::from(SERVER_PORT.to_be());
    let mut code = vec![op(0xbc, 1, 9, 0, 0)]; // w1 = w9
    if from_client {
        code.push(op(0x44, 1, 0, 0, server << 16)); // w1 |= server's port behind
    } else {
        code.push(op(0x64, 1, 0, 0, 16)); // w1 <<= 16
        code.push(op(0x44, 1, 0, 0, server)); // w1 |= server's port before
    }
    code.push(op(0x63, 7, 1, tcp, 0)); // ports = w1
    code
}

fn flows(tcp: i16) -> Vec<[u8; 8]> {
    [&shuffle(8)[..], &ports(tcp, true)].concat()
}

fn sources(tcp: i16, address: i16) -> Vec<[u8; 8]> {
    let mut code = flows(tcp);
    code.extend([
        op(0x24, 8, 0, 0, 0x9e37_79b1_u32.cast_signed()), // w8 *= odd
        op(0x63, 7, 8, address, 0),                       // source address = w8
    ]);
    code
}

/// The number is `round * 3 * UNDER_WAY + step * UNDER_WAY + flow`.
fn handshakes(tcp: i16) -> Vec<[u8; 8]> {
    let bits = UNDER_WAY.trailing_zeros() as i32;
    let [syn, syn_ack, ack] = steps(tcp);
    let mut code = vec![
        op(0xbc, 1, 8, 0, 0),                           // w1 = w8
        op(0x74, 1, 0, 0, bits),                        // w1 >>= bits
        op(0xbc, 2, 1, 0, 0),                           // w2 = w1
        op(0x34, 1, 0, 0, 3),                           // w1 /= 3: round
        op(0x94, 2, 0, 0, 3),                           // w2 %= 3: step
        op(0x64, 1, 0, 0, bits),                        // w1 <<= bits
        op(0x54, 8, 0, 0, UNDER_WAY.cast_signed() - 1), // w8 &= flow
        op(0x4c, 1, 8, 0, 0),                           // w1 |= w8
    ];
    code.extend(shuffle(1));
    let (one, two, three) = (syn.len() as i16, syn_ack.len() as i16, ack.len() as i16);
    code.extend([
        op(0x16, 2, 0, 1 + one + 1, 1),       // if w2 == 1 SYN-ACK
        op(0x16, 2, 0, one + 1 + two + 1, 2), // if w2 == 2 ACK
    ]);
    code.extend(syn);
    code.push(op(0x05, 0, 0, two + 1 + three, 0)); // done
    code.extend(syn_ack);
    code.push(op(0x05, 0, 0, three, 0)); // done
    code.extend(ack);
    code
}

/// The three segments of a handshake; every one writes the fields that another changes.
fn steps(tcp: i16) -> [Vec<[u8; 8]>; 3] {
    let (client, server) = NUMBERS;
    let step = |from_client: bool, seq: u32, ack: u32, flags: u8| {
        let control = i32::from_ne_bytes([HEADER_LEN << 2, flags, 0xff, 0xff]);
        let mut code = ports(tcp, from_client);
        code.extend([
            op(0x62, 7, 0, tcp + 4, seq.to_be().cast_signed()), // sequence number
            op(0x62, 7, 0, tcp + 8, ack.to_be().cast_signed()), // acknowledgement
            op(0x62, 7, 0, tcp + 12, control),                  // header length, flags, window
        ]);
        code
    };
    [
        step(true, client, 0, SYN),
        step(false, server, client + 1, SYN | ACK),
        step(true, client + 1, server + 1, ACK),
    ]
}
