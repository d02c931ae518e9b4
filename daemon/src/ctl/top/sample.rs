//! One look at the daemon and at what the kernel says of its workers, and the rates since the last.

use crate::ctl::connect;
use crate::ctl::error::CtlError;
use crate::ctl::proc::{self, Owned};
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request, WorkerRef};
use mpserverd_proto::ids::{TemplateId, WorkerId};
use mpserverd_proto::report::{ProcessFilter, ProcessRow, StatusReport};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Workers whose CPU time is read for one look.
const STATS_MAX: usize = 1000;
/// Workers whose memory is measured for one look.
const MEASURED_MAX: usize = 64;
/// Time for measuring, all workers of one look together.
const MEASURING: Duration = Duration::from_millis(100);

/// Rates since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    pub(super) starts_per_second: f64,
    pub(super) ends_per_second: f64,
    /// Of the workers that were started, those that a spare was waiting for; `null` without any.
    pub(super) spare_hit_percent: Option<f64>,
}

/// A worker, as daemon and kernel see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) row: ProcessRow,
    /// What its client calls it.
    pub(super) name: Option<String>,
    /// `R`, `S` and so on.
    pub(super) state: Option<char>,
    /// CPU use since it was last looked at, of one CPU.
    pub(super) cpu_percent: Option<f64>,
    pub(super) memory: Option<Owned>,
}

/// One look.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    pub(super) status: StatusReport,
    /// `null` at the first look.
    pub(super) rates: Option<Rates>,
    /// Starts a second of each template that was there before.
    #[serde(skip)]
    pub(super) template_rates: HashMap<TemplateId, f64>,
    pub(super) workers: Vec<Row>,
    /// Workers of the daemon, spares included, whatever is shown.
    pub(super) total: u64,
}

/// What is known of a worker from earlier looks.
#[derive(Clone, Debug, Default)]
struct Known {
    name: Option<String>,
    state: Option<char>,
    cpu: Option<(Instant, u64)>,
    cpu_percent: Option<f64>,
    memory: Option<Owned>,
}

/// What rates are made from.
#[derive(Debug)]
struct Before {
    at: Instant,
    status: StatusReport,
}

/// Looks, again and again.
#[derive(Debug)]
pub(super) struct Sampler {
    socket: Option<PathBuf>,
    connection: Option<Connection>,
    before: Option<Before>,
    known: HashMap<WorkerId, Known>,
    /// The last one whose CPU time was read in turn, and the last one that was measured.
    read: Option<WorkerId>,
    measured: Option<WorkerId>,
}

impl Sampler {
    pub(super) fn new(socket: Option<&Path>) -> Self {
        Self {
            socket: socket.map(Path::to_owned),
            connection: None,
            before: None,
            known: HashMap::new(),
            read: None,
            measured: None,
        }
    }

    /// The connection, made if there is none.
    pub(super) fn connect(&mut self) -> Result<&mut Connection, CtlError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect::open(self.socket.as_deref())?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Looks. Those that are on the screen come first, where not all can be looked at.
    pub(super) fn look(&mut self, spares: bool, shown: &[WorkerId]) -> Result<Sample, CtlError> {
        let looked = self.ask(spares);
        if looked.is_err() {
            // An answer that comes late must not be taken for that of another question.
            self.connection = None;
        }
        let (status, found) = looked?;
        let now = Instant::now();
        self.watch(&found.rows, shown, now);
        let (rates, template_rates) = match &self.before {
            Some(before) if before.status.pid == status.pid => {
                rates(&before.status, &status, now.saturating_duration_since(before.at))
            }
            Some(_) | None => (None, HashMap::new()),
        };
        self.before = Some(Before { at: now, status: status.clone() });
        let row = |row: ProcessRow| {
            let known = self.known.get(&row.worker).cloned().unwrap_or_default();
            let Known { name, state, cpu_percent, memory, .. } = known;
            Row { row, name, state, cpu_percent, memory }
        };
        let workers = found.rows.into_iter().map(row).collect();
        Ok(Sample { status, rates, template_rates, workers, total: found.total })
    }

    fn ask(&mut self, spares: bool) -> Result<(StatusReport, connect::Processes), CtlError> {
        let connection = self.connect()?;
        let status = match connect::ask(connection, &Request::Status)? {
            Reply::Status(status) => *status,
            other => return Err(CtlError::unexpected(&other)),
        };
        let filter = ProcessFilter { spares, ..ProcessFilter::default() };
        Ok((status, connect::processes(connection, &filter, usize::MAX)?))
    }

    /// Sends a signal.
    pub(super) fn kill(&mut self, worker: WorkerId, signal: i32) -> Result<(), CtlError> {
        let request = Request::Kill { worker: WorkerRef::Id(worker), signal };
        match connect::ask(self.connect()?, &request)? {
            Reply::Done => Ok(()),
            other => Err(CtlError::unexpected(&other)),
        }
    }

    /// Asks the kernel about workers: those on the screen, then the others in turn.
    fn watch(&mut self, rows: &[ProcessRow], shown: &[WorkerId], now: Instant) {
        let there: HashSet<_> = rows.iter().map(|row| row.worker).collect();
        self.known.retain(|worker, _| there.contains(worker));
        let shown: HashSet<_> = shown.iter().copied().collect();
        for row in in_turn(rows, &shown, self.read).take(STATS_MAX) {
            self.known.entry(row.worker).or_default().look(row.pid, now);
            if !shown.contains(&row.worker) {
                self.read = Some(row.worker);
            }
        }
        let until = now + MEASURING;
        let mut went_on = false;
        for row in in_turn(rows, &shown, self.measured).take(MEASURED_MAX) {
            // One of the others at least, or they would never have their turn beside a slow screen.
            if went_on && Instant::now() >= until {
                return;
            }
            self.known.entry(row.worker).or_default().memory = proc::memory(row.pid);
            if !shown.contains(&row.worker) {
                self.measured = Some(row.worker);
                went_on = true;
            }
        }
    }
}

/// Rows on the screen, then the others from behind this one on. They come in the order of ids.
fn in_turn<'a>(
    rows: &'a [ProcessRow],
    shown: &HashSet<WorkerId>,
    last: Option<WorkerId>,
) -> impl Iterator<Item = &'a ProcessRow> {
    let next = rows.partition_point(|row| Some(row.worker) <= last);
    let (front, back) = rows.split_at(next);
    let others = back.iter().chain(front).filter(|row| !shown.contains(&row.worker));
    rows.iter().filter(|row| shown.contains(&row.worker)).chain(others)
}

impl Known {
    fn look(&mut self, pid: u32, now: Instant) {
        let Some(seen) = proc::look(pid) else {
            *self = Self::default();
            return;
        };
        self.cpu_percent = self.cpu.and_then(|(at, cpu_ms)| {
            let span = now.saturating_duration_since(at).as_secs_f64() * 1000.0;
            let used = seen.cpu_ms.saturating_sub(cpu_ms) as f64;
            (span > 0.0).then(|| used * 100.0 / span)
        });
        self.cpu = Some((now, seen.cpu_ms));
        self.name = Some(seen.name);
        self.state = Some(seen.state);
    }
}

/// What happened between two looks at the same daemon.
fn rates(
    before: &StatusReport,
    now: &StatusReport,
    span: Duration,
) -> (Option<Rates>, HashMap<TemplateId, f64>) {
    let seconds = span.as_secs_f64();
    if seconds <= 0.0 {
        return (None, HashMap::new());
    }
    let grown = |before: u64, now: u64| now.saturating_sub(before) as f64;
    let starts = grown(before.starts, now.starts);
    let hits = grown(before.spare_hits, now.spare_hits);
    let rates = Rates {
        starts_per_second: starts / seconds,
        ends_per_second: grown(before.ends, now.ends) / seconds,
        spare_hit_percent: (starts > 0.0).then(|| hits * 100.0 / starts),
    };
    let earlier: HashMap<_, _> =
        before.templates.iter().map(|row| (row.template, row.starts)).collect();
    let by_template = now.templates.iter().filter_map(|row| {
        let earlier = earlier.get(&row.template)?;
        Some((row.template, grown(*earlier, row.starts) / seconds))
    });
    (Some(rates), by_template.collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{row, status};
    use super::*;

    #[test]
    fn rates_are_those_of_the_time_between() {
        let (mut before, mut now) = (status(1), status(1));
        (before.starts, before.spare_hits, before.ends) = (100, 90, 50);
        (now.starts, now.spare_hits, now.ends) = (120, 105, 60);
        before.templates[0].starts = 100;
        now.templates[0].starts = 110;
        let (rates, templates) = rates(&before, &now, Duration::from_secs(2));
        let rates = rates.expect("rates");
        assert_eq!((rates.starts_per_second, rates.ends_per_second), (10.0, 5.0));
        assert_eq!(rates.spare_hit_percent, Some(75.0));
        assert_eq!(templates[&now.templates[0].template], 5.0);
        assert_eq!(super::rates(&before, &now, Duration::ZERO).0, None);
    }

    #[test]
    fn everybody_is_measured_in_turn_and_those_on_the_screen_every_time() {
        let rows: Vec<_> = (1..=200)
            .map(|number| ProcessRow { pid: std::process::id(), ..row(number, None) })
            .collect();
        let mut sampler = Sampler::new(None);
        let shown: Vec<_> = (191..=200).map(WorkerId).collect();
        let mut looks = 0;
        while sampler.known.values().filter(|known| known.cpu.is_some()).count() < 200
            || sampler.measured.is_none_or(|at| at < WorkerId(190))
        {
            sampler.watch(&rows, &shown, Instant::now());
            looks += 1;
            assert!(looks < 1000, "not everybody is looked at: {:?}", sampler.measured);
        }
        assert!(looks > 1, "too many at once");
        sampler.watch(&rows[..5], &[], Instant::now());
        assert_eq!(sampler.known.len(), 5, "who is gone is forgotten");
    }
}
