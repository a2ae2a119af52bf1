//! Prometheus's own text format, version 0.0.4, which the library does not write: from the same
//! messages as its protobuf format.

use std::fmt::Write;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{
    Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// The families as text.
pub(super) fn write(families: &[MetricFamily]) -> String {
    let mut out = String::new();
    for family in families {
        let name = &family.name;
        let kind = match family.r#type() {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram | MetricType::GaugeHistogram => "histogram",
            MetricType::Summary => "summary",
            MetricType::Untyped => "untyped",
        };
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for metric in &family.metric {
            write_metric(&mut out, name, metric);
        }
    }
    out
}

fn write_metric(out: &mut String, name: &str, metric: &Metric) {
    let labels = &metric.label;
    if let Some(counter) = &metric.counter {
        sample(out, name, labels, None, counter.value);
    }
    if let Some(gauge) = &metric.gauge {
        sample(out, name, labels, None, gauge.value);
    }
    if let Some(histogram) = &metric.histogram {
        write_histogram(out, name, labels, histogram);
    }
}

fn write_histogram(out: &mut String, name: &str, labels: &[LabelPair], histogram: &Histogram) {
    let buckets = format!("{name}_bucket");
    for bucket in &histogram.bucket {
        let count = bucket.cumulative_count as f64;
        sample(out, &buckets, labels, Some(bucket.upper_bound), count);
    }
    sample(out, &format!("{name}_sum"), labels, None, histogram.sample_sum);
    sample(out, &format!("{name}_count"), labels, None, histogram.sample_count as f64);
}

fn sample(out: &mut String, name: &str, labels: &[LabelPair], bound: Option<f64>, value: f64) {
    let mut pairs: Vec<String> =
        labels.iter().map(|pair| format!("{}=\"{}\"", pair.name, escaped(&pair.value))).collect();
    // Written as OpenMetrics wants it, so that a bucket is the same series in all formats.
    pairs.extend(bound.map(|bound| match bound {
        f64::INFINITY => "le=\"+Inf\"".to_owned(),
        bound => format!("le=\"{bound:?}\""),
    }));
    let _ = match pairs.as_slice() {
        [] => writeln!(out, "{name} {value}"),
        pairs => writeln!(out, "{name}{{{}}} {value}", pairs.join(",")),
    };
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_and_help_are_escaped() {
        use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::Gauge;
        let label = vec![LabelPair { name: "a".to_owned(), value: "b\"\\\nc".to_owned() }];
        let gauge = Some(Gauge { value: 0.5 });
        let family = MetricFamily {
            name: "x".to_owned(),
            help: "one\ntwo\\".to_owned(),
            r#type: MetricType::Gauge as i32,
            metric: vec![Metric { label, gauge, ..Metric::default() }],
            ..MetricFamily::default()
        };
        let text = write(&[family]);
        assert_eq!(text, "# HELP x one\\ntwo\\\\\n# TYPE x gauge\nx{a=\"b\\\"\\\\\\nc\"} 0.5\n");
    }
}
