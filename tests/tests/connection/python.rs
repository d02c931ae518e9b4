//! CPython as the peer, in both roles: `multiprocessing.connection` of every version found here.

use super::LONG;
use mp::{Address, Client, Connection, ConnectionError, Family, Listener};
use mpserverd_tests::{parity, skip};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Each version of CPython from 3.8 on that works here, once.
fn interpreters() -> Vec<(&'static str, (u32, u32))> {
    let names = ["python3.14", "python3.13", "python3.12", "python3.11", "python3"];
    let mut found = Vec::new();
    for name in names {
        match parity::version(name) {
            Some(version) if found.iter().any(|(_, known)| *known == version) => {}
            Some(version) if version >= (3, 8) => found.push((name, version)),
            _ => skip(&format!("{name} is not here, or too old")),
        }
    }
    found
}

/// A peer that is CPython.
struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    #[allow(clippy::disallowed_methods, reason = "the peer is a program of its own")]
    fn start(python: &str, arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/connection/peer.py");
        let mut command = Command::new(python);
        command.arg(script).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.env("PYTHONDONTWRITEBYTECODE", "1").spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it says something").unwrap()
    }

    /// How it ended.
    fn end(mut self) -> String {
        let said = self.line();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hex(key: Option<&[u8]>) -> String {
    let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect();
    key.map_or_else(|| "none".to_owned(), hex)
}

fn address_of(text: &str) -> Address {
    match (text.strip_prefix('@'), text.rsplit_once(':')) {
        (Some(name), _) => format!("\0{name}").into(),
        (None, Some((host, port))) if !text.starts_with('/') => {
            (host, port.parse::<u16>().unwrap()).into()
        }
        _ => text.into(),
    }
}

/// Has every kind of message returned.
fn converse(connection: &Connection) {
    let message = (0..16u32 << 20).map(|at| ((at * 7) >> 3) as u8).collect::<Vec<_>>();
    let sizes = [0, 1, 2, 4096, (16 << 10) - 1, 16 << 10, (16 << 10) + 1, 16 << 20];
    for size in sizes {
        std::thread::scope(|scope| {
            scope.spawn(|| connection.send_bytes(&message[..size]).unwrap());
            let back = connection.recv_bytes_timeout(None, LONG).unwrap();
            assert!(back == message[..size], "{size} bytes");
        });
    }
}

/// Calls our listener as CPython; gives both outcomes.
fn called_by(
    python: &str,
    listener: &Listener,
    arguments: (&str, Option<&[u8]>, Option<&str>),
) -> (Result<Connection, ConnectionError>, Peer) {
    let (role, key, digest) = arguments;
    let address = match listener.address() {
        Address::Abstract(name) => format!("@{}", str::from_utf8(name).unwrap()),
        other => other.to_string(),
    };
    let key = hex(key);
    let arguments = [role, &address, &key].into_iter().chain(digest).collect::<Vec<_>>();
    let peer = Peer::start(python, &arguments);
    (listener.accept_timeout(LONG), peer)
}

fn listeners(key: Option<&[u8]>) -> Vec<Listener> {
    let name = format!("\0mps-python-{}-{:?}", std::process::id(), std::thread::current().id());
    let builders = [
        Listener::builder(),
        Listener::builder().address(name),
        Listener::builder().family(Family::Inet),
    ];
    let builders = builders.into_iter().map(|builder| match key {
        Some(key) => builder.authkey(key).handshake_timeout(LONG),
        None => builder,
    });
    builders.map(|builder| builder.bind().unwrap()).collect()
}

#[test]
fn clients_of_cpython_are_served_at_every_address() {
    for (python, version) in interpreters() {
        for key in [None, Some(&b"secret"[..])] {
            for listener in listeners(key) {
                let (server, peer) = called_by(python, &listener, ("client", key, None));
                let server = server.unwrap_or_else(|error| panic!("{version:?}: {error}"));
                converse(&server);
                drop(server);
                assert_eq!(peer.end(), "ok", "{version:?} {listener:?}");
            }
        }
    }
}

/// Calls a listener of CPython.
fn call(python: &str, family: &str, keys: [Option<&[u8]>; 2], digest: Option<&str>) -> Called {
    let [theirs, ours] = keys;
    let key = hex(theirs);
    let arguments = ["listen", family, &key].into_iter().chain(digest).collect::<Vec<_>>();
    let mut peer = Peer::start(python, &arguments);
    let address = address_of(&peer.line());
    let client = Client::builder(address).timeout(LONG).handshake_timeout(LONG);
    let client = match ours {
        Some(key) => client.authkey(key).connect(),
        None => client.connect(),
    };
    Called { client, peer }
}

struct Called {
    client: Result<Connection, ConnectionError>,
    peer: Peer,
}

#[test]
fn listeners_of_cpython_serve_us_at_every_address() {
    for (python, version) in interpreters() {
        for family in ["unix", "abstract", "inet"] {
            for key in [None, Some(&b"secret"[..])] {
                let Called { client, peer } = call(python, family, [key, key], None);
                let client = client.unwrap_or_else(|error| panic!("{version:?}: {error}"));
                converse(&client);
                drop(client);
                assert_eq!(peer.end(), "ok", "{version:?} {family}");
            }
        }
    }
}

fn is_wrong<T>(result: &Result<T, ConnectionError>) -> bool {
    matches!(result, Err(ConnectionError::Authentication(_)))
}

#[test]
fn a_wrong_key_is_an_error_on_both_sides() {
    for (python, version) in interpreters() {
        let listener = Listener::builder().authkey(b"right").handshake_timeout(LONG);
        let listener = listener.bind().unwrap();
        for _ in 0..2 {
            let wrong = ("client", Some(&b"wrong"[..]), None);
            let (server, peer) = called_by(python, &listener, wrong);
            assert!(is_wrong(&server), "{version:?}: {server:?}");
            assert_eq!(peer.end(), "AuthenticationError", "{version:?}");
        }
        let Called { client, peer } = call(python, "unix", [Some(b"right"), Some(b"wrong")], None);
        assert!(is_wrong(&client), "{version:?}: {client:?}");
        assert_eq!(peer.end(), "AuthenticationError", "{version:?}");
    }
}

/// The empty key is one: a listener of ours asks for it. (One of CPython 3.12 does not ask, which
/// its own client does not expect either.)
#[test]
fn the_empty_key_is_one() {
    for (python, version) in interpreters() {
        for listener in listeners(Some(b"")) {
            let (server, peer) = called_by(python, &listener, ("client", Some(b""), None));
            converse(&server.unwrap_or_else(|error| panic!("{version:?}: {error}")));
            assert_eq!(peer.end(), "ok", "{version:?}");
            let (server, peer) = called_by(python, &listener, ("client", Some(b"no"), None));
            assert!(is_wrong(&server));
            assert_eq!(peer.end(), "AuthenticationError", "{version:?}");
        }
    }
}

#[test]
fn every_digest_that_a_peer_asks_for_is_known() {
    let key = Some(&b"secret"[..]);
    let recent = interpreters().into_iter().filter(|(_, version)| *version >= (3, 12));
    for (python, version) in recent {
        for digest in ["md5", "sha256", "sha384", "sha3_256", "sha3_384"] {
            let Called { client, peer } = call(python, "unix", [key, key], Some(digest));
            drop(client.unwrap_or_else(|error| panic!("{version:?} {digest}: {error}")));
            assert_eq!(peer.end(), "ok", "{version:?} {digest}");
            let listener = Listener::builder().authkey(b"secret").handshake_timeout(LONG);
            let listener = listener.bind().unwrap();
            let (server, peer) = called_by(python, &listener, ("client", key, Some(digest)));
            drop(server.unwrap_or_else(|error| panic!("{version:?} {digest}: {error}")));
            assert_eq!(peer.end(), "ok", "{version:?} {digest}");
        }
    }
}

#[test]
fn the_long_form_of_a_header_is_read() {
    for (python, _) in interpreters() {
        let listener = Listener::builder().authkey(b"k").handshake_timeout(LONG).bind().unwrap();
        let (server, peer) = called_by(python, &listener, ("long", Some(b"k"), None));
        let server = server.unwrap();
        let body = server.recv_bytes_timeout(None, LONG).unwrap();
        assert_eq!(body, b"a long header before a short message");
        server.send_bytes(&body).unwrap();
        converse(&server);
        drop(server);
        assert_eq!(peer.end(), "ok");
    }
}

/// More than two gigabytes come and go.
#[test]
#[ignore = "long: 2 GiB there and back, in twice as much memory"]
fn a_message_of_more_than_two_gigabytes_comes_back() {
    for (python, version) in interpreters() {
        let listener = Listener::builder().bind().unwrap();
        let (server, peer) = called_by(python, &listener, ("client", None, None));
        let server = server.unwrap();
        let message = vec![9; (2 << 30) + 5];
        std::thread::scope(|scope| {
            scope.spawn(|| server.send_bytes(&message).unwrap());
            let back = server.recv_bytes_timeout(None, 10 * LONG).unwrap();
            assert!(back == message, "{version:?}");
        });
        drop(server);
        assert_eq!(peer.end(), "ok");
    }
}
