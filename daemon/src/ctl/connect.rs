//! Finding the daemon, and asking it.

use super::error::CtlError;
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the daemon may take to answer what it can answer at once.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection to the daemon: the one that was named, or the first that answers.
pub(super) fn open(socket: Option<&Path>) -> Result<Connection, CtlError> {
    let mut absent = Vec::new();
    for path in mp::transport::candidates(socket) {
        match Connection::open(&path, None) {
            Ok(connection) => return Ok(connection),
            Err(error) if error.is_absence() => absent.push((path, error)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(nobody(&absent))
}

fn nobody(absent: &[(PathBuf, mp::DaemonError)]) -> CtlError {
    let tried = absent.iter().map(|(path, error)| {
        let why = match error {
            mp::DaemonError::NotRunning { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        format!("{} ({why})", path.display())
    });
    let tried = tried.collect::<Vec<_>>().join(", nor at ");
    CtlError::system(format!(
        "no mpserverd answers at {tried}; start one with `mpserverd`, or name its socket with \
         --socket"
    ))
}

/// Asks what can be answered at once.
pub(super) fn ask(connection: &mut Connection, request: &Request) -> Result<Reply, CtlError> {
    ask_within(connection, request, ANSWER)
}

/// Asks, and waits for the answer no longer than this.
pub(super) fn ask_within(
    connection: &mut Connection,
    request: &Request,
    limit: Duration,
) -> Result<Reply, CtlError> {
    let (reply, _) = connection.call(request, &[], Some(Instant::now() + limit))?;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_there_names_the_socket_and_the_remedy() {
        let error = open(Some(Path::new("/no/such/socket"))).expect_err("nobody");
        let text = error.to_string();
        assert_eq!(error.code, 111);
        for part in ["/no/such/socket (No such file", "start one with `mpserverd`", "--socket"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn every_place_is_named() {
        let absence = || mp::DaemonError::Refused(mp::Refusal::ShuttingDown);
        let text = nobody(&[("/a".into(), absence()), ("/b".into(), absence())]).to_string();
        assert!(text.contains("/a (the daemon is shutting down), nor at /b ("), "{text}");
    }
}
