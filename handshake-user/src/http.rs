//! A small HTTP server for scrapers: few connections at once, one request on each, short headers,
//! little time. Whoever is slow or hostile waits or is cut off; nobody can keep the program busy.
//!
//! Knows nothing of what it serves: that is a [`Site`] (`scrape.rs`).

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// What a client may have of us.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; the others wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of a request's head; at least 8192.
    pub head_bytes: usize,
    /// Time to send the head.
    pub head_time: Duration,
    /// Time for everything, from accepting to the last byte.
    pub whole_time: Duration,
    /// Time between two connections: bounds how many a second are worked for.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16,
            head_bytes: 8192,
            head_time: Duration::from_secs(2),
            whole_time: Duration::from_secs(10),
            pause: Duration::from_millis(2),
        }
    }
}

/// An answer to GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// 200, 404, 503, …
    pub status: u16,
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Page {
    /// A line of plain text.
    #[must_use]
    pub fn line(status: u16, text: &str) -> Self {
        let body = Bytes::from(format!("{text}\n"));
        Self { status, content_type: "text/plain; charset=utf-8", body }
    }
}

/// What is served.
pub trait Site: Send + Sync + 'static {
    /// The page at `path` for a client that accepts `accept`.
    fn page(&self, path: &str, accept: &str) -> impl Future<Output = Page> + Send;
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, limits: Limits, site: impl Site) {
    let site = Arc::new(site);
    let places = Arc::new(Semaphore::new(limits.connections));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    connection(stream, limits, site).await;
                    drop(place);
                });
                sleep(limits.pause).await;
            }
            // The client is gone already, or there are no descriptors left for now.
            Err(_) => sleep(limits.head_time).await,
        }
    }
}

async fn connection(stream: TcpStream, limits: Limits, site: Arc<impl Site>) {
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(answer(&request, &*site).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_time);
    http.max_buf_size(limits.head_bytes).keep_alive(false);
    // A client that goes away, or misbehaves, has had its answer.
    drop(timeout(limits.whole_time, http.serve_connection(TokioIo::new(stream), service)).await);
}

async fn answer(request: &Request<Incoming>, site: &impl Site) -> Response<Full<Bytes>> {
    let page = if [Method::GET, Method::HEAD].contains(request.method()) {
        let accept = request.headers().get_all(ACCEPT);
        let accept: Vec<&str> = accept.iter().filter_map(|value| value.to_str().ok()).collect();
        site.page(request.uri().path(), &accept.join(",")).await
    } else {
        Page::line(405, "only GET and HEAD")
    };
    let mut response = Response::new(Full::new(page.body));
    let status = StatusCode::from_u16(page.status);
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    if page.status == 405 {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
