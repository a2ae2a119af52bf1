//! A key as the tracker keeps it: 40 bytes, one fingerprint for both directions.

use std::hash::{BuildHasher, Hasher};

use handshake_common::event::Event;

use crate::attempt::{Endpoint, Key};

/// A [`Key`] without its padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedKey {
    client: [u32; 4],
    server: [u32; 4],
    client_port: u16,
    server_port: u16,
    ip_version: u8,
}

impl PackedKey {
    /// The key of an attempt whose client sent this segment.
    pub(super) fn from_client(event: &Event) -> Self {
        Self {
            client: event.source,
            server: event.dest,
            client_port: event.source_port,
            server_port: event.dest_port,
            ip_version: event.ip_version,
        }
    }

    /// The key of an attempt whose server sent this segment.
    pub(super) fn from_server(event: &Event) -> Self {
        Self::from_client(event).reversed()
    }

    /// The same flow, seen as opened by the other end.
    pub(super) fn reversed(&self) -> Self {
        Self {
            client: self.server,
            server: self.client,
            client_port: self.server_port,
            server_port: self.client_port,
            ip_version: self.ip_version,
        }
    }

    /// Is it the other's [`PackedKey::reversed`]?
    pub(super) fn is_reverse_of(&self, other: &Self) -> bool {
        self.client_port == other.server_port && *self == other.reversed()
    }

    /// As everybody else knows it.
    pub(super) fn unpack(&self) -> Key {
        Key {
            client: Endpoint { address: self.client, port: self.client_port },
            server: Endpoint { address: self.server, port: self.server_port },
            ip_version: self.ip_version,
        }
    }

    /// The same for a key and its reverse; keyed, because senders choose the keys.
    pub(super) fn hash(&self, keyed: &ahash::RandomState) -> u64 {
        let mut state = keyed.build_hasher();
        if self.ip_version == 6 {
            let client = (wide(self.client), self.client_port);
            let server = (wide(self.server), self.server_port);
            let (low, high) = if client <= server { (client, server) } else { (server, client) };
            state.write_u128(low.0);
            state.write_u128(high.0);
            state.write_u64(u64::from(low.1) << 32 | u64::from(high.1) << 8 | 6);
        } else {
            let end = |address: u32, port: u16| u64::from(address) << 16 | u64::from(port);
            let client = end(self.client[3], self.client_port);
            let server = end(self.server[3], self.server_port);
            state.write_u64(client.min(server));
            state.write_u64(client.max(server));
        }
        state.finish()
    }
}

fn wide(words: [u32; 4]) -> u128 {
    words.into_iter().fold(0, |wide, word| wide << 32 | u128::from(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_reverse_have_one_hash_and_other_keys_have_others() {
        let keyed = ahash::RandomState::new();
        for ip_version in [4, 6] {
            let key = |port| PackedKey {
                client: [0, 0, 7, 1],
                server: [0, 0, 7, 2],
                client_port: port,
                server_port: 80,
                ip_version,
            };
            assert_eq!(key(1).hash(&keyed), key(1).reversed().hash(&keyed));
            assert_ne!(key(1).hash(&keyed), key(2).hash(&keyed));
            assert_eq!(key(1).reversed().reversed(), key(1));
        }
    }
}
