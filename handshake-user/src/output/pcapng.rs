//! Attempts as packets of a pcapng file (draft-ietf-opsawg-pcapng), each with a comment that says
//! what it meant; the last one says the outcome.
//!
//! [`Section`] turns attempts into blocks in memory. Files are `recorder`'s business. Whoever reads
//! the blocks without knowing handshake sees ordinary packets; our own reader (`capture::pcapng`)
//! knows by [`RECORDER`] that an attempt's packets are written together and that the interface
//! statistics behind them are a mark: nothing more of the attempt follows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use handshake_common::abi::Hook;
use handshake_common::kept::KEPT_LEN;
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};

use crate::attempt::Nanos;
use crate::capture::RECORDER;
use crate::evidence::{Seen, Segments};
use crate::outcome::EndedBy;
use crate::output::lines::details;
use crate::rebuild::{rebuild, shows};
use crate::snapshot::AttemptView;

/// Directions in a packet's flags word.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// What a section says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The operating system.
    pub system: String,
    /// How it was recorded.
    pub comment: String,
}

/// A link as a file declares it: the index of an interface, and whether its frames begin with IP.
pub type LinkId = (u32, bool);

/// Blocks of one file, on their way there.
pub struct Section {
    writer: PcapNgWriter<Vec<u8>>,
    interfaces: HashMap<LinkId, u32>,
}

impl Section {
    /// Begins with a section header.
    ///
    /// # Errors
    /// If a text is longer than 64 KiB.
    pub fn new(about: &About) -> io::Result<Self> {
        let name = String::from_utf8_lossy(RECORDER);
        let options = vec![
            SectionHeaderOption::OS(Cow::Borrowed(&about.system)),
            SectionHeaderOption::UserApplication(
                format!("{name}{}", env!("CARGO_PKG_VERSION")).into(),
            ),
            SectionHeaderOption::Common(CommonOption::Comment(Cow::Borrowed(&about.comment))),
        ];
        let header = SectionHeaderBlock { options, ..SectionHeaderBlock::default() };
        let writer =
            PcapNgWriter::with_section_header(Vec::new(), header).map_err(io::Error::other)?;
        Ok(Self { writer, interfaces: HashMap::new() })
    }

    /// The blocks that wait; whoever takes them away clears them.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        self.writer.get_mut()
    }

    /// Declares an interface, once. Returns its number in the file.
    ///
    /// # Errors
    /// If its name is longer than 64 KiB.
    pub fn declare(&mut self, link: LinkId, name: &str) -> io::Result<u32> {
        if let Some(&number) = self.interfaces.get(&link) {
            return Ok(number);
        }
        let options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
            InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
        ];
        let linktype = if link.1 { DataLink::RAW } else { DataLink::ETHERNET };
        let snaplen = KEPT_LEN as u32 + 4;
        let block = InterfaceDescriptionBlock { linktype, snaplen, options };
        self.writer.write_pcapng_block(block).map_err(io::Error::other)?;
        let number = self.interfaces.len() as u32;
        self.interfaces.insert(link, number);
        Ok(number)
    }

    /// Appends the packets of an attempt in the order in which they were judged, without those that
    /// another hook had seen before; `name` knows interfaces by their index. Returns how many
    /// packets there were.
    ///
    /// # Errors
    /// If a time lies before 1970.
    pub fn attempt<'a>(
        &mut self,
        view: &AttemptView<'_>,
        segments: &Segments,
        name: impl Fn(u32) -> &'a str,
    ) -> io::Result<usize> {
        let own = segments.counted();
        let mut interface = 0;
        for (place, (seen, left_out)) in own.iter().enumerate() {
            let packet = Packet::of(seen);
            interface =
                self.declare((seen.event.ifindex, packet.is_ip), name(seen.event.ifindex))?;
            let is_last = place + 1 == own.len();
            let comment = comment(view, seen, *left_out, packet.is_rebuilt, is_last);
            let direction =
                if seen.event.hook == Hook::TcEgress as u8 { OUTBOUND } else { INBOUND };
            let block = EnhancedPacketBlock {
                interface_id: interface,
                timestamp: since_1970(seen.event.time_ns as Nanos, view.to_wall),
                original_len: packet.wire_len,
                data: packet.bytes,
                options: vec![
                    EnhancedPacketOption::Common(CommonOption::Comment(comment.into())),
                    EnhancedPacketOption::Flags(direction),
                ],
            };
            self.writer.write_pcapng_block(block).map_err(io::Error::other)?;
        }
        if !own.is_empty() {
            self.mark(view, interface)?;
        }
        Ok(own.len())
    }

    /// Where the packets do not show how the attempt ended: nothing more followed until then, or
    /// that is not known (time zero).
    fn mark(&mut self, view: &AttemptView<'_>, interface: u32) -> io::Result<()> {
        let attempt = view.attempt;
        let (timestamp, words) = match (attempt.ended_by, attempt.t_end) {
            _ if attempt.outcome.is_unknown() => (Duration::ZERO, "how it went on is not known"),
            (EndedBy::Timeout | EndedBy::Superseded, Some(end)) => {
                (since_1970(end, view.to_wall), "nothing more followed until now")
            }
            _ => return Ok(()),
        };
        let comment = format!("attempt {}: {words}", attempt.id);
        let options =
            vec![InterfaceStatisticsOption::Common(CommonOption::Comment(comment.into()))];
        let block = InterfaceStatisticsBlock { interface_id: interface, timestamp, options };
        self.writer.write_pcapng_block(block).map(drop).map_err(io::Error::other)
    }
}

fn since_1970(time: Nanos, to_wall: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(time.saturating_add(to_wall)).unwrap_or(0))
}

/// The bytes that stand for a segment.
struct Packet<'a> {
    bytes: Cow<'a, [u8]>,
    wire_len: u32,
    is_ip: bool,
    is_rebuilt: bool,
}

impl<'a> Packet<'a> {
    fn of(seen: &'a Seen) -> Self {
        let frame = seen.frame.as_deref();
        let is_ip = frame.is_some_and(crate::evidence::Frame::is_ip);
        if let Some(frame) = frame
            && shows(frame, &seen.event)
        {
            let bytes = Cow::Borrowed(frame.bytes());
            return Self { bytes, wire_len: frame.wire_len(), is_ip, is_rebuilt: false };
        }
        let addresses = frame.and_then(|frame| frame.bytes().first_chunk::<12>().copied());
        let addresses = (!is_ip).then_some(addresses.unwrap_or_default());
        let (bytes, wire_len) = rebuild(&seen.event, addresses);
        Self { bytes: Cow::Owned(bytes), wire_len, is_ip, is_rebuilt: true }
    }
}

/// What to say of a packet.
fn comment(
    view: &AttemptView<'_>,
    seen: &Seen,
    left_out: u64,
    is_rebuilt: bool,
    is_last: bool,
) -> String {
    let attempt = view.attempt;
    let mut text = format!("attempt {}: {}", attempt.id, seen.verdict.sentence());
    if left_out > 0 {
        let _ = write!(text, " {left_out} packets before this one are left out.");
    }
    if is_rebuilt {
        text.push_str(" Its headers are rebuilt: they were not kept.");
    }
    if is_last {
        let (outcome, by) = (attempt.outcome.name(), attempt.ended_by.name());
        let _ = write!(text, " Outcome: {outcome}, ended by {by}");
        for detail in details(attempt) {
            let _ = write!(text, ", {detail}");
        }
    }
    text
}
