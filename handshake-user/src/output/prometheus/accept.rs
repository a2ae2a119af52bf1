//! Which format a scraper wants: the `Accept` header against what we have.

use mediatype::{MediaType, MediaTypeList, Name};

/// A format of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's messages, each after its length: the only one with native histograms.
    Protobuf,
    /// OpenMetrics text, version 1.0.0.
    OpenMetrics,
    /// Prometheus text, version 0.0.4.
    Text,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Protobuf, Self::OpenMetrics, Self::Text];

    /// The value of `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The format wanted most of those we have; of two wanted alike, the one named first. Who wants
    /// none of them, or says nothing that can be read, gets text.
    #[must_use]
    pub fn negotiate(accept: &str) -> Self {
        let mut best = (0.0, Self::Text);
        for range in MediaTypeList::new(accept).filter_map(Result::ok) {
            let quality = quality(&range);
            if let Some(format) = Self::matching(&range)
                && quality > best.0
            {
                best = (quality, format);
            }
        }
        best.1
    }

    fn matching(range: &MediaType<'_>) -> Option<Self> {
        let is = |name: &str, accepted: &[&str]| {
            parameter(range, name).is_none_or(|value| accepted.contains(&value.as_str()))
        };
        let lower = |name: Name<'_>| name.as_str().to_ascii_lowercase();
        match (&*lower(range.ty), &*lower(range.subty), range.suffix) {
            ("application", "vnd.google.protobuf", None) => {
                let message = is("proto", &["io.prometheus.client.MetricFamily"]);
                let framed = parameter(range, "encoding").as_deref() == Some("delimited");
                (message && framed).then_some(Self::Protobuf)
            }
            ("application", "openmetrics-text", None) => {
                is("version", &["1.0.0"]).then_some(Self::OpenMetrics)
            }
            ("text", "plain", None) => is("version", &["0.0.4"]).then_some(Self::Text),
            ("text" | "*", "*", None) => Some(Self::Text),
            _ => None,
        }
    }
}

fn parameter(range: &MediaType<'_>, name: &str) -> Option<String> {
    use mediatype::ReadParams;
    range.get_param(Name::new(name)?).map(|value| value.unquoted_str().into_owned())
}

/// From 0 to 1; 1 if not given, 0 if it cannot be read.
fn quality(range: &MediaType<'_>) -> f64 {
    let Some(text) = parameter(range, "q") else { return 1.0 };
    text.parse().ok().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOBUF: &str = "application/vnd.google.protobuf;\
                            proto=io.prometheus.client.MetricFamily;encoding=delimited";

    #[test]
    fn the_format_wanted_most_is_chosen() {
        let table = [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("text/*", Format::Text),
            ("application/json", Format::Text),
            ("nonsense", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("Application/OpenMetrics-Text;Version=1.0.0", Format::OpenMetrics),
            (PROTOBUF, Format::Protobuf),
            ("application/vnd.google.protobuf;proto=other;encoding=delimited", Format::Text),
            ("application/vnd.google.protobuf", Format::Text),
            ("application/openmetrics-text;q=0.2,text/plain;q=0.3", Format::Text),
            ("text/plain;q=0.3,application/openmetrics-text;q=0.4", Format::OpenMetrics),
            ("text/plain;q=0.5,application/openmetrics-text;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0,*/*;q=0.1", Format::Text),
            ("application/openmetrics-text;q=7,text/plain;q=0.1", Format::Text),
            ("application/openmetrics-text;q=NaN,text/plain;q=0.1", Format::Text),
            ("; , ,;;,application/openmetrics-text", Format::OpenMetrics),
        ];
        for (accept, format) in table {
            assert_eq!(Format::negotiate(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn prometheus_gets_what_it_prefers() {
        // As sent by 2.42 without and with native histograms, and by 3.
        let plain = "application/openmetrics-text;version=1.0.0,\
                     application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let native = format!(
            "{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,\
             */*;q=0.1"
        );
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,\
                     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                     text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(Format::negotiate(plain), Format::OpenMetrics);
        assert_eq!(Format::negotiate(&native), Format::Protobuf);
        assert_eq!(Format::negotiate(three), Format::OpenMetrics);
    }
}
