//! Styles and symbols: with colour or without, in Unicode or ASCII. Nothing is told by colour alone.

use ratatui::style::{Color, Modifier, Style};

use crate::outcome::Outcome;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Colours may be used.
    pub color: bool,
    /// Only ASCII may be used.
    pub ascii: bool,
    /// The background is light: yellow and light green cannot be read there.
    pub light: bool,
}

impl Theme {
    fn colored(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    pub(super) fn good(self) -> Style {
        self.colored(if self.light { Color::Indexed(22) } else { Color::Green })
    }

    pub(super) fn bad(self) -> Style {
        self.colored(if self.light { Color::Indexed(124) } else { Color::Red })
    }

    pub(super) fn doubtful(self) -> Style {
        self.colored(if self.light { Color::Indexed(94) } else { Color::Yellow })
    }

    /// Titles, and numbers to look at first.
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What need not be looked at.
    pub(super) fn faint(self) -> Style {
        self.colored(if self.light { Color::Indexed(240) } else { Color::DarkGray })
    }

    /// The heads of columns.
    pub(super) fn head(self) -> Style {
        Style::new().add_modifier(Modifier::UNDERLINED)
    }

    /// The chosen row or tab.
    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What must not be overlooked.
    pub(super) fn alarm(self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED);
        style.patch(self.bad())
    }

    pub(super) fn outcome(self, outcome: Outcome) -> Style {
        if outcome.is_completed() {
            self.good()
        } else if outcome.is_failure() {
            self.bad()
        } else {
            self.doubtful()
        }
    }

    pub(super) fn arrow(self) -> &'static str {
        if self.ascii { "->" } else { "→" }
    }

    /// There is more below.
    pub(super) fn down(self) -> &'static str {
        if self.ascii { "down:" } else { "↓" }
    }

    /// Stands between things on one line.
    pub(super) fn dot(self) -> &'static str {
        if self.ascii { " | " } else { " · " }
    }

    pub(super) fn ellipsis(self) -> &'static str {
        if self.ascii { "~" } else { "…" }
    }

    pub(super) fn times(self) -> &'static str {
        if self.ascii { "x" } else { "×" }
    }

    /// Largest first, or smallest.
    pub(super) fn order(self, descending: bool) -> &'static str {
        match (self.ascii, descending) {
            (false, true) => "▼",
            (false, false) => "▲",
            (true, true) => "v",
            (true, false) => "^",
        }
    }

    /// Bars from nothing to full, in eight steps and none.
    pub(super) fn bars(self) -> [&'static str; 9] {
        if self.ascii {
            [" ", "_", "_", ".", ".", "-", "-", "=", "#"]
        } else {
            [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
        }
    }

    /// What a bar of a histogram is made of.
    pub(super) fn block(self) -> &'static str {
        if self.ascii { "#" } else { "█" }
    }

    /// A text without what ASCII does not have.
    pub(super) fn text(self, text: String) -> String {
        if !self.ascii || text.is_ascii() {
            return text;
        }
        let mut plain = String::with_capacity(text.len());
        for one in text.chars() {
            match one {
                'µ' => plain.push('u'),
                '×' => plain.push('x'),
                '→' => plain.push_str("->"),
                '←' => plain.push_str("<-"),
                '–' => plain.push('-'),
                '·' => plain.push('|'),
                '…' => plain.push('~'),
                one if one.is_ascii() => plain.push(one),
                _ => plain.push('?'),
            }
        }
        plain
    }
}
