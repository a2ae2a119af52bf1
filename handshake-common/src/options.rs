//! TCP options of a SYN or SYN-ACK, read from the raw bytes an event carries.
//!
//! The first option of each kind counts; a malformed one ends the walk (RFC 9293 3.1, RFC 7323,
//! RFC 7413, RFC 8684).

mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const MSS: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const TIMESTAMPS: u8 = 8;
    pub(super) const MPTCP: u8 = 30;
    pub(super) const FAST_OPEN: u8 = 34;
    /// Shared experiments (RFC 6994); Fast Open's identifier there is [`FAST_OPEN_EXID`].
    pub(super) const EXPERIMENT: u8 = 254;
    pub(super) const FAST_OPEN_EXID: [u8; 2] = [0xf9, 0x89];
}

/// What Multipath TCP option a segment carries (RFC 8684 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mptcp {
    /// `MP_CAPABLE`.
    Capable,
    /// `MP_JOIN`.
    Join,
    /// Any other subtype.
    Other,
}

/// The options that matter to a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options<'a> {
    /// Maximum segment size in bytes.
    pub mss: Option<u16>,
    /// Window scale as a shift count, unclamped.
    pub window_scale: Option<u8>,
    /// Selective acknowledgements permitted.
    pub sack_permitted: bool,
    /// Timestamps present.
    pub timestamps: bool,
    /// Fast Open cookie; empty for a request.
    pub fast_open: Option<&'a [u8]>,
    /// Multipath TCP.
    pub mptcp: Option<Mptcp>,
}

impl<'a> Options<'a> {
    /// Reads options from their raw bytes.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Self {
        let mut options = Self::default();
        let mut rest = bytes;
        while let [kind, tail @ ..] = rest {
            match *kind {
                kind::END => break,
                kind::NOP => rest = tail,
                kind => {
                    let Some((body, next)) = body(rest) else { break };
                    options.take(kind, body);
                    rest = next;
                }
            }
        }
        options
    }

    fn take(&mut self, kind: u8, body: &'a [u8]) {
        match (kind, body) {
            (kind::MSS, &[a, b]) => _ = self.mss.get_or_insert(u16::from_be_bytes([a, b])),
            (kind::WINDOW_SCALE, &[shift]) => _ = self.window_scale.get_or_insert(shift),
            (kind::SACK_PERMITTED, []) => self.sack_permitted = true,
            (kind::TIMESTAMPS, body) if body.len() == 8 => self.timestamps = true,
            (kind::FAST_OPEN, cookie) => _ = self.fast_open.get_or_insert(cookie),
            (kind::EXPERIMENT, [a, b, cookie @ ..]) if [*a, *b] == kind::FAST_OPEN_EXID => {
                _ = self.fast_open.get_or_insert(cookie);
            }
            (kind::MPTCP, [first, ..]) => {
                _ = self.mptcp.get_or_insert(match first >> 4 {
                    0 => Mptcp::Capable,
                    1 => Mptcp::Join,
                    _ => Mptcp::Other,
                });
            }
            _ => {}
        }
    }
}

/// Splits `[kind, len, body.., rest..]`.
fn body(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::from(*bytes.get(1)?);
    let body = bytes.get(2..len)?;
    Some((body, bytes.get(len..)?))
}
