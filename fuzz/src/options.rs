//! TCP options against a second reader, which lists them all before it looks at any.

use handshake_common::options::{Mptcp, Options};

/// Reads the options both ways.
pub fn run(data: &[u8]) {
    let options = Options::parse(data);
    let list = list(data);
    let first = |kind: u8, len: usize| {
        list.iter().find(|(k, body)| *k == kind && body.len() == len).map(|(_, body)| *body)
    };
    assert_eq!(options.mss, first(2, 2).map(|body| u16::from_be_bytes([body[0], body[1]])));
    assert_eq!(options.window_scale, first(3, 1).map(|body| body[0]));
    assert_eq!(options.sack_permitted, first(4, 0).is_some());
    assert_eq!(options.timestamps, first(8, 8).is_some());
    let cookie = list.iter().find_map(|&(kind, body)| match (kind, body) {
        (34, cookie) => Some(cookie),
        (254, [0xf9, 0x89, cookie @ ..]) => Some(cookie),
        _ => None,
    });
    assert_eq!(options.fast_open, cookie);
    let subtype = list.iter().find_map(|(kind, body)| (*kind == 30).then(|| body.first())?);
    let mptcp = subtype.map(|byte| match byte >> 4 {
        0 => Mptcp::Capable,
        1 => Mptcp::Join,
        _ => Mptcp::Other,
    });
    assert_eq!(options.mptcp, mptcp);
}

/// Kind and body of each, up to the end or the first malformed one.
fn list(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let (mut list, mut at) = (Vec::new(), 0);
    while at < bytes.len() && bytes[at] != 0 {
        if bytes[at] == 1 {
            at += 1;
            continue;
        }
        let len = bytes.get(at + 1).map_or(0, |len| usize::from(*len));
        if len < 2 || at + len > bytes.len() {
            break;
        }
        list.push((bytes[at], &bytes[at + 2..at + len]));
        at += len;
    }
    list
}
