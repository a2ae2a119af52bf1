//! Where options come from: flags over environment over file over defaults.
//!
//! The definition in `cli` is the only list of options. Everything here is made from it: the
//! variables of the environment, the keys of the file, the template, the table in docs/flags.md.
//! Values of the file become arguments and go through the same parser as flags, so that they are
//! checked, and refused, in the same words. `file` reads the file, `template` writes one, `environment`
//! and `ignored` know what does nothing, `tips` what else somebody may have meant.

mod environment;
mod file;
mod ignored;
pub mod template;
mod tips;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::cli::{COMMON, Cli, Command as Verb, OTHERS, WatchArgs};
pub use environment::KNOBS;
use file::{Contents, Entry, Problem, Wrong};
pub use ignored::Ignored;

/// The command whose options a file may give.
const WATCH: &str = "watch";
/// The option that names the file; not a key of it.
const CONFIG: &str = "config";
/// Options that take effect again on SIGHUP.
pub const RELOADED: [&str; 4] = ["port", "net", "filter", "format"];

/// Why options are refused. The exit code is 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// What clap says about flags, or help that was asked for.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// A variable of the environment.
    #[error("{variable} in the environment: {message}")]
    Variable {
        /// Its name.
        variable: String,
        /// What clap says.
        message: String,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {error}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something in the file: all that can be told at once, in the order of the lines.
    #[error("{}", in_lines(file, wrong).join("; "))]
    File {
        /// The file.
        file: PathBuf,
        /// At least one.
        wrong: Vec<Wrong>,
    },
    /// Values that exclude each other.
    #[error("{}: {message}", .file.display())]
    Together {
        /// The file.
        file: PathBuf,
        /// What clap says.
        message: String,
    },
}

/// The command line with the environment's variables: what help, manual and completions show.
#[must_use]
pub fn command() -> Command {
    let verbs: Vec<String> =
        Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let mut all = Cli::command().mut_args(|arg| with_variable(arg, None));
    for verb in verbs {
        let of_watch = verb == WATCH;
        all = all.mut_subcommand(&verb, |command| {
            let prefix = (!of_watch).then_some(verb.as_str());
            command.mut_args(|arg| with_variable(arg, prefix))
        });
    }
    all
}

/// The command line without what is hidden, which completions would offer.
#[must_use]
pub fn shown() -> Command {
    without_hidden(&command()).version(env!("CARGO_PKG_VERSION"))
}

fn without_hidden(command: &Command) -> Command {
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(without_hidden);
    let shown = Command::new(command.get_name().to_owned()).args(args).subcommands(verbs);
    match command.get_about() {
        Some(about) => shown.about(about.clone()),
        None => shown,
    }
}

/// The variable of an option: `HANDSHAKE_MAX_ATTEMPTS` of `watch`, `HANDSHAKE_REPLAY_FORMAT` of any
/// other command.
#[must_use]
pub fn variable(verb: Option<&str>, long: &str) -> String {
    let words = ["handshake"].into_iter().chain(verb).chain([long]);
    words.collect::<Vec<_>>().join("_").replace('-', "_").to_uppercase()
}

fn with_variable(arg: Arg, verb: Option<&str>) -> Arg {
    match arg.get_long() {
        Some(long) if is_option(&arg) => {
            let name = variable(verb, long);
            let is_empty =
                std::env::var_os(&name).is_some_and(|value| environment::says_nothing(&value));
            let arg = if takes_value(&arg) { arg } else { arg.value_parser(Switch::new()) };
            if is_empty { arg } else { arg.env(name).hide_env_values(true) }
        }
        _ => arg,
    }
}

/// What a variable says of a flag without a value: yes or no, true or false, on or off, 1 or 0.
type Switch = BoolishValueParser;

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// Does it give something, and not help or the version?
fn is_option(arg: &Arg) -> bool {
    let asks = matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    );
    arg.get_long().is_some() && !asks
}

/// What was asked for, and what is needed to ask again.
#[derive(Debug)]
pub struct Asked {
    /// The command and its options.
    pub cli: Cli,
    /// Where the options of `watch` came from.
    pub sources: Sources,
    /// Options that do nothing.
    pub ignored: Vec<Ignored>,
}

/// Arguments and environment stay; the file may change.
#[derive(Debug, Clone)]
pub struct Sources {
    arguments: Vec<OsString>,
    /// The configuration file, if one was named.
    pub file: Option<PathBuf>,
    /// Values by option, as they were given.
    values: Vec<(String, Vec<OsString>)>,
}

/// What a file says now.
#[derive(Debug)]
pub struct Reread {
    /// The options.
    pub args: WatchArgs,
    /// Options that differ from before and take effect now.
    pub changed: Vec<String>,
    /// Options that differ from the start and take effect when handshake is started again.
    pub restart: Vec<String>,
}

/// Reads arguments, environment and file.
///
/// # Errors
/// If any of them is wrong; also for `--help`, which clap treats as one.
pub fn parse(arguments: Vec<OsString>) -> Result<Asked, ConfigError> {
    let parser = parser(&arguments);
    check_environment(&parser, &arguments)?;
    let matches = parser
        .clone()
        .try_get_matches_from(&arguments)
        .map_err(|error| tips::with_tip(error, &arguments))?;
    let Some(options) = options_of_watch(&matches) else {
        let sources = Sources { arguments, file: None, values: Vec::new() };
        return Ok(Asked { cli: Cli::from_arg_matches(&matches)?, sources, ignored: Vec::new() });
    };
    let file = options.get_one::<PathBuf>(CONFIG).cloned();
    let entries = match &file {
        Some(file) => entries(file)?,
        None => Vec::new(),
    };
    let given = open(&entries, options);
    let (matches, cli) = with_given(parser.clone(), &arguments, given, file.as_deref())?;
    let all = options_of_watch(&matches).unwrap_or(&matches);
    let from_file = file.as_deref().map(|file| (file, entries.as_slice()));
    let ignored = ignored::lone(&mut asked_of(parser, &arguments), options, all, from_file)?;
    let values = values(all);
    Ok(Asked { cli, sources: Sources { arguments, file, values }, ignored })
}

/// Variables of this process that look like ours and are none: to be told where options count.
#[must_use]
pub fn strange_variables() -> Vec<Ignored> {
    let mut all = command();
    all.build();
    let verbs = all.get_subcommands().map(|verb| (verb.get_name(), verb));
    let known = verbs.flat_map(|(name, verb)| {
        let prefix = (name != WATCH).then_some(name);
        let options = verb.get_arguments().filter(|arg| is_option(arg));
        options.filter_map(move |arg| Some(variable(prefix, arg.get_long()?)))
    });
    environment::ignored(std::env::vars_os(), &known.collect::<Vec<_>>())
}

/// The command whose options were given, for its usage.
fn asked_of(mut parser: Command, arguments: &[OsString]) -> Command {
    parser.build();
    let verb = verb(arguments).and_then(|verb| parser.find_subcommand(verb)).cloned();
    verb.unwrap_or(parser)
}

impl Sources {
    /// Reads the file again. Options that cannot change while watching keep what they were.
    ///
    /// # Errors
    /// If it cannot be read or says something wrong; then nothing changes.
    pub fn reread(&mut self) -> Result<Reread, ConfigError> {
        let asked = parse(self.arguments.clone())?;
        let now = asked.sources.values;
        let differs = |(name, value): &&(String, Vec<OsString>)| {
            self.values.iter().all(|(known, was)| known != name || was != value)
        };
        let names = now.iter().filter(differs).map(|(name, _)| name.clone());
        let is_reloaded = |name: &String| RELOADED.contains(&name.as_str());
        let (changed, restart): (Vec<_>, Vec<_>) = names.partition(is_reloaded);
        for (name, value) in &mut self.values {
            if let Some((_, new)) = now.iter().find(|(one, _)| one == name && is_reloaded(name)) {
                value.clone_from(new);
            }
        }
        let args = match asked.cli.command {
            Some(Verb::Watch(args)) => *args,
            _ => asked.cli.watch,
        };
        Ok(Reread { args, changed, restart })
    }
}

/// A file that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// How many options it gives.
    pub keys: usize,
    /// Those that do nothing, unless flags or the environment give more.
    pub ignored: Vec<Ignored>,
}

/// Checks a file by itself.
///
/// # Errors
/// As [`parse`].
pub fn check(file: &Path) -> Result<Checked, ConfigError> {
    right(file, file::read(file, &watch())?)
}

/// Checks the text of a file by itself, as [`check`] does; `file` is its name.
///
/// # Errors
/// As [`parse`].
pub fn check_text(file: &Path, text: &str) -> Result<Checked, ConfigError> {
    right(file, file::contents(text, &watch()))
}

fn right(file: &Path, contents: Contents) -> Result<Checked, ConfigError> {
    let entries = all_right(file, contents)?;
    let arguments = ["handshake".into(), WATCH.into()];
    let given = entries.iter().flat_map(|entry| entry.arguments.clone()).collect();
    let own = Cli::command().try_get_matches_from(&arguments)?;
    let (all, _) = with_given(Cli::command(), &arguments, given, Some(file))?;
    let options = |matches| options_of_watch(matches).unwrap_or(matches);
    let from_file = Some((file, entries.as_slice()));
    let ignored = ignored::lone(&mut watch(), options(&own), options(&all), from_file)?;
    Ok(Checked { keys: entries.len(), ignored })
}

/// The definition of `watch`, without the environment.
fn watch() -> Command {
    let mut all = Cli::command();
    all.build();
    all.find_subcommand(WATCH).cloned().unwrap_or_default()
}

/// The command line for these arguments: the options of a missing command have no variables if
/// there is a command, whose own options have them.
fn parser(arguments: &[OsString]) -> Command {
    let without = |arg: Arg| if is_option(&arg) { arg.env(None::<&str>) } else { arg };
    let brief = |command: Command| command.mut_args(one_line);
    // Without a command there is only a short help: `watch --help` has everything.
    let all = command().long_about(None).mut_args(common);
    let after = all.get_after_help().map(ToString::to_string).unwrap_or_default();
    let all = all.after_help(format!("{OTHERS}\n\n{after}"));
    let is_short = arguments.iter().any(|word| word == "-h");
    match verb(arguments).map(|verb| verb.to_string_lossy()) {
        None => all,
        Some(verb) if is_short && Cli::command().find_subcommand(&*verb).is_some() => {
            all.mut_args(without).mut_subcommand(verb, brief)
        }
        Some(_) => all.mut_args(without),
    }
}

/// An option whose help fits into a line: variables, lists of values and details are left out.
fn one_line(arg: Arg) -> Arg {
    let hides = takes_value(&arg);
    let arg = arg.hide_env(true).long_help(None);
    if hides { arg.hide_possible_values(true) } else { arg }
}

/// The same for an option without a command, which is shown only if it is much used.
fn common(arg: Arg) -> Arg {
    let is_common = arg.get_long().is_none_or(|long| COMMON.contains(&long));
    one_line(arg).hide(!is_common)
}

/// The command is the first argument, or there is none: clap refuses options before it.
fn verb(arguments: &[OsString]) -> Option<&OsString> {
    arguments.get(1).filter(|first| !first.as_encoded_bytes().starts_with(b"-"))
}

fn options_of_watch(matches: &ArgMatches) -> Option<&ArgMatches> {
    match matches.subcommand() {
        None => Some(matches),
        Some((WATCH, options)) => Some(options),
        Some(_) => None,
    }
}

/// clap says what is wrong with a value, but not that it came from the environment.
fn check_environment(parser: &Command, arguments: &[OsString]) -> Result<(), ConfigError> {
    let verb = verb(arguments).and_then(|verb| verb.to_str());
    let options = verb.map_or(Some(parser), |verb| parser.find_subcommand(verb));
    for arg in options.into_iter().flat_map(Command::get_arguments) {
        let Some((name, value)) =
            arg.get_env().and_then(|name| Some((name, std::env::var_os(name)?)))
        else {
            continue;
        };
        let mut argument = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
        argument.push(value);
        let mut words = vec!["handshake".into()];
        let refusal = if takes_value(arg) {
            words.extend(verb.map(OsString::from));
            refusal(Cli::command(), words, [argument])
        } else {
            // On the command line it takes no value that could be wrong.
            let long = arg.get_long().unwrap_or_default().to_owned();
            let switch = Arg::new("switch").long(long).value_parser(Switch::new());
            refusal(Command::new("handshake").arg(switch), words, [argument])
        };
        if let Some(message) = refusal {
            let variable = name.to_string_lossy().into_owned();
            return Err(ConfigError::Variable { variable, message });
        }
    }
    Ok(())
}

/// What clap has against these arguments, by themselves.
fn refusal(
    parser: Command,
    words: Vec<OsString>,
    given: impl IntoIterator<Item = OsString>,
) -> Option<String> {
    match parser.try_get_matches_from(words.into_iter().chain(given)) {
        Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => Some(in_a_line(&error)),
        _ => None,
    }
}

/// clap's message without its advice about the command line.
fn in_a_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let told: Vec<_> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(|line| line.trim_start_matches("error: ").trim_start_matches("tip: "))
        .collect();
    told.join("; ").replace("; [", " [")
}

/// What a file says, if all of it is right.
fn entries(file: &Path) -> Result<Vec<Entry>, ConfigError> {
    all_right(file, file::read(file, &watch())?)
}

/// Arguments for what the file says and neither flags nor environment do.
fn open(entries: &[Entry], options: &ArgMatches) -> Vec<OsString> {
    let is_open = |entry: &&Entry| {
        let source = options.value_source(&entry.id);
        matches!(source, None | Some(ValueSource::DefaultValue))
    };
    entries.iter().filter(is_open).flat_map(|entry| entry.arguments.clone()).collect()
}

/// The entries, if nothing is wrong with any of them.
fn all_right(file: &Path, contents: Contents) -> Result<Vec<Entry>, ConfigError> {
    let Contents { entries, mut wrong } = contents;
    for entry in &entries {
        let refused = |given: &[OsString]| {
            let words = vec!["handshake".into(), WATCH.into()];
            let message = refusal(Cli::command(), words, given.to_vec())?;
            let problem = Problem::Refused { key: entry.key.clone(), message };
            Some(Wrong { line: entry.line, problem })
        };
        // Each value, and whether there may be several.
        let before = wrong.len();
        wrong.extend(entry.arguments.chunks(1).filter_map(refused));
        if wrong.len() == before {
            wrong.extend(refused(&entry.arguments));
        }
    }
    wrong.sort_by_key(|wrong| wrong.line);
    match wrong.is_empty() {
        true => Ok(entries),
        false => Err(ConfigError::File { file: file.to_owned(), wrong }),
    }
}

/// So many problems of a file are told.
const MOST_WRONG: usize = 20;

/// One text for each problem of a file.
fn in_lines(file: &Path, wrong: &[Wrong]) -> Vec<String> {
    let file = file.display();
    let told = wrong.iter().take(MOST_WRONG);
    let mut lines: Vec<_> =
        told.map(|Wrong { line, problem }| format!("{file}:{line}: {problem}")).collect();
    let more = wrong.len().saturating_sub(MOST_WRONG);
    lines.extend((more > 0).then(|| format!("{file}: {more} more problems")));
    lines
}

/// Parses again, with the file's arguments before the user's own.
fn with_given(
    parser: Command,
    arguments: &[OsString],
    given: Vec<OsString>,
    file: Option<&Path>,
) -> Result<(ArgMatches, Cli), ConfigError> {
    let at = 1 + usize::from(verb(arguments).is_some());
    let (words, own) = arguments.split_at(at.min(arguments.len()));
    let all = words.iter().cloned().chain(given).chain(own.iter().cloned());
    let together = |error: clap::Error| match file {
        Some(file) => ConfigError::Together { file: file.to_owned(), message: in_a_line(&error) },
        None => error.into(),
    };
    let matches = parser.try_get_matches_from(all).map_err(together)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((matches, cli))
}

fn values(options: &ArgMatches) -> Vec<(String, Vec<OsString>)> {
    let watch = watch();
    let names = watch.get_arguments().filter(|arg| is_option(arg));
    names
        .map(|arg| {
            let raw = options.get_raw(arg.get_id().as_str());
            let values = raw.into_iter().flatten().map(OsString::from).collect();
            (arg.get_long().unwrap_or_default().to_owned(), values)
        })
        .collect()
}

impl ConfigError {
    /// Ends the program: help with 0, everything else with 2.
    pub fn exit(self) -> ! {
        let said = match self {
            Self::Usage(error) => error.exit(),
            Self::File { file, wrong } => in_lines(&file, &wrong),
            other => vec![other.to_string()],
        };
        for line in said {
            crate::stderr::say(format_args!("handshake: {line}"));
        }
        std::process::exit(i32::from(crate::exit::USAGE));
    }
}
