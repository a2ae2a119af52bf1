//! Between the engine's loop and the scrapers: a scraper asks, the loop makes a [`Scrape`] when it
//! comes round, at most a few times a second, and never waits. Writing it down, again at most once
//! a format, is done here, with the pages of the endpoint.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::http::{Page, Site};
use crate::output::prometheus::{self, accept::Format};
use crate::snapshot::metrics::Scrape;

/// A scrape is shown to everybody who asks within this time.
pub const FRESH: Duration = Duration::from_millis(500);
/// The loop comes round every few milliseconds; if it does not for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(2);
/// Scrapers that may be waiting for the loop.
const WAITING: usize = 64;

/// Somebody waits for a scrape.
#[derive(Debug)]
pub struct Asked(oneshot::Sender<Arc<Scrape>>);

/// The side of the engine's loop.
#[derive(Debug)]
pub struct Desk {
    asked: mpsc::Receiver<Asked>,
    last: Option<(Instant, Arc<Scrape>)>,
}

/// The side of the scrapers.
#[derive(Debug)]
pub struct Pages {
    ask: mpsc::Sender<Asked>,
    written: Mutex<Vec<(Arc<Scrape>, Format, Bytes)>>,
}

/// Both sides.
#[must_use]
pub fn desk() -> (Desk, Pages) {
    let (ask, asked) = mpsc::channel(WAITING);
    (Desk { asked, last: None }, Pages { ask, written: Mutex::default() })
}

impl Desk {
    /// Waits until somebody asks.
    pub async fn asked(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }

    /// Hands out the last scrape, or the one that `make` makes if that is too old.
    pub fn answer(&mut self, asked: Asked, make: impl FnOnce() -> Scrape) {
        let now = Instant::now();
        let recent = self.last.as_ref().filter(|(at, _)| now.duration_since(*at) < FRESH);
        let scrape = match recent {
            Some((_, scrape)) => Arc::clone(scrape),
            None => {
                let scrape = Arc::new(make());
                self.last = Some((now, Arc::clone(&scrape)));
                scrape
            }
        };
        // It may have gone away meanwhile.
        drop(asked.0.send(scrape));
    }
}

impl Pages {
    async fn scrape(&self) -> Option<Arc<Scrape>> {
        let (answer, answered) = oneshot::channel();
        self.ask.try_send(Asked(answer)).ok()?;
        timeout(PATIENCE, answered).await.ok()?.ok()
    }

    /// The scrape in a format, written down once.
    fn written(&self, scrape: &Arc<Scrape>, format: Format) -> Option<Bytes> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|(known, _, _)| Arc::ptr_eq(known, scrape));
        if let Some((_, _, body)) = written.iter().find(|(_, known, _)| *known == format) {
            return Some(body.clone());
        }
        let body = Bytes::from(prometheus::body(Arc::clone(scrape), format).ok()?);
        written.push((Arc::clone(scrape), format, body.clone()));
        Some(body)
    }

    async fn metrics(&self, accept: &str) -> Page {
        let Some(scrape) = self.scrape().await else { return Page::line(503, SILENT) };
        let format = Format::negotiate(accept);
        match self.written(&scrape, format) {
            Some(body) => Page { status: 200, content_type: format.content_type(), body },
            None => Page::line(500, "the metrics could not be written"),
        }
    }

    async fn health(&self) -> Page {
        let Some(scrape) = self.scrape().await else { return Page::line(503, SILENT) };
        match scrape.health.trouble() {
            None => Page::line(200, "ok"),
            Some(reason) => Page::line(503, &reason),
        }
    }
}

const SILENT: &str = "the engine does not answer";

const LANDING: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\"><head><title>handshake</title></head><body>\n",
    "<h1>handshake ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n<p>Tracks every TCP connection attempt and reports one outcome for each.</p>\n<ul>\n",
    "<li><a href=\"/metrics\">/metrics</a> for Prometheus</li>\n",
    "<li><a href=\"/healthz\">/healthz</a> for supervisors</li>\n</ul>\n</body></html>\n"
);

impl Site for Pages {
    async fn page(&self, path: &str, accept: &str) -> Page {
        match path {
            "/metrics" => self.metrics(accept).await,
            "/healthz" => self.health().await,
            "/" => {
                let content_type = "text/html; charset=utf-8";
                Page { status: 200, content_type, body: Bytes::from_static(LANDING.as_bytes()) }
            }
            _ => Page::line(404, "there are /metrics, /healthz and /"),
        }
    }
}
