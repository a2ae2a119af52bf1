//! The frames of all captures there are, by the kind of program that can see them.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::{env, fs};

use handshake_common::packet::ethernet::Link;
use handshake_user::capture::CaptureReader;

/// Where in which capture.
#[derive(Debug)]
pub(crate) struct Place {
    file: String,
    number: u64,
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "packet {} of {}", self.number, self.file)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Captures {
    files: usize,
    frames: Vec<(Place, Link, Vec<u8>)>,
    /// Of link types that no interface has: they cannot enter a program.
    foreign: usize,
}

impl Captures {
    /// Our own captures; those of `HANDSHAKE_CORPUS`, or of `../shared` beside the workspace.
    pub(crate) fn read() -> Self {
        // Set by cargo; where this is not the machine that built it, by `vm-test`.
        let package = env::var_os("CARGO_MANIFEST_DIR");
        let package = package.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let own = package.join("fixtures/pcaps");
        let public = env::var_os("HANDSHAKE_CORPUS");
        let public = public.map_or_else(|| package.join("../../shared"), PathBuf::from);
        let mut captures = Self::default();
        let mut paths = Vec::new();
        for directory in [own, public.join("pcaps")] {
            let files = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
            paths.extend(files.map(|file| file.path()));
        }
        // Our own may be among the public ones.
        paths.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        paths.dedup_by_key(|path| path.file_name().map(ToOwned::to_owned));
        for path in paths {
            captures.add(&path);
        }
        assert!(captures.files >= 35, "the captures of the fixtures");
        captures
    }

    fn add(&mut self, path: &Path) {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.files += 1;
        let mut reader = CaptureReader::new(&bytes[..]);
        while let Some(record) = reader.next_record() {
            match Link::of_capture(record.link_type) {
                Some(link @ (Link::Ethernet | Link::Ip)) => {
                    let place = Place { file: file.clone(), number: record.number };
                    self.frames.push((place, link, record.bytes.to_vec()));
                }
                _ => self.foreign += 1,
            }
        }
    }

    /// Are there none but ours?
    pub(crate) fn are_own(&self) -> bool {
        self.files < 50
    }

    /// Frames that a program for this kind of link can see: raw IP for the one kind, Ethernet for
    /// the other. IP packets in Ethernet without tags are raw IP too, and the other way round.
    pub(crate) fn of(&self, link: Link) -> impl Iterator<Item = (&Place, Vec<u8>)> {
        self.frames.iter().filter_map(move |(place, is, frame)| {
            let frame = match (is, link) {
                (Link::Ethernet, Link::Ip) => match frame.get(12..14)? {
                    [0x08, 0x00] | [0x86, 0xdd] => frame[14..].to_vec(),
                    _ => return None,
                },
                (Link::Ip, Link::Ethernet) => {
                    let six = frame.first()? >> 4 == 6;
                    let kind: [u8; 2] = if six { [0x86, 0xdd] } else { [0x08, 0x00] };
                    [&[2; 12], &kind[..], frame].concat()
                }
                _ => frame.clone(),
            };
            Some((place, frame))
        })
    }
}

impl Display for Captures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of = |kind| self.frames.iter().filter(|(_, link, _)| *link == kind).count();
        write!(
            f,
            "{} captures: {} Ethernet and {} raw IP frames; {} of other link types cannot enter \
             the programs",
            self.files,
            of(Link::Ethernet),
            of(Link::Ip),
            self.foreign
        )
    }
}
