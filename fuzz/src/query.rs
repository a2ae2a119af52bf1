//! The filter language: any text is a query or an error that names a term of it; what is taken is
//! said again as the same query, and what is suggested would be taken.

use handshake_common::event::{Event, kind};
use handshake_user::query::Query;

/// Reads the text as a query.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Query::parse(&text) {
        Ok(query) => {
            let said = query.to_string();
            assert_eq!(Query::parse(&said).as_ref(), Ok(&query), "{said:?}");
            decides(&query);
        }
        Err(error) => {
            let before: String = text.chars().take(error.position - 1).collect();
            assert!(text[before.len()..].starts_with(&error.term), "{error:?}");
            assert!(!error.to_string().is_empty());
            suggests(&error.brief());
        }
    }
}

/// A suggestion is a term, unless it has a gap or is the text itself as a regular expression.
fn suggests(brief: &str) {
    let meant = brief.strip_prefix("did you mean ").and_then(|rest| rest.strip_suffix('?'));
    let is_term = |meant: &&str| !meant.contains('…') && !meant.contains('/');
    if let Some(meant) = meant.filter(is_term) {
        Query::parse(meant).unwrap_or_else(|error| panic!("{meant:?}: {error}"));
    }
}

/// Both directions of a flow get the same answer, from the query and from its parts.
fn decides(query: &Query) {
    let event = Event {
        source: [0, 0, 0, 0x0a00_0001],
        dest: [0, 0, 0, 0xc000_0250],
        source_port: 40_000,
        dest_port: 443,
        kind: kind::SYN,
        ip_version: 4,
        ..Event::ZERO
    };
    let back = Event {
        source: event.dest,
        dest: event.source,
        source_port: event.dest_port,
        dest_port: event.source_port,
        ..event
    };
    let selected = query.selects(&event);
    assert_eq!(query.selects(&back), selected);
    let (followed, shown) = query.clone().split();
    assert_eq!(followed.selects(&event), selected);
    assert!(shown.selects(&event), "{shown} needs more than an event");
    assert_eq!(followed.is_empty() && shown.is_empty(), query.is_empty());
}
