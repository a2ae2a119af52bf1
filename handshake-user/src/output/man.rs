//! The manual pages: one for the program and all its commands, and one for each command, made of
//! the same texts as `--help`.

use std::io;

use clap::Command;
use clap_mangen::Man;

/// The page in roff, for `man -l`.
///
/// # Errors
/// Never: it is written to memory.
pub fn page(mut program: Command) -> io::Result<Vec<u8>> {
    program.build();
    let examples = program.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(program.clone()).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in shown(&program) {
        page.extend(section(command)?);
    }
    page.extend(verbatim("EXAMPLES AND EXIT CODES", &examples));
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// File names and texts of all pages: `handshake.1`, `handshake-watch.1`, …
///
/// # Errors
/// Never: they are written to memory.
pub fn pages(mut program: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    program.build();
    let mut pages = vec![("handshake.1".to_owned(), page(program.clone())?)];
    for command in shown(&program) {
        let name = format!("handshake-{}", command.get_name());
        pages.push((format!("{name}.1"), command_page(&name, command)?));
    }
    Ok(pages)
}

/// The page of one command.
fn command_page(name: &str, command: &Command) -> io::Result<Vec<u8>> {
    let examples = command.get_after_help().map(ToString::to_string);
    // Without them here: they would lose their lines.
    let command = command.clone().after_help("");
    let source = format!("handshake {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command).title(name).source(source).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if let Some(examples) = examples {
        page.extend(verbatim("EXAMPLES", examples.trim_start_matches("Examples:\n")));
    }
    page.extend(b".SH SEE ALSO\n\\fBhandshake\\fR(1)\n");
    Ok(page)
}

/// Commands that are worth a section.
fn shown(program: &Command) -> impl Iterator<Item = &Command> {
    program.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help")
}

/// The section of one command: what it does, how it is called, its options.
fn section(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let (mut synopsis, mut description, mut options) = (Vec::new(), Vec::new(), Vec::new());
    man.render_synopsis_section(&mut synopsis)?;
    man.render_description_section(&mut description)?;
    man.render_options_section(&mut options)?;
    let title = format!(".SH HANDSHAKE {}\n", command.get_name().to_uppercase());
    let mut section = title.into_bytes();
    for part in [synopsis, description, options] {
        let text = String::from_utf8_lossy(&part).into_owned();
        for line in text.lines().filter(|line| !line.starts_with(".ie") && !line.starts_with(".el"))
        {
            let line = if line.starts_with(".SH") { ".PP" } else { line };
            section.extend(line.bytes().chain([b'\n']));
        }
    }
    Ok(section)
}

/// A section whose lines are left as they are.
fn verbatim(title: &str, text: &str) -> Vec<u8> {
    let mut section = format!(".SH {title}\n.nf\n");
    for line in text.lines() {
        // `\&` keeps a leading dot or quote from being a request.
        section.push_str("\\&");
        section.push_str(&line.replace('\\', "\\e").replace('-', "\\-"));
        section.push('\n');
    }
    section.push_str(".fi\n");
    section.into_bytes()
}
