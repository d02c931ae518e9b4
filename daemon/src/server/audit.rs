//! The audit log: who asked for what, and what came of it, one line of JSON each.
//!
//! Lines wait in bounded memory and are written as far as the file takes them at once: a full disk,
//! or a FIFO that nobody reads, holds nobody up. What no longer fits is counted, and the count is
//! the next line that is written. A reload opens the file anew, so that it can be rotated.
//!
//! What must never be in here: arguments, results, environments.

use super::Server;
use super::session::Session;
use crate::core::SessionId;
use mpserverd_proto::client::{Grant, Reply, Request, Target, WorkerRef};
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::{PoolId, RequestId};
use mpserverd_proto::text::beginning;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tracing::{info, warn};

/// Bytes of lines that wait to be written.
const BYTES_MAX: usize = 1 << 20;
/// Bytes of what a client calls its things, in one line.
const NAME_BYTES_MAX: usize = 1024;
/// Requests of one session whose answers are awaited here; further ones are told without names.
const NOTES_MAX: usize = 1024;
/// How long to wait before the file is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// What a request was about, until its answer is known; and of each pool that a session opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    action: Cow<'static, str>,
    executable: Option<String>,
    modules: Vec<String>,
    pool: Option<PoolId>,
    worker: Option<String>,
    task: Option<String>,
}

/// What a session has asked and opened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    asked: HashMap<RequestId, Note>,
    opened: HashMap<PoolId, Note>,
}

/// One line.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    uid: u32,
    gid: u32,
    pid: u32,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    modules: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_pid: Option<u32>,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The file, and what waits for it.
#[derive(Debug)]
pub(super) struct AuditLog {
    path: PathBuf,
    file: Option<File>,
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Bytes of the first line that are written.
    sent: usize,
    lost: u64,
    retry: Option<Instant>,
}

fn open(path: &Path) -> io::Result<Option<File>> {
    let opened = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    match opened {
        // A FIFO that nobody reads yet.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        opened => opened.map(Some),
    }
}

impl AuditLog {
    /// Opens it, for its owner alone.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (file, lines) = (open(path)?, VecDeque::new());
        Ok(Self { path: path.to_owned(), file, lines, bytes: 0, sent: 0, lost: 0, retry: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it anew: it may have been moved away. Where that fails the old one is kept.
    pub(super) fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                // The rest of a line would make no sense in another file.
                self.sent = 0;
            }
            Err(error) => warn!(path = %self.path.display(), %error, "cannot reopen the audit log"),
        }
        self.retry = None;
        self.flush();
    }

    /// When to try again; `None` while nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry
    }

    /// Tries again, if it is time.
    pub(super) fn retry(&mut self) {
        if self.retry.is_some_and(|at| at <= Instant::now()) {
            self.retry = None;
            self.flush();
        }
    }

    fn push(&mut self, line: &impl Serialize) {
        let Ok(mut bytes) = serde_json::to_vec(line) else { return };
        bytes.push(b'\n');
        if self.bytes + bytes.len() > BYTES_MAX {
            if self.lost == 0 {
                warn!(path = %self.path.display(), "the audit log takes no lines: they are lost");
            }
            self.lost += 1;
            return;
        }
        self.bytes += bytes.len();
        self.lines.push_back(bytes);
        if self.retry.is_none() {
            self.flush();
        }
    }

    /// Writes what the file takes at once.
    fn flush(&mut self) {
        if self.file.is_none() && !self.lines.is_empty() {
            self.file = open(&self.path).ok().flatten();
        }
        while let Some(line) = self.lines.front() {
            let Some(file) = &mut self.file else { break };
            match file.write(&line[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    // Whoever read it is gone; the next one gets whole lines.
                    (self.file, self.sent) = (None, 0);
                }
                Err(_) => break,
            }
            if self.sent == line.len() {
                self.bytes -= self.sent;
                self.sent = 0;
                self.lines.pop_front();
            }
        }
        if self.lines.is_empty() {
            self.tell_losses();
        } else {
            self.retry = Some(Instant::now() + PAUSE);
        }
    }

    /// There is room again: says how many lines are missing at this place.
    fn tell_losses(&mut self) {
        #[derive(Serialize)]
        struct Lost {
            time: String,
            action: &'static str,
            lines: u64,
        }
        let lines = std::mem::take(&mut self.lost);
        if lines > 0 {
            warn!(lines, "lines of the audit log were lost");
            self.push(&Lost { time: now(), action: "lost", lines });
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// A client's words, short enough for a line.
fn short(text: &str) -> String {
    beginning(text, NAME_BYTES_MAX).to_owned()
}

impl Note {
    /// What a request is about; `None` for questions.
    fn of(request: &Request) -> Option<Self> {
        let of = |action| Self { action: Cow::Borrowed(action), ..Self::default() };
        Some(match request {
            Request::OpenTemplate(spec) => Self {
                executable: match &spec.target {
                    Target::Executable { path } => Some(short(&String::from_utf8_lossy(path))),
                    Target::Modules => None,
                },
                modules: spec.modules.iter().take(64).map(|name| short(name)).collect(),
                ..of("open")
            },
            Request::Lease { pool, task, .. } => {
                Self { pool: Some(*pool), task: task.as_deref().map(short), ..of("start") }
            }
            Request::Kill { worker, .. } => {
                let worker = match worker {
                    WorkerRef::Id(id) => id.to_string(),
                    WorkerRef::Pid(pid) => format!("pid {pid}"),
                };
                Self { worker: Some(worker), ..of("kill") }
            }
            Request::Attach(attach) => {
                Self { executable: Some(short(&attach.boot.name)), ..of("attach") }
            }
            Request::Reload => of("reload"),
            Request::Stop { .. } => of("stop"),
            Request::Upgrade { binary } => Self {
                executable: binary.as_ref().map(|path| short(&String::from_utf8_lossy(path))),
                ..of("upgrade")
            },
            _ => return None,
        })
    }

    fn line(&self, session: &Session, decision: &'static str, reason: Option<String>) -> Line<'_> {
        Line {
            time: now(),
            uid: session.peer.uid,
            gid: session.peer.gid,
            pid: session.peer.pid,
            action: &self.action,
            executable: self.executable.as_deref(),
            modules: &self.modules,
            pool: self.pool.map(|pool| pool.to_string()),
            task: self.task.as_deref(),
            worker: self.worker.clone(),
            worker_pid: None,
            decision,
            reason,
        }
    }
}

impl Server<'_> {
    /// Notes what is asked, until the answer is known.
    pub(super) fn note(&mut self, session: SessionId, id: RequestId, request: &Request) {
        if self.audit.is_none() {
            return;
        }
        let Some(session) = self.sessions.get_mut(&session) else { return };
        let (asked, opened) = (&mut session.notes.asked, &session.notes.opened);
        let Some(mut note) = Note::of(request).filter(|_| asked.len() < NOTES_MAX) else { return };
        if let Some(of) = note.pool.and_then(|pool| opened.get(&pool)) {
            note.executable.clone_from(&of.executable);
            note.modules.clone_from(&of.modules);
        }
        asked.insert(id, note);
    }

    /// Writes down what was answered.
    pub(super) fn audit_answer(&mut self, session: SessionId, id: RequestId, reply: &Reply) {
        let Some(audit) = &mut self.audit else { return };
        let Some(session) = self.sessions.get_mut(&session) else { return };
        let Some(mut note) = session.notes.asked.remove(&id) else { return };
        if let Reply::Opened(pool) = reply {
            note.pool = Some(*pool);
            session.notes.opened.insert(*pool, note.clone());
        }
        let line = match reply {
            Reply::Refused(refusal) => note.line(session, "refuse", Some(refusal.to_string())),
            _ => note.line(session, "allow", None),
        };
        audit.push(&line);
    }

    /// Writes down that a worker was handed over.
    pub(super) fn audit_grant(&mut self, session: SessionId, id: RequestId, grant: Grant) {
        let Some(audit) = &mut self.audit else { return };
        let Some(session) = self.sessions.get_mut(&session) else { return };
        let Some(note) = session.notes.asked.remove(&id) else { return };
        let line = note.line(session, "allow", None);
        let worker = Some(grant.worker.to_string());
        audit.push(&Line { worker, worker_pid: Some(grant.pid), ..line });
    }

    /// Writes down that a client was sent away before it could ask.
    pub(super) fn audit_stranger(&mut self, session: SessionId, refusal: &Refusal) {
        let (Some(audit), Some(session)) = (&mut self.audit, self.sessions.get(&session)) else {
            return;
        };
        let note = Note { action: "connect".into(), ..Note::default() };
        audit.push(&note.line(session, "refuse", Some(refusal.to_string())));
    }

    /// Opens the present configuration's log anew: it may have been moved away, whatever becomes of
    /// the rest of a reload.
    pub(super) fn reopen_audit(&mut self) {
        if let Err(why) = self.open_audit(self.config.audit_log.clone().as_deref()) {
            warn!("{why}");
        }
    }

    /// Opens the log that a configuration names, or the same one anew.
    ///
    /// # Errors
    /// Says why it cannot be opened; the present one is kept then.
    pub(super) fn open_audit(&mut self, path: Option<&Path>) -> Result<(), String> {
        match (path, &mut self.audit) {
            (None, _) => self.audit = None,
            (Some(path), Some(audit)) if audit.path() == path => audit.reopen(),
            (Some(path), _) => {
                let opened = AuditLog::open(path);
                let failed =
                    |error| format!("`audit_log`: cannot open {}: {error}", path.display());
                self.audit = Some(opened.map_err(failed)?);
                info!(path = %path.display(), "audit log opened");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::read_to_string;

    fn log(path: &Path, lines: usize) -> AuditLog {
        let mut log = AuditLog::open(path).expect("log");
        (0..lines).for_each(|line| log.push(&format!("{line} {}", "x".repeat(999))));
        log
    }

    #[test]
    fn lines_are_appended_for_the_owner_alone_and_go_to_the_new_file_after_a_rotation() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit");
        let mut audit = log(&path, 2);
        assert_eq!(path.metadata().expect("file").permissions().mode() & 0o777, 0o600);
        std::fs::rename(&path, folder.path().join("old")).expect("renamed");
        audit.push(&"to the old one");
        audit.reopen();
        audit.push(&"to the new one");
        assert_eq!(read_to_string(folder.path().join("old")).expect("old").lines().count(), 3);
        assert_eq!(read_to_string(&path).expect("new"), "\"to the new one\"\n");
        assert_eq!(audit.due(), None);
    }

    #[test]
    fn a_fifo_that_nobody_reads_holds_nobody_up_and_losses_are_counted() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("fifo");
        let mut audit = log(&path, 3000);
        assert!(audit.due().is_some() && audit.bytes <= BYTES_MAX && audit.lost > 1000);
        let lost = audit.lost;
        let reader = std::fs::File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&path)
            .expect("reader");
        let (mut text, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        while !audit.lines.is_empty() {
            audit.flush();
            while let Ok(got @ 1..) = nix::unistd::read(&reader, &mut buffer) {
                text.extend_from_slice(&buffer[..got]);
            }
        }
        while let Ok(got @ 1..) = nix::unistd::read(&reader, &mut buffer) {
            text.extend_from_slice(&buffer[..got]);
        }
        let text = String::from_utf8(text).expect("text");
        let last = text.lines().last().expect("lines");
        assert!(last.contains(&format!("\"lines\":{lost}")), "{last}");
        assert_eq!(text.lines().count() as u64, 3000 - lost + 1);
    }

    #[test]
    fn a_full_disk_holds_nobody_up() {
        let audit = log(Path::new("/dev/full"), 3000);
        assert!(audit.due().is_some() && audit.lost > 1000 && audit.bytes <= BYTES_MAX);
        assert!(AuditLog::open(Path::new("/nonexistent/audit")).is_err());
    }
}
