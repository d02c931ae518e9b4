//! Sockets that a supervisor passed in (`sd_listen_fds(3)`): which is which, and whether each is
//! what it must be. A wrong one is an error with its number, never ignored: the operator meant it.

use super::scrape::Socket;
use super::store;
use mp::sys::fd;
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

/// The first descriptor that a supervisor passes.
const FIRST: i32 = 3;
/// More than anybody means.
const SOCKETS_MAX: i32 = 16;
/// Name of the socket of those who read metrics.
const METRICS: &str = "metrics";
/// Name of the socket of clients, beside that of the socket unit.
const CLIENTS: &str = "mpserverd";

/// What is wrong with what the supervisor passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// A variable makes no sense.
    #[error("{variable} is `{value}`, which is no number of descriptors (sd_listen_fds(3))")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it is.
        value: String,
    },
    /// A descriptor is not open.
    #[error("the supervisor announced descriptor {0}, but it is not open")]
    Closed(i32),
    /// A descriptor is not a listening Unix stream socket.
    #[error(
        "descriptor {number} (`{name}`) is {what}; a listening Unix stream socket was expected: \
         use ListenStream= with a path, and no Accept="
    )]
    Kind {
        /// Which.
        number: i32,
        /// Its name.
        name: String,
        /// What it is.
        what: String,
    },
    /// A descriptor is nothing that metrics can be read from.
    #[error("descriptor {number} (`{name}`), for readers of metrics, is {what}")]
    ForMetrics {
        /// Which.
        number: i32,
        /// Its name.
        name: String,
        /// What it is.
        what: String,
    },
    /// More than one socket for readers of metrics.
    #[error("the supervisor passed {0} sockets with the name `metrics`, but there may be one")]
    SeveralForMetrics(usize),
    /// More than one socket for clients.
    #[error(
        "the supervisor passed {count} sockets ({}), but one is for clients: name one of them \
         with FileDescriptorName=mpserverd, and take the others away", .names.join(", ")
    )]
    TooMany {
        /// How many.
        count: usize,
        /// Their names.
        names: Vec<String>,
    },
}

/// The environment's part of it, so that tests need no environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Announced {
    pid: Option<String>,
    count: Option<String>,
    names: Option<String>,
}

impl Announced {
    fn here() -> Self {
        let variable = |name| std::env::var(name).ok();
        Self {
            pid: variable("LISTEN_PID"),
            count: variable("LISTEN_FDS"),
            names: variable("LISTEN_FDNAMES"),
        }
    }

    /// Numbers and names of what is meant for this process.
    fn descriptors(&self, own: u32) -> Result<Vec<(i32, String)>, ActivationError> {
        // Meant for somebody else, who forgot to clear it.
        if self.pid.as_deref().and_then(|pid| pid.parse().ok()) != Some(own) {
            return Ok(Vec::new());
        }
        let Some(count) = &self.count else { return Ok(Vec::new()) };
        let number = count.parse::<i32>().ok().filter(|count| (0..=SOCKETS_MAX).contains(count));
        let Some(number) = number else {
            let value = count.clone();
            return Err(ActivationError::Variable { variable: "LISTEN_FDS", value });
        };
        let mut names = self.names.as_deref().unwrap_or_default().split(':');
        let named = (FIRST..FIRST + number).map(|fd| {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown");
            (fd, name.to_owned())
        });
        Ok(named.collect())
    }
}

/// What was passed in.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// The socket for clients, and where it is bound.
    pub(super) socket: Option<(OwnedFd, Option<PathBuf>)>,
    /// What earlier daemons have left with the supervisor.
    pub(super) kept: Vec<OwnedFd>,
}

/// Takes what was passed in.
///
/// # Errors
/// [`ActivationError`] when there is something that should be the socket for clients and cannot be.
pub(super) fn passed() -> Result<Passed, ActivationError> {
    let descriptors = Announced::here().descriptors(std::process::id())?;
    let (kept, sockets): (Vec<_>, Vec<_>) =
        descriptors.into_iter().partition(|(_, name)| store::is_ours(name));
    let sockets = sockets.into_iter().filter(|(_, name)| name != METRICS).collect();
    let kept = kept.into_iter().map(|(number, _)| take(number)).collect::<Result<_, _>>()?;
    let Some((number, name)) = choose(sockets)? else { return Ok(Passed { socket: None, kept }) };
    let socket = take(number)?;
    check(&socket).map_err(|what| ActivationError::Kind { number, name, what })?;
    let path = bound_to(&socket);
    Ok(Passed { socket: Some((socket, path)), kept })
}

/// The socket for readers of metrics that was passed in, if one has that name.
///
/// # Errors
/// [`ActivationError`] when it cannot be it, or can be reached from elsewhere although metrics are
/// not public.
pub(super) fn metrics_socket(public: bool) -> Result<Option<Socket>, ActivationError> {
    let descriptors = Announced::here().descriptors(std::process::id())?;
    let mut named = descriptors.into_iter().filter(|(_, name)| name == METRICS);
    let Some((number, name)) = named.next() else { return Ok(None) };
    let more: Vec<_> = named.map(|(_, name)| name).collect();
    if !more.is_empty() {
        return Err(ActivationError::SeveralForMetrics(more.len() + 1));
    }
    let socket = take(number)?;
    let wrong = |what| ActivationError::ForMetrics { number, name: name.clone(), what };
    match (check_metrics(&socket, public), fd::set_nonblocking(socket.as_fd(), true)) {
        (Ok(true), Ok(())) => Ok(Some(Socket::Tcp(socket.into()))),
        (Ok(false), Ok(())) => Ok(Some(Socket::Unix(socket.into()))),
        (Err(what), _) => Err(wrong(what)),
        (_, Err(error)) => Err(wrong(error.to_string())),
    }
}

/// Whether it is a TCP socket; an error says why it cannot be it.
fn check_metrics(socket: &OwnedFd, public: bool) -> Result<bool, String> {
    let Ok(kind) = getsockopt(socket, sockopt::SockType) else {
        return Err("no socket".to_owned());
    };
    let address = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok();
    let ip = address.as_ref().and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    });
    let family = address.and_then(|address| address.family());
    if kind != SockType::Stream || !matches!(getsockopt(socket, sockopt::AcceptConn), Ok(true)) {
        return Err("no listening stream socket".to_owned());
    }
    match (family, ip) {
        (Some(AddressFamily::Unix), _) => Ok(false),
        (_, Some(ip)) if public || ip.to_canonical().is_loopback() => Ok(true),
        (_, Some(ip)) => Err(format!(
            "bound to {ip}, where others than this machine may read: say `metrics_public = true` \
             if that is meant"
        )),
        _ => Err("neither a Unix nor a TCP socket".to_owned()),
    }
}

/// Which one is for clients: the one of that name, or the only one there is.
fn choose(descriptors: Vec<(i32, String)>) -> Result<Option<(i32, String)>, ActivationError> {
    let named = descriptors.iter().filter(|(_, name)| name == CLIENTS).count();
    match (descriptors.len(), named) {
        (0, _) => Ok(None),
        (1, _) => Ok(descriptors.into_iter().next()),
        (_, 1) => Ok(descriptors.into_iter().find(|(_, name)| name == CLIENTS)),
        (count, _) => {
            let names = descriptors.into_iter().map(|(_, name)| name).collect();
            Err(ActivationError::TooMany { count, names })
        }
    }
}

#[allow(unsafe_code, reason = "a descriptor that is known by its number only")]
fn take(number: i32) -> Result<OwnedFd, ActivationError> {
    if !fd::is_open(number) {
        return Err(ActivationError::Closed(number));
    }
    // SAFETY: the supervisor opened it for this process (LISTEN_PID), and this is the only place
    // that takes it; it is called once.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    fd::duplicate_from(socket.as_fd(), FIRST).map_err(|_| ActivationError::Closed(number))
}

/// An error says what it is instead.
fn check(socket: &OwnedFd) -> Result<(), String> {
    let Ok(kind) = getsockopt(socket, sockopt::SockType) else {
        return Err("no socket".to_owned());
    };
    let family = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok().and_then(|a| a.family());
    if family != Some(AddressFamily::Unix) {
        let family = family.map_or_else(|| "unknown".to_owned(), |family| format!("{family:?}"));
        return Err(format!("a socket of the family {family}"));
    }
    if kind != SockType::Stream {
        return Err(format!("a Unix socket of the type {kind:?}"));
    }
    match getsockopt(socket, sockopt::AcceptConn) {
        Ok(true) => Ok(()),
        _ => Err("a Unix stream socket that does not listen".to_owned()),
    }
}

/// The path that clients know, if it has one.
fn bound_to(socket: &OwnedFd) -> Option<PathBuf> {
    let address = getsockname::<nix::sys::socket::UnixAddr>(socket.as_raw_fd()).ok()?;
    address.path().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(pid: &str, count: &str, names: &str) -> Announced {
        let some = |text: &str| Some(text.to_owned()).filter(|text| text != "-");
        Announced { pid: some(pid), count: some(count), names: some(names) }
    }

    #[test]
    fn what_is_meant_for_others_is_left_alone() {
        for (pid, count) in [("8", "1"), ("-", "1"), ("x", "1"), ("7", "-"), ("7", "0")] {
            assert_eq!(announced(pid, count, "a").descriptors(7), Ok(Vec::new()));
        }
    }

    #[test]
    fn a_count_that_is_none_is_refused() {
        for count in ["x", "-1", "", "17", "99999999999"] {
            let error = announced("7", count, "-").descriptors(7).unwrap_err();
            assert!(error.to_string().contains("LISTEN_FDS"), "{error}");
        }
    }

    #[test]
    fn the_named_one_is_for_clients() {
        let pick =
            |names: &str, count: &str| choose(announced("7", count, names).descriptors(7).unwrap());
        assert_eq!(pick("-", "1"), Ok(Some((3, "unknown".into()))));
        assert_eq!(pick("other", "1"), Ok(Some((3, "other".into()))));
        assert_eq!(pick("x:mpserverd", "2"), Ok(Some((4, "mpserverd".into()))));
        for names in ["x:y", "mpserverd:mpserverd", "-"] {
            let error = pick(names, "2").unwrap_err();
            assert!(error.to_string().contains("FileDescriptorName="), "{error}");
        }
    }

    #[test]
    fn only_a_listening_unix_stream_will_do() {
        use std::net::TcpListener;
        use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let good = OwnedFd::from(UnixListener::bind(&path).unwrap());
        assert_eq!(check(&good), Ok(()));
        assert_eq!(bound_to(&good), Some(path));
        let (connected, _other) = UnixStream::pair().unwrap();
        for (bad, words) in [
            (OwnedFd::from(connected), "does not listen"),
            (UnixDatagram::unbound().unwrap().into(), "Datagram"),
            (TcpListener::bind("127.0.0.1:0").unwrap().into(), "Inet"),
            (std::fs::File::open("/dev/null").unwrap().into(), "no socket"),
        ] {
            let what = check(&bad).unwrap_err();
            assert!(what.contains(words), "{what}");
        }
    }
}
