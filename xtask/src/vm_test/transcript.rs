//! What a guest's console said, by section.

/// What the guest's script printed, by section.
pub(super) struct Transcript {
    sections: Vec<Section>,
}

struct Section {
    name: String,
    lines: Vec<String>,
    exit: Option<i32>,
}

impl Transcript {
    /// Reads a console: sections begin with `=== NAME` and end with `=== NAME exit CODE`.
    pub(super) fn parse(console: &str) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        for line in console.lines().map(str::trim_end) {
            match (line.strip_prefix("=== "), sections.last_mut()) {
                (Some(marker), last) => match (marker.split_once(" exit "), last) {
                    (Some((_, code)), Some(section)) => section.exit = code.parse().ok(),
                    _ => sections.push(Section::new(marker)),
                },
                (None, Some(section)) if section.exit.is_none() => {
                    section.lines.push(line.to_owned());
                }
                _ => {}
            }
        }
        Self { sections }
    }

    /// Name and lines of each section.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.sections.iter().map(|section| (section.name.as_str(), section.lines.as_slice()))
    }

    /// The lines of one section; none if it never began.
    pub(super) fn lines(&self, name: &str) -> &[String] {
        self.section(name).map_or(&[], |section| &section.lines)
    }

    /// The exit code of one section; none if it never ended.
    pub(super) fn exit(&self, name: &str) -> Option<i32> {
        self.section(name)?.exit
    }

    fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

impl Section {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: Vec::new(), exit: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_read_by_section() {
        let console = "noise\r\n=== verify\r\nxdp ok 1\r\n=== verify exit 0\r\nnoise\r\n\
                       === watch\r\n{}\r\n=== watch exit 3\r\n=== words\r\nunfinished";
        let transcript = Transcript::parse(console);
        assert_eq!(transcript.lines("verify"), ["xdp ok 1"]);
        assert_eq!(transcript.exit("verify"), Some(0));
        assert_eq!(transcript.exit("watch"), Some(3));
        assert_eq!(transcript.exit("words"), None);
        assert_eq!(transcript.sections().count(), 3);
    }
}
