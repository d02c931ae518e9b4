//! Who caused a death, and the certificates of the last ones.
//!
//! Whoever is about to end a worker says so first ([`Core::accuse`]); the worker's own word stands
//! on its board. When it has ended, the first accusation that explains its end stands, then its own
//! word, then what the signal itself says. What is left is unknown, and is not blamed on anybody.

use super::Core;
use super::event::PoolKey;
use super::poison::is_unexplained;
use super::settings::PoisonRule;
use super::workers::{Owner, Worker};
use mpserverd_proto::death::{
    Cause, Certificate, Death, DeathsQuery, DeathsReport, Foreseen, LastWords,
};
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::limits::FRAME_BYTES_MAX;
use mpserverd_proto::status::ExitRecord;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

/// Accusations of one worker that are kept: who repeats himself says nothing new.
const ACCUSATIONS_MAX: usize = 8;
/// Bytes of all certificates together, whatever their number.
pub(super) const BYTES_MAX: usize = 2 << 20;
// All of them fit one answer.
const _: () = assert!(2 * BYTES_MAX <= FRAME_BYTES_MAX);
/// Bytes of a certificate without its texts; an upper bound.
pub(super) const CERTIFICATE_BYTES: usize = 400;

/// Signals that nobody dies of: `SIGCHLD`, `SIGCONT`, `SIGSTOP`, `SIGTSTP`, `SIGTTIN`, `SIGTTOU`,
/// `SIGURG`, `SIGWINCH`.
const HARMLESS: [i32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];

/// A set of signals that explain a death; all of them for what comes otherwise.
const ANY: u64 = u64::MAX;

/// What a worker is about to be ended for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Accusation {
    cause: Cause,
    signals: u64,
}

impl Accusation {
    /// Whether it explains an end: by one of its signals, or by an exit after one of them.
    fn explains(&self, record: &ExitRecord) -> bool {
        record.signal().is_none_or(|signal| self.signals & bit(signal) != 0)
    }
}

fn bit(signal: i32) -> u64 {
    u32::try_from(signal.saturating_sub(1)).ok().and_then(|at| 1u64.checked_shl(at)).unwrap_or(0)
}

/// All that a worker was accused of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Accusations(Vec<Accusation>);

impl Accusations {
    fn add(&mut self, cause: Cause, signals: u64) {
        if let Some(known) = self.0.iter_mut().find(|known| known.cause == cause) {
            known.signals |= signals;
        } else if self.0.len() < ACCUSATIONS_MAX {
            self.0.push(Accusation { cause, signals });
        }
    }

    /// Who caused this end.
    pub(super) fn verdict(&self, record: &ExitRecord, last: Option<&LastWords>) -> Cause {
        let accused = self.0.iter().find(|accusation| accusation.explains(record));
        if let Some(accusation) = accused {
            return accusation.cause;
        }
        match last.and_then(|last| last.foreseen) {
            Some(Foreseen::Deadline) => return Cause::Deadline,
            Some(Foreseen::ClientGone) => return Cause::ClientGone,
            None => {}
        }
        Cause::of_record(record)
    }
}

/// A certificate with its number, and who may read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) client_uid: Option<u32>,
    pub(super) certificate: Certificate,
    /// What was blamed for it.
    blamed: Option<(PoolKey, String)>,
}

/// The last deaths.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Deaths {
    pub(super) ring: VecDeque<Kept>,
    bytes: usize,
    /// How many there have been.
    pub(super) count: u64,
    by_cause: BTreeMap<Cow<'static, str>, u64>,
}

/// Bytes that a certificate takes at most.
pub(super) fn size(certificate: &Certificate) -> usize {
    let lines = certificate.stderr.iter().map(|line| line.len() + 32).sum::<usize>();
    let task = certificate.task.as_ref().map_or(0, String::len);
    CERTIFICATE_BYTES + certificate.template_name.len() + task + lines
}

impl Deaths {
    pub(super) fn push(
        &mut self,
        certificate: Certificate,
        client_uid: Option<u32>,
        blamed: Option<(PoolKey, String)>,
        kept: usize,
    ) {
        self.count += 1;
        *self.by_cause.entry(certificate.cause.key().into()).or_default() += 1;
        self.bytes += size(&certificate);
        self.ring.push_back(Kept { number: self.count, client_uid, certificate, blamed });
        self.bound(kept);
    }

    /// Names the cause of a death that was unknown until now; gives what was blamed for it.
    fn explain(&mut self, at: usize, cause: Cause) -> Option<(PoolKey, String)> {
        let kept = self.ring.get_mut(at)?;
        for (of, change) in [(kept.certificate.cause, -1), (cause, 1)] {
            let count = self.by_cause.entry(of.key().into()).or_default();
            *count = count.saturating_add_signed(change);
        }
        kept.certificate.cause = cause;
        kept.blamed.take()
    }

    /// Forgets the oldest that are too many.
    pub(super) fn bound(&mut self, kept: usize) {
        while self.ring.len() > kept || self.bytes > BYTES_MAX {
            let Some(oldest) = self.ring.pop_front() else { return };
            self.bytes -= size(&oldest.certificate);
        }
    }

    /// Whether its numbers can be counted with, for the check of a book from elsewhere.
    pub(super) fn are_sound(&self, most: u64) -> bool {
        let mut counts = self.by_cause.values();
        let sum = counts.try_fold(0u64, |sum, count| sum.checked_add(*count));
        sum.is_some() && self.count <= most && self.ring.len() as u64 <= self.count
    }

    /// What the audit must find true.
    pub(super) fn check(&self, kept: usize) -> Result<(), String> {
        let bytes: usize = self.ring.iter().map(|kept| size(&kept.certificate)).sum();
        if bytes != self.bytes || bytes > BYTES_MAX || self.ring.len() > kept {
            let (count, book) = (self.ring.len(), self.bytes);
            return Err(format!("{count} certificates of {bytes} bytes, the book says {book}"));
        }
        let mut numbers = self.ring.iter().rev().map(|kept| kept.number);
        let in_turn = (0..self.ring.len() as u64).all(|at| numbers.next() == Some(self.count - at));
        let counted: u64 = self.by_cause.values().sum();
        if !in_turn || counted != self.count {
            return Err(format!("{} deaths, {counted} by cause, out of turn", self.count));
        }
        Ok(())
    }
}

impl Core {
    /// Says who is about to cause the death of a worker: before a signal is sent to it, or one of
    /// its sockets closed. The first accusation that explains how it ends stands.
    pub fn accuse(&mut self, worker: WorkerId, cause: Cause) {
        self.accuse_of(worker, cause, ANY);
    }

    /// The same, but it explains only a death of this signal, or an exit after it.
    pub(super) fn accuse_by_signal(&mut self, worker: WorkerId, cause: Cause, signal: i32) {
        if !HARMLESS.contains(&signal) {
            self.accuse_of(worker, cause, bit(signal));
        }
    }

    fn accuse_of(&mut self, worker: WorkerId, cause: Cause, signals: u64) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.accusations.add(cause, signals);
        }
    }

    /// A client is about to signal a worker of its user's, or has just done so: its end may have
    /// been told before this.
    pub(super) fn client_signals(&mut self, uid: u32, id: WorkerId, signal: i32) {
        if let Some(worker) = self.workers.get(&id) {
            if worker.client_uid == Some(uid) {
                self.accuse_by_signal(id, Cause::Client, signal);
            }
            return;
        }
        let is_meant = |kept: &Kept| {
            let Certificate { worker, cause, record, .. } = &kept.certificate;
            let unknown = *worker == id && *cause == Cause::Unknown;
            unknown && kept.client_uid == Some(uid) && record.signal() == Some(signal)
        };
        let Some(at) = self.deaths.ring.iter().rposition(is_meant) else { return };
        if let Some((key, task)) = self.deaths.explain(at, Cause::Client) {
            self.poison.absolve(&key, &task, &self.settings.poison);
        }
    }

    /// Blames the task of a worker that died for no known reason; gives what was blamed.
    pub(super) fn blame_task(
        &mut self,
        worker: &Worker,
        cause: Cause,
        record: &ExitRecord,
        last: &LastWords,
    ) -> Option<(PoolKey, String)> {
        if !matches!(worker.owner, Owner::Client { .. }) || !is_unexplained(cause, record, last) {
            return None;
        }
        let key = self.pools.get(&worker.pool)?.spec.key.clone();
        let (task, rule) = (last.task.as_str(), self.settings.poison);
        if self.poison.blame(&key, task, self.now, &rule) {
            let PoisonRule { deaths, window, back_off } = rule;
            let template = &worker.template_name;
            tracing::warn!(
                task, %template, deaths, ?window, ?back_off,
                "task refused: too many workers died of it"
            );
        }
        Some((key, last.task.clone()))
    }

    /// Tells the time of day, milliseconds since the epoch, before an end is told.
    pub fn set_wall_clock(&mut self, epoch_ms: u64) {
        self.wall_ms = epoch_ms;
    }

    /// How many workers have died, by the [key](Cause::key) of the cause.
    pub fn deaths_by_cause(&self) -> impl Iterator<Item = (&str, u64)> {
        self.deaths.by_cause.iter().map(|(cause, count)| (cause.as_ref(), *count))
    }

    /// Certificates written so far, those that are forgotten included.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.deaths.count
    }

    /// Deaths that are asked for: of all workers, or of those that one user leased.
    pub(super) fn deaths_report(&self, whose: Option<u32>, query: &DeathsQuery) -> DeathsReport {
        let ring = &self.deaths.ring;
        let wanted = ring.iter().filter(|kept| {
            (whose.is_none() || kept.client_uid == whose)
                && query.wants(kept.number, &kept.certificate)
        });
        let count = wanted.clone().count();
        let left_out = count.saturating_sub(usize::try_from(query.limit).unwrap_or(usize::MAX));
        let rows = wanted
            .skip(left_out)
            .map(|kept| Death { number: kept.number, certificate: kept.certificate.clone() });
        DeathsReport {
            rows: rows.collect(),
            left_out: left_out as u64,
            last: self.deaths.count,
            forgotten: self.deaths.count - ring.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpserverd_proto::death::LimitKind;
    use mpserverd_proto::ids::TemplateId;
    use mpserverd_proto::status::{Reporter, Usage};

    fn record(code: i32) -> ExitRecord {
        let (usage, reporter) = (Usage::default(), Reporter::Template);
        ExitRecord { code, core: false, usage, reporter, out_of_cpu: false }
    }

    fn foreseen(why: Foreseen) -> LastWords {
        LastWords { foreseen: Some(why), ..LastWords::default() }
    }

    const OPERATOR: Cause = Cause::Operator { uid: 0, pid: 4711 };

    #[test]
    fn an_end_without_accusation_speaks_for_itself() {
        let nobody = Accusations::default();
        for code in [0, 1, 3, 255, -4, -5, -6, -7, -8, -11, -31] {
            assert_eq!(nobody.verdict(&record(code), None), Cause::Itself, "{code}");
        }
        let limit = |kind| Cause::Limit(kind);
        assert_eq!(nobody.verdict(&record(-24), None), limit(LimitKind::CpuTime));
        assert_eq!(nobody.verdict(&record(-25), None), limit(LimitKind::FileSize));
        for code in [-1, -2, -9, -15, -64, i32::MIN] {
            assert_eq!(nobody.verdict(&record(code), None), Cause::Unknown, "{code}");
        }
        let last = foreseen(Foreseen::Deadline);
        assert_eq!(nobody.verdict(&record(-9), Some(&last)), Cause::Deadline);
        let last = foreseen(Foreseen::ClientGone);
        assert_eq!(nobody.verdict(&record(-9), Some(&last)), Cause::ClientGone);
    }

    #[test]
    fn the_first_accusation_that_explains_it_stands() {
        let mut accused = Accusations::default();
        accused.add(OPERATOR, bit(15));
        assert_eq!(accused.verdict(&record(-15), None), OPERATOR);
        assert_eq!(accused.verdict(&record(1), None), OPERATOR, "it handled the signal");
        assert_eq!(accused.verdict(&record(-9), None), Cause::Unknown);
        let last = foreseen(Foreseen::Deadline);
        assert_eq!(accused.verdict(&record(-9), Some(&last)), Cause::Deadline);
        accused.add(Cause::DaemonStop, ANY);
        assert_eq!(accused.verdict(&record(-9), Some(&last)), Cause::DaemonStop);
        assert_eq!(accused.verdict(&record(-15), None), OPERATOR);
        accused.add(OPERATOR, bit(9));
        assert_eq!(accused.verdict(&record(-9), None), OPERATOR, "he was the first to come");
    }

    #[test]
    fn accusations_are_bounded() {
        let mut accused = Accusations::default();
        for pid in 0..1000 {
            accused.add(Cause::Operator { uid: 0, pid }, bit(9));
        }
        assert_eq!(accused.0.len(), ACCUSATIONS_MAX);
        assert_eq!(accused.verdict(&record(-9), None), Cause::Operator { uid: 0, pid: 0 });
    }

    fn certificate(cause: Cause, text: usize) -> Certificate {
        Certificate {
            worker: WorkerId(1),
            pid: 2,
            uid: 3,
            template: TemplateId(4),
            template_name: "t".repeat(text),
            generation: 1,
            task: None,
            trace: None,
            client_pid: None,
            ended_ms: 0,
            lived_ms: 0,
            record: record(0),
            cause,
            peak_private_kib: None,
            stderr: Vec::new(),
        }
    }

    #[test]
    fn the_ring_is_bounded_by_number_and_by_bytes() {
        let mut deaths = Deaths::default();
        for _ in 0..50 {
            deaths.push(certificate(Cause::Oom, 10), None, None, 20);
            deaths.check(20).expect("sound");
        }
        assert_eq!((deaths.ring.len(), deaths.count), (20, 50));
        assert_eq!(deaths.ring.front().map(|kept| kept.number), Some(31));
        for _ in 0..50 {
            deaths.push(certificate(Cause::Itself, 100_000), None, None, 1000);
            deaths.check(1000).expect("sound");
        }
        assert!(deaths.ring.len() < 25, "{}", deaths.ring.len());
        deaths.explain(0, Cause::Client);
        deaths.check(1000).expect("sound");
        let counted: Vec<_> = deaths.by_cause.into_iter().collect();
        assert_eq!(counted, [("client".into(), 1), ("itself".into(), 49), ("oom".into(), 50)]);
    }

    #[test]
    fn nothing_is_kept_if_nothing_may_be() {
        let mut deaths = Deaths::default();
        deaths.push(certificate(Cause::Oom, 10), None, None, 0);
        assert_eq!((deaths.ring.len(), deaths.count), (0, 1));
        deaths.check(0).expect("sound");
    }
}
