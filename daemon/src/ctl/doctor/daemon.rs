//! The daemon itself: whether it answers, its version, its templates.

use super::files::Subject;
use super::finding::{Finding, Thing};
use crate::ctl::connect;
use mp::DaemonError;
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::report::{StatusReport, TemplateState};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const ANSWERS: Thing = Thing("daemon.answers", "daemon");
const VERSION: Thing = Thing("daemon.version", "its version");
const TEMPLATES: Thing = Thing("daemon.templates", "its templates");
const LOAD: Thing = Thing("daemon.load", "its workers");

/// This mpctl's version.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// What the daemon said, or why it said nothing.
#[derive(Debug)]
pub(super) struct Facts {
    path: PathBuf,
    said: Result<StatusReport, Silence>,
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Silence {
    /// No socket, or nobody behind it.
    Nobody(ErrorKind),
    /// Somebody whom this user must not trust.
    Untrusted(u32),
    /// Another version of the protocol.
    Version(String),
    /// No answer in time.
    Late,
    /// Anything else, in its words.
    Other(String),
}

impl Facts {
    /// Asks the daemon of this socket, or the first that can be reached.
    pub(super) fn gather(socket: Option<&Path>) -> Self {
        let mut nobody = None;
        for path in mp::transport::candidates(socket) {
            let said = ask(&path);
            let absent = matches!(said, Err(Silence::Nobody(_)));
            let facts = Self { path, said };
            if !absent {
                return facts;
            }
            // One that is there but closed to this user tells more than one that is not.
            let closed = !matches!(facts.said, Err(Silence::Nobody(ErrorKind::NotFound)));
            if nobody.is_none() || closed {
                nobody = Some(facts);
            }
        }
        let path = mp::transport::default_socket();
        nobody.unwrap_or(Self { path, said: Err(Silence::Nobody(ErrorKind::NotFound)) })
    }

    /// Whom it asked.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The daemon's process, if it said who it is.
    pub(super) fn subject(&self) -> Option<Subject> {
        let pid = self.said.as_ref().ok()?.pid;
        let uid = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        Some(Subject { pid, uid, is_daemon: true })
    }

    /// What that means.
    pub(super) fn judge(&self) -> Vec<Finding> {
        match &self.said {
            Ok(report) => vec![
                ANSWERS.ok(format!("pid {} at {}", report.pid, self.path.display())),
                judge_version(&report.version),
                judge_templates(report),
                judge_load(report),
            ],
            Err(silence) => vec![self.judge_silence(silence)],
        }
    }

    fn judge_silence(&self, silence: &Silence) -> Finding {
        let path = self.path.display();
        let spawned = "programs spawn their workers, and mpctl has nobody to talk to";
        match silence {
            Silence::Nobody(ErrorKind::PermissionDenied) => ANSWERS.fail(
                format!("{path}: this user may not connect"),
                spawned,
                "be a member of the socket's group (usermod -aG mpserverd NAME, then a new login), \
                 or run a daemon of your own",
            ),
            Silence::Nobody(ErrorKind::ConnectionRefused) => ANSWERS.fail(
                format!("{path}: nobody listens any more"),
                spawned,
                "start the daemon: it replaces a socket that was left behind",
            ),
            Silence::Nobody(_) => ANSWERS.fail(
                format!("{path}: nobody"),
                spawned,
                "start one: `mpserverd`, or its unit; or name its socket with --socket",
            ),
            Silence::Untrusted(uid) => ANSWERS.fail(
                format!("{path} belongs to uid {uid}"),
                "programs of this user do not talk to it: it would get what they send",
                "a daemon of this user or of root, or another --socket",
            ),
            Silence::Version(why) => ANSWERS.fail(
                why,
                "they do not understand each other",
                "install both of one version, and restart the daemon",
            ),
            Silence::Late => ANSWERS.fail(
                format!("{path}: no answer"),
                "it hangs or is stopped; who holds workers keeps them, nobody gets new ones",
                "look at its log; SIGKILL and a new start lose no worker",
            ),
            Silence::Other(why) => {
                ANSWERS.fail(why, "mpctl cannot ask it anything", "look at the daemon's log")
            }
        }
    }
}

fn ask(path: &Path) -> Result<StatusReport, Silence> {
    let reply = Connection::open(path, None).map_err(silence).and_then(|mut connection| {
        connect::ask(&mut connection, &Request::Status)
            .map_err(|error| Silence::Other(error.to_string()))
    })?;
    match reply {
        Reply::Status(report) => Ok(*report),
        other => Err(Silence::Other(format!("an unexpected answer: {:.80}", format!("{other:?}")))),
    }
}

fn silence(error: DaemonError) -> Silence {
    match error {
        DaemonError::NotRunning { source, .. } => Silence::Nobody(source.kind()),
        DaemonError::Untrusted { uid, .. } => Silence::Untrusted(uid),
        DaemonError::Version(error) => Silence::Version(error.to_string()),
        DaemonError::Timeout(_) => Silence::Late,
        other => Silence::Other(other.to_string()),
    }
}

fn judge_version(version: &str) -> Finding {
    if version == OWN {
        return VERSION.ok(version);
    }
    VERSION.warn(
        format!("{version}, and mpctl is {OWN}"),
        "one of the two lacks what the other knows",
        "install both of one version, and restart the daemon",
    )
}

fn judge_templates(report: &StatusReport) -> Finding {
    let failed = report.templates.iter().filter(|t| t.state == TemplateState::Failed);
    let failed = failed.collect::<Vec<_>>();
    let all = report.templates.len();
    let Some(first) = failed.first() else {
        return TEMPLATES.ok(format!("{all}, none failed"));
    };
    let why = first.error.as_deref().unwrap_or("no reason given");
    TEMPLATES.warn(
        format!("{} of {all} failed: {}: {why}", failed.len(), first.name),
        "starts from it are refused until it loads; the daemon tries again, ever more rarely",
        "mpctl modules, mpctl status; after the fix, mpctl reload",
    )
}

fn judge_load(report: &StatusReport) -> Finding {
    let StatusReport { workers, workers_max, queued, .. } = report;
    let found = format!("{workers} of {workers_max}, {queued} requests wait");
    if workers < workers_max {
        return LOAD.ok(found);
    }
    let cost = "every further start waits for a worker to end";
    LOAD.warn(found, cost, "mpctl ps shows who holds them; max_workers in the configuration")
}

#[cfg(test)]
mod tests {
    use super::super::finding::{State, states};
    use super::*;

    fn report() -> StatusReport {
        StatusReport {
            version: OWN.to_owned(),
            pid: std::process::id(),
            workers: 1,
            workers_max: 4,
            ..StatusReport::default()
        }
    }

    fn facts(said: Result<StatusReport, Silence>) -> Facts {
        Facts { path: "/a".into(), said }
    }

    #[test]
    fn a_daemon_that_answers() {
        let good = facts(Ok(report()));
        let found = states(&good.judge());
        assert!(found.iter().all(|(_, state)| *state == State::Ok), "{found:?}");
        let subject = good.subject().expect("it is there");
        assert_eq!((subject.pid, subject.is_daemon), (std::process::id(), true));
        let other = facts(Ok(StatusReport { version: "0.0.9".into(), workers: 4, ..report() }));
        let found = states(&other.judge());
        assert_eq!((found[1].1, found[2].1, found[3].1), (State::Warn, State::Ok, State::Warn));
    }

    #[test]
    fn a_failed_template_is_named() {
        let row = serde_json::json!({
            "template": 1, "name": "shop", "state": "failed", "pid": null, "generation": 1,
            "spares": 0, "spares_wanted": 1, "workers": 0, "queued": 0, "starts": 0,
            "spare_hits": 0, "age_ms": 0, "error": "no such file",
            "memory": { "rss_kib": 0, "private_kib": 0, "huge_kib": 0, "fork_us": 0 },
        });
        let templates = vec![serde_json::from_value(row).expect("a row")];
        let finding = judge_templates(&StatusReport { templates, ..report() });
        assert_eq!(finding.state, State::Warn);
        assert!(finding.found.contains("1 of 1 failed: shop: no such file"), "{finding:?}");
    }

    #[test]
    fn each_silence_has_its_remedy() {
        for (silence, words) in [
            (Silence::Nobody(ErrorKind::NotFound), "start one"),
            (Silence::Nobody(ErrorKind::ConnectionRefused), "start the daemon"),
            (Silence::Nobody(ErrorKind::PermissionDenied), "usermod -aG"),
            (Silence::Untrusted(7), "of this user or of root"),
            (Silence::Version("too new".into()), "of one version"),
            (Silence::Late, "SIGKILL"),
            (Silence::Other("x".into()), "log"),
        ] {
            let facts = facts(Err(silence));
            assert_eq!(facts.subject(), None);
            let findings = facts.judge();
            assert_eq!(states(&findings), [("daemon.answers", State::Fail)]);
            assert!(findings[0].remedy.contains(words), "{findings:?}");
        }
    }

    #[test]
    fn nobody_is_noticed() {
        let facts = Facts::gather(Some(Path::new("/no/such/socket")));
        assert_eq!(facts.said, Err(Silence::Nobody(ErrorKind::NotFound)));
        assert_eq!(facts.path(), Path::new("/no/such/socket"));
    }
}
