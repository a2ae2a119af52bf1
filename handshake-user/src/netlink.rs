//! The few rtnetlink requests that `interfaces` and `loader` need, synchronously.
//!
//! Attributes are walked, not modelled: an attribute that a newer kernel adds or changes cannot
//! make an interface disappear. Nothing here knows what a request means; see `interfaces` and
//! `loader::clsact`. A socket belongs to the network namespace of the thread that opened it.

use std::io;

use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

/// Bytes of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE_LEN: usize = 4;
/// The high bits of an attribute's type are flags (`NLA_TYPE_MASK`).
const TYPE_MASK: u16 = 0x3fff;
/// Text of the kernel in an error reply (`NLMSGERR_ATTR_MSG`).
const ERROR_TEXT: u16 = 1;
/// Larger than any datagram that the kernel makes for a dump (32 KiB).
const RECEIVE_BYTES: usize = 64 * 1024;
/// A dump that changes while it is read is read again, at most so often.
const DUMP_TRIES: usize = 5;

/// One message: its type and what follows `struct nlmsghdr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// A message of `kind` that starts with a fixed header such as `struct ifinfomsg`.
    pub(crate) fn new(kind: u16, header: &[u8]) -> Self {
        Self { kind, payload: header.to_vec() }
    }

    /// Appends an attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let len = (ATTRIBUTE_LEN + value.len()) as u16;
        self.payload.extend_from_slice(&len.to_ne_bytes());
        self.payload.extend_from_slice(&kind.to_ne_bytes());
        self.payload.extend_from_slice(value);
        self.payload.resize(self.payload.len().next_multiple_of(4), 0);
        self
    }

    /// Appends the attributes of `inner` as one nested attribute.
    pub(crate) fn nested(self, kind: u16, inner: &Self) -> Self {
        self.attribute(kind | libc::NLA_F_NESTED as u16, &inner.payload)
    }

    /// The attributes after a fixed header of `header_len` bytes.
    pub(crate) fn attributes(&self, header_len: usize) -> Attributes<'_> {
        Attributes(self.payload.get(header_len..).unwrap_or_default())
    }

    fn encode(&self, sequence: u32, flags: i32) -> Vec<u8> {
        let len = (HEADER_LEN + self.payload.len()) as u32;
        let mut bytes = Vec::with_capacity(len as usize);
        bytes.extend_from_slice(&len.to_ne_bytes());
        bytes.extend_from_slice(&self.kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags as u16).to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// Walks attributes; ends at the first that does not fit.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_LEN..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'a> Attributes<'a> {
    /// The first attribute of `kind`.
    pub(crate) fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(found, value)| (found == kind).then_some(value))
    }
}

/// Two bytes in host order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Four bytes in host order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A string attribute, up to its NUL.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// What the kernel refused, with its own words where it has some.
#[derive(Debug, thiserror::Error)]
#[error("{io}{}", said.as_ref().map(|said| format!(" (the kernel says: {said})")).unwrap_or_default())]
pub(crate) struct Refused {
    /// The error.
    pub(crate) io: io::Error,
    /// The kernel's text (`NETLINK_EXT_ACK`).
    pub(crate) said: Option<String>,
}

impl Refused {
    /// The errno.
    pub(crate) fn errno(&self) -> Option<i32> {
        self.io.raw_os_error()
    }
}

impl From<io::Error> for Refused {
    fn from(io: io::Error) -> Self {
        Self { io, said: None }
    }
}

/// A blocking socket for requests.
pub(crate) struct Requests {
    socket: Socket,
    sequence: u32,
}

impl Requests {
    /// Opens a socket in the network namespace of this thread.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Before 4.12 the kernel has no texts; errors are then numbers only.
        if socket.set_ext_ack(true).is_ok() {
            socket.set_cap_ack(true)?;
        }
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request with `flags` besides REQUEST and ACK, and waits for its acknowledgement.
    pub(crate) fn request(&mut self, message: &Message, flags: i32) -> Result<(), Refused> {
        self.send(message, libc::NLM_F_ACK | flags)?;
        self.receive().map(drop)
    }

    /// Sends a dump request and collects its replies.
    pub(crate) fn dump(&mut self, message: &Message) -> Result<Vec<Message>, Refused> {
        for _ in 0..DUMP_TRIES {
            self.send(message, libc::NLM_F_DUMP)?;
            let (messages, interrupted) = self.receive()?;
            if !interrupted {
                return Ok(messages);
            }
        }
        Err(io::Error::from_raw_os_error(libc::EAGAIN).into())
    }

    fn send(&mut self, message: &Message, flags: i32) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.encode(self.sequence, libc::NLM_F_REQUEST | flags);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Reads until the end of the reply; true if a dump was interrupted by a change.
    fn receive(&mut self) -> Result<(Vec<Message>, bool), Refused> {
        let mut messages = Vec::new();
        let mut interrupted = false;
        loop {
            let mut bytes = Vec::with_capacity(RECEIVE_BYTES);
            self.socket.recv(&mut bytes, 0)?;
            for part in Parts(&bytes) {
                if part.sequence != self.sequence {
                    continue;
                }
                interrupted |= part.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match i32::from(part.kind) {
                    libc::NLMSG_DONE => return Ok((messages, interrupted)),
                    libc::NLMSG_ERROR => {
                        return reply(part).map(|()| (messages, interrupted));
                    }
                    _ => messages.push(part.into_message()),
                }
            }
        }
    }
}

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Part<'_> {
    pub(crate) fn into_message(self) -> Message {
        Message { kind: self.kind, payload: self.payload.to_vec() }
    }
}

/// Walks the messages of a datagram; ends at the first that does not fit.
pub(crate) struct Parts<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let len = u32_at(self.0, 0)? as usize;
        let part = Part {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            payload: self.0.get(HEADER_LEN..len)?,
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    }
}

/// What an `NLMSG_ERROR` means: 0 is an acknowledgement.
fn reply(part: Part<'_>) -> Result<(), Refused> {
    let code = u32_at(part.payload, 0).unwrap_or_default() as i32;
    if code == 0 {
        return Ok(());
    }
    let said = Attributes(part.payload.get(4 + HEADER_LEN..).unwrap_or_default())
        .find(ERROR_TEXT)
        .map(text)
        .filter(|said| !said.is_empty());
    Err(Refused { io: io::Error::from_raw_os_error(-code), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_a_round_trip() {
        let inner = Message::new(0, &[]).attribute(7, b"name\0");
        let message =
            Message::new(44, &[9; 4]).attribute(1, b"bpf\0").nested(2, &inner).attribute(3, &[]);
        let found: Vec<_> = message.attributes(4).map(|(kind, _)| kind).collect();
        assert_eq!(found, [1, 2, 3]);
        let nested = Attributes(message.attributes(4).find(2).unwrap());
        assert_eq!(nested.find(7).map(text).as_deref(), Some("name"));
    }

    #[test]
    fn damaged_bytes_end_the_walk() {
        let whole = Message::new(16, &[0; 16]).attribute(3, b"eth0\0").encode(1, 0);
        for len in 0..whole.len() {
            assert_eq!(Parts(&whole[..len]).count(), 0, "cut at {len}");
        }
        for value in 0..=u8::MAX {
            let bytes = [value; 64];
            Parts(&bytes).for_each(|part| drop(part.into_message()));
            Attributes(&bytes).for_each(drop);
        }
        assert_eq!(Attributes(&[0, 0, 1, 0]).count(), 0, "a length of 0 cannot loop");
    }

    #[test]
    fn an_error_reply_carries_the_words_of_the_kernel() {
        let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; HEADER_LEN]);
        let message = Message::new(2, &payload).attribute(ERROR_TEXT, b"no such thing\0");
        let bytes = message.encode(1, 0);
        let refused = reply(Parts(&bytes).next().unwrap()).unwrap_err();
        assert_eq!(refused.errno(), Some(libc::EINVAL));
        assert!(refused.to_string().ends_with("(the kernel says: no such thing)"), "{refused}");
    }
}
