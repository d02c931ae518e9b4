//! Writing certificates: of a worker that has ended, and of those of whose end a template tells that
//! no daemon has seen.

use super::Core;
use super::deaths::Accusations;
use super::event::Obituary;
use super::workers::{Owner, Worker};
use mpserverd_proto::death::{
    Cause, Certificate, LastWords, STDERR_LINE_BYTES_MAX, STDERR_LINES_MAX,
};
use mpserverd_proto::ids::{TemplateId, WorkerId};
use mpserverd_proto::job::END_IF_IDLE;
use mpserverd_proto::status::ExitRecord;
use mpserverd_proto::text::{beginning, without_orders};
use std::collections::BTreeSet;

/// Ids of workers above this are not believed.
const ID_MAX: u64 = u64::MAX / 2;

impl Core {
    /// Writes the certificate of a worker that has ended; of a spare only if nobody let it go.
    pub(super) fn certify(
        &mut self,
        id: WorkerId,
        worker: &Worker,
        record: ExitRecord,
        last: Option<LastWords>,
        stderr: Vec<String>,
    ) {
        let client_pid = match worker.owner {
            Owner::Client { pid } => pid,
            Owner::Pool => None,
            Owner::Nobody => return,
        };
        let cause = worker.accusations.verdict(&record, last.as_ref());
        if worker.owner == Owner::Pool && cause != Cause::Itself && cause != Cause::Unknown {
            return;
        }
        let called_off = worker.outdated && record.signal() == Some(END_IF_IDLE);
        let unused = |last: &LastWords| last.task.is_empty() && record.code == 0;
        if called_off || worker.owner != Owner::Pool && last.as_ref().is_some_and(unused) {
            // Leased in advance, then called off or given back: it never had a job.
            return;
        }
        let has_board = last.is_some();
        let mut last = last.unwrap_or_default();
        let stderr = last_lines(stderr, &last, &record);
        if let (false, Some(task)) = (has_board, &worker.task) {
            // Nothing better is known than what the client said.
            last.task.clone_from(task);
        }
        let blamed = self.blame_task(worker, cause, &record, &last);
        let certificate = Certificate {
            worker: id,
            pid: worker.pid,
            uid: worker.client_uid.unwrap_or(self.identity.uid),
            template: worker.template,
            template_name: worker.template_name.to_string(),
            generation: worker.generation,
            task: Some(last.task).filter(|task| !task.is_empty()).or_else(|| worker.task.clone()),
            trace: last.trace.or(worker.trace),
            client_pid,
            ended_ms: self.wall_ms,
            lived_ms: super::report::millis(self.now.since(worker.since)),
            record,
            cause,
            peak_private_kib: last.peak_private_kib.max(worker.peak_private_kib),
            stderr,
        };
        tell(&certificate);
        self.deaths.push(certificate, worker.client_uid, blamed, self.settings.deaths_kept);
    }

    /// The most private memory of a worker, as far as it was measured from outside.
    pub(super) fn peaked(&mut self, id: WorkerId, kib: u64) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.peak_private_kib = worker.peak_private_kib.max(Some(kib));
        }
    }

    /// Whose a worker is, the name of its template, and the generation of that.
    #[must_use]
    pub fn whose(&self, id: WorkerId) -> Option<(u32, String, u32)> {
        let worker = self.workers.get(&id)?;
        let uid = worker.uid.unwrap_or(self.identity.uid);
        Some((uid, worker.template_name.to_string(), worker.generation))
    }

    /// Workers of an attached template that ended while no daemon was there, or shortly before: who
    /// caused that is not known, unless the end itself says so, and no task is blamed for it.
    pub(super) fn missed(&mut self, id: TemplateId, deaths: Vec<Obituary>, forgotten: u64) {
        let Some(template) = self.templates.get(&id) else { return };
        let (name, generation) = (template.name.to_string(), template.generation);
        let pool = self.pools.get(&template.pool);
        let uid = pool.and_then(|pool| pool.spec.uid).unwrap_or(self.identity.uid);
        if forgotten > 0 {
            tracing::warn!(template = %id, name, forgotten, "deaths without a certificate");
        }
        let ring = self.deaths.ring.iter().map(|kept| kept.certificate.worker);
        let mut told: BTreeSet<_> = ring.collect();
        for death in deaths {
            let Obituary { worker, pid, record, last, ended_ms, lessee, stderr } = death;
            let is_alive = self.workers.contains_key(&worker) || worker.0 > ID_MAX;
            let last = last.unwrap_or_default();
            // One that never had a job, or was given back.
            let is_nobodys = last.task.is_empty() && record.code == 0;
            if is_alive || is_nobodys || !told.insert(worker) {
                continue;
            }
            let stderr = last_lines(stderr, &last, &record);
            let ended_ms = ended_ms.min(self.wall_ms);
            let began = Some(last.began_ms).filter(|began| *began != 0);
            let certificate = Certificate {
                worker,
                pid,
                uid: lessee.map_or(uid, |lessee| lessee.client_uid),
                template: id,
                template_name: name.clone(),
                generation,
                task: Some(last.task.clone()).filter(|task| !task.is_empty()),
                trace: last.trace,
                client_pid: lessee.map(|lessee| lessee.client_pid),
                ended_ms,
                lived_ms: began.map_or(0, |began| ended_ms.saturating_sub(began)),
                record,
                cause: Accusations::default().verdict(&record, Some(&last)),
                peak_private_kib: last.peak_private_kib,
                stderr,
            };
            tell(&certificate);
            let client_uid = lessee.map(|lessee| lessee.client_uid);
            self.deaths.push(certificate, client_uid, None, self.settings.deaths_kept);
        }
    }
}

/// The last lines of a worker: what was caught, or else what its last panic said.
fn last_lines(mut lines: Vec<String>, last: &LastWords, record: &ExitRecord) -> Vec<String> {
    lines.drain(..lines.len().saturating_sub(STDERR_LINES_MAX));
    if let (true, false, Some(panic)) = (lines.is_empty(), record.code == 0, &last.panic) {
        lines.extend(panic.lines().take(STDERR_LINES_MAX).map(str::to_owned));
    }
    lines.iter_mut().for_each(tidy_line);
    lines
}

/// Cuts a line where a character ends, and leaves it nothing that a terminal would obey.
fn tidy_line(line: &mut String) {
    *line = without_orders(beginning(line, STDERR_LINE_BYTES_MAX));
}

/// One line in the log for each death, as loud as it is strange.
fn tell(certificate: &Certificate) {
    let Certificate { worker, pid, uid, template, generation, record, cause, .. } = certificate;
    let (code, name) = (record.code, certificate.template_name.as_str());
    let task = certificate.task.as_deref().unwrap_or("-");
    let trace = certificate.trace.map(|trace| trace.to_string()).unwrap_or_default();
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(
                %worker, pid, uid, %template, name, generation, task, trace, code, %cause,
                "worker ended"
            )
        };
    }
    match cause {
        Cause::Itself if code == 0 => tell!(debug),
        Cause::Itself if code > 0 => tell!(info),
        Cause::ClientGone | Cause::Client | Cause::DaemonStop | Cause::Operator { .. } => {
            tell!(info);
        }
        Cause::Itself | Cause::Limit(_) | Cause::Oom | Cause::Deadline | Cause::Unknown => {
            tell!(warn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_a_character_ends() {
        let mut line = "ä".repeat(300);
        tidy_line(&mut line);
        assert_eq!(line.len(), STDERR_LINE_BYTES_MAX);
        let mut line = "a\tb\x1b[31m".to_owned();
        tidy_line(&mut line);
        assert_eq!(line, "a\tb?[31m");
    }
}
