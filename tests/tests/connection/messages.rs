//! Messages between processes: `test_connection` and its relatives.

use super::{SHORT, is_eof, is_timeout, pipe};
use mp::{Connection, ConnectionError};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

suite![test_connection, test_duplex_false, test_values, test_spawn_close, test_eof_of_a_child];

/// What `_TestConnection._echo` is: it ends with an empty message.
#[mp::task]
fn echo(connection: Connection) {
    loop {
        let message = connection.recv_bytes(None).unwrap();
        if message.is_empty() {
            return;
        }
        connection.send_bytes(&message).unwrap();
    }
}

fn test_connection(ctx: &mp::Context) {
    let (ours, theirs) = pipe();
    let child = ctx.process::<echo>((theirs,)).daemon(true).start().unwrap();

    ours.send_bytes(b"hello").unwrap();
    assert_eq!(ours.recv_bytes(None).unwrap(), b"hello");

    ours.send_bytes(b"0123456789").unwrap();
    let mut buffer = [b'.'; 15];
    assert_eq!(ours.recv_bytes_into(&mut buffer, 0).unwrap(), 10);
    assert_eq!(&buffer, b"0123456789.....");
    ours.send_bytes(b"0123456789").unwrap();
    let mut buffer = [b'.'; 15];
    assert_eq!(ours.recv_bytes_into(&mut buffer, 3).unwrap(), 10);
    assert_eq!(&buffer, b"...0123456789..");

    let long = b"this is longer than the buffer";
    ours.send_bytes(long).unwrap();
    match ours.recv_bytes_into(&mut [0; 15], 0) {
        Err(ConnectionError::BufferTooShort(error)) => assert_eq!(error.0, long),
        other => panic!("{other:?}"),
    }

    assert!(!ours.poll(Some(Duration::ZERO)).unwrap());
    let start = Instant::now();
    assert!(!ours.poll(Some(SHORT)).unwrap());
    assert!(start.elapsed() >= SHORT);
    ours.send_bytes(&[0]).unwrap();
    assert!(ours.poll(Some(PATIENCE)).unwrap() && ours.poll(None).unwrap());
    assert_eq!(ours.recv_bytes(None).unwrap(), [0]);

    let huge = (0..16u32 << 20).map(|at| ((at * 31) >> 4) as u8).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        scope.spawn(|| ours.send_bytes(&huge).unwrap());
        assert!(ours.recv_bytes(None).unwrap() == huge, "16 MiB came back changed");
    });

    ours.send_bytes(b"").unwrap();
    assert_eq!(end(&child), 0);
    assert!(ours.poll(Some(Duration::ZERO)).unwrap(), "an end is readable");
    assert!(is_eof(&ours.recv_bytes(None)));
    assert!(matches!(ours.send_bytes(b"x"), Err(ConnectionError::BrokenPipe)));
}

#[mp::task]
fn serve_reader(reader: Connection) -> (Vec<u64>, bool, bool) {
    let mut seen = Vec::new();
    loop {
        match reader.recv::<u64>() {
            Ok(number) => seen.push(number),
            Err(ConnectionError::Eof) => return (seen, reader.readable(), reader.writable()),
            Err(error) => panic!("{error}"),
        }
    }
}

fn test_duplex_false(ctx: &mp::Context) {
    let (reader, writer) = mp::pipe(false).unwrap();
    assert!(reader.readable() && !reader.writable());
    assert!(!writer.readable() && writer.writable());
    for wrong in [writer.recv_bytes(None).map(drop), writer.poll(None).map(drop)] {
        let told = matches!(wrong, Err(ConnectionError::WrongDirection { is: "write-only" }));
        assert!(told, "{wrong:?}");
    }
    for wrong in [reader.send_bytes(b""), reader.send(&1), reader.send_bytes_range(b"", 9, None)] {
        let told = matches!(wrong, Err(ConnectionError::WrongDirection { is: "read-only" }));
        assert!(told, "{wrong:?}");
    }
    let child = ctx.process::<serve_reader>((reader,)).start().unwrap();
    (0..100u64).for_each(|number| writer.send(&number).unwrap());
    drop(writer);
    let (seen, readable, writable) = outcome(&child).unwrap();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert!(readable && !writable, "directions travel");
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Thing {
    Nothing,
    Named { name: String, parts: Vec<Thing> },
    Table(BTreeMap<u8, Option<i128>>),
}

#[mp::task]
fn return_things(connection: Connection) {
    while let Ok(thing) = connection.recv::<Thing>() {
        connection.send(&thing).unwrap();
    }
}

fn test_values(ctx: &mp::Context) {
    let (ours, theirs) = pipe();
    let child = ctx.process::<return_things>((theirs,)).start().unwrap();
    let table = Thing::Table([(1, None), (2, Some(i128::MIN))].into());
    let named = Thing::Named { name: "ä".into(), parts: vec![Thing::Nothing, table] };
    for thing in [Thing::Nothing, named] {
        ours.send(&thing).unwrap();
        assert_eq!(ours.recv_timeout::<Thing>(PATIENCE).unwrap(), thing);
    }
    drop(ours);
    assert_eq!(end(&child), 0);
}

#[mp::task]
fn say_hello(connection: Connection) {
    connection.send_bytes(b"hello").unwrap();
}

/// What was sent before the sender ended is still there, and then the end.
fn test_spawn_close(ctx: &mp::Context) {
    let (ours, theirs) = pipe();
    let child = ctx.process::<say_hello>((theirs,)).start().unwrap();
    assert_eq!(end(&child), 0);
    assert_eq!(ours.recv_bytes_timeout(None, PATIENCE).unwrap(), b"hello");
    assert!(is_eof(&ours.recv_bytes_timeout(None, PATIENCE)));
    assert!(is_eof(&ours.recv_bytes(None)), "again");
}

#[mp::task]
fn half_a_message(connection: Connection) {
    use std::io::Write;
    let fd = connection.into_fd().unwrap();
    let mut stream = std::os::unix::net::UnixStream::from(fd);
    stream.write_all(b"\0\0\0\x0512").unwrap();
}

fn test_eof_of_a_child(ctx: &mp::Context) {
    let (ours, theirs) = pipe();
    let child = ctx.process::<half_a_message>((theirs,)).start().unwrap();
    assert_eq!(end(&child), 0);
    let cut = ours.recv_bytes(None);
    assert!(matches!(cut, Err(ConnectionError::EofInMessage)), "{cut:?}");
}

#[mp::task]
fn take_a_connection(connection: Connection) -> String {
    let inner = connection.recv::<Connection>().unwrap();
    inner.recv().unwrap()
}

/// A connection is a message on another, `test_pickling_connection`.
#[test]
fn test_pickling_connection() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let (ours, theirs) = pipe();
    let child = ctx.process::<take_a_connection>((theirs,)).start().unwrap();
    let (near, far) = pipe();
    ours.send(&far).unwrap();
    drop(far);
    near.send("through two connections").unwrap();
    assert_eq!(outcome(&child).unwrap(), "through two connections");
    assert!(is_eof(&near.recv_timeout::<u8>(PATIENCE)));
}

#[mp::task]
fn serialise(connection: Connection) -> String {
    serde_json::to_string(&connection).unwrap_err().to_string()
}

#[test]
fn outside_a_journey_a_connection_is_no_value() {
    let (ours, _theirs) = pipe();
    let said = "a `Connection` can only be shared with another process";
    let here = serde_json::to_string(&ours).unwrap_err().to_string();
    assert!(here.starts_with(said), "{here}");
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let there = value(ctx.process::<serialise>((ours,)));
    assert!(there.starts_with(said), "{there}");
}

#[test]
fn a_timed_receive_waits_as_long_as_it_is_told() {
    let (ours, _theirs) = pipe();
    for _ in 0..3 {
        let start = Instant::now();
        assert!(is_timeout(&ours.recv_timeout::<u8>(SHORT)));
        assert!(start.elapsed() >= SHORT);
    }
    assert!(is_timeout(&ours.recv_bytes_timeout(None, Duration::ZERO)));
    assert!(is_timeout(&ours.recv_bytes_into_timeout(&mut [0], 0, Duration::ZERO)));
}

#[test]
fn absurd_times_are_for_ever() {
    let (ours, theirs) = pipe();
    theirs.send(&1u8).unwrap();
    assert!(ours.poll(Some(Duration::MAX)).unwrap());
    assert_eq!(ours.recv_timeout::<u8>(Duration::MAX).unwrap(), 1);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(ours.recv_timeout::<u8>(Duration::MAX).unwrap(), 2));
        std::thread::sleep(SHORT);
        theirs.send_timeout(&2u8, Duration::MAX).unwrap();
    });
}
