//! `ping`, `metrics`, `kill`, `reload` and `stop`: short words to the daemon.

use super::error::CtlError;
use super::screen::Screen;
use super::{connect, units};
use crate::cli::mpctl::{Kill, Stop};
use mp::daemon::Connection;
use mpserverd_proto::client::{Pong, Reloaded, Reply, Request, WorkerRef};
use mpserverd_proto::ids::RequestId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// New templates load everything before the daemon answers; their own time limits are shorter.
const RELOAD: Duration = Duration::from_secs(600);
/// The grace of a daemon that is stopped without one; a configured one is rarely longer.
const GRACE: Duration = Duration::from_secs(120);
/// What a daemon may take beyond its grace, to kill and to clean up.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// Between two looks for the socket's file.
const LOOK: Duration = Duration::from_millis(10);

/// `mpctl ping`.
pub(super) fn ping(socket: Option<&Path>, screen: &Screen) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    let begun = Instant::now();
    let pong = pong(&mut connection)?;
    let took = begun.elapsed();
    let path = connection.path().display().to_string();
    let report = json!({
        "version": pong.version, "pid": pong.pid, "uptime_ms": pong.uptime_ms,
        "socket": path, "round_trip_us": took.as_micros() as u64,
    });
    screen.show(&report, || {
        let Pong { version, pid, uptime_ms } = &pong;
        let (took, up) = (units::span(took), units::age(*uptime_ms));
        format!("mpserverd {version} (pid {pid}) at {path}: {took}, up {up}\n")
    })
}

fn pong(connection: &mut Connection) -> Result<Pong, CtlError> {
    match connect::ask(connection, &Request::Ping)? {
        Reply::Pong(pong) => Ok(pong),
        other => Err(CtlError::unexpected(&other)),
    }
}

/// `mpctl metrics`. For programs, the text is a string of a JSON document.
pub(super) fn metrics(socket: Option<&Path>, screen: &Screen) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    match connect::ask(&mut connection, &Request::Metrics)? {
        Reply::Metrics(text) => {
            let report = json!({ "content_type": crate::metrics::CONTENT_TYPE, "text": text });
            screen.show(&report, || text)
        }
        other => Err(CtlError::unexpected(&other)),
    }
}

/// `mpctl kill`.
pub(super) fn kill(socket: Option<&Path>, screen: &Screen, options: &Kill) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    let request = Request::Kill { worker: options.worker, signal: options.signal.0 };
    match connect::ask(&mut connection, &request)? {
        Reply::Done => {}
        other => return Err(CtlError::unexpected(&other)),
    }
    let worker = match options.worker {
        WorkerRef::Id(id) => json!(id.to_string()),
        WorkerRef::Pid(pid) => json!(pid),
    };
    let report = json!({ "worker": worker, "signal": options.signal.0, "sent": true });
    screen.show(&report, String::new)
}

/// `mpctl reload`.
pub(super) fn reload(socket: Option<&Path>, screen: &Screen) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    match connect::ask_within(&mut connection, &Request::Reload, RELOAD)? {
        Reply::Reloaded(reloaded) => {
            if !screen.json {
                for warning in &reloaded.warnings {
                    let _ = writeln!(std::io::stderr(), "mpctl: warning: {warning}");
                }
            }
            screen.show(&reloaded, || reload_text(&reloaded))
        }
        other => Err(CtlError::unexpected(&other)),
    }
}

fn reload_text(reloaded: &Reloaded) -> String {
    let Reloaded { generation, templates, .. } = reloaded;
    match templates.as_slice() {
        [] => format!("generation {generation}: no template had to be built\n"),
        names => format!("generation {generation}: switched to {}\n", names.join(", ")),
    }
}

/// `mpctl stop`: returns once the daemon is gone.
pub(super) fn stop(socket: Option<&Path>, screen: &Screen, options: &Stop) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    let path = connection.path().to_owned();
    let pid = pong(&mut connection)?.pid;
    // Before it is asked: afterwards the number may be anybody's.
    let process = mp::sys::wait::pidfd_open(pid).ok();
    let begun = Instant::now();
    let deadline = begun + options.grace.unwrap_or(GRACE).min(RELOAD * 144) + STOP_MARGIN;
    let grace_ms = options.grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    let request = Request::Stop { policy: options.policy, grace_ms };
    let late = || {
        CtlError::system(format!(
            "the daemon (pid {pid}) still runs after {}: see `mpctl ps` for what it waits for, or \
             use `mpctl stop --policy kill`",
            units::span(begun.elapsed())
        ))
    };
    match connection.call(&request, &[], Some(deadline)) {
        Ok((Reply::Done, _)) => wait_for_hangup(&mut connection, deadline).ok_or_else(late)?,
        Ok((other, _)) => return Err(CtlError::unexpected(&other)),
        // It hung up without an answer: gone already.
        Err(error) if error.is_absence() => {}
        Err(mp::DaemonError::Timeout(_)) => return Err(late()),
        Err(error) => return Err(error.into()),
    }
    wait_for_end(process, &path, deadline).ok_or_else(late)?;
    let took = begun.elapsed();
    let report = json!({ "stopped": true, "pid": pid, "took_ms": took.as_millis() as u64 });
    screen.show(&report, || format!("mpserverd (pid {pid}) has stopped\n"))
}

/// Waits for an answer that never comes: what ends the wait is the end of the connection.
fn wait_for_hangup(connection: &mut Connection, deadline: Instant) -> Option<()> {
    match connection.wait(RequestId(u64::MAX), Some(deadline)) {
        Err(mp::DaemonError::Timeout(_)) => None,
        _ => Some(()),
    }
}

/// Waits until the process has ended or, where nobody can see it, the socket's file is gone. (A
/// socket of systemd stays.)
fn wait_for_end(process: Option<OwnedFd>, path: &Path, deadline: Instant) -> Option<()> {
    while Instant::now() < deadline {
        let ended = process.as_ref().is_some_and(|process| {
            let mut source = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            poll(&mut source, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        });
        let ended = ended || (process.is_none() && !path.exists());
        if ended {
            return Some(());
        }
        match &process {
            Some(process) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                let _ = poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], left);
            }
            None => std::thread::sleep(LOOK),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reload_did() {
        let mut reloaded = Reloaded { generation: 3, ..Reloaded::default() };
        assert_eq!(reload_text(&reloaded), "generation 3: no template had to be built\n");
        reloaded.templates = vec!["a".into(), "b".into()];
        assert_eq!(reload_text(&reloaded), "generation 3: switched to a, b\n");
    }

    #[test]
    fn the_end_of_a_process_or_of_its_socket() {
        let folder = tempfile::tempdir().expect("folder");
        let soon = || Instant::now() + Duration::from_millis(30);
        let alive = mp::sys::wait::pidfd_open(std::process::id()).expect("pidfd");
        assert_eq!(wait_for_end(Some(alive), &folder.path().join("none"), soon()), None);
        assert_eq!(wait_for_end(None, folder.path(), soon()), None);
        assert_eq!(wait_for_end(None, &folder.path().join("none"), soon()), Some(()));
    }
}
