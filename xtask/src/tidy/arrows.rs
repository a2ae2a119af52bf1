//! Who may import whom. The arrows of the architecture: common ← ebpf, common ← user, user ←
//! tests; nothing imports xtask.
use super::{File, source};

/// The only rooms of handshake-user that talk to the kernel's BPF.
const AYA_ROOMS: &[&str] = &["loader", "interfaces", "source/ring"];

/// A rule: files of these rooms do not import these names.
struct Wall {
    rooms: &'static [&'static str],
    names: &'static [&'static str],
    reason: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        rooms: &["tracker", "outcome", "metrics", "books"],
        names: &["tokio", "aya", "aya_obj", "clap"],
        reason: "has no clock, no kernel and no command line",
    },
    Wall { rooms: &["output"], names: &["tracker"], reason: "computes nothing: use the snapshot" },
];

/// Complaints about imports and dependencies, each beginning with `:line: `.
pub(super) fn check(file: &File) -> Vec<String> {
    if file.path.ends_with("Cargo.toml") {
        return dependencies(file);
    }
    match file.path.strip_prefix("handshake-user/src/") {
        Some(room) if room.ends_with(".rs") => user(room, &source::code(&file.text)),
        _ => vec![],
    }
}

fn user(room: &str, code: &str) -> Vec<String> {
    let imports = source::imports(code);
    let mut complaints = Vec::new();
    for wall in WALLS.iter().filter(|wall| is_in(room, wall.rooms)) {
        for (line, name) in imports.iter().filter(|(_, name)| wall.names.contains(name)) {
            complaints.push(format!(":{line}: imports `{name}`, but this room {}", wall.reason));
        }
    }
    if !is_in(room, AYA_ROOMS) {
        for (line, _) in imports.iter().filter(|(_, name)| matches!(*name, "aya" | "aya_obj")) {
            complaints.push(format!(":{line}: uses aya, which only {} may", AYA_ROOMS.join(", ")));
        }
    }
    complaints
}

/// Whether `file` is the module `room` or inside it, for one of `rooms`.
fn is_in(file: &str, rooms: &[&str]) -> bool {
    rooms.iter().any(|room| {
        file.strip_prefix(room).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

fn dependencies(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    for (line, section, name) in dependency_names(&file.text) {
        if name == "xtask" {
            complaints.push(format!(":{line}: nothing depends on xtask"));
        }
        if file.path == "handshake-common/Cargo.toml" && !section.starts_with("dev-") {
            complaints.push(format!(":{line}: handshake-common has no dependencies"));
        }
    }
    complaints
}

/// Line, section and name of each dependency in a manifest.
fn dependency_names(manifest: &str) -> Vec<(usize, &str, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            // `[dependencies.name]` is a dependency too.
            if let Some((kind, name)) = section.split_once("dependencies.") {
                found.push((index + 1, kind, name));
            }
        } else if section.ends_with("dependencies") && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if !name.is_empty() && line.contains('=') {
                found.push((index + 1, section, name));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        check(&File { path: path.into(), text: text.into() }).len()
    }

    #[test]
    fn the_tracker_imports_no_tokio() {
        assert_eq!(complaints("handshake-user/src/tracker.rs", "use tokio::time::Instant;\n"), 1);
        assert_eq!(complaints("handshake-user/src/tracker/table.rs", "let x = clap::x();\n"), 1);
        assert_eq!(
            complaints("handshake-user/src/tracker.rs", "// tokio::time\nuse std::fmt;\n"),
            0
        );
    }

    #[test]
    fn outputs_cannot_reach_the_tracker() {
        let text = "use crate::{\n    snapshot,\n    tracker,\n};\n";
        assert_eq!(complaints("handshake-user/src/output/json.rs", text), 1);
        assert_eq!(complaints("handshake-user/src/app.rs", text), 0);
        assert_eq!(complaints("handshake-user/src/output/tui.rs", "let tracker = 1;\n"), 0);
    }

    #[test]
    fn only_three_rooms_use_aya() {
        assert_eq!(complaints("handshake-user/src/app.rs", "use aya::Ebpf;\n"), 1);
        assert_eq!(complaints("handshake-user/src/loader.rs", "use aya::Ebpf;\n"), 0);
        assert_eq!(complaints("handshake-user/src/loader/attach.rs", "use aya::Ebpf;\n"), 0);
        assert_eq!(complaints("handshake-user/src/source/ring.rs", "use aya::Ebpf;\n"), 0);
        assert_eq!(complaints("handshake-user/src/source/replay.rs", "use aya::Ebpf;\n"), 1);
    }

    #[test]
    fn nothing_depends_on_xtask_and_common_on_nothing() {
        assert_eq!(complaints("tests/Cargo.toml", "[dependencies]\nxtask = { path = \"x\" }\n"), 1);
        assert_eq!(complaints("Cargo.toml", "[workspace]\nmembers = [\"xtask\"]\n"), 0);
        let common = "handshake-common/Cargo.toml";
        assert_eq!(complaints(common, "[dependencies]\nlibc = \"0.2\"\n"), 1);
        assert_eq!(complaints(common, "[dependencies.libc]\nversion = \"0.2\"\n"), 1);
        assert_eq!(complaints(common, "[dev-dependencies]\nproptest = \"1\"\n"), 0);
        assert_eq!(complaints(common, "[dependencies]\n\n[lints]\nworkspace = true\n"), 0);
    }
}
