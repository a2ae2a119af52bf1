//! Every key on one attempt and its events; texts of queries and of errors.

use std::net::IpAddr;

use super::*;
use crate::outcome::Side;
use crate::snapshot::Place;

fn attempt() -> Attempt {
    let mut event = Event::ZERO;
    event.ip_version = 4;
    event.source[3] = u32::from_ne_bytes([10, 1, 2, 3]);
    event.dest[3] = u32::from_ne_bytes([192, 0, 2, 80]);
    (event.source_port, event.dest_port) = (40_000, 443);
    (event.vlan, event.vlan_count) = ([12, 0], 1);
    let key = crate::attempt::Key::from_client(&event);
    Attempt {
        id: 1,
        ended_by: crate::outcome::EndedBy::Rst,
        t_syn: Some(0),
        t_syn_last: Some(0),
        t_synack: Some(150_000_000),
        t_end: Some(160_000_000),
        syn_retrans: 1,
        synack_retrans: 1,
        synack_isns: 1,
        rst_from: Some(Side::Server),
        vlan: event.vlan,
        vlan_count: event.vlan_count,
        ..Attempt::blank(key, Outcome::ResetByServer)
    }
}

fn event() -> Event {
    let key = attempt().key;
    let mut event = Event::ZERO;
    event.ip_version = 4;
    (event.source, event.dest) = (key.client.address, key.server.address);
    (event.source_port, event.dest_port) = (key.client.port, key.server.port);
    event
}

fn holds(text: &str) -> bool {
    let attempt = attempt();
    let place = Place { interface: "eth0", hook: "xdp", role: Role::Forwarded };
    let view = AttemptView { attempt: &attempt, place: Some(place), to_wall: 0 };
    Query::parse(text).unwrap_or_else(|error| panic!("{error}")).matches_view(&view)
}

#[test]
fn every_key_finds_its_attempt_and_no_other() {
    for (right, wrong) in [
        ("port:443", "port:80"),
        ("port:40000", "port:40001"),
        ("port:80,400-500", "port:444-500"),
        ("host:10.0.0.0/8", "host:11.0.0.0/8"),
        ("host:192.0.2.80", "host:192.0.2.81"),
        ("net:192.0.2.0/24", "net:::/0"),
        ("host:192.0.2.80:443", "host:192.0.2.80:40000"),
        ("client:10.1.2.3", "client:192.0.2.80"),
        ("server:192.0.2.80", "server:10.1.2.3"),
        ("outcome:reset-by-server", "outcome:completed"),
        ("outcome:reset*", "outcome:*partial"),
        ("outcome:failed", "outcome:evicted,unfinished"),
        ("role:forwarded", "role:client,server"),
        ("iface:eth*", "iface:eth"),
        ("vlan:12", "vlan:0"),
        ("retrans:yes", "retrans:no"),
        ("retrans:2", "retrans:1"),
        ("retrans:>=2", "retrans:>2"),
        ("retrans:<3", "retrans:<=1"),
        ("latency-server:>100ms", "latency-server:>150ms"),
        ("latency-server:>=150ms", "latency-server:<150ms"),
        ("latency-server:<=0.15s", "latency:>0s"),
        ("/10\\.1.*→.*:443/", "/^10/"),
        ("/reset-by-server server 150ms/", "/Reset/"),
        ("/(?i)RESET/", "/eth1/"),
        ("port:443 outcome:failed", "port:443 outcome:completed"),
        ("", "-port:443"),
    ] {
        assert!(holds(right), "{right}");
        assert!(!holds(wrong), "{wrong}");
        for (text, is) in [(right, false), (wrong, true)] {
            let is = if text.is_empty() || text.contains(' ') || text.starts_with('-') {
                continue;
            } else {
                is
            };
            assert_eq!(holds(&format!("-{text}")), is, "-{text}");
            assert_eq!(holds(&format!("!{text}")), is, "!{text}");
        }
    }
}

#[test]
fn a_latency_that_is_not_known_is_neither_short_nor_long() {
    assert!(!holds("latency:<1h") && !holds("latency:>1ns") && holds("-latency:<1h"));
}

#[test]
fn a_capture_has_no_interface_and_no_role() {
    let attempt = attempt();
    let view = AttemptView { attempt: &attempt, place: None, to_wall: 0 };
    for text in ["iface:*", "role:client,server,forwarded"] {
        assert!(!Query::parse(text).unwrap().matches_view(&view), "{text}");
    }
}

#[test]
fn an_event_decides_on_ports_and_hosts_alone_in_both_directions() {
    let mut back = event();
    (back.source, back.dest) = (back.dest, back.source);
    (back.source_port, back.dest_port) = (back.dest_port, back.source_port);
    for (text, selected) in [
        ("port:443", true),
        ("port:80", false),
        ("-port:443", false),
        ("-port:80", true),
        ("host:10.0.0.0/8", true),
        ("host:10.0.0.0/8 port:80", false),
        ("!host:192.0.2.80:443", false),
        ("client:1.1.1.1 outcome:refused /x/ vlan:1", true),
    ] {
        let query = Query::parse(text).unwrap();
        assert_eq!((query.selects(&event()), query.selects(&back)), (selected, selected), "{text}");
    }
}

#[test]
fn a_query_is_split_into_what_is_followed_and_what_is_shown() {
    let query = Query::parse("outcome:refused port:443 -net:10.0.0.0/8 /x y/").unwrap();
    let (followed, shown) = query.split();
    assert_eq!(followed.to_string(), "port:443 -host:10.0.0.0/8");
    assert_eq!(shown.to_string(), "outcome:refused /x y/");
}

#[test]
fn flags_and_filter_are_one_language() {
    let nets = ["10.0.0.0/8".parse().unwrap(), "::1".parse::<IpAddr>().unwrap().into()];
    let flags = Query::of_ports(&[80, 443]).and(Query::of_nets(&nets));
    assert_eq!(flags, Query::parse("port:80,443 host:10.0.0.0/8,::1").unwrap());
    assert!(Query::of_ports(&[]).and(Query::of_nets(&[])).is_empty());
}

#[test]
fn the_text_of_a_query_is_the_query() {
    for (text, canonical) in [
        ("", ""),
        ("  port:80  ", "port:80"),
        ("!port:80,1-9,7-7", "-port:80,1-9,7"),
        ("net:10.0.0.0/8,1.2.3.4/32,::1,[::1]:443", "host:10.0.0.0/8,1.2.3.4,::1,[::1]:443"),
        ("outcome:failed,comp*", "outcome:failed,comp*"),
        ("retrans:yes retrans:no,>3", "retrans:>0 retrans:0,>3"),
        ("latency:>1500ms latency-client:<=1500ns", "latency:>1500ms latency-client:<=1500ns"),
        ("latency:>60s,<1000us", "latency:>60s,<1ms"),
        (r"/a b/ -/c\/d/ /e", r"/a b/ -/c\/d/ /e/"),
        ("role:client iface:eth*,w? vlan:0-4095", "role:client iface:eth*,w? vlan:0-4095"),
    ] {
        let query = Query::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(query.to_string(), canonical);
        assert_eq!(Query::parse(canonical).unwrap(), query);
    }
}

#[test]
fn an_error_names_the_term_its_place_and_what_was_meant() {
    for (text, error) in [
        ("prot:80", r#""prot:80" at 1: there is no key "prot"; did you mean port:80?"#),
        (
            "port:1 outcom:x",
            r#""outcom:x" at 8: there is no key "outcom"; did you mean outcome:…?"#,
        ),
        (
            "xyz:1",
            r#""xyz:1" at 1: there is no key "xyz"; there are port, client-port, server-port, host, net, client, server, outcome, role, iface, vlan, retrans, latency, latency-server, latency-client, after, pattern"#,
        ),
        ("é  443", r#""é" at 1: expected key:value or /text/; did you mean /é/?"#),
        ("443", r#""443" at 1: expected key:value or /text/; did you mean port:443?"#),
        (
            "10.0.0.0/8",
            r#""10.0.0.0/8" at 1: expected key:value or /text/; did you mean host:10.0.0.0/8?"#,
        ),
        (
            "-refused",
            r#""-refused" at 1: expected key:value or /text/; did you mean -outcome:refused?"#,
        ),
        (
            "forwarded",
            r#""forwarded" at 1: expected key:value or /text/; did you mean role:forwarded?"#,
        ),
        ("port", r#""port" at 1: expected key:value or /text/; did you mean port:…?"#),
        ("port:", r#""port:" at 1: "" is not a port from 1 to 65535, or two with - between"#),
        ("port:80,", r#""port:80," at 1: "" is not a port from 1 to 65535, or two with - between"#),
        ("port:0", r#""port:0" at 1: "0" is not a port from 1 to 65535, or two with - between"#),
        (
            "port:9-1",
            r#""port:9-1" at 1: "9-1" is not a port from 1 to 65535, or two with - between; did you mean port:1-9?"#,
        ),
        (
            "é:1 host:10.0.0.0/33",
            r#""é:1" at 1: there is no key "é"; there are port, client-port, server-port, host, net, client, server, outcome, role, iface, vlan, retrans, latency, latency-server, latency-client, after, pattern"#,
        ),
        (
            "/é/ host:10.0.0.0/33",
            r#""host:10.0.0.0/33" at 5: "10.0.0.0/33" is not an address, a network such as 10.0.0.0/8, or an address with a port"#,
        ),
        (
            "outcome:refusd",
            r#""outcome:refusd" at 1: "refusd" is not the name of an outcome, a glob of one, or "failed"; did you mean outcome:refused?"#,
        ),
        (
            "latency:100ms",
            r#""latency:100ms" at 1: "100ms" is not a duration after >, >=, < or <=, such as >100ms; did you mean latency:>100ms?"#,
        ),
        (
            "latency:>100",
            r#""latency:>100" at 1: ">100" is not a duration after >, >=, < or <=, such as >100ms; did you mean latency:>100ms?"#,
        ),
        ("retrans:+1", r#""retrans:+1" at 1: "+1" is not yes, no, a number, or one after > or <"#),
        (
            "vlan:4096",
            r#""vlan:4096" at 1: "4096" is not a VLAN id from 0 to 4095, or two with - between"#,
        ),
        ("-", r#""-" at 1: nothing is negated"#),
        (
            "/a/b",
            r#""/a/b" at 1: a blank must follow the closing slash; a slash in the text is written \/"#,
        ),
        ("/a(/", r#""/a(/" at 1: no regular expression: unclosed group"#),
    ] {
        let found = Query::parse(text).expect_err(text);
        assert_eq!(found.to_string(), error);
    }
}

#[test]
fn what_was_meant_is_a_term_as_it_would_be_right() {
    for (text, meant) in [
        // As other languages write it.
        ("port=443", "port:443"),
        ("port==443", "port:443"),
        ("port 443", "port:443"),
        ("port: 443", "port:443"),
        ("port = 443", "port:443"),
        ("host=10.0.0.1", "host:10.0.0.1"),
        ("host=[::1]", "host:::1"),
        ("host=10.0.0.1:80", "host:10.0.0.1:80"),
        ("outcome=refused", "outcome:refused"),
        ("outcome=refussed", "outcome:refused"),
        ("outcome!=refused", "-outcome:refused"),
        ("-outcome!=refused", "outcome:refused"),
        ("latency>100ms", "latency:>100ms"),
        ("prt=443", "port:443"),
        ("dst=10.0.0.1", "server:10.0.0.1"),
        ("src:10.0.0.1", "client:10.0.0.1"),
        ("10.0.0.1:443", "host:10.0.0.1:443"),
        ("::1", "host:::1"),
        // Mistyped.
        ("outcome:refussed", "outcome:refused"),
        ("outcome:Refused", "outcome:refused"),
        ("outcome:refussed,failed,complted", "outcome:refused,failed,completed"),
        ("!outcome:refussed", "!outcome:refused"),
        ("-prot:22", "-port:22"),
        ("role:sever", "role:server"),
        ("retrans:Yes", "retrans:yes"),
        ("port:80..90", "port:80-90"),
        ("latency:100", "latency:>100ms"),
        ("latency-sever:=>5ms", "latency-server:>=5ms"),
        ("host:fe80::1%eth0", "host:fe80::1"),
    ] {
        let error = Query::parse(text).expect_err(text).to_string();
        assert!(error.ends_with(&format!("; did you mean {meant}?")), "{text}: {error}");
        Query::parse(meant).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn what_only_sockets_know_is_said_to_be_so() {
    for text in ["process:nginx", "-pid:4711", "Container:web"] {
        let error = Query::parse(text).expect_err(text).to_string();
        assert!(error.contains("cannot be known") && error.contains("`ss -tnp`"), "{error}");
        assert!(!error.contains("did you mean"), "{error}");
    }
}

#[test]
fn one_side_s_port_has_a_term_of_its_own_and_a_short_name() {
    for (text, written) in [
        ("dport:443,8000-8999", "server-port:443,8000-8999"),
        ("sport:40000-50000", "client-port:40000-50000"),
        ("-server-port:22", "-server-port:22"),
    ] {
        assert_eq!(Query::parse(text).expect(text).to_string(), written);
    }
    for (text, meant) in [
        ("dport=443", "server-port:443"),
        ("sport 443", "client-port:443"),
        ("dport:90-80", "dport:80-90"),
        ("server-prot:443", "server-port:443"),
    ] {
        let error = Query::parse(text).expect_err(text).to_string();
        assert!(error.contains(&format!("did you mean {meant}?")), "{text}: {error}");
    }
}

#[test]
fn nothing_is_guessed_where_nothing_is_near() {
    for text in ["outcome:xyz", "port:https", "port:80,", "host:10.0.0.0/33", "latency:>5parsecs"] {
        let error = Query::parse(text).expect_err(text).to_string();
        assert!(!error.contains("did you mean"), "{text}: {error}");
    }
    for (text, gap) in [("port=https", "port:…?"), ("prot:x", "port:…?"), ("outcome", "outcome:…?")]
    {
        let error = Query::parse(text).expect_err(text).to_string();
        assert!(error.ends_with(gap), "{text}: {error}");
    }
}

#[test]
fn words_that_join_terms_elsewhere_are_answered_with_how_it_is_said_here() {
    for (text, words) in [
        ("port:443 and host:10.0.0.1", r#""and" at 10: terms side by side must all hold"#),
        ("port:443 || port:80", r#""||" at 10: alternatives are values with commas"#),
        ("not port:22", r#""not" at 1: the contrary of a term is written with a minus"#),
        ("! port:22", r#""!" at 1: the contrary of a term is written with a minus"#),
    ] {
        let error = Query::parse(text).expect_err(text).to_string();
        assert!(error.starts_with(words), "{text}: {error}");
    }
}

#[test]
fn in_few_words_an_error_says_what_was_meant() {
    for (text, words) in [
        ("outcome:refussed", "did you mean outcome:refused?"),
        ("port:x", r#""port:x": "x" is not a port from 1 to 65535, or two with - between"#),
    ] {
        assert_eq!(Query::parse(text).expect_err(text).brief(), words);
    }
}
