//! The summary in words, for stderr at the end of a run and for `replay --format summary`.

use std::fmt::{self, Display, Formatter};

use crate::after::Next;
use crate::attempt::Nanos;
use crate::outcome::Outcome;
use crate::output::lines::duration;
use crate::snapshot::{Latencies, Percentiles, SelfCost, Summary};

/// Displays a summary as text of several lines.
#[derive(Debug)]
pub struct Text<'a>(pub &'a Summary);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let s = self.0;
        attempts(s, f)?;
        latencies("latency", &s.latency, f)?;
        latencies("latency, retransmitted", &s.latency_retransmitted, f)?;
        write!(f, "retransmissions: {} SYN, {} SYN-ACK", s.syn_retrans, s.synack_retrans)?;
        write!(f, "; disbelieved: {} SYN-ACK, {} RST", s.bad_synack, s.bad_rst)?;
        if s.late_copies > 0 {
            write!(f, "; late copies: {}", s.late_copies)?;
        }
        writeln!(f)?;
        list("packets", s.packets_seen, s.packets.iter(), f)?;
        events(s, f)?;
        sampling(s, f)?;
        s.self_cost.as_ref().map_or(Ok(()), |cost| self_cost(cost, f))
    }
}

fn attempts(s: &Summary, f: &mut Formatter<'_>) -> fmt::Result {
    let ended: u64 = s.outcomes.values().sum();
    let balance = if s.started == ended + s.open { "=" } else { "≠ (a bug: please report)" };
    writeln!(f, "attempts: {} started {balance} {ended} ended + {} open", s.started, s.open)?;
    for outcome in Outcome::ALL {
        match s.outcomes.get(outcome.name()) {
            Some(count) if *count > 0 => writeln!(f, "  {:<17} {count:>9}", outcome.name())?,
            _ => {}
        }
    }
    for (pattern, count) in s.patterns.iter().filter(|(_, count)| **count > 0) {
        writeln!(f, "  of these {count} with the pattern {pattern}: no failure of a service")?;
    }
    let words = |name: &str| Next::ALL.into_iter().find(|next| next.name() == name)?.words();
    for (next, count) in &s.after {
        if let Some(words) = words(next) {
            writeln!(f, "  of those completed {count} after which {words} ({next})")?;
        }
    }
    if s.hidden > 0 {
        writeln!(f, "  of these {} not printed: see --filter and --count", s.hidden)?;
    }
    if s.uncertain > 0 {
        writeln!(
            f,
            "  of these {} uncertain: not all that happened while they were open was seen",
            s.uncertain
        )?;
    }
    Ok(())
}

fn latencies(title: &str, latencies: &Latencies, f: &mut Formatter<'_>) -> fmt::Result {
    let Latencies { server, client, total } = latencies;
    for (part, p) in [("server", server), ("client", client), ("total", total)] {
        if p.count > 0 {
            percentiles(title, part, p, f)?;
        }
    }
    Ok(())
}

fn percentiles(title: &str, part: &str, p: &Percentiles, f: &mut Formatter<'_>) -> fmt::Result {
    let show = |ns: u64| duration(Nanos::try_from(ns).unwrap_or(Nanos::MAX));
    let unit = if p.count == 1 { "sample" } else { "samples" };
    writeln!(
        f,
        "{title}, {part}: p50 {}, p90 {}, p99 {}, max {} ({} {unit})",
        show(p.p50_ns),
        show(p.p90_ns),
        show(p.p99_ns),
        show(p.max_ns),
        p.count
    )
}

fn list<'a>(
    title: &str,
    total: u64,
    counts: impl Iterator<Item = (&'a String, &'a u64)>,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    write!(f, "{title}: {total}")?;
    let mut separator = " = ";
    for (name, count) in counts.filter(|(_, count)| **count > 0) {
        write!(f, "{separator}{count} {name}")?;
        separator = " + ";
    }
    writeln!(f)
}

fn events(s: &Summary, f: &mut Formatter<'_>) -> fmt::Result {
    let e = &s.events;
    let balance = if e.offered == e.delivered + e.lost + e.sampled_out {
        "="
    } else {
        "≠ (a bug: please report)"
    };
    write!(
        f,
        "events: {} offered {balance} {} delivered + {} lost",
        e.offered, e.delivered, e.lost
    )?;
    if e.sampled_out > 0 {
        write!(f, " + {} sampled out", e.sampled_out)?;
    }
    for (count, what) in [
        (e.filtered, "ignored (by the filter, or before or after the watch)"),
        (e.late, "late"),
        (e.undecodable, "undecodable"),
    ] {
        if count > 0 {
            write!(f, "; {count} {what}")?;
        }
    }
    // What leaves the table in order is nothing to be said.
    let in_order = |reason: &str| ["retired", "swept"].contains(&reason);
    let told = s.filter.iter().filter(|(reason, count)| **count > 0 && !in_order(reason));
    for (reason, count) in told {
        write!(f, "; kernel table: {count} {reason}")?;
    }
    writeln!(f)
}

fn show(ns: u64) -> String {
    duration(Nanos::try_from(ns).unwrap_or(Nanos::MAX))
}

fn sampling(s: &Summary, f: &mut Formatter<'_>) -> fmt::Result {
    let sampling = &s.sampling;
    let Some(first) = sampling.first_after_ns else { return Ok(()) };
    write!(f, "sampling: at most 1 in {} flows, ", sampling.highest_one_in)?;
    write!(f, "for {} since {} after the start; ", show(sampling.lasted_ns), show(first))?;
    write!(f, "estimated without it: {} started", sampling.started)?;
    for outcome in Outcome::ALL {
        match sampling.outcomes.get(outcome.name()) {
            Some(count) if *count > 0 => write!(f, ", {count} {}", outcome.name())?,
            _ => {}
        }
    }
    if s.events.lost > 0 {
        // Each may have been the first of an attempt that stands for so many.
        let most = s.events.lost.saturating_mul(sampling.highest_one_in);
        write!(f, "; what was lost may stand for up to {most} more")?;
    }
    writeln!(f)
}

fn self_cost(cost: &SelfCost, f: &mut Formatter<'_>) -> fmt::Result {
    let kib = |bytes: u64| bytes.div_ceil(1024);
    let cpu = cost.cpu_user_ns + cost.cpu_system_ns;
    write!(f, "self: CPU {}", show(cpu))?;
    if let Some(each) = cost.cpu_per_attempt_ns {
        write!(f, " ({} an attempt)", show(each))?;
    }
    write!(f, ", memory at most {} KiB, ", kib(cost.resident_highest_bytes))?;
    write!(f, "kernel memory {} KiB, ", kib(cost.kernel_memory_bytes))?;
    write!(f, "fullest ring {}%, ", cost.ring_highest_bytes * 100 / cost.ring_bytes.max(1))?;
    writeln!(f, "kernel table {} of {} entries", cost.table_entries, cost.table_capacity)?;
    for program in &cost.programs {
        if let (Some(runs @ 1..), Some(time_ns)) = (program.runs, program.time_ns) {
            let each = time_ns / runs;
            writeln!(f, "self: {} ran {runs} times, {each} ns each", program.name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_says_what_losses_may_have_made_of_it() {
        let mut summary = Summary::default();
        let said = |summary: &Summary| {
            let text = Text(summary).to_string();
            text.lines().find(|line| line.starts_with("sampling")).map(str::to_owned)
        };
        assert_eq!(said(&summary), None);
        let sampling = &mut summary.sampling;
        (sampling.highest_one_in, sampling.started) = (128, 73);
        (sampling.first_after_ns, sampling.lasted_ns) = (Some(1_000_000), 2_000_000);
        let start = "sampling: at most 1 in 128 flows, for 2.00ms since 1.00ms after the start; \
                     estimated without it: 73 started";
        assert_eq!(said(&summary).as_deref(), Some(start));
        summary.events.lost = 8;
        let lost = format!("{start}; what was lost may stand for up to 1024 more");
        assert_eq!(said(&summary), Some(lost));
    }
}
