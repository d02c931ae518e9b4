//! Why a worker ended, as far as its client can know: by what it did itself, or from the daemon,
//! which is asked only after an end that was none of a task's.

use super::Origin;
use super::forkserver::{Session, check_in, check_out};
use crate::daemon::Connection;
use crate::error::{DaemonError, Ending};
use crate::reactor::until;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::death::{Cause, Certificate, DeathsQuery};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long the daemon may take to have heard of an end that its client knows already. One that is
/// stopped costs every such error this much.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often it is asked meanwhile.
const PAUSE: Duration = Duration::from_millis(3);
/// How long one question of somebody who must not be kept may take.
const GLANCE: Duration = Duration::from_millis(20);

/// What is known of an end beside how it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Who caused it.
    pub(crate) cause: Option<Cause>,
    /// The last lines that the daemon has of it.
    pub(crate) stderr: Vec<String>,
}

impl From<Option<Cause>> for Findings {
    fn from(cause: Option<Cause>) -> Self {
        Self { cause, stderr: Vec::new() }
    }
}

/// What the daemon says of a worker's end.
pub(crate) enum Said {
    /// All that it will ever say.
    Findings(Findings),
    /// It has not heard of it yet.
    Nothing,
}

impl Origin {
    /// Why it ended, as its certificate says.
    fn findings(&self) -> Findings {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask(deadline) {
                Said::Findings(findings) => return findings,
                Said::Nothing if Instant::now() + PAUSE >= deadline => return Findings::default(),
                Said::Nothing => std::thread::sleep(PAUSE),
            }
        }
    }

    /// The same, but its waits keep no thread.
    async fn findings_async(&self) -> Findings {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask(Instant::now() + GLANCE) {
                Said::Findings(findings) => return findings,
                Said::Nothing if Instant::now() + PAUSE >= deadline => return Findings::default(),
                Said::Nothing => until(Instant::now() + PAUSE).await,
            }
        }
    }

    /// Asks once.
    fn ask(&self, deadline: Instant) -> Said {
        let session = check_out(&self.socket).map(Ok);
        let session = session
            .unwrap_or_else(|| Connection::open(&self.socket, Some(deadline)).map(Session::from));
        let nothing = || Said::Findings(Findings::default());
        let Ok(mut session) = session else { return nothing() };
        let query = DeathsQuery { after: 0, limit: 1, worker: Some(self.worker), cause: None };
        let answer = session.connection().call(&Request::Deaths(query), &[], Some(deadline));
        let said = match answer {
            Ok((Reply::Deaths(mut report), _)) => match report.rows.pop() {
                Some(death) => {
                    // The task may be refused from now on, which a lease in advance would evade.
                    session.forget_ahead();
                    let Certificate { cause, stderr, .. } = death.certificate;
                    Said::Findings(Findings { cause: Some(cause), stderr })
                }
                None => Said::Nothing,
            },
            Ok(_) | Err(DaemonError::Refused(_)) => nothing(),
            // Nobody knows what else comes on this connection.
            Err(_) => return nothing(),
        };
        check_in(session);
        said
    }

    /// Tells the daemon of a signal that is about to be sent, if that costs no wait: what it does
    /// is then known to be the client's wish.
    pub(crate) fn announce(&self, signal: i32) {
        let Some(mut session) = check_out(&self.socket) else { return };
        let request = Request::Signals { worker: self.worker, signal };
        if session.connection().tell(&request).is_ok() {
            check_in(session);
        }
    }
}

/// A signal in a set of them.
pub(super) fn bit(signal: i32) -> u64 {
    u32::try_from(signal.saturating_sub(1)).ok().and_then(|at| 1u64.checked_shl(at)).unwrap_or(0)
}

/// What is known of an end; clones share what comes out.
#[derive(Clone, Debug)]
pub(crate) struct Autopsy {
    pub(crate) ending: Ending,
    /// Signals that this process sent.
    signals: u64,
    origin: Option<Origin>,
    found: Arc<OnceLock<Findings>>,
}

impl Autopsy {
    pub(super) fn new(ending: Ending, signals: u64, origin: Option<Origin>) -> Self {
        Self { ending, signals, origin, found: Arc::default() }
    }

    /// Who caused it, and its last lines; asks the daemon where there is one, once, which may take
    /// a moment.
    pub(crate) fn findings(&self) -> &Findings {
        self.found.get_or_init(|| match self.look() {
            Ok(cause) => cause.into(),
            Err(origin) => origin.findings(),
        })
    }

    /// The same, but its waits keep no thread.
    pub(crate) async fn findings_async(&self) -> &Findings {
        if let Some(found) = self.found.get() {
            return found;
        }
        let findings = match self.look() {
            Ok(cause) => cause.into(),
            Err(origin) => origin.findings_async().await,
        };
        self.found.get_or_init(|| findings)
    }

    /// What this process knows by itself, or whom to ask.
    fn look(&self) -> Result<Option<Cause>, &Origin> {
        let Ending::Known(record) = self.ending else { return Ok(None) };
        if record.signal().is_some_and(|signal| self.signals & bit(signal) != 0) {
            return Ok(Some(Cause::Client));
        }
        match (&self.origin, Cause::of_record(&record)) {
            (Some(origin), _) => Err(origin),
            (None, Cause::Unknown) => Ok(None),
            (None, cause) => Ok(Some(cause)),
        }
    }
}
