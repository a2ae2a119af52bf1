//! SIGHUP: reads the configuration file again and changes what can change while watching. Nothing
//! here may end the run: a file that is wrong leaves everything as it was.

use std::io::{self, IsTerminal};

use anyhow::Result;

use super::Watching;
use super::asked::{filter_record, say_filter};
use crate::config::{ConfigError, Reread};
use crate::output::json::{RELOADS, ReloadRecord, SCHEMA, seconds};
use crate::selection::Selection;
use crate::stderr::say;

/// Which of the standard streams were terminals when it began.
pub(super) struct Terminal([bool; 3]);

impl Terminal {
    pub(super) fn now() -> Self {
        Self([io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()])
    }

    /// A window that is closed sends SIGHUP too, and then its terminal is none any more.
    pub(super) fn has_gone(&self) -> bool {
        let before = self.0.iter().filter(|is| **is).count();
        before > 0 && Self::now().0.iter().all(|is| !is)
    }
}

/// How a reload went.
struct Told {
    result: &'static str,
    error: Option<String>,
    changed: Vec<String>,
    restart: Vec<String>,
}

impl Told {
    fn new(result: &'static str) -> Self {
        Self { result, error: None, changed: Vec::new(), restart: Vec::new() }
    }
}

impl Watching<'_> {
    /// Reads the file again, and says what became of it on stderr and in the stream.
    pub(super) fn reload(&mut self) -> Result<()> {
        let [applied, unchanged, failed, nothing] = RELOADS;
        let told = if self.sources.file.is_none() {
            say("SIGHUP: nothing to reload, there is no --config");
            Told::new(nothing)
        } else {
            match self.sources.reread() {
                Err(error) => refuse(failed, &error),
                Ok(reread) => {
                    let result = if reread.changed.is_empty() { unchanged } else { applied };
                    self.say_reread(&reread);
                    if !reread.changed.is_empty() {
                        self.apply(&reread)?;
                    }
                    let Reread { changed, restart, .. } = reread;
                    Told { result, error: None, changed, restart }
                }
            }
        };
        self.record_reload(told)
    }

    fn say_reread(&self, reread: &Reread) {
        let file = self.sources.file.as_deref().unwrap_or_else(|| "".as_ref()).display();
        match reread.changed.as_slice() {
            [] => say(format_args!("reloaded {file}: nothing changed")),
            changed => say(format_args!("reloaded {file}: {}", changed.join(", "))),
        }
        if !reread.restart.is_empty() {
            let names = reread.restart.join(", ");
            say(format_args!("changed, but only a restart can apply it: {names}"));
        }
    }

    fn apply(&mut self, reread: &Reread) -> Result<()> {
        let args = &reread.args;
        let (selection, shown) = Selection::new(&args.ports, &args.nets, &args.filters);
        say_filter(selection.query(), &shown);
        self.engine.reselect(selection);
        self.shown = shown;
        if self.view.change_format(args.format) {
            let filter = filter_record(self.engine.selection().query(), &self.shown);
            self.view.start(&self.loader, filter, self.places.now())?;
        }
        Ok(())
    }

    fn record_reload(&mut self, told: Told) -> Result<()> {
        let Told { result, error, changed, restart } = told;
        let record = ReloadRecord {
            kind: "reload",
            schema: SCHEMA,
            time: seconds(self.places.now()),
            file: self.sources.file.as_ref().map(|file| file.display().to_string()),
            result,
            error,
            changed,
            restart,
            filter: filter_record(self.engine.selection().query(), &self.shown),
        };
        Ok(self.view.reloaded(&record)?)
    }
}

fn refuse(failed: &'static str, error: &ConfigError) -> Told {
    say(format_args!("handshake: not reloaded, everything stays as it was: {error}"));
    Told { error: Some(error.to_string()), ..Told::new(failed) }
}
