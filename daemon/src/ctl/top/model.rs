//! What the screen shows and what keys do to it. No terminal, no daemon, no clock.

use super::columns::WORKERS;
use super::sample::{Row, Sample};
use crate::cli::mpctl::SortKey;
use crate::cli::parsers::SignalNumber;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use mpserverd_proto::ids::{TemplateId, WorkerId};
use std::cmp::{Ordering, Reverse};
use std::time::Duration;

/// Characters of an input at most: a filter, a signal.
const INPUT_MAX: usize = 60;

/// What a key does just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browse,
    Help,
    /// Types a filter.
    Filter,
    /// Types a signal for a worker.
    Signal(Target, String),
    /// Is asked whether that is meant.
    Confirm(Target, SignalNumber),
}

/// The worker that a signal is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) worker: WorkerId,
    pub(super) pid: u32,
    pub(super) what: String,
}

/// What is to be done about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Nothing,
    Quit,
    Suspend,
    /// Look at once.
    Look,
    Kill(WorkerId, SignalNumber),
}

/// Everything that a frame is made of.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) sample: Option<Sample>,
    /// Why there is no newer one.
    pub(super) problem: Option<String>,
    /// What came of the last thing that was done.
    pub(super) message: Option<String>,
    pub(super) mode: Mode,
    pub(super) sort: SortKey,
    pub(super) reverse: bool,
    pub(super) filter: String,
    /// The filter to go back to.
    filter_before: String,
    pub(super) spares: bool,
    pub(super) interval: Duration,
    pub(super) colours: bool,
    pub(super) selected: Option<WorkerId>,
    /// The first row on the screen, and how many fit.
    pub(super) top: usize,
    pub(super) page: usize,
}

impl Row {
    /// What it runs: its task or, where that is not known, what its client calls it.
    pub(super) fn what(&self) -> &str {
        match (&self.row.task, &self.name) {
            _ if self.row.spare => "(spare)",
            (Some(task), _) => task,
            (None, Some(name)) => name,
            (None, None) => "-",
        }
    }

    fn matches(&self, text: &str) -> bool {
        let numbers = [self.row.pid, self.row.uid, self.row.client_pid.unwrap_or(self.row.pid)];
        let mut words = numbers.map(|number| number.to_string()).to_vec();
        words.extend([self.row.worker.to_string(), self.what().to_lowercase()]);
        words.push(self.row.template_name.to_lowercase());
        words.extend(self.name.as_ref().map(|name| name.to_lowercase()));
        words.extend(self.row.trace.map(|trace| trace.to_string()));
        words.iter().any(|word| word.contains(text))
    }
}

impl Model {
    pub(super) fn new(sort: SortKey, filter: String, interval: Duration) -> Self {
        Self {
            sample: None,
            problem: None,
            message: None,
            mode: Mode::Browse,
            sort,
            reverse: false,
            filter_before: filter.clone(),
            filter,
            spares: false,
            interval,
            colours: false,
            selected: None,
            top: 0,
            page: 0,
        }
    }

    /// A new look, or why there is none.
    pub(super) fn take(&mut self, looked: Result<Sample, String>) {
        match looked {
            Ok(sample) => {
                self.sample = Some(sample);
                self.problem = None;
            }
            Err(problem) => self.problem = Some(problem),
        }
    }

    /// Starts a second of a template.
    pub(super) fn template_rate(&self, template: TemplateId) -> Option<f64> {
        self.sample.as_ref()?.template_rates.get(&template).copied()
    }

    /// Workers that the filter admits, in order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let all = self.sample.iter().flat_map(|sample| &sample.workers);
        let text = self.filter.to_lowercase();
        let mut rows: Vec<_> = all.filter(|row| text.is_empty() || row.matches(&text)).collect();
        rows.sort_by(|a, b| {
            let order = order(self.sort, a, b);
            if self.reverse { order.reverse() } else { order }
        });
        rows
    }

    /// The workers on the screen.
    pub(super) fn shown(&self) -> Vec<WorkerId> {
        let rows = self.rows().into_iter().skip(self.top).take(self.page.max(1));
        rows.map(|row| row.row.worker).collect()
    }

    /// Lays the rows on a page of this height, so that the selected one is on it.
    pub(super) fn lay_out(&mut self, page: usize) {
        self.page = page;
        let rows = self.rows();
        let (count, at) = (rows.len(), self.position(&rows));
        self.top = self.top.min(count.saturating_sub(page));
        if let Some(at) = at {
            self.top = self.top.min(at).max((at + 1).saturating_sub(page));
        }
    }

    fn position(&self, rows: &[&Row]) -> Option<usize> {
        let selected = self.selected?;
        rows.iter().position(|row| row.row.worker == selected)
    }

    /// Moves the selection by so many rows.
    fn select(&mut self, step: isize) {
        let rows = self.rows();
        let Some(last) = rows.len().checked_sub(1) else {
            self.selected = None;
            return;
        };
        let to = match self.position(&rows) {
            Some(at) => at.saturating_add_signed(step).min(last),
            None if step == isize::MIN => 0,
            None if step < 0 || step == isize::MAX => last,
            // The first key selects what is seen first.
            None => self.top.min(last),
        };
        self.selected = Some(rows[to].row.worker);
    }

    /// What a key means.
    pub(super) fn key(&mut self, key: KeyEvent) -> Reaction {
        if key.kind == KeyEventKind::Release {
            return Reaction::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Reaction::Quit,
                KeyCode::Char('z') => return Reaction::Suspend,
                KeyCode::Char('l') => return Reaction::Look,
                _ => return Reaction::Nothing,
            }
        }
        self.message = None;
        match self.mode.clone() {
            Mode::Browse => self.browse(key.code),
            Mode::Help => {
                self.mode = Mode::Browse;
                Reaction::Nothing
            }
            Mode::Filter => self.type_filter(key.code),
            Mode::Signal(target, input) => self.type_signal(target, input, key.code),
            Mode::Confirm(target, signal) => {
                self.mode = Mode::Browse;
                match key.code {
                    KeyCode::Char('y' | 'Y') => Reaction::Kill(target.worker, signal),
                    _ => self.say("nothing was sent"),
                }
            }
        }
    }

    fn say(&mut self, text: &str) -> Reaction {
        self.message = Some(text.to_owned());
        Reaction::Nothing
    }

    fn browse(&mut self, key: KeyCode) -> Reaction {
        let page = isize::try_from(self.page.max(1)).unwrap_or(isize::MAX);
        match key {
            KeyCode::Char('q') => return Reaction::Quit,
            KeyCode::Char('?') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') => {
                self.filter_before.clone_from(&self.filter);
                self.mode = Mode::Filter;
            }
            KeyCode::Esc => {
                self.filter.clear();
                self.selected = None;
            }
            KeyCode::Char('k') | KeyCode::F(9) => return self.begin_kill(),
            KeyCode::Char('s') => {
                self.spares = !self.spares;
                return Reaction::Look;
            }
            KeyCode::Char('r') => self.reverse = !self.reverse,
            KeyCode::Char(' ') => return Reaction::Look,
            KeyCode::Char('<') => self.sort_beside(-1),
            KeyCode::Char('>') => self.sort_beside(1),
            KeyCode::Up => self.select(-1),
            KeyCode::Down => self.select(1),
            KeyCode::PageUp => self.select(-page),
            KeyCode::PageDown => self.select(page),
            KeyCode::Home => self.select(isize::MIN),
            KeyCode::End => self.select(isize::MAX),
            KeyCode::Char(letter) => self.sort_by_letter(letter),
            _ => {}
        }
        Reaction::Nothing
    }

    fn sort_by_letter(&mut self, letter: char) {
        let sorts = WORKERS.iter().filter_map(|column| column.sort);
        if let Some((key, _)) = { sorts }.find(|(_, own)| *own == letter) {
            self.reverse = key == self.sort && !self.reverse;
            self.sort = key;
        }
    }

    /// Sorts by the column to the left or right of the present one.
    fn sort_beside(&mut self, step: isize) {
        let keys: Vec<_> = WORKERS.iter().filter_map(|column| Some(column.sort?.0)).collect();
        let at = keys.iter().position(|key| *key == self.sort).unwrap_or(0);
        let to = at.saturating_add_signed(step).min(keys.len() - 1);
        self.sort = keys[to];
        self.reverse = false;
    }

    fn begin_kill(&mut self) -> Reaction {
        let rows = self.rows();
        let Some(row) = self.position(&rows).map(|at| rows[at]) else {
            return self.say("select a worker first: ↑ ↓");
        };
        let (worker, pid, what) = (row.row.worker, row.row.pid, row.what().to_owned());
        self.mode = Mode::Signal(Target { worker, pid, what }, String::new());
        Reaction::Nothing
    }

    fn type_filter(&mut self, key: KeyCode) -> Reaction {
        match key {
            KeyCode::Enter => self.mode = Mode::Browse,
            KeyCode::Esc => {
                self.filter.clone_from(&self.filter_before);
                self.mode = Mode::Browse;
            }
            key => edit(&mut self.filter, key),
        }
        self.top = 0;
        Reaction::Nothing
    }

    fn type_signal(&mut self, target: Target, mut input: String, key: KeyCode) -> Reaction {
        match key {
            KeyCode::Esc => {
                self.mode = Mode::Browse;
                return self.say("nothing was sent");
            }
            KeyCode::Enter if input.is_empty() => {
                self.mode = Mode::Confirm(target, SignalNumber::TERM);
            }
            KeyCode::Enter => match input.parse() {
                Ok(signal) => self.mode = Mode::Confirm(target, signal),
                Err(why) => {
                    self.mode = Mode::Browse;
                    return self.say(&why);
                }
            },
            key => {
                edit(&mut input, key);
                self.mode = Mode::Signal(target, input);
            }
        }
        Reaction::Nothing
    }
}

fn edit(input: &mut String, key: KeyCode) {
    match key {
        KeyCode::Backspace => drop(input.pop()),
        KeyCode::Char(letter) if input.chars().count() < INPUT_MAX && !letter.is_control() => {
            input.push(letter);
        }
        _ => {}
    }
}

/// Numbers and times with the largest first, all else as people expect it; then by id, so that
/// equal rows stay where they are.
fn order(key: SortKey, a: &Row, b: &Row) -> Ordering {
    let cpu = |row: &Row| row.cpu_percent.unwrap_or(-1.0);
    let private = |row: &Row| Reverse(row.memory.map(|own| own.private_kib));
    let shared = |row: &Row| Reverse(row.memory.map(|own| own.shared_kib));
    let first = match key {
        SortKey::Id => Ordering::Equal,
        SortKey::Pid => a.row.pid.cmp(&b.row.pid),
        SortKey::Uid => a.row.uid.cmp(&b.row.uid),
        SortKey::Task => a.what().cmp(b.what()),
        SortKey::Template => a.row.template_name.cmp(&b.row.template_name),
        SortKey::Client => a.row.client_pid.cmp(&b.row.client_pid),
        SortKey::Age => b.row.age_ms.cmp(&a.row.age_ms),
        SortKey::Cpu => cpu(b).total_cmp(&cpu(a)),
        SortKey::Memory => private(a).cmp(&private(b)),
        SortKey::Shared => shared(a).cmp(&shared(b)),
    };
    first.then(a.row.worker.cmp(&b.row.worker))
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
