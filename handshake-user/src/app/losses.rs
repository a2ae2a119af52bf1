//! What stderr says of losses: what was lost, what that means and what helps; at once when it begins,
//! ever more seldom while it goes on.

use crate::attempt::Nanos;
use crate::engine::Loss;

const SECOND: Nanos = 1_000_000_000;
/// A loss that goes on is told at least so often.
const LONGEST_PAUSE: Nanos = 64 * SECOND;

/// What a sentence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// Events that found their ring full.
    Ring,
    /// Events of a CPU without a ring.
    NoRing,
    /// Entries that had to give way.
    Table,
    /// Entries that two CPUs wanted.
    Contended,
}

impl Subject {
    const ALL: [Self; 4] = [Self::Ring, Self::NoRing, Self::Table, Self::Contended];

    /// Of the reasons of a loss record, those that it is about.
    fn has(self, reason: &str) -> bool {
        match self {
            Self::Ring => reason == "ring-full",
            Self::NoRing => reason == "no-ring",
            Self::Table => reason.starts_with("filter-evicted"),
            Self::Contended => reason == "filter-contended",
        }
    }

    fn sentence(self, count: u64) -> String {
        match self {
            Self::Ring => format!(
                "ring of a CPU full: {} lost; unanswered attempts that may have had some \
                 of them are reported as unfinished; raise --ring-bytes",
                events(count)
            ),
            Self::NoRing => format!(
                "a CPU came online after the start: {} lost; unanswered attempts are \
                 reported as unfinished; start again",
                events(count)
            ),
            Self::Table => format!(
                "kernel table full: {} evicted; unanswered attempts of these flows are \
                 reported as unfinished; raise --table-entries",
                entries(count)
            ),
            Self::Contended => format!(
                "two CPUs changed the kernel table at the same moment: {} lost; \
                 unanswered attempts of these flows are reported as unfinished",
                entries(count)
            ),
        }
    }
}

fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// What is to be said of one subject.
#[derive(Debug, Clone, Copy, Default)]
struct Untold {
    count: u64,
    /// Not before.
    next: Nanos,
    pause: Nanos,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Losses([Untold; Subject::ALL.len()]);

impl Losses {
    /// Takes what was lost, and returns what is to be said now.
    pub(super) fn add(&mut self, losses: &[Loss], now: Nanos) -> Vec<String> {
        let subjects = Subject::ALL.into_iter().zip(&mut self.0);
        let told = subjects.filter_map(|(subject, untold)| {
            let of_it = losses.iter().filter(|loss| subject.has(loss.reason));
            untold.count += of_it.map(|loss| loss.count).sum::<u64>();
            if untold.count == 0 || now < untold.next {
                return None;
            }
            // After a silence that was as long as the pause it is something new.
            let is_new = now >= untold.next.saturating_add(untold.pause);
            untold.pause = if is_new { SECOND } else { LONGEST_PAUSE.min(2 * untold.pause) };
            untold.next = now.saturating_add(untold.pause);
            Some(subject.sentence(std::mem::take(&mut untold.count)))
        });
        told.collect()
    }

    /// What has not been said yet.
    pub(super) fn rest(&mut self) -> Vec<String> {
        let subjects = Subject::ALL.into_iter().zip(&mut self.0);
        let left = subjects.filter(|(_, untold)| untold.count > 0);
        left.map(|(subject, untold)| subject.sentence(std::mem::take(&mut untold.count))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(reason: &'static str, count: u64) -> Loss {
        Loss { reason, count }
    }

    #[test]
    fn a_loss_that_goes_on_is_told_ever_more_seldom_and_none_is_left_out() {
        let mut losses = Losses::default();
        let (mut said, mut counted) = (Vec::new(), 0);
        for second in 0..300 {
            for sentence in losses.add(&[lost("filter-evicted-one-sided", 3)], second * SECOND) {
                let count = sentence.split([' ']).find_map(|word| word.parse::<u64>().ok());
                counted += count.expect("a number");
                said.push(second);
            }
        }
        assert_eq!(said, [0, 1, 3, 7, 15, 31, 63, 127, 191, 255]);
        let rest = losses.rest();
        assert!(rest[0].starts_with("kernel table full: 132 entries evicted;"), "{rest:?}");
        assert_eq!(counted + 132, 900);
        assert!(losses.rest().is_empty());
    }

    #[test]
    fn each_loss_says_what_helps_and_what_is_new_is_told_at_once() {
        let mut losses = Losses::default();
        let told = |losses: &mut Losses, reason, second| {
            losses.add(&[lost(reason, 1)], second * SECOND).pop().unwrap_or_default()
        };
        assert!(told(&mut losses, "ring-full", 0).ends_with("raise --ring-bytes"));
        assert!(
            told(&mut losses, "filter-evicted-two-sided", 0).ends_with("raise --table-entries")
        );
        assert!(told(&mut losses, "no-ring", 0).ends_with("start again"));
        assert!(told(&mut losses, "filter-contended", 0).contains("unfinished"));
        assert!(told(&mut losses, "ring-full", 1).contains(" 1 event "));
        assert_eq!(told(&mut losses, "ring-full", 2), "");
        assert!(told(&mut losses, "ring-full", 20).contains("2 events"));
        assert!(told(&mut losses, "ring-full", 21).contains(" 1 event "));
    }
}
