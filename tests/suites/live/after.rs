//! What comes right after a completion, by real servers that reset, close, never accept, stay silent, or
//! serve.
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::judge::{assert_balanced, ends};
use handshake_tests::lab::{Family, Lab};
use handshake_tests::socket::abort_on_close;
use handshake_tests::watcher::{Report, Watcher};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 7001;
const CONNECTIONS: usize = 5;

/// A client and a server, of which each may look at the other's socket.
type Deed = fn(TcpStream, TcpStream) -> Result<()>;

/// Watches at `side` while so many connections are made one after another, and `deed` is done to each.
/// Returns what is said of each.
fn after(lab: &Lab, watched: &str, arguments: &[&str], deed: Deed) -> Result<(Report, Vec<Value>)> {
    let family = Family::V4;
    let (namespace, device) = match watched {
        "client" => (&lab.client, lab.client_device),
        _ => (&lab.server, lab.server_device),
    };
    let listener = lab.server.enter(|| TcpListener::bind(("0.0.0.0", PORT)))??;
    let watcher = Watcher::start(namespace, &[&["-i", device], arguments].concat())?;
    for _ in 0..CONNECTIONS {
        let to = lab.server(family, PORT);
        let client = lab.client.enter(|| TcpStream::connect(to))??;
        deed(client, listener.accept()?.0)?;
    }
    let awaited = watcher.await_attempts(CONNECTIONS, PATIENCE);
    let report = watcher.stop()?;
    awaited.with_context(|| report.stderr.clone())?;
    assert_balanced(&report);
    let said = report.attempts.iter().map(|attempt| {
        assert_eq!(attempt["outcome"], "completed", "{attempt}");
        assert_eq!(ends(attempt).1.port(), PORT);
        attempt["after"].clone()
    });
    let said = said.collect();
    Ok((report, said))
}

/// All of them say `what`, and the summary counts them.
fn assert_all(report: &Report, said: &[Value], what: &str) {
    assert_eq!(said.len(), CONNECTIONS);
    assert!(said.iter().all(|one| one["what"] == what), "not all {what}: {said:?}");
    let summary = report.summary.as_ref().expect("a summary");
    assert_eq!(summary["after"][what], CONNECTIONS, "{summary}");
}

fn reset(mut client: TcpStream, server: TcpStream) -> Result<()> {
    abort_on_close(&server)?;
    drop(server);
    // Until the reset is here, so that the client does not close first.
    drop(client.read(&mut [0]));
    Ok(())
}

fn close(mut client: TcpStream, server: TcpStream) -> Result<()> {
    drop(server);
    drop(client.read(&mut [0]));
    Ok(())
}

fn cancel(client: TcpStream, mut server: TcpStream) -> Result<()> {
    abort_on_close(&client)?;
    drop(client);
    drop(server.read(&mut [0]));
    Ok(())
}

fn check(client: TcpStream, mut server: TcpStream) -> Result<()> {
    drop(client);
    drop(server.read(&mut [0]));
    Ok(())
}

fn serve(mut client: TcpStream, mut server: TcpStream) -> Result<()> {
    client.write_all(b"request")?;
    client.shutdown(Shutdown::Write)?;
    server.read_to_end(&mut Vec::new())?;
    thread::sleep(Duration::from_millis(20));
    server.write_all(b"answer")?;
    drop(server);
    client.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Sends, and closes; the server reads and closes.
fn log(mut client: TcpStream, mut server: TcpStream) -> Result<()> {
    client.write_all(b"a line")?;
    drop(client);
    server.read_to_end(&mut Vec::new())?;
    Ok(())
}

#[test]
fn a_client_that_only_sends_is_served() -> Result<()> {
    let (report, said) = after(&Lab::direct()?, "server", &[], log)?;
    assert_all(&report, &said, "data");
    Ok(())
}

#[test]
fn a_server_that_accepts_and_resets_is_told_from_one_that_serves() -> Result<()> {
    let lab = Lab::direct()?;
    for side in ["server", "client"] {
        let (report, said) = after(&lab, side, &[], reset)?;
        assert_all(&report, &said, "reset-by-server");
        assert!(said.iter().all(|one| one["first_byte_server_ns"].is_null()), "{said:?}");
    }
    Ok(())
}

#[test]
fn a_server_that_closes_without_a_byte_is_told() -> Result<()> {
    let (report, said) = after(&Lab::direct()?, "server", &[], close)?;
    assert_all(&report, &said, "closed-without-data");
    Ok(())
}

#[test]
fn what_the_client_ends_is_the_client_s() -> Result<()> {
    let lab = Lab::direct()?;
    let (report, said) = after(&lab, "server", &[], cancel)?;
    assert_all(&report, &said, "reset-by-client");
    let (report, said) = after(&lab, "server", &[], check)?;
    assert_all(&report, &said, "closed-by-client");
    Ok(())
}

#[test]
fn the_first_byte_of_each_side_is_timed() -> Result<()> {
    for lab in [Lab::direct()?, Lab::loopback()?] {
        let (report, said) = after(&lab, "server", &[], serve)?;
        assert_all(&report, &said, "data");
        for one in &said {
            let (client, server) = (&one["first_byte_client_ns"], &one["first_byte_server_ns"]);
            let server = server.as_i64().context("no byte of the server")?;
            ensure!(client.as_i64().is_some_and(|client| client < server), "{one}");
            ensure!(server >= 20_000_000, "it answers after 20 ms: {one}");
        }
    }
    Ok(())
}

#[test]
fn a_server_that_never_takes_the_third_ack_is_told() -> Result<()> {
    let lab = Lab::direct()?;
    // The hook sees the ACK, the stack does not.
    lab.server.nft(
        "table inet third { chain in { type filter hook input priority 0; \
         tcp dport 7001 tcp flags & (fin | syn | rst | psh | ack) == ack drop; }; }",
    )?;
    let listener = lab.server.enter(|| TcpListener::bind(("0.0.0.0", PORT)))??;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    let to = lab.server(Family::V4, PORT);
    let clients: Vec<TcpStream> = lab.client.enter(|| {
        (0..CONNECTIONS).map(|_| TcpStream::connect(to)).collect::<std::io::Result<_>>()
    })??;
    watcher.await_attempts(CONNECTIONS, PATIENCE)?;
    let report = watcher.stop()?;
    drop((clients, listener));
    assert_balanced(&report);
    for attempt in &report.attempts {
        assert_eq!(attempt["outcome"], "completed", "{attempt}");
        assert_eq!(attempt["after"]["what"], "not-accepted", "{attempt}");
        assert!(attempt["after"]["synack_retrans"].as_u64() >= Some(1), "{attempt}");
    }
    Ok(())
}

#[test]
fn silence_is_told_as_such_and_only_if_it_was_watched() -> Result<()> {
    /// Both ends stay open until the watcher has ended.
    fn hold(client: TcpStream, server: TcpStream) -> Result<()> {
        std::mem::forget((client, server));
        Ok(())
    }
    let lab = Lab::direct()?;
    let (report, said) = after(&lab, "server", &["--after", "300ms"], hold)?;
    assert_all(&report, &said, "nothing");
    assert!(said.iter().all(|one| one["at_ns"] == 300_000_000), "{said:?}");
    let (_, said) = after(&lab, "server", &["--after", "0"], serve)?;
    assert!(said.iter().all(Value::is_null), "{said:?}");
    Ok(())
}

#[test]
fn the_filter_finds_what_was_not_served() -> Result<()> {
    let lab = Lab::direct()?;
    let listener = lab.server.enter(|| TcpListener::bind(("0.0.0.0", PORT)))??;
    let arguments = ["-i", "srv0", "--filter", "after:unserved", "--count", "2"];
    let watcher = Watcher::start(&lab.server, &arguments)?;
    let to = lab.server(Family::V4, PORT);
    for deed in [serve as Deed, reset, serve, close] {
        let client = lab.client.enter(|| TcpStream::connect(to))??;
        deed(client, listener.accept()?.0)?;
    }
    let report = watcher.finish()?;
    let what: Vec<_> =
        report.attempts.iter().map(|attempt| attempt["after"]["what"].as_str()).collect();
    assert_eq!(what, [Some("reset-by-server"), Some("closed-without-data")]);
    Ok(())
}
