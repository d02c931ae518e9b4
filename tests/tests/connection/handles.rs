//! Handles in messages: `test_fd_transfer` and its relatives.

use super::{LONG, SHORT, against_bytes, ends, frame, open_descriptors, pipe};
use mp::{Connection, ConnectionError, Passed, SharedFd};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, outcome, passed};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

suite![test_fd_transfer, test_large_fd_transfer, test_missing_fd_transfer, test_nested_handles];

#[mp::task]
fn write_to_received(connection: Connection) -> i32 {
    let file = connection.recv::<Passed<File>>().unwrap();
    file.write_all_at(b"foo", 0).unwrap();
    file.as_raw_fd()
}

fn scratch() -> File {
    tempfile::tempfile().unwrap()
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn test_fd_transfer(ctx: &mp::Context) {
    let (ours, theirs) = pipe();
    let child = ctx.process::<write_to_received>((theirs,)).start().unwrap();
    let file = scratch();
    ours.send(&Passed(file.try_clone().unwrap())).unwrap();
    assert!(outcome(&child).unwrap() > 2);
    assert_eq!(contents(&file), b"foo");
}

/// Receives with all numbers below 300 taken, so that the descriptor has a higher one.
#[mp::task]
fn write_to_a_high_one(connection: Connection) -> i32 {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let null = File::open("/dev/null").unwrap();
    let mut taken = vec![null.try_clone().unwrap()];
    while taken.last().unwrap().as_raw_fd() < 300 {
        taken.push(null.try_clone().unwrap());
    }
    let file = connection.recv::<Passed<File>>().unwrap();
    file.write_all_at(b"bar", 0).unwrap();
    file.as_raw_fd()
}

fn test_large_fd_transfer(ctx: &mp::Context) {
    let (ours, theirs) = pipe();
    let child = ctx.process::<write_to_a_high_one>((theirs,)).start().unwrap();
    let file = scratch();
    ours.send(&Passed(file.try_clone().unwrap())).unwrap();
    assert!(outcome(&child).unwrap() > 256);
    assert_eq!(contents(&file), b"bar");
}

/// Sends what says that a descriptor comes along, which does not.
#[mp::task]
fn send_without_descriptor(connection: Connection) {
    connection.send_bytes(b"MP\x01\0\x01\0\0\0\0\0").unwrap();
    connection.send("after it").unwrap();
}

fn test_missing_fd_transfer(ctx: &mp::Context) {
    let (ours, theirs) = pipe();
    let child = ctx.process::<send_without_descriptor>((theirs,)).start().unwrap();
    let missing = ours.recv_timeout::<SharedFd>(PATIENCE);
    let told =
        matches!(missing, Err(ConnectionError::DescriptorsMissing { announced: 1, came: 0 }));
    assert!(told, "{missing:?}");
    assert_eq!(ours.recv_timeout::<String>(PATIENCE).unwrap(), "after it");
    assert_eq!(end(&child), 0);
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Parts {
    name: String,
    lock: mp::Lock,
    lines: Vec<Connection>,
    #[serde(with = "mp::handles::fd")]
    stream: UnixStream,
    listener: mp::Listener,
    same: (SharedFd, SharedFd),
}

#[mp::task]
fn use_parts(connection: Connection) {
    let mut parts = connection.recv::<Parts>().unwrap();
    assert_eq!(parts.lines.len(), 10);
    for (at, line) in parts.lines.iter().enumerate() {
        line.send(&(at, &parts.name)).unwrap();
    }
    parts.stream.write_all(b"raw").unwrap();
    assert!(parts.lock.locked());
    parts.lock.release().unwrap();
    let number = |fd: &SharedFd| fd.as_fd().as_raw_fd();
    assert_eq!(number(&parts.same.0), number(&parts.same.1), "one descriptor, however often");
    parts.listener.accept().unwrap().send("accepted elsewhere").unwrap();
}

fn test_nested_handles(ctx: &mp::Context) {
    let (ours, theirs) = pipe();
    let child = ctx.process::<use_parts>((theirs,)).start().unwrap();
    let (near, far): (Vec<_>, Vec<_>) = (0..10).map(|_| pipe()).unzip();
    let (mut stream, other) = UnixStream::pair().unwrap();
    let listener = mp::Listener::builder().authkey(b"k").bind().unwrap();
    let address = listener.address().clone();
    let lock = mp::Lock::new().unwrap();
    assert!(lock.acquire(true, None).is_held());
    let one = SharedFd::from(File::open("/dev/null").unwrap());
    let parts = Parts {
        name: "ten".into(),
        lock: lock.clone(),
        lines: far,
        stream: other,
        listener,
        same: (one.clone(), one),
    };
    ours.send(&parts).unwrap();
    let client = mp::Client::connect(&address, Some(b"k")).unwrap();
    assert_eq!(client.recv_timeout::<String>(PATIENCE).unwrap(), "accepted elsewhere");
    for (at, line) in near.iter().enumerate() {
        assert_eq!(line.recv_timeout::<(usize, String)>(PATIENCE).unwrap(), (at, "ten".into()));
    }
    let mut raw = [0; 3];
    stream.read_exact(&mut raw).unwrap();
    assert_eq!(&raw, b"raw");
    assert!(lock.acquire(true, Some(PATIENCE)).is_held());
    let mp::Address::Path(path) = &address else { panic!("{address}") };
    assert_eq!(end(&child), 0);
    assert!(path.exists(), "who got it does not remove its file");
    drop(parts);
    assert!(!path.exists());
}

/// So many descriptors of one file.
fn copies(of: &impl AsFd, number: usize) -> Vec<SharedFd> {
    (0..number).map(|_| of.as_fd().try_clone_to_owned().unwrap().into()).collect()
}

#[mp::task]
fn pass_many() {
    assert!(mp::sys::attributes::raise_descriptor_limit().unwrap() > 3000);
    let (a, b) = pipe();
    for number in [1, 252, 253, 254, 506, 507, 1300] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let sent = copies(&writer, number);
        a.send(&("many", &sent)).unwrap();
        a.send(&"next").unwrap();
        drop((writer, sent));
        let (_, got) = b.recv_timeout::<(String, Vec<SharedFd>)>(LONG).unwrap();
        assert_eq!(got.len(), number);
        assert_eq!(b.recv_timeout::<String>(LONG).unwrap(), "next");
        drop(got);
        assert!(ends(&mut reader), "{number}");
    }
    let before = open_descriptors();
    let (mut reader, writer) = std::io::pipe().unwrap();
    for _ in 0..5 {
        a.send(&copies(&writer, 300)).unwrap();
        b.recv_bytes(None).unwrap();
    }
    drop(writer);
    assert!(ends(&mut reader), "those of a message that is taken as bytes are closed");
    drop(reader);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn many_descriptors_are_split_over_several_calls() {
    passed(mp::get_context(mp::StartMethod::Spawn).process::<pass_many>(()));
}

#[test]
fn over_tcp_and_pipes_no_handle_travels_and_nothing_is_sent() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let near = Connection::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let far = Connection::from(listener.accept().unwrap().0);
    let (reader, writer) = std::io::pipe().unwrap();
    let (reader, writer) = (Connection::from(reader), Connection::from(writer));
    for (sender, receiver) in [(near, far), (writer, reader)] {
        let refused = sender.send(&(1, copies(&std::io::stdin(), 2)));
        let told = matches!(refused, Err(ConnectionError::NoDescriptorsHere { count: 2, .. }));
        assert!(told, "{refused:?}");
        assert!(!receiver.poll(Some(SHORT)).unwrap());
        sender.send(&"without").unwrap();
        assert_eq!(receiver.recv::<String>().unwrap(), "without");
    }
}

#[test]
fn a_timed_send_carries_handles_too() {
    let (a, b) = pipe();
    let file = scratch();
    a.send_timeout(&Passed(file.try_clone().unwrap()), LONG).unwrap();
    let got = b.recv_timeout::<Passed<File>>(LONG).unwrap();
    got.write_all_at(b"timed", 0).unwrap();
    assert_eq!(contents(&file), b"timed");
}

/// Descriptors that nobody announced, before a message and within it, and more than any may have.
#[mp::task]
fn receive_floods() {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let before = open_descriptors();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (ours, peer) = against_bytes();
    let flood = vec![writer.as_fd(); 253];
    let send = |bytes: &[u8]| {
        assert_eq!(mp::sys::scm::send(peer.as_fd(), &[bytes], &flood, false).unwrap(), bytes.len());
    };
    // With every byte of a value that has none.
    let value = frame(b"MP\x01\0\0\0\0\0x");
    value.iter().for_each(|byte| send(&[*byte]));
    assert_eq!(ours.recv_timeout::<u8>(LONG).unwrap(), b'x');
    // Within a message that is taken as bytes.
    value.iter().for_each(|byte| send(&[*byte]));
    assert_eq!(ours.recv_bytes_timeout(None, LONG).unwrap().len(), 9);
    // In a part of one that never ends, received again and again.
    for _ in 0..30 {
        send(&1000u32.to_be_bytes());
        assert!(ours.recv_timeout::<u8>(SHORT / 10).is_err());
        assert!(open_descriptors() < before + 4096 + 600);
    }
    drop((writer, ours, peer));
    assert!(ends(&mut reader));
    drop(reader);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_flood_of_descriptors_is_closed() {
    passed(mp::get_context(mp::StartMethod::Spawn).process::<receive_floods>(()));
}

#[test]
fn a_descriptor_that_is_no_stream_is_no_connection() {
    let (a, b) = pipe();
    let socket = std::os::unix::net::UnixDatagram::pair().unwrap().0;
    a.send(&(Passed(socket), 3u8)).unwrap();
    let refused = b.recv::<Connection>().map(drop);
    assert!(matches!(refused, Err(ConnectionError::Codec(_))), "{refused:?}");
    a.send(&(Passed(File::open("/dev/null").unwrap()), (), None::<()>, None::<()>)).unwrap();
    assert!(b.recv::<mp::Listener>().is_err());
}
