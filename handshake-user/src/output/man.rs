//! The manual pages: one for the program and all its commands, and one for each command, made of
//! the same texts as `--help`. No option stands twice in a page.

use std::io;

use clap::{Arg, Command};
use clap_mangen::Man;

/// Where the options of the program itself would be.
const OPTIONS: &str = "\
.SH OPTIONS
Without a command, the options are those of \\fBwatch\\fR (HANDSHAKE WATCH, below).
.TP
\\fB\\-h\\fR, \\fB\\-\\-help\\fR
Print help. After a command, \\fB\\-h\\fR prints one line per option, \\fB\\-\\-help\\fR everything.
.TP
\\fB\\-V\\fR, \\fB\\-\\-version\\fR
Print the version.
";

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
    page.extend(b".SH SYNOPSIS\n\\fBhandshake\\fR [\\fIOPTIONS of watch\\fR]\n");
    for command in shown(&program) {
        page.extend(b".br\n");
        page.extend(synopsis(command));
    }
    man.render_description_section(&mut page)?;
    page.extend(OPTIONS.as_bytes());
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
    let without = command.clone().after_help("");
    let source = format!("handshake {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(without).title(name).source(source).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    page.extend(b".SH SYNOPSIS\n".iter().chain(&synopsis(command)));
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

/// How a command is called, with the values of its options: `[--port PORT]`.
fn synopsis(command: &Command) -> Vec<u8> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut line = format!("\\fB{name}\\fR");
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
    for arg in args.filter(|arg| !matches!(arg.get_long(), Some("help" | "version"))) {
        line.push(' ');
        line.push_str(&call(arg));
    }
    line.push('\n');
    line.into_bytes()
}

/// One argument of a call.
fn call(arg: &Arg) -> String {
    let names = arg.get_value_names().filter(|_| arg.get_action().takes_values());
    let value = names.and_then(|names| names.first()).map(|name| format!("\\fI{name}\\fR"));
    let Some(long) = arg.get_long() else {
        let id = || arg.get_id().to_string().to_uppercase();
        let value = value.unwrap_or_else(id);
        let several = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
        return format!("{value}{}", if several { "..." } else { "" });
    };
    let short = arg.get_short().map(|short| format!("\\fB\\-{short}\\fR|")).unwrap_or_default();
    let long = long.replace('-', "\\-");
    let value = value.map(|value| format!(" {value}")).unwrap_or_default();
    format!("[{short}\\fB\\-\\-{long}\\fR{value}]")
}

/// The section of one command: what it does, how it is called, its options.
fn section(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone().mut_args(|arg| {
        let is_help = arg.get_long() == Some("help");
        arg.hide(is_help)
    }));
    let (mut description, mut options) = (Vec::new(), Vec::new());
    man.render_description_section(&mut description)?;
    man.render_options_section(&mut options)?;
    let title = format!(".SH HANDSHAKE {}\n", command.get_name().to_uppercase());
    let mut section = title.into_bytes();
    for part in [description, options] {
        let text = String::from_utf8_lossy(&part).into_owned();
        for line in text.lines().filter(|line| !line.starts_with(".ie") && !line.starts_with(".el"))
        {
            let line = match line.strip_prefix(".SH ") {
                Some("DESCRIPTION") => ".PP".to_owned(),
                Some(heading) => format!(".SS {heading}"),
                None => line.to_owned(),
            };
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
