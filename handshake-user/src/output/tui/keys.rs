//! Keys: each changes the state, or asks the program for something.

use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::acknowledged::Acknowledged;
use super::cursor::{Cursor, Step};
use super::list::{By, Kind, Line};
use super::sheet::{Sheet, who};
use super::state::{Detail, Prompt, Tab, Ui};
use crate::board::{Board, Row, Who};
use crate::query::Query;

/// What the program is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing but to draw.
    Draw,
    /// To end.
    Quit,
    /// To stop until the shell continues it.
    Suspend,
    /// To draw everything anew.
    Redraw,
    /// To write these attempts to a file.
    Export(Vec<Arc<Row>>),
    /// To write the summary to a file.
    ExportSummary,
    /// To begin the numbers since the start anew.
    Reset,
    /// To put this attempt into the clipboard.
    Copy(Arc<Row>, Copy),
    /// To put this text into the clipboard.
    CopyText(String),
    /// To hand over the segments of this attempt ([`Ui::show_segments`]).
    Segments(Arc<Row>),
}

/// How an attempt is put into the clipboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// As `--format lines` prints it.
    Line,
    /// As `--format json` does.
    Json,
}

impl Ui {
    /// Takes a key.
    pub fn press(&mut self, key: KeyEvent, board: &Board) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Draw;
        }
        self.note = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (control, key.code) {
            (true, KeyCode::Char('c')) => return Action::Quit,
            (true, KeyCode::Char('z')) => return Action::Suspend,
            (true, KeyCode::Char('l')) => return Action::Redraw,
            _ => {}
        }
        if self.prompt.is_some() {
            self.type_filter(key.code, control, board);
            return Action::Draw;
        }
        if control {
            return Action::Draw;
        }
        match key.code {
            KeyCode::Char('q') => Action::Quit,
            KeyCode::Char('e') => self.export(board),
            KeyCode::Char('z') => {
                let said = "numbers since the start begin anew (t shows other times)";
                self.note(said.to_owned(), board.now);
                Action::Reset
            }
            KeyCode::Char('y') => self.copy(Copy::Line, board),
            KeyCode::Char('Y') => self.copy(Copy::Json, board),
            KeyCode::Enter => self.enter(board),
            code => {
                self.choose(code, board);
                Action::Draw
            }
        }
    }

    fn choose(&mut self, code: KeyCode, board: &Board) {
        match code {
            KeyCode::Char(digit @ '1'..='5') => self.turn_to(digit as usize - '1' as usize),
            KeyCode::Tab | KeyCode::Right => self.turn_by(1),
            KeyCode::BackTab | KeyCode::Left => self.turn_by(Tab::ALL.len() - 1),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => {
                self.help = if self.help.is_some() { None } else { Some(0) };
            }
            KeyCode::Char('/') => {
                let text = self.filter.as_ref().map(ToString::to_string);
                self.prompt = Some(Prompt { text: text.unwrap_or_default(), error: None });
            }
            KeyCode::Char('f' | ' ') => self.freeze(board),
            KeyCode::Char(key @ ('t' | 'T')) => self.window = self.window.turn(key == 't'),
            KeyCode::Char('w') => self.list_or_failed(Kind::Waiting, board),
            KeyCode::Char('a') => self.list_or_failed(Kind::All, board),
            KeyCode::Char('o') => self.slow_first(board),
            KeyCode::Char('x') => self.acknowledge(board),
            KeyCode::Char('s' | '>') => self.sort_by(1),
            KeyCode::Char('S' | '<') => self.sort_by(-1),
            KeyCode::Char('r') => self.reverse(),
            KeyCode::Esc | KeyCode::Backspace => self.back(board),
            code => {
                if let Some(step) = step(code) {
                    self.go(step, board);
                }
            }
        }
    }

    fn turn_by(&mut self, by: usize) {
        let now = Tab::ALL.iter().position(|tab| *tab == self.tab).unwrap_or(0);
        self.turn_to((now + by) % Tab::ALL.len());
    }

    pub(super) fn turn_to(&mut self, tab: usize) {
        (self.help, self.detail, self.scroll) = (None, None, 0);
        self.tab = Tab::ALL[tab];
    }

    /// This kind of list; the failed ones if it is shown already.
    fn list_or_failed(&mut self, kind: Kind, board: &Board) {
        let is_shown = self.tab == Tab::Overview && self.list.kind == kind && !self.is_covered();
        self.list_attempts(if is_shown { Kind::Failed } else { kind }, board);
    }

    fn list_attempts(&mut self, kind: Kind, board: &Board) {
        (self.help, self.detail) = (None, None);
        self.tab = Tab::Overview;
        self.list.turn_to(kind);
        self.cursor = Cursor::default();
        self.follow(board);
    }

    /// Something stands where the list would.
    fn is_covered(&self) -> bool {
        self.help.is_some() || self.detail.is_some()
    }

    /// All ended attempts, the slow ones first; or in their order of time again.
    fn slow_first(&mut self, board: &Board) {
        let is_shown = self.tab == Tab::Overview && self.list.by == By::Slow && !self.is_covered();
        self.list_attempts(Kind::All, board);
        self.list.sort(if is_shown { By::Time } else { By::Slow }, true);
    }

    /// One step out of where we are.
    fn back(&mut self, board: &Board) {
        if self.help.take().is_some() || self.detail.take().is_some() {
        } else if self.tab == Tab::Overview && self.list.kind != Kind::Failed {
            self.list_attempts(Kind::Failed, board);
        } else if let Some(who) = self.scope.take() {
            self.tab = if matches!(who, Who::Peer(_)) { Tab::Peers } else { Tab::Services };
            self.refilter(board);
        } else if self.filter.take().is_some() {
            self.refilter(board);
        } else {
            self.cursor = Cursor::default();
        }
    }

    /// Alarms that are told now leave the banner; again, and they are back.
    fn acknowledge(&mut self, board: &Board) {
        let told = self.acknowledged.told(board);
        let all = Acknowledged::default().told(board);
        let said = match (told, all) {
            (0, 0) => "there is no alarm".to_owned(),
            (0, _) => {
                self.acknowledged = Acknowledged::default();
                "all alarms are shown again".to_owned()
            }
            _ => {
                self.acknowledged = Acknowledged::of(board);
                "alarms acknowledged: a new one shows; 5 lists them, x brings them back".to_owned()
            }
        };
        self.note(said, board.now);
    }

    fn freeze(&mut self, board: &Board) {
        if self.frozen.take().is_none() {
            self.frozen = Some((board.now, Box::new(board.clone())));
        } else {
            self.refilter(board);
        }
    }

    fn sort_by(&mut self, by: isize) {
        let next =
            |now: usize, count: usize| (now as isize + by).rem_euclid(count as isize) as usize;
        match self.tab {
            Tab::Overview if self.detail.is_none() => {
                let columns = &self.columns;
                let now = columns.iter().position(|one| *one == self.list.by);
                // Slowness has no column: the next one is that of how long it took.
                let to = now.map_or(0, |now| next(now, columns.len()));
                self.list.sort(columns.get(to).copied().unwrap_or(By::Time), true);
                self.cursor = Cursor::default();
            }
            Tab::Services => self.services.sort_by(next),
            Tab::Peers => self.peers.sort_by(next),
            _ => {}
        }
    }

    fn reverse(&mut self) {
        match self.tab {
            Tab::Overview => {
                self.list.reverse();
                self.cursor = Cursor::default();
            }
            Tab::Services => self.services.reverse(),
            Tab::Peers => self.peers.reverse(),
            _ => {}
        }
    }

    pub(super) fn go(&mut self, step: Step, board: &Board) {
        let (all, page) = self.scrollable;
        let moved = |from: usize| {
            let to = match step {
                Step::Up => from.saturating_sub(1),
                Step::Down => from + 1,
                Step::PageUp => from.saturating_sub(page),
                Step::PageDown => from + page,
                Step::First => 0,
                Step::Last => all,
            };
            to.min(all.saturating_sub(page))
        };
        if let Some(scroll) = &mut self.help {
            *scroll = moved(*scroll);
            return;
        }
        if let Some(detail) = &mut self.detail {
            let len = detail.segments.len();
            let index = detail.cursor.index(len, Some);
            detail.cursor.go(step, index, len, Some);
            return;
        }
        match self.tab {
            Tab::Overview => self.go_in_list(step),
            Tab::Services | Tab::Peers => self.go_in_sheet(step, board),
            Tab::Latency | Tab::Interfaces => self.scroll = moved(self.scroll),
        }
    }

    fn go_in_list(&mut self, step: Step) {
        let list = &self.list;
        let index = self.cursor.index(list.len(), |id| list.place(id));
        self.cursor.go(step, index, list.len(), |index| list.id(index));
    }

    fn go_in_sheet(&mut self, step: Step, board: &Board) {
        let keys = self.names(board);
        self.sheet().go(step, &keys);
    }

    /// The table of services or peers.
    pub(super) fn sheet(&mut self) -> &mut Sheet {
        if self.tab == Tab::Peers { &mut self.peers } else { &mut self.services }
    }

    /// By this column of what is shown; if it is so already, the other way round.
    pub(super) fn sort_on(&mut self, column: usize) {
        match self.tab {
            _ if self.is_covered() => {}
            Tab::Overview => {
                let Some(by) = self.columns.get(column).copied() else { return };
                let descending = self.list.by != by || !self.list.descending;
                self.list.sort(by, descending);
                self.cursor = Cursor::default();
            }
            Tab::Services | Tab::Peers => self.sheet().sort_on(column),
            Tab::Latency | Tab::Interfaces => {}
        }
    }

    /// The chosen attempt, service or peer.
    fn copy(&mut self, how: Copy, board: &Board) -> Action {
        let action = match (&self.detail, self.tab) {
            (Some(detail), _) => Some(Action::Copy(Arc::clone(&detail.row), how)),
            (None, Tab::Overview) => {
                let index = self.cursor.index(self.list.len(), |id| self.list.place(id));
                match self.list.line(index) {
                    Some(Line::Row(row)) => Some(Action::Copy(Arc::clone(row), how)),
                    _ => None,
                }
            }
            (None, Tab::Services | Tab::Peers) => {
                self.chosen_name(board).map(|name| Action::CopyText(who(name)))
            }
            (None, Tab::Latency | Tab::Interfaces) => None,
        };
        action.unwrap_or_else(|| {
            self.note("there is no row to copy".to_owned(), board.now);
            Action::Draw
        })
    }

    /// The services or peers that are shown, in order.
    pub(super) fn names(&self, board: &Board) -> Vec<Who> {
        self.standings(self.shown(board)).iter().map(|standing| standing.who).collect()
    }

    /// The service or peer that is chosen, if it has a name.
    fn chosen_name(&self, board: &Board) -> Option<Who> {
        let sheet = if self.tab == Tab::Services { &self.services } else { &self.peers };
        sheet.chosen(&self.names(board)).filter(|who| *who != Who::Other)
    }

    /// Enter: from a service or peer to its failures, from a failure to its segments.
    pub(super) fn enter(&mut self, board: &Board) -> Action {
        if self.help.take().is_some() || self.detail.is_some() {
            return Action::Draw;
        }
        match self.tab {
            Tab::Overview => {
                let index = self.cursor.index(self.list.len(), |id| self.list.place(id));
                let row = match self.list.line(index) {
                    Some(Line::Row(row)) => Arc::clone(row),
                    Some(Line::More(_)) => {
                        self.list_attempts(Kind::Waiting, board);
                        return Action::Draw;
                    }
                    None => return Action::Draw,
                };
                let at = self.shown(board).now;
                let segments = Vec::new();
                let cursor = Cursor::default();
                let again = self.list.again(&row).len();
                self.detail = Some(Detail { row: Arc::clone(&row), segments, cursor, at, again });
                Action::Segments(row)
            }
            Tab::Services | Tab::Peers => {
                if let Some(who) = self.chosen_name(board) {
                    self.scope = Some(who);
                    self.cursor = Cursor::default();
                    self.tab = Tab::Overview;
                    self.refilter(board);
                }
                Action::Draw
            }
            Tab::Latency | Tab::Interfaces => Action::Draw,
        }
    }

    /// What is looked at, listed, or of the chosen service or peer.
    fn export(&mut self, board: &Board) -> Action {
        let rows = match (&self.detail, self.tab) {
            (Some(detail), _) => vec![Arc::clone(&detail.row)],
            (None, Tab::Latency | Tab::Interfaces) => return Action::ExportSummary,
            (None, Tab::Overview) => self.list.rows(),
            (None, Tab::Services | Tab::Peers) => {
                let who = self.chosen_name(board);
                who.map(|who| self.attempts_of(who, board)).unwrap_or_default()
            }
        };
        if rows.is_empty() {
            let what = "nothing to export: no such attempt is kept";
            self.note(what.to_owned(), board.now);
            return Action::Draw;
        }
        Action::Export(rows)
    }

    fn type_filter(&mut self, code: KeyCode, control: bool, board: &Board) {
        let Some(prompt) = &mut self.prompt else { return };
        prompt.error = None;
        match code {
            KeyCode::Esc => self.prompt = None,
            KeyCode::Char('u') if control => prompt.text.clear(),
            KeyCode::Char('w') if control => {
                let kept = prompt.text.trim_end().rfind(' ').map_or(0, |blank| blank + 1);
                prompt.text.truncate(kept);
            }
            KeyCode::Char(one) if !control => prompt.text.push(one),
            KeyCode::Backspace => drop(prompt.text.pop()),
            KeyCode::Enter => self.take_filter(board),
            _ => {}
        }
    }

    fn take_filter(&mut self, board: &Board) {
        let Some(mut prompt) = self.prompt.take() else { return };
        let text = prompt.text.trim();
        if text.is_empty() {
            self.filter = None;
        } else {
            match Query::parse(text) {
                Ok(filter) => self.filter = Some(filter),
                Err(error) => {
                    prompt.error = Some(error.to_string());
                    self.prompt = Some(prompt);
                    return;
                }
            }
        }
        self.cursor = Cursor::default();
        self.refilter(board);
    }
}

fn step(code: KeyCode) -> Option<Step> {
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => Step::Up,
        KeyCode::Down | KeyCode::Char('j') => Step::Down,
        KeyCode::PageUp => Step::PageUp,
        KeyCode::PageDown => Step::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Step::First,
        KeyCode::End | KeyCode::Char('G') => Step::Last,
        _ => return None,
    })
}
