//! The end of a run: detach, report what is open as unfinished, hand over, sum up.

use std::time::Duration;

use anyhow::Result;

use super::{Watching, recording};
use crate::exit::{Failure, RUNTIME};
use crate::stderr::say_lines;
use crate::stdout::Reader;

/// A reader that takes nothing for so long, after we were asked to stop, takes nothing any more.
const STALL: Duration = Duration::from_millis(700);

impl Watching<'_> {
    /// Detaches, reports what is open as unfinished, and prints the summary, also when nothing can
    /// be written to stdout any more.
    pub(super) async fn finish(&mut self) -> Result<()> {
        self.service.stopping();
        self.exporter = None;
        self.engine.close();
        self.loader.detach_all();
        self.loader.say_logs();
        self.engine.finish(&self.loader).map_err(Failure::from)?;
        let shown = self.show_end();
        if let Some(recorder) = &self.recorder {
            recording::say_end(recorder);
        }
        let handed_over = self.hand_over().await;
        say_lines(crate::output::summary::Text(&self.summary()));
        shown.and(handed_over)
    }

    /// Waits for the reader of stdout. After a signal, only as long as it reads.
    async fn hand_over(&mut self) -> Result<()> {
        let queue = self.view.queue();
        while !queue.is_done() {
            let written = queue.written();
            tokio::select! {
                () = queue.news() => {}
                () = self.signals.stop() => {
                    if std::mem::replace(&mut self.is_asked_to_stop, true) {
                        break;
                    }
                }
                () = tokio::time::sleep(STALL) => {
                    if self.is_asked_to_stop && queue.written() == written {
                        break;
                    }
                }
            }
        }
        if !queue.is_done() {
            let lines = queue.unwritten_lines();
            let what = "lines could not be written to standard output: nobody reads it";
            return Err(Failure::new(RUNTIME, format_args!("{lines} {what}")).into());
        }
        self.view.flush().map(|_| ()).map_err(Into::into)
    }

    /// Ends what is open, and says what is left to be said on stdout.
    fn show_end(&mut self) -> Result<()> {
        let mut shown = self.show();
        if shown.is_ok() {
            shown = self.view.report(&self.engine, &self.places).map_err(Into::into);
        }
        while self.engine.end_some() {
            if shown.is_ok() {
                shown = self.show();
            } else {
                let ended = self.engine.ended();
                drop(self.engine.settled(ended));
            }
        }
        let reader = shown?;
        self.tell(false)?;
        if reader == Reader::Present {
            self.view.summary(&self.summary(), self.started.elapsed(), self.places.now())?;
        }
        Ok(())
    }
}
