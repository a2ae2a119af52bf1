//! Which of our names somebody meant who wrote another.

/// How alike two names must be (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.7;

/// The name most like `word`, if any is like it.
#[must_use]
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(&word, name), name));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= ALIKE).then_some(best.1)
}
