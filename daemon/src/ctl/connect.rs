//! Finding the daemon, and asking it.

use super::error::CtlError;
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::limits::PROCESS_ROWS_MAX;
use mpserverd_proto::report::{ProcessFilter, ProcessRow};
use std::io::ErrorKind;
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
            mp::DaemonError::NotRunning { source, .. } => match source.kind() {
                ErrorKind::NotFound => "no such socket".to_owned(),
                ErrorKind::ConnectionRefused => "nobody listens there any more".to_owned(),
                _ => source.to_string(),
            },
            other => other.to_string(),
        };
        format!("{} ({why})", path.display())
    });
    let tried = tried.collect::<Vec<_>>().join(", nor at ");
    CtlError::system(format!(
        "no mpserverd answers at {tried}; start one with `mpserverd`, name its socket with --socket, \
         or ask `mpctl doctor`"
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
    match connection.call(request, &[], Some(Instant::now() + limit)) {
        Ok((reply, _)) => Ok(reply),
        Err(error) if is_older(&error) => Err(older(connection.path())),
        Err(error) => Err(error.into()),
    }
}

/// The daemon could not read what it was asked, so it is of a time before that could be asked.
pub(super) fn is_older(error: &mp::DaemonError) -> bool {
    matches!(error, mp::DaemonError::Refused(mp::Refusal::BadRequest(why))
        if why.starts_with("malformed request"))
}

/// What to do about an older daemon.
pub(super) fn older(socket: &Path) -> CtlError {
    let is = match Connection::open(socket, None).and_then(|mut c| {
        c.call(&Request::Ping, &[], Some(Instant::now() + ANSWER)).map(|(reply, _)| reply)
    }) {
        Ok(Reply::Pong(pong)) => format!(" (mpserverd {}, pid {})", pong.version, pong.pid),
        Ok(_) | Err(_) => String::new(),
    };
    CtlError::system(format!(
        "the daemon at {}{is} does not know this command of mpctl {}: it is older; restart it from \
         the program that mpctl came with",
        socket.display(),
        env!("CARGO_PKG_VERSION"),
    ))
}

/// Asks for workers, page after page, until all are there that the filter admits, or so many.
pub(super) fn processes(
    connection: &mut Connection,
    filter: &ProcessFilter,
    most: usize,
) -> Result<Processes, CtlError> {
    let mut found = Processes::default();
    let mut after = None;
    loop {
        let request = Request::Processes { after, limit: PROCESS_ROWS_MAX, filter: filter.clone() };
        let page = match ask(connection, &request)? {
            Reply::Processes(page) => page,
            other => return Err(CtlError::unexpected(&other)),
        };
        found.rows.extend(page.rows);
        found.total = page.total;
        found.cut = found.rows.len() > most;
        found.rows.truncate(most);
        match page.next {
            // A daemon that does not get on would be asked for ever.
            Some(next) if Some(next) > after && !found.cut => after = Some(next),
            _ => return Ok(found),
        }
    }
}

/// Workers of all pages.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// By id.
    pub(super) rows: Vec<ProcessRow>,
    /// How many there are, whatever was asked for.
    pub(super) total: u64,
    /// There are more than were wanted.
    pub(super) cut: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_there_names_the_socket_and_the_remedy() {
        let error = open(Some(Path::new("/no/such/socket"))).expect_err("nobody");
        let text = error.to_string();
        assert_eq!(error.code, 111);
        for part in ["/no/such/socket (no such socket)", "start one with `mpserverd`", "--socket"] {
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
