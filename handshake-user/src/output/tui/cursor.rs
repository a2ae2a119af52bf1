//! Which row is chosen. It is remembered by what it is, not by where it stands: rows come and go
//! around it, and it stays on its line of the screen.

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<K> {
    /// The chosen row; without one, the first is, whichever that is.
    pub(super) at: Option<K>,
    /// Its line on the screen.
    line: usize,
    /// Where it stood when it was last seen.
    index: usize,
    /// Lines of the screen, as last drawn.
    page: usize,
}

impl<K> Default for Cursor<K> {
    fn default() -> Self {
        Self { at: None, line: 0, index: 0, page: 10 }
    }
}

/// Where to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

impl<K: Copy + PartialEq> Cursor<K> {
    /// The place of the chosen row among `len`; if it is gone, of the one that stands there now.
    pub(super) fn index(&self, len: usize, place: impl FnOnce(K) -> Option<usize>) -> usize {
        let index = self.at.map_or(0, |key| place(key).unwrap_or(self.index));
        index.min(len.saturating_sub(1))
    }

    /// The first row on a screen of `page` lines; `index` is that of the chosen row.
    pub(super) fn window(&mut self, index: usize, len: usize, page: usize) -> usize {
        self.page = page.max(1);
        self.index = index;
        self.line = self.line.min(self.page - 1).min(index);
        let top = (index - self.line).min(len.saturating_sub(self.page));
        self.line = index - top;
        top
    }

    /// Chooses another row, having been at `from`.
    pub(super) fn choose(&mut self, to: usize, from: usize, key: Option<K>) {
        let moved = self.line as isize + to as isize - from as isize;
        self.line = moved.clamp(0, self.page as isize - 1) as usize;
        self.index = to;
        // At the top one follows what comes.
        self.at = if to == 0 { None } else { key };
    }

    /// Goes from `index` to another of `len` rows, and chooses it.
    pub(super) fn go(
        &mut self,
        step: Step,
        index: usize,
        len: usize,
        key: impl FnOnce(usize) -> Option<K>,
    ) {
        let last = len.saturating_sub(1);
        let to = match step {
            Step::Up => index.saturating_sub(1),
            Step::Down => (index + 1).min(last),
            Step::PageUp => index.saturating_sub(self.page),
            Step::PageDown => (index + self.page).min(last),
            Step::First => 0,
            Step::Last => last,
        };
        let key = if to == 0 { None } else { key(to) };
        self.choose(to, index, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(rows: &[char], key: char) -> Option<usize> {
        rows.iter().position(|one| *one == key)
    }

    #[test]
    fn a_chosen_row_stays_on_its_line_while_others_come_above_it() {
        let mut rows: Vec<char> = ('a'..='z').collect();
        let mut cursor = Cursor::default();
        cursor.window(0, rows.len(), 5);
        for _ in 0..2 {
            let index = cursor.index(rows.len(), |key| find(&rows, key));
            cursor.go(Step::Down, index, rows.len(), |index| rows.get(index).copied());
        }
        assert_eq!(cursor.at, Some('c'));
        let index = cursor.index(rows.len(), |key| find(&rows, key));
        assert_eq!(cursor.window(index, rows.len(), 5), 0);
        rows.splice(0..0, "0123456".chars());
        let index = cursor.index(rows.len(), |key| find(&rows, key));
        assert_eq!((index, cursor.window(index, rows.len(), 5)), (9, 7));
    }

    #[test]
    fn at_the_top_one_follows_what_comes() {
        let mut cursor: Cursor<char> = Cursor::default();
        assert_eq!(cursor.index(3, |_| None), 0);
        cursor.go(Step::Down, 0, 3, |_| Some('b'));
        cursor.go(Step::Up, 1, 3, |_| Some('a'));
        assert_eq!(cursor.at, None);
    }

    #[test]
    fn whoever_goes_away_leaves_the_cursor_where_it_is() {
        let mut cursor = Cursor::default();
        cursor.go(Step::Last, 0, 9, |_| Some('z'));
        assert_eq!(cursor.index(9, |_| None), 8);
        assert_eq!(cursor.index(4, |_| None), 3);
        assert_eq!(cursor.index(0, |_| None), 0);
        assert_eq!(cursor.window(0, 0, 5), 0);
    }
}
