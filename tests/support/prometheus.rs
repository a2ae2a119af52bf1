//! Prometheus itself, scraping the program under test inside a network namespace, and promtool.
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::lab::Namespace;
use crate::process::{eventually, signal, wait};

/// How long it may take to start or to end on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program of Prometheus: in `HANDSHAKE_PROMETHEUS`, or else in `PATH`.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    std::env::var_os("HANDSHAKE_PROMETHEUS")
        .map_or_else(|| PathBuf::from(name), |dir| Path::new(&dir).join(name))
}

/// Runs promtool with an input and returns what it said.
pub fn promtool(arguments: &[&str], input: &[u8]) -> Result<Output> {
    let mut command = Command::new(program("promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("no promtool: run `cargo xtask setup --tests`")?;
    child.stdin.take().context("no input")?.write_all(input)?;
    Ok(child.wait_with_output()?)
}

/// A Prometheus that scrapes one endpoint every second.
#[derive(Debug)]
pub struct Prometheus<'a> {
    namespace: &'a Namespace,
    child: Child,
    port: u16,
    directory: PathBuf,
    /// Queries are about this time, in seconds since 1970; none is now.
    at: Option<f64>,
}

impl<'a> Prometheus<'a> {
    /// Starts one that serves its queries at `port` and scrapes `target`, for native histograms if
    /// `native`. Its data go to `directory`, which is emptied first.
    pub fn start(
        namespace: &'a Namespace,
        (port, target): (u16, &str),
        directory: &Path,
        native: bool,
    ) -> Result<Self> {
        let targets = [("handshake", target)];
        let prometheus = Self::with_rules(namespace, (port, &targets), directory, native, "")?;
        let scraped = || prometheus.value("up{job=\"handshake\"}").is_ok_and(|up| up == 1.0);
        eventually("Prometheus scrapes", PATIENCE, scraped).with_context(|| prometheus.log())?;
        Ok(prometheus)
    }

    /// Starts one that scrapes several targets, each an instance of that name, and applies rules every
    /// second. Does not wait for it.
    pub fn with_rules(
        namespace: &'a Namespace,
        (port, targets): (u16, &[(&str, &str)]),
        directory: &Path,
        native: bool,
        rules: &str,
    ) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::create_dir_all(directory)?;
        let config = directory.join("prometheus.yml");
        let mut text = "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n".to_owned();
        if !rules.is_empty() {
            fs::write(directory.join("rules.yml"), rules)?;
            text += "rule_files:\n  - rules.yml\n";
        }
        text += "scrape_configs:\n  - job_name: handshake\n    static_configs:\n";
        for (instance, target) in targets {
            let labels = format!("labels: {{instance: '{instance}'}}");
            text += &format!("      - targets: ['{target}']\n        {labels}\n");
        }
        fs::write(&config, text)?;
        let mut command = namespace.command(program("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        if native {
            command.arg("--enable-feature=native-histograms");
        }
        let log = fs::File::create(directory.join("log"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.context("no prometheus: run `cargo xtask setup --tests`")?;
        let directory = directory.to_owned();
        Ok(Self { namespace, child, port, directory, at: None })
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// From now on, queries are about this moment: what is scraped later does not count.
    pub fn freeze(&mut self) -> Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        self.at = Some(now.as_secs_f64());
        Ok(())
    }

    /// Every series of a query's answer: labels and value.
    pub fn query(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let expression = format!("query={query}");
        let mut words =
            vec!["curl", "-sS", "--max-time", "5", "-G", &url, "--data-urlencode", &expression];
        let at = self.at.map(|at| format!("time={at}"));
        words.extend(at.iter().flat_map(|at| ["-d", at]));
        let said: Value = serde_json::from_str(&self.namespace.run(&words)?)?;
        ensure!(said["status"] == "success", "{query}: {said}");
        let series = said["data"]["result"].as_array().context("no vector")?;
        let sample = |series: &Value| {
            let value = series["value"][1].as_str().context("no value")?.parse()?;
            Ok((series["metric"].clone(), value))
        };
        series.iter().map(sample).collect()
    }

    /// The value of a query that answers with one series.
    pub fn value(&self, query: &str) -> Result<f64> {
        match self.query(query)?.as_slice() {
            [(_, value)] => Ok(*value),
            other => bail!("{query} is {} series", other.len()),
        }
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        // All of these fail only if it has ended.
        drop(signal(&self.child, libc::SIGTERM));
        if wait(&mut self.child, PATIENCE).is_err() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        drop(fs::remove_dir_all(&self.directory));
    }
}
