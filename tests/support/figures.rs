//! What a bench measured: a line for people on stderr, one JSON object a line on stdout.
//!
//! Figures are told as median and quartiles of rounds, never as a mean: other programs on the machine
//! make outliers in one direction only.
use serde_json::{Map, Value};

/// Median and quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles {
    /// a quarter of the values is not above it
    pub q1: f64,
    /// half of the values
    pub median: f64,
    /// three quarters
    pub q3: f64,
}

impl Quartiles {
    /// Those of at least one value.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |quarter: usize| sorted[(sorted.len() - 1) * quarter / 4];
        Self { q1: at(1), median: at(2), q3: at(3) }
    }
}

/// Tells what the rounds of a case gave, and figures `beside` them.
pub fn tell(group: &str, case: &str, unit: &str, rounds: &[f64], beside: &[(&str, f64)]) {
    let Quartiles { q1, median, q3 } = Quartiles::of(rounds);
    let (low, middle, high) = (plain(q1), plain(median), plain(q3));
    let more: String =
        beside.iter().map(|(name, value)| format!("; {name} {}", plain(*value))).collect();
    eprintln!("{group:7} {case:44} {middle:>9} {unit} ({low} to {high}){more}");
    let mut object = Map::new();
    for (name, word) in [("group", group), ("case", case), ("unit", unit)] {
        object.insert(name.to_owned(), word.into());
    }
    object.insert("rounds".to_owned(), rounds.len().into());
    let quartiles = [("q1", q1), ("median", median), ("q3", q3)];
    for (name, value) in quartiles.iter().chain(beside) {
        object.insert(
            name.replace([' ', '/', '\''], "_"),
            plain(*value).parse().unwrap_or(Value::Null),
        );
    }
    println!("{}", Value::Object(object));
}

/// Three digits that matter, or all before the point.
fn plain(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_nine_are_the_third_fifth_and_seventh() {
        let values = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0];
        assert_eq!(Quartiles::of(&values), Quartiles { q1: 3.0, median: 5.0, q3: 7.0 });
        assert_eq!(Quartiles::of(&[4.0]), Quartiles { q1: 4.0, median: 4.0, q3: 4.0 });
    }

    #[test]
    fn digits_that_do_not_matter_are_left_out() {
        assert_eq!([plain(0.123), plain(-12.34), plain(1234.5)], ["0.12", "-12.3", "1234"]);
    }
}
