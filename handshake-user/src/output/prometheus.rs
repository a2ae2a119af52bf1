//! A scrape in the formats of Prometheus, through its own client library: OpenMetrics text and
//! protobuf as the library writes them, Prometheus text from the same messages ([`text`]).
//!
//! [`families`] has the names, [`accept`] chooses the format. Computes nothing: what is shown was
//! counted by `metrics` and `series`.

pub mod accept;
pub mod families;
mod text;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_protobuf;
use prometheus_client::encoding::text as open_metrics;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NativeHistogram, NativeHistogramBuckets, NoLabelSet,
};
use prometheus_client::metrics::histogram::DEFAULT_NATIVE_HISTOGRAM_ZERO_THRESHOLD;
use prometheus_client::registry::Registry;

use crate::output::prometheus::accept::Format;
use crate::output::prometheus::families::{self as name, Family};
use crate::series::distribution::{Distribution, SCHEMA};
use crate::snapshot::SelfCost;
use crate::snapshot::metrics::{Scrape, estimated, shown};

/// What stands in place of a label's value for all that have no series of their own.
pub const OTHER: &str = "other";

/// The body of an answer in `format`.
///
/// # Errors
/// If the library cannot write it, which only a bug can cause.
pub fn body(scrape: Arc<Scrape>, format: Format) -> Result<Vec<u8>, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Shown(scrape)));
    match format {
        Format::Protobuf => prometheus_protobuf::encode_to_vec(&registry).map_err(|_| fmt::Error),
        Format::OpenMetrics => {
            let mut text = String::new();
            open_metrics::encode(&mut text, &registry)?;
            Ok(text.into_bytes())
        }
        Format::Text => Ok(text::write(&prometheus_protobuf::encode(&registry)?).into_bytes()),
    }
}

/// Values of a family's labels, in their order.
type Values = Vec<String>;

#[derive(Debug)]
struct Shown(Arc<Scrape>);

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let scrape = &*self.0;
        let build = vec![scrape.version.to_owned(), scrape.kernel.clone()];
        families.info(&name::BUILD, build)?;
        attempts(&mut families, scrape)?;
        latency(&mut families, scrape)?;
        doubts(&mut families, scrape)?;
        services(&mut families, scrape)?;
        packets(&mut families, scrape)?;
        if let Some(cost) = &scrape.summary.self_cost {
            own_cost(&mut families, cost)?;
        }
        means(&mut families, scrape)?;
        process(&mut families, scrape)
    }
}

fn attempts(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    let rows = &scrape.rows.interfaces;
    let place = |interface: &Option<String>, role: &str| {
        vec![interface.as_deref().unwrap_or(OTHER).to_owned(), role.to_owned()]
    };
    let begun = rows.iter().map(|row| (place(&row.interface, row.role.name()), row.attempts));
    families.counters(&name::ATTEMPTS, begun)?;
    let outcomes = rows.iter().flat_map(|row| {
        shown(&row.outcomes).map(move |(outcome, count)| {
            let mut values = place(&row.interface, row.role.name());
            values.push(outcome.name().to_owned());
            (values, count)
        })
    });
    families.counters(&name::OUTCOMES, outcomes)?;
    families.gauge(&name::OPEN, scrape.summary.open)?;
    families.gauge(&name::HALF_OPEN, scrape.half_open)
}

/// When counting began.
fn since(scrape: &Scrape) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(scrape.since).unwrap_or(0))
}

fn latency(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    let since = since(scrape);
    for (family, retransmitted) in [(&name::LATENCY, false), (&name::LATENCY_RETRANSMITTED, true)] {
        let rows = scrape.rows.latency.iter().filter(|row| row.retransmitted == retransmitted);
        let rows =
            rows.map(|row| (vec![row.role.name().to_owned(), row.part.to_owned()], &row.samples));
        families.write(family, rows, |metric, samples| histogram(metric, samples, since))?;
    }
    Ok(())
}

fn doubts(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    let s = &scrape.summary;
    let of = |kinds: [(&str, u64); 2]| kinds.map(|(kind, count)| (vec![kind.to_owned()], count));
    let copies = of([("syn", s.syn_retrans), ("synack", s.synack_retrans)]);
    families.counters(&name::RETRANSMITS, copies)?;
    families.counter(&name::UNCERTAIN, s.uncertain)?;
    families.counter(&name::LATE_COPIES, s.late_copies)?;
    families.counters(&name::DISBELIEVED, of([("synack", s.bad_synack), ("rst", s.bad_rst)]))?;
    let patterns = || scrape.patterns.iter().map(|row| (vec![row.pattern.to_owned()], row));
    let attempts = patterns().map(|(values, row)| (values, row.attempts));
    families.counters(&name::PATTERN_ATTEMPTS, attempts)?;
    families.gauges(&name::ACTIVE_PATTERNS, patterns().map(|(values, row)| (values, row.active)))
}

fn service(address: Option<SocketAddr>) -> Values {
    match address {
        Some(address) => vec![address.ip().to_string(), address.port().to_string()],
        None => vec![OTHER.to_owned(); 2],
    }
}

fn services(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    let rows = &scrape.rows.services;
    let with = |address: Option<SocketAddr>, value: &str| {
        let mut values = service(address);
        values.push(value.to_owned());
        values
    };
    let outcomes = rows.iter().flat_map(|row| {
        row.outcomes().map(move |(outcome, count)| (with(row.service, outcome.name()), count))
    });
    families.counters(&name::SERVICE_OUTCOMES, outcomes)?;
    let failures = rows.iter().flat_map(|row| {
        row.failures().map(move |(outcome, count)| (with(row.service, outcome.name()), count))
    });
    families.counters(&name::SERVICE_FAILURES, failures)?;
    let copies = rows.iter().flat_map(|row| {
        row.copies().map(move |(segment, count)| (with(row.service, segment), count))
    });
    families.counters(&name::SERVICE_RETRANSMITS, copies)?;
    let after = rows.iter().flat_map(|row| {
        row.after().map(move |(next, count)| (with(row.service, next.name()), count))
    });
    families.counters(&name::SERVICE_AFTER, after)?;
    let slow = rows.iter().flat_map(|row| {
        row.slow().map(move |(half, slow)| (with(row.service, half.name()), u64::from(slow)))
    });
    families.gauges(&name::SERVICE_SLOW, slow)?;
    let since = since(scrape);
    let latency = scrape.rows.service_latency.iter();
    let latency = latency.map(|row| (with(Some(row.service), row.part), &row.samples));
    let write =
        |metric: MetricEncoder<'_>, samples: &Distribution| histogram(metric, samples, since);
    families.write(&name::SERVICE_LATENCY, latency, write)?;
    let open = rows.iter().map(|row| (service(row.service), row.open));
    families.gauges(&name::SERVICE_OPEN, open)?;
    let half_open = rows.iter().map(|row| (service(row.service), row.half_open));
    families.gauges(&name::SERVICE_HALF_OPEN, half_open)?;
    let seconds = || {
        let rows = rows.iter().filter_map(|row| Some((row.service, row.seconds?)));
        rows.map(|(address, seconds)| (service(address), seconds))
    };
    let active = seconds().map(|(values, (active, _))| (values, active));
    families.counters(&name::SERVICE_ACTIVE, active)?;
    let failed = seconds().map(|(values, (_, failed))| (values, failed));
    families.counters(&name::SERVICE_FAILED, failed)
}

fn packets(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    let s = &scrape.summary;
    let classes = s.packets.iter().map(|(class, count)| (vec![class.clone()], *count));
    families.counters(&name::PACKETS, classes)?;
    families.counter(&name::EVENTS_OFFERED, s.events.offered)?;
    families.counter(&name::EVENTS_DELIVERED, s.events.delivered)?;
    let lost = scrape.lost.iter().map(|lost| (vec![lost.reason.to_owned()], lost.count));
    families.counters(&name::EVENTS_LOST, lost)?;
    families.counter(&name::EVENTS_SAMPLED_OUT, s.events.sampled_out)?;
    families.counter(&name::EVENTS_LATE, s.events.late)?;
    families.counter(&name::EVENTS_FILTERED, s.events.filtered)?;
    families.counter(&name::EVENTS_UNDECODABLE, s.events.undecodable)?;
    let effects = s.filter.iter().map(|(effect, count)| (vec![effect.clone()], *count));
    families.counters(&name::FILTER, effects)?;
    families.gauge(&name::SAMPLING, s.sampling.one_in)?;
    families.counter(&name::ATTEMPTS_ESTIMATED, s.sampling.started)?;
    let outcomes = estimated(s).map(|(outcome, count)| (vec![outcome.to_owned()], count));
    families.counters(&name::OUTCOMES_ESTIMATED, outcomes)
}

fn own_cost(families: &mut Families<'_>, cost: &SelfCost) -> fmt::Result {
    families.gauge(&name::RING_CAPACITY, cost.ring_bytes)?;
    families.gauge(&name::RING_USED, cost.ring_used_bytes)?;
    families.gauge(&name::RING_HIGHEST, cost.ring_highest_bytes)?;
    let programs = || cost.programs.iter().map(|program| (vec![program.name.clone()], program));
    let runs = programs().filter_map(|(values, program)| Some((values, program.runs?)));
    families.counters(&name::PROGRAM_RUNS, runs)?;
    let times = programs().filter_map(|(values, program)| Some((values, program.time_ns?)));
    families.write(&name::PROGRAM_SECONDS, times, |mut metric, ns| {
        metric.encode_counter::<NoLabelSet, f64, f64>(&(ns as f64 / 1e9), None)
    })
}

/// Tables, hooks and memory.
fn means(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    let tables = &scrape.tables;
    let values = |table: &str| vec![table.to_owned()];
    let entries = tables.iter().filter_map(|row| Some((values(row.table), row.entries?)));
    families.gauges(&name::TABLE_ENTRIES, entries)?;
    let capacity = tables.iter().map(|row| (values(row.table), row.capacity));
    families.gauges(&name::TABLE_CAPACITY, capacity)?;
    let evictions = tables.iter().filter_map(|row| Some((values(row.table), row.evictions?)));
    families.counters(&name::EVICTIONS, evictions)?;
    let hooks = scrape.hooks.iter().map(|row| {
        let values = [row.interface.as_str(), row.hook, row.mode];
        (values.map(str::to_owned).to_vec(), u64::from(row.attached))
    });
    let other = (scrape.other_hooks > 0).then(|| (vec![OTHER.to_owned(); 3], scrape.other_hooks));
    families.gauges(&name::ATTACHED, hooks.chain(other))?;
    families.gauge(&name::KERNEL_MEMORY, scrape.kernel_memory_bytes)
}

fn process(families: &mut Families<'_>, scrape: &Scrape) -> fmt::Result {
    let p = &scrape.process;
    let once = |value: f64| [(Values::new(), value)];
    families.write(&name::CPU, once(p.cpu_seconds), |mut metric, seconds| {
        metric.encode_counter::<NoLabelSet, f64, f64>(&seconds, None)
    })?;
    families.gauge(&name::RESIDENT, p.resident_bytes)?;
    families.gauge(&name::VIRTUAL, p.virtual_bytes)?;
    families.gauge(&name::OPEN_FDS, p.open_fds)?;
    families.gauge(&name::MAX_FDS, p.max_fds)?;
    families.write(&name::START_TIME, once(p.start_seconds), |mut metric, seconds| {
        metric.encode_gauge(&seconds)
    })
}

fn histogram(
    mut metric: MetricEncoder<'_>,
    samples: &Distribution,
    since: SystemTime,
) -> fmt::Result {
    let (spans, deltas) = spans(samples.exponential());
    let none = NativeHistogramBuckets { spans: &[], deltas: &[] };
    let native = NativeHistogram {
        schema: i32::from(SCHEMA),
        zero_threshold: DEFAULT_NATIVE_HISTOGRAM_ZERO_THRESHOLD,
        zero_count: samples.zero(),
        negative: none,
        positive: NativeHistogramBuckets { spans: &spans, deltas: &deltas },
        created: Some(since),
    };
    metric.encode_histogram_with_native::<NoLabelSet>(
        samples.sum_seconds(),
        samples.count(),
        &samples.classic(),
        None,
        native,
    )
}

/// Runs of neighbouring buckets (distance from the end of the one before, length), and each
/// bucket's count less that of the one before.
fn spans(buckets: impl Iterator<Item = (i32, u64)>) -> (Vec<(i32, u32)>, Vec<i64>) {
    let (mut spans, mut deltas) = (Vec::<(i32, u32)>::new(), Vec::new());
    let (mut next, mut before) = (0, 0);
    for (index, count) in buckets {
        match spans.last_mut() {
            Some((_, length)) if index == next => *length += 1,
            _ => spans.push((index - next, 1)),
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        deltas.push(count - before);
        (next, before) = (index + 1, count);
    }
    (spans, deltas)
}

/// Writes family by family; one without samples is not there.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn write<V>(
        &mut self,
        family: &Family,
        rows: impl IntoIterator<Item = (Values, V)>,
        write: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let (stem, unit) = family.parts();
        let kind = family.kind.metric_type();
        let mut encoder = self.0.encode_descriptor(stem, family.help, unit.as_ref(), kind)?;
        for (values, value) in rows {
            let labels: Vec<(&str, String)> = family.labels.iter().copied().zip(values).collect();
            if labels.is_empty() {
                return write(encoder, value);
            }
            write(encoder.encode_family(&labels)?, value)?;
        }
        Ok(())
    }

    fn counters(
        &mut self,
        family: &Family,
        rows: impl IntoIterator<Item = (Values, u64)>,
    ) -> fmt::Result {
        self.write(family, rows, |mut metric, count| {
            metric.encode_counter::<NoLabelSet, u64, f64>(&count, None)
        })
    }

    fn counter(&mut self, family: &Family, count: u64) -> fmt::Result {
        self.counters(family, [(Values::new(), count)])
    }

    fn gauges(
        &mut self,
        family: &Family,
        rows: impl IntoIterator<Item = (Values, u64)>,
    ) -> fmt::Result {
        self.write(family, rows, |mut metric, value| metric.encode_gauge(&value))
    }

    fn gauge(&mut self, family: &Family, value: u64) -> fmt::Result {
        self.gauges(family, [(Values::new(), value)])
    }

    fn info(&mut self, family: &Family, values: Values) -> fmt::Result {
        let labels: Vec<(&str, String)> = family.labels.iter().copied().zip(values).collect();
        let (stem, unit) = family.parts();
        let kind = family.kind.metric_type();
        let mut encoder = self.0.encode_descriptor(stem, family.help, unit.as_ref(), kind)?;
        encoder.encode_info(&labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_buckets_are_one_span() {
        let buckets = [(-5, 2), (-4, 7), (-1, 1), (0, 1)];
        let (spans, deltas) = spans(buckets.into_iter());
        assert_eq!(spans, [(-5, 2), (2, 2)]);
        assert_eq!(deltas, [2, 5, -6, 0]);
    }
}
