//! `--port` and `--net`: which events concern the user.

use handshake_common::event::Event;
use ipnet::IpNet;

use crate::attempt::ip_addr;

/// Ports and networks asked for; empty means any.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Either end has one of these ports.
    pub ports: Vec<u16>,
    /// Either end lies in one of these networks.
    pub nets: Vec<IpNet>,
}

impl Selection {
    /// Does the event concern an attempt asked for? Symmetric in direction, so that all segments
    /// of an attempt get the same answer.
    #[must_use]
    pub fn selects(&self, event: &Event) -> bool {
        let ends = || [(event.source, event.source_port), (event.dest, event.dest_port)];
        let port =
            self.ports.is_empty() || ends().iter().any(|(_, port)| self.ports.contains(port));
        let net = self.nets.is_empty()
            || ends().iter().any(|(address, _)| {
                let address = ip_addr(*address, event.ip_version);
                self.nets.iter().any(|net| net.contains(&address))
            });
        port && net
    }
}
