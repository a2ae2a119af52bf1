//! The real server on loopback, and clients that misbehave.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use handshake_user::http::{self, Limits};
use handshake_user::scrape;
use handshake_user::snapshot::metrics::Scrape;
use tokio::sync::oneshot;

/// Limits that tests need not wait for.
pub(crate) const LIMITS: Limits = Limits {
    connections: 16,
    head_bytes: 8192,
    head_time: Duration::from_millis(300),
    whole_time: Duration::from_secs(2),
    pause: Duration::from_millis(2),
};

/// The endpoint over one fixed scrape, on a thread of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<u64>>,
}

impl Server {
    /// `None`: an engine that never answers because it is gone.
    pub(crate) fn start(scrape: Option<Scrape>) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(engine(listener, scrape, stopped))
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Stops it; how many scrapes the engine has made.
    pub(crate) fn stop(mut self) -> u64 {
        drop(self.stop.take());
        self.thread.take().expect("it runs").join().expect("it does not panic")
    }

    /// Sends bytes on a connection of its own and returns all that comes back.
    pub(crate) fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("it reads");
        read(&mut stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        stream
    }

    pub(crate) fn get(&self, path: &str, accept: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
        Answer::parse(&self.send(head.as_bytes()))
    }
}

/// Everything until the end, or until the other side resets.
pub(crate) fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn engine(
    listener: std::net::TcpListener,
    scrape: Option<Scrape>,
    mut stopped: oneshot::Receiver<()>,
) -> u64 {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let (desk, pages) = scrape::desk();
    let server = tokio::spawn(http::serve(listener, LIMITS, pages));
    let (mut desk, mut made) = (scrape.is_some().then_some(desk), 0);
    loop {
        let asked = async {
            match &mut desk {
                Some(desk) => desk.asked().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = &mut stopped => break,
            asked = asked => {
                let (desk, scrape) = (desk.as_mut().expect("asked"), scrape.clone());
                desk.answer(asked, || { made += 1; scrape.expect("asked") });
            }
        }
    }
    server.abort();
    made
}

/// A parsed answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }
}

#[test]
fn the_three_routes_answer_and_nothing_else_does() {
    let server = Server::start(Some(super::everything().scrape()));
    let metrics = server.get("/metrics", "*/*");
    assert_eq!(metrics.status, 200);
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{metrics:?}");
    assert!(metrics.body.starts_with("# HELP handshake_build_info "), "{metrics:?}");
    assert_eq!(server.get("/metrics?x=y", "*/*").body, metrics.body);
    let health = server.get("/healthz", "*/*");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let landing = server.get("/", "text/html");
    assert!(landing.status == 200 && landing.body.contains("href=\"/metrics\""), "{landing:?}");
    for path in ["/metrics/", "/x", "/..", "//", "/healthz/../metrics", "*"] {
        let status = server.get(path, "*/*").status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
}

#[test]
fn only_get_and_head_are_understood_also_in_http_1_0() {
    let server = Server::start(Some(super::everything().scrape()));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
        let head = format!("{method} /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = Answer::parse(&server.send(head.as_bytes()));
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
        assert!(answer.head.contains("allow: get, head"), "{method}: {answer:?}");
    }
    let old = Answer::parse(&server.send(b"GET /healthz HTTP/1.0\r\n\r\n"));
    assert_eq!((old.status, old.body.as_str()), (200, "ok\n"));
    let head = Answer::parse(&server.send(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains("content-length: "), "{head:?}");
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], b"GET\r\n\r\n"] {
        let answer = Answer::parse(&server.send(garbage));
        assert!([0, 400].contains(&answer.status), "{answer:?}");
    }
    assert_eq!(server.get("/healthz", "*/*").status, 200);
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let server = Server::start(Some(super::everything().scrape()));
    let head = |filler: usize| {
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(filler))
    };
    assert_eq!(Answer::parse(&server.send(head(7000).as_bytes())).status, 200);
    let mut stream = server.connect();
    // It may have hung up before everything was sent.
    drop(stream.write_all(head(1 << 20).as_bytes()));
    let answer = Answer::parse(&read(&mut stream));
    assert!([0, 431].contains(&answer.status), "{answer:?}");
    assert_eq!(Answer::parse(&server.send(head(9000).as_bytes())).status, 431);
    let many: String = (0..200).map(|n| format!("X{n}: y\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert_eq!(Answer::parse(&server.send(many.as_bytes())).status, 431);
}

#[test]
fn a_head_that_comes_byte_by_byte_is_cut_off() {
    let server = Server::start(Some(super::everything().scrape()));
    let mut stream = server.connect();
    let began = Instant::now();
    for byte in b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ".iter().cycle() {
        if stream.write_all(&[*byte]).is_err() || began.elapsed() > Duration::from_secs(10) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_hundred_connections_that_say_nothing_only_delay_a_scraper() {
    let server = Server::start(Some(super::everything().scrape()));
    let idle: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    let began = Instant::now();
    assert_eq!(server.get("/metrics", "*/*").status, 200);
    let waited = began.elapsed();
    // Sixteen at a time have 300 ms each: the scraper waits for six or seven rounds, not for one
    // and not for a hundred.
    assert!(waited > 5 * LIMITS.head_time && waited < 14 * LIMITS.head_time, "{waited:?}");
    for mut stream in idle {
        read(&mut stream);
    }
}

#[test]
fn two_hundred_scrapes_in_a_row_cost_the_engine_a_few_snapshots() {
    let server = Server::start(Some(super::everything().scrape()));
    let began = Instant::now();
    for _ in 0..200 {
        assert_eq!(server.get("/metrics", "*/*").status, 200);
    }
    let most = began.elapsed().as_millis() / scrape::FRESH.as_millis() + 1;
    let made = server.stop();
    assert!((1..=most).contains(&u128::from(made)), "{made} of at most {most}");
}

#[test]
fn a_sick_engine_is_told_with_the_reason() {
    let mut scrape = super::everything().scrape();
    scrape.health.attached = 0;
    let detached = Server::start(Some(scrape.clone())).get("/healthz", "*/*");
    assert_eq!((detached.status, detached.body.as_str()), (503, "no interface is attached\n"));
    scrape.health.awaited = Some("veth*".to_owned());
    let waiting = Server::start(Some(scrape.clone())).get("/healthz", "*/*");
    assert_eq!(waiting.body, "no interface is attached: waiting for veth*\n");
    scrape.health.attached = 1;
    scrape.health.since_step = Duration::from_secs(9);
    let stuck = Server::start(Some(scrape)).get("/healthz", "*/*");
    assert_eq!((stuck.status, stuck.body.as_str()), (503, "no events were read for 9 s\n"));
    let gone = Server::start(None);
    for path in ["/healthz", "/metrics"] {
        let answer = gone.get(path, "*/*");
        let told = (answer.status, answer.body.as_str());
        assert_eq!(told, (503, "the engine does not answer\n"), "{path}");
    }
}

#[test]
fn a_scraper_gets_the_format_it_asks_for() {
    let scrape = Arc::new(super::everything().scrape());
    let server = Server::start(Some((*scrape).clone()));
    for format in handshake_user::output::prometheus::accept::Format::ALL {
        let wanted = format.content_type();
        let answer = server.get("/metrics", wanted);
        let told = format!("content-type: {}", wanted.to_ascii_lowercase());
        assert!(answer.head.contains(&told), "{answer:?}");
        let body = handshake_user::output::prometheus::body(Arc::clone(&scrape), format);
        assert_eq!(answer.body, String::from_utf8_lossy(&body.expect("it can be written")));
    }
}
