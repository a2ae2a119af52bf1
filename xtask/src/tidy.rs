//! `cargo xtask tidy`: the rules of the house as code.
//!
//! `source` turns Rust into what the rules look at, `arrows` knows who may import whom, `style`
//! the rest. Rules that clippy has (a `SAFETY:` for every `unsafe`, …) are clippy's.
mod arrows;
mod source;
mod style;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::workspace::root;

/// Directories that hold nothing of ours, or data whose bytes are its meaning.
const SKIPPED_DIRS: &[&str] = &["target", "fixtures", "corpus", "artifacts"];

/// One file of the tree.
struct File {
    /// Relative to the root, with `/` between its parts.
    path: String,
    text: String,
}

/// Checks every file of the tree.
pub(crate) fn main() -> Result<()> {
    let files = files(&root())?;
    let complaints: Vec<String> = files.iter().flat_map(check).collect();
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("tidy: {} to fix (the rules are in xtask/src/tidy)", complaints.len());
    }
    println!("tidy: {} files in order", files.len());
    Ok(())
}

fn check(file: &File) -> Vec<String> {
    let mut complaints = style::check(file);
    complaints.extend(arrows::check(file));
    complaints.into_iter().map(|complaint| format!("{}{complaint}", file.path)).collect()
}

fn files(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<File>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED_DIRS.contains(&name.as_str()) {
            collect(root, &entry.path(), files)?;
        } else if kind.is_file() && is_text(&name) {
            files.push(read(root, &entry.path())?);
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    [".rs", ".toml", ".md", ".sh"].iter().any(|extension| name.ends_with(extension))
}

fn read(root: &Path, path: &PathBuf) -> Result<File> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let path = path.strip_prefix(root)?.to_string_lossy().into_owned();
    Ok(File { path, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_file_and_line() {
        let file =
            File { path: "tests/support/lab.rs".into(), text: "//! Lab.\nfn a() {} \n".into() };
        assert_eq!(check(&file), ["tests/support/lab.rs:2: trailing whitespace"]);
    }

    #[test]
    fn data_and_build_products_are_not_ours_to_judge() {
        assert!(!is_text("syn_flood.pcapng"));
        assert!(SKIPPED_DIRS.contains(&"target"));
    }
}
