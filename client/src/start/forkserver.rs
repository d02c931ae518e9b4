//! The `forkserver` method: a spare of the daemon's template.
//!
//! Connections are kept and reused; a program that starts processes in quick succession asks for
//! the next lease while the job of the last one runs, so that a start is one message to a process
//! that waits already.

use super::{Lease, Origin, Status, wait_readable};
use crate::daemon::Connection;
use crate::error::DaemonError;
use crate::sys::environ;
use mpserverd_proto::bounds::Bounds;
use mpserverd_proto::client::{Reply, Request, Target, TemplateSpec};
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::{PoolId, RequestId};
use mpserverd_proto::job::AHEAD;
use mpserverd_proto::limits::FDS_PER_LEASE;
use mpserverd_proto::template::OnPreloadError;
use mpserverd_proto::trace::TraceId;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Connections that are kept when nobody uses them.
const IDLE_MAX: usize = 16;
/// How long a daemon that had answered may be gone before that is an error: its supervisor starts the
/// next one.
const RESTART: Duration = Duration::from_secs(3);
/// Between two looks for the next daemon: at first, and later.
const PAUSE_FIRST: Duration = Duration::from_millis(2);
const PAUSE_LONGEST: Duration = Duration::from_millis(20);
/// Spares that were dead when they arrived, before that is an error.
const ATTEMPTS: usize = 4;

/// What workers are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The program to be, or `None` for a host of modules only.
    pub(crate) executable: Option<PathBuf>,
    pub(crate) modules: Vec<String>,
    pub(crate) on_error: OnPreloadError,
}

/// What the daemon is told of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purpose<'a> {
    pub(crate) task: &'a str,
    pub(crate) trace: TraceId,
    /// Limits beyond the configured ones.
    pub(crate) bounds: &'a Bounds,
}

/// A connection with what is known on it.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    pools: Vec<(Wanted, PoolId)>,
    ahead: Option<(PoolId, RequestId, Instant)>,
    last_start: Option<Instant>,
    /// The pool to lease from in advance, once the job of the last lease was sent.
    next: Option<PoolId>,
}

/// What a process knows of its daemons.
struct Known {
    /// The process.
    pid: u32,
    /// Sessions nobody uses just now.
    idle: Vec<Session>,
    /// Daemons that have answered once, and since when each has not.
    seen: Vec<(PathBuf, Option<Instant>)>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known { pid: 0, idle: Vec::new(), seen: Vec::new() });

/// Takes a connection to that daemon, if one is idle.
pub(super) fn check_out(path: &Path) -> Option<Session> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if known.pid != pid {
        // A fork has the parent's connections: closing our copies does not disturb them.
        known.pid = pid;
        known.idle.clear();
    }
    let at = known.idle.iter().rposition(|session| session.connection.path() == path)?;
    Some(known.idle.remove(at))
}

/// Gives it back.
pub(super) fn check_in(session: Session) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.pid == std::process::id() && known.idle.len() < IDLE_MAX {
        known.idle.push(session);
    }
}

/// Notes that the daemon at `path` answers.
fn note_presence(path: &Path) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match known.seen.iter_mut().find(|(of, _)| of == path) {
        Some((_, gone)) => *gone = None,
        None => known.seen.push((path.to_owned(), None)),
    }
}

/// Until when the next daemon at `path` is to be waited for: for a while after one that had answered
/// this process was found gone, and not again before one answers.
fn note_absence(path: &Path) -> Option<Instant> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, gone) = known.seen.iter_mut().find(|(of, _)| of == path)?;
    Some(*gone.get_or_insert_with(Instant::now) + RESTART)
}

/// Keeps the idle connections as they are for as long as the guard lives: a fork amid a change by
/// another thread would find them locked for ever.
pub(super) fn hold_connections() -> impl Sized {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops all idle connections, in a fork.
pub(crate) fn forget_connections() {
    if let Ok(mut known) = KNOWN.try_lock() {
        known.pid = std::process::id();
        known.idle.clear();
    }
}

/// Asks for leases in advance where that is worth it; called once a job has been sent, so that the
/// daemon's work for the next start does not compete with this one.
pub(crate) fn look_ahead() {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.pid != std::process::id() {
        return;
    }
    for session in &mut known.idle {
        if let Some(pool) = session.next.take() {
            session.look_ahead(pool);
        }
    }
}

/// Leases a worker from the daemon at `path`.
///
/// A connection that broke is replaced: the daemon may have been restarted in between. Who is
/// `patient` waits a while for the next daemon where one has answered before.
pub(crate) fn lease(
    path: &Path,
    wanted: &Wanted,
    purpose: Purpose<'_>,
    deadline: Instant,
    patient: bool,
) -> Result<Lease, DaemonError> {
    if let Some(session) = check_out(path) {
        match use_session(session, wanted, purpose, deadline) {
            Err(error) if error.is_absence() => {}
            other => return other,
        }
    }
    let mut pause = PAUSE_FIRST;
    loop {
        let error = match lease_anew(path, wanted, purpose, deadline) {
            Err(error) if error.is_absence() => error,
            other => {
                note_presence(path);
                return other;
            }
        };
        let until = note_absence(path).filter(|_| patient).map(|until| until.min(deadline));
        if until.is_none_or(|until| Instant::now() + pause >= until) {
            return Err(error);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

fn lease_anew(
    path: &Path,
    wanted: &Wanted,
    purpose: Purpose<'_>,
    deadline: Instant,
) -> Result<Lease, DaemonError> {
    let connection = Connection::open(path, Some(deadline.min(Instant::now() + HELLO)))?;
    use_session(connection.into(), wanted, purpose, deadline)
}

/// How long a daemon may take to say that a wait was in vain.
const SAY: Duration = Duration::from_millis(250);
/// How long a daemon may take to say hello.
const HELLO: Duration = Duration::from_secs(5);

fn use_session(
    mut session: Session,
    wanted: &Wanted,
    purpose: Purpose<'_>,
    deadline: Instant,
) -> Result<Lease, DaemonError> {
    let leased = session.lease(wanted, purpose, deadline);
    match &leased {
        Ok(_) | Err(DaemonError::Refused(_)) => {
            if leased.is_ok() {
                session.started(wanted);
            }
            check_in(session);
        }
        // Anything else leaves the connection in a state that nobody knows.
        Err(_) => {}
    }
    leased
}

impl From<Connection> for Session {
    fn from(connection: Connection) -> Self {
        Self { connection, pools: Vec::new(), ahead: None, last_start: None, next: None }
    }
}

impl Session {
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Gives back a lease that was asked for in advance.
    pub(super) fn forget_ahead(&mut self) {
        self.next = None;
        if let Some((_, id, _)) = self.ahead.take() {
            // A connection that broke shows at its next use.
            let _ = self.connection.abandon(id);
        }
    }

    fn lease(
        &mut self,
        wanted: &Wanted,
        purpose: Purpose<'_>,
        deadline: Instant,
    ) -> Result<Lease, DaemonError> {
        let mut reopened = false;
        for _ in 0..ATTEMPTS {
            let pool = self.pool(wanted, deadline)?;
            // One in advance was asked for without limits.
            let ahead = if purpose.bounds.is_empty() { self.take_ahead(pool)? } else { None };
            let granted = match ahead {
                None => self.ask(pool, purpose, deadline),
                Some(id) => match self.connection.wait(id, Some(deadline)) {
                    Err(DaemonError::Timeout(_)) => {
                        // Asked anew, without waiting, it says what this one waited for.
                        self.connection.abandon(id)?;
                        self.ask(pool, purpose, Instant::now())
                    }
                    other => other,
                },
            };
            let (reply, fds) = match granted {
                Err(DaemonError::Refused(Refusal::UnknownPool)) if !reopened => {
                    reopened = true;
                    self.pools.clear();
                    continue;
                }
                // What was refused in advance may be granted now.
                Err(DaemonError::Refused(_)) if ahead.is_some() => continue,
                other => other?,
            };
            let lease = lease_of(self.connection.path(), &reply, fds)?;
            // A spare that died while it waited is no start of ours.
            if !wait_readable(&[lease.pidfd.as_fd()], Some(Duration::ZERO)) {
                return Ok(lease);
            }
        }
        Err(DaemonError::Protocol(format!("{ATTEMPTS} workers in a row were dead on arrival")))
    }

    /// Asks for a lease. The daemon keeps the time, because only it knows why it was in vain; one
    /// that says nothing is given up a little later.
    fn ask(
        &mut self,
        pool: PoolId,
        purpose: Purpose<'_>,
        deadline: Instant,
    ) -> Result<(Reply, Vec<OwnedFd>), DaemonError> {
        let request = lease_request(pool, Some(purpose), deadline);
        self.connection.call(&request, &[], Some(deadline + SAY))
    }

    /// The id of a lease that was asked for in advance, if it is for this pool and fresh.
    fn take_ahead(&mut self, pool: PoolId) -> Result<Option<RequestId>, DaemonError> {
        let Some((of, id, since)) = self.ahead.take() else { return Ok(None) };
        if of == pool && since.elapsed() < AHEAD {
            return Ok(Some(id));
        }
        self.connection.abandon(id)?;
        Ok(None)
    }

    /// Notes a start: the next lease is worth asking for if starts come in quick succession.
    fn started(&mut self, wanted: &Wanted) {
        let now = Instant::now();
        let quick = self.last_start.replace(now).is_some_and(|last| now - last < AHEAD);
        let pool = self.pools.iter().find(|(known, _)| known == wanted).map(|(_, pool)| *pool);
        self.next = pool.filter(|_| quick);
    }

    /// Asks for a lease in advance.
    fn look_ahead(&mut self, pool: PoolId) {
        let now = Instant::now();
        let request = lease_request(pool, None, now + AHEAD * 60);
        if let Ok(id) = self.connection.post(&request, &[], Some(now)) {
            self.ahead = Some((pool, id, now));
        }
    }

    /// The daemon's number for what is wanted.
    fn pool(&mut self, wanted: &Wanted, deadline: Instant) -> Result<PoolId, DaemonError> {
        if let Some((_, pool)) = self.pools.iter().find(|(known, _)| known == wanted) {
            return Ok(*pool);
        }
        let (target, file) = match &wanted.executable {
            None => (Target::Modules, None),
            Some(path) => {
                let file = File::options()
                    .read(true)
                    .custom_flags(nix::fcntl::OFlag::O_PATH.bits())
                    .open(path)
                    .map_err(DaemonError::Lost)?;
                let shown = std::fs::read_link(path).unwrap_or_else(|_| path.clone());
                let path = shown.as_os_str().as_bytes().to_vec();
                (Target::Executable { path }, Some(file))
            }
        };
        let request = Request::OpenTemplate(TemplateSpec {
            target,
            modules: wanted.modules.clone(),
            on_error: wanted.on_error,
            environment: environ::snapshot(),
        });
        let fds = file.iter().map(AsFd::as_fd).collect::<Vec<_>>();
        match self.connection.call(&request, &fds, Some(deadline))? {
            (Reply::Opened(pool), _) => {
                self.pools.push((wanted.clone(), pool));
                Ok(pool)
            }
            (other, _) => Err(DaemonError::Protocol(format!("unexpected {other:?}"))),
        }
    }
}

fn lease_request(pool: PoolId, purpose: Option<Purpose<'_>>, deadline: Instant) -> Request {
    let wait = deadline.saturating_duration_since(Instant::now()).as_millis();
    let wait_ms = u32::try_from(wait).unwrap_or(u32::MAX);
    let task = purpose.map(|purpose| purpose.task.to_owned());
    let trace = purpose.map(|purpose| purpose.trace);
    match purpose.map(|purpose| purpose.bounds).filter(|bounds| !bounds.is_empty()) {
        Some(bounds) => Request::LeaseWith { pool, wait_ms, bounds: *bounds, task, trace },
        None => Request::Lease { pool, wait_ms, task, trace },
    }
}

fn lease_of(socket: &Path, reply: &Reply, fds: Vec<OwnedFd>) -> Result<Lease, DaemonError> {
    let Reply::Lease(grant) = reply else {
        return Err(DaemonError::Protocol(format!("unexpected {reply:?}")));
    };
    let [job, status, pidfd]: [OwnedFd; FDS_PER_LEASE] = fds
        .try_into()
        .map_err(|_| DaemonError::Protocol("a lease without its descriptors".to_owned()))?;
    let origin = Some(Origin { socket: socket.to_owned(), worker: grant.worker });
    Ok(Lease { pid: grant.pid, origin, job, pidfd, status: Status::Pipe(status) })
}
