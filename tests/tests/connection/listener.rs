//! Listeners: where they are, what they leave behind, and how they are closed.

use super::{LONG, SHORT, is_closed, is_eof, is_timeout};
use mp::{Address, Client, ConnectionError, Family, Listener};
use mpserverd_tests::eventually;
use mpserverd_tests::suite::{PATIENCE, outcome};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls a listener and has a word with it.
fn converse(listener: &Listener, key: Option<&[u8]>) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = Client::connect(listener.address(), key).unwrap();
            client.send(&client.recv::<u64>().unwrap()).unwrap();
        });
        let server = listener.accept_timeout(LONG).unwrap();
        server.send(&7u64).unwrap();
        assert_eq!(server.recv_timeout::<u64>(LONG).unwrap(), 7);
    });
}

#[test]
fn every_kind_of_address_works_with_and_without_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let name = format!("\0mps-test-{}", std::process::id());
    for key in [None, Some(&b""[..]), Some(b"secret"), Some(&[0xff; 300])] {
        let path = directory.path().join("socket");
        let addresses: [Address; 5] = [
            path.into(),
            name.as_str().into(),
            ("127.0.0.1", 0).into(),
            ("localhost", 0).into(),
            ("::1", 0).into(),
        ];
        for address in addresses {
            let listener = match Listener::bind(&address, key) {
                // A machine without the sixth version of the protocol.
                Err(ConnectionError::Bind { .. }) if address == ("::1", 0).into() => continue,
                bound => bound.unwrap(),
            };
            assert_eq!(listener.last_accepted(), None);
            converse(&listener, key);
            let caller = listener.last_accepted();
            match listener.address() {
                Address::Tcp(_, port) => {
                    assert!(*port != 0 && matches!(caller, Some(Address::Tcp(_, 1..))));
                }
                same => assert_eq!((same, caller), (&address, Some(Address::Unnamed))),
            }
        }
        assert_eq!(directory.path().read_dir().unwrap().count(), 0, "files are removed");
    }
}

#[test]
fn an_address_of_its_own_is_in_a_directory_that_others_cannot_enter() {
    let listener = Listener::builder().authkey(b"k").bind().unwrap();
    let Address::Path(path) = listener.address().clone() else { panic!("{listener:?}") };
    let directory = path.parent().unwrap();
    let mode = directory.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    converse(&listener, Some(b"k"));
    listener.close();
    assert!(!directory.exists());
    let listener = Listener::builder().family(Family::Inet).bind().unwrap();
    assert!(matches!(listener.address(), Address::Tcp(_, 1..)));
    converse(&listener, None);
}

#[mp::task]
fn listen_in_a_long_directory() -> usize {
    let listener = Listener::builder().bind().unwrap();
    converse(&listener, None);
    let Address::Path(path) = listener.address() else { panic!("{listener:?}") };
    path.as_os_str().len()
}

#[test]
fn paths_longer_than_any_socket_address_work() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("x".repeat(200)).join("y".repeat(200));
    std::fs::create_dir_all(&long).unwrap();
    let path = long.join("socket");
    let listener = Listener::bind(&path, Some(b"k")).unwrap();
    assert_eq!(listener.address(), &Address::from(&path));
    converse(&listener, Some(b"k"));
    drop(listener);
    assert!(!path.exists());
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let child = spawn.process::<listen_in_a_long_directory>(()).env("TMPDIR", &long);
    let child = child.start().unwrap();
    assert!(outcome(&child).unwrap() > 400);
    assert_eq!(long.read_dir().unwrap().count(), 0);
}

#[test]
fn what_cannot_be_bound_or_reached_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("taken");
    std::fs::write(&path, "").unwrap();
    let taken = Listener::bind(&path, None).unwrap_err();
    assert!(taken.to_string().starts_with(&path.display().to_string()), "{taken}");
    assert_eq!(std::io::Error::from(taken).kind(), std::io::ErrorKind::AddrInUse);
    assert!(path.exists(), "what is not its own it does not remove");
    let connect = |path: &Path| Client::connect(path, None).unwrap_err();
    let kind = |error| std::io::Error::from(error).kind();
    let missing = connect(&directory.path().join("missing"));
    assert!(matches!(missing, ConnectionError::Connect { .. }), "{missing:?}");
    assert_eq!(kind(missing), std::io::ErrorKind::NotFound);
    assert_eq!(kind(connect(&path)), std::io::ErrorKind::ConnectionRefused);
    let long = directory.path().join("z".repeat(120));
    assert_eq!(kind(connect(&long)), std::io::ErrorKind::InvalidInput);
    let pipe = Listener::bind(r"\\.\pipe\x", None);
    assert!(matches!(pipe, Err(ConnectionError::Bind { .. })), "{pipe:?}");
}

#[test]
fn a_file_that_took_its_place_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let first = Listener::bind(&path, None).unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = Listener::bind(&path, None).unwrap();
    drop(first);
    converse(&second, None);
}

#[test]
fn closing_wakes_who_waits_and_hangs_up_on_who_is_in_the_queue() {
    let listener = Listener::builder().bind().unwrap();
    let address = listener.address().clone();
    std::thread::scope(|scope| {
        let waiting = (0..3).map(|_| scope.spawn(|| listener.accept())).collect::<Vec<_>>();
        std::thread::sleep(SHORT);
        listener.close();
        for thread in waiting {
            assert!(is_closed(&thread.join().unwrap()));
        }
    });
    listener.close();
    assert!(is_closed(&listener.accept()) && is_closed(&listener.accept_timeout(SHORT)));
    assert!(is_closed(&listener.accept_incoming()));
    assert!(Client::connect(&address, None).is_err());

    let listener = Listener::builder().bind().unwrap();
    let queued = Client::connect(listener.address(), None).unwrap();
    listener.close();
    assert!(is_eof(&queued.recv_timeout::<u8>(LONG)));
}

#[test]
fn accepting_waits_no_longer_than_told() {
    let listener = Listener::builder().authkey(b"k").bind().unwrap();
    let start = Instant::now();
    assert!(is_timeout(&listener.accept_timeout(SHORT)));
    assert!(is_timeout(&listener.accept_incoming_timeout(SHORT)));
    assert!(start.elapsed() >= 2 * SHORT);
    assert!(is_timeout(&listener.accept_timeout(Duration::ZERO)));
}

#[test]
fn calling_waits_no_longer_than_told() {
    let listener = Listener::builder().backlog(0).bind().unwrap();
    // Room for one.
    let _queued = Client::connect(listener.address(), None).unwrap();
    let start = Instant::now();
    let late = Client::builder(listener.address()).timeout(5 * SHORT).connect();
    assert!(is_timeout(&late), "{late:?}");
    assert!(start.elapsed() >= 5 * SHORT);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            Client::builder(listener.address()).timeout(PATIENCE).connect().unwrap().send(&1)
        });
        assert!(eventually(PATIENCE, || {
            let _ = listener.accept_timeout(SHORT);
            waits.is_finished()
        }));
        let _ = waits.join().unwrap();
    });
}

/// Serves until a client says that it is the last one.
#[mp::task]
fn accept_here(listener: Listener, name: String) -> u32 {
    let mut served = 0;
    loop {
        let connection = listener.accept_timeout(PATIENCE).unwrap();
        connection.send(&name).unwrap();
        if connection.recv_timeout::<bool>(PATIENCE).unwrap() {
            return served;
        }
        served += 1;
    }
}

#[test]
fn several_processes_accept_on_one_listener() {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let listener = Listener::builder().family(Family::Inet).authkey(b"k").bind().unwrap();
    let address = listener.address().clone();
    let (a, b) = super::pipe();
    a.send(&listener).unwrap();
    let copy = b.recv::<Listener>().unwrap();
    assert_eq!(copy.address(), &address);
    let children = [listener, copy].map(|listener| {
        spawn.process::<accept_here>((listener, "worker".to_owned())).start().unwrap()
    });
    // The last two are for one of them each.
    for client in 0..22 {
        let connection = Client::connect(&address, Some(b"k")).unwrap();
        assert_eq!(connection.recv_timeout::<String>(PATIENCE).unwrap(), "worker");
        connection.send(&(client >= 20)).unwrap();
    }
    let served = children.iter().map(|child| outcome(child).unwrap()).sum::<u32>();
    assert_eq!(served, 20);
}

#[mp::task]
fn fork_with_a_listener() {
    let listener = Listener::builder().bind().unwrap();
    let Address::Path(path) = listener.address().clone() else { panic!("{listener:?}") };
    let listener = std::sync::Arc::new(listener);
    let copy = listener.clone();
    let fork = mp::get_context(mp::StartMethod::Fork);
    let child = fork.process_fn(move || copy.close()).start().unwrap();
    assert_eq!(mpserverd_tests::suite::end(&child), 0);
    assert!(path.exists(), "a fork's copy is not the owner");
    converse(&listener, None);
    listener.close();
    assert!(!path.exists());
}

#[test]
fn a_fork_removes_nothing() {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    mpserverd_tests::suite::passed(spawn.process::<fork_with_a_listener>(()));
}
