//! Values of options: from text, or what was expected instead.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;

use crate::recorder::Wanted;
use crate::series;

/// "10s", "500ms", "1m30s".
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "expected a duration with its unit, such as 10s, 500ms or 2m".to_owned())?;
    match Duration::try_from(span) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("the duration must be longer than zero".to_owned()),
    }
}

/// The same, or 0; at most a minute.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(60);
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    match duration(text) {
        Ok(duration) if duration <= MOST => Ok(duration),
        Ok(_) => Err("expected at most 60s".to_owned()),
        Err(_) => Err("expected a duration with its unit, such as 3s or 500ms, or 0".to_owned()),
    }
}

/// An outcome to record, or a group of them.
pub(super) fn wanted() -> impl TypedValueParser<Value = Wanted> {
    let choice = |wanted: Wanted| PossibleValue::new(wanted.name()).help(wanted.words());
    PossibleValuesParser::new(Wanted::all().map(choice))
        .try_map(|name| Wanted::of(&name).ok_or("no such outcome"))
}

pub(super) fn count(text: &str) -> Result<u64, String> {
    number(text, 1, u64::MAX).map_err(|_| "expected a number from 1 up".to_owned())
}

pub(super) fn top(text: &str) -> Result<usize, String> {
    number(text, 1, 1_000)
}

pub(super) fn record_files(text: &str) -> Result<usize, String> {
    number(text, 1, 100_000)
}

pub(super) fn table_entries(text: &str) -> Result<u32, String> {
    number(text, 4, 1 << 22)
}

fn number<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from {least} to {most}"))
}

/// What the units of bytes stand for. Those of 1,000 are left out, so that nobody gets the other.
const UNITS: [(&str, u32); 6] =
    [("KiB", 10), ("MiB", 20), ("GiB", 30), ("K", 10), ("M", 20), ("G", 30)];

/// "65536", "64KiB", "64K", "1 MiB": at least one byte.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let unit = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    let number: Option<u64> = digits.trim_end().parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected a number of bytes, such as 65536, 64KiB, 16MiB or 1GiB".to_owned())
}

/// Bytes in the largest unit that is exact.
pub(super) fn shown(bytes: u64) -> String {
    let exact = UNITS[..3].iter().rev().find(|(_, shift)| bytes.is_multiple_of(1 << shift));
    exact.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// Most bytes of a ring.
const MOST_RING_BYTES: u64 = 1 << 28;

pub(super) fn ring_bytes(text: &str) -> Result<u32, String> {
    let bytes = bytes(text)?;
    let small = u32::try_from(bytes).ok().filter(|_| bytes <= MOST_RING_BYTES);
    small.ok_or_else(|| format!("expected at most {}MiB", MOST_RING_BYTES >> 20))
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => {
            Err("expected a port from 1 to 65535; --filter port:8000-8999 takes ranges".to_owned())
        }
    }
}

pub(super) fn max_attempts(text: &str) -> Result<usize, String> {
    number(text, 1, 100_000_000)
}

pub(super) fn max_series(text: &str) -> Result<usize, String> {
    number(text, series::DEFAULT_SERIES, series::MOST_SERIES)
}

pub(super) fn max_services(text: &str) -> Result<usize, String> {
    number(text, 0, series::MOST_SERVICES)
}

/// An address with a port; loopback without an address, or by its name.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost").unwrap_or(text).strip_prefix(':');
    let local = port.and_then(|port| port.parse().ok());
    local
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .or_else(|| text.parse().ok())
        .ok_or_else(|| {
            "expected an address and a port such as 127.0.0.1:9435, [::1]:9435 or :9435".to_owned()
        })
}

/// A network, or an address as a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "expected a network such as 10.0.0.0/8 or fd00::/8, or an address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_have_a_unit_that_is_a_power_of_two() {
        for (text, number) in [
            ("1", 1),
            ("65536", 65_536),
            ("64KiB", 65_536),
            ("64K", 65_536),
            ("16 MiB", 16 << 20),
            ("3M", 3 << 20),
            ("1GiB", 1 << 30),
            ("2G", 2 << 30),
        ] {
            assert_eq!(bytes(text), Ok(number), "{text}");
        }
        for text in ["", "0", "0MiB", "MiB", "1MB", "1kB", "1.5M", "-1", "64 K iB", "99999999999G"]
        {
            assert!(bytes(text).is_err_and(|words| words.contains("64KiB")), "{text}");
        }
        assert_eq!((shown(64 << 20), shown(1 << 30)), ("64MiB".to_owned(), "1GiB".to_owned()));
        assert_eq!((shown(1 << 10), shown(1_000)), ("1KiB".to_owned(), "1000".to_owned()));
    }

    #[test]
    fn a_ring_is_not_larger_than_it_can_be() {
        assert_eq!(ring_bytes("256MiB"), Ok(1 << 28));
        assert_eq!(ring_bytes("257MiB"), Err("expected at most 256MiB".to_owned()));
        assert_eq!(ring_bytes("8GiB"), Err("expected at most 256MiB".to_owned()));
    }

    #[test]
    fn metrics_may_be_asked_for_on_localhost() {
        let local = Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 9435)));
        assert_eq!(
            (listen_address(":9435"), listen_address("localhost:9435")),
            (local.clone(), local)
        );
        for text in ["localhost", "9435", "localhost9435", "example.org:80", ":70000"] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }
}
