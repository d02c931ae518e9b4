//! Connections, listeners and `wait`, as connection.py tries them.

use mp::{Client, Connection, ConnectionError, Family, Listener, Waitable};
use mpserverd_tests::parity::{Difference, alone, compare};
use mpserverd_tests::suite::PATIENCE;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

const DIFFERENCES: [Difference; 4] = [
    Difference {
        name: "received_from_who_left_something_unread",
        theirs: "ConnectionResetError",
        ours: "EOFError",
        why: "the peer is gone, and whether it had read everything is nothing that it did",
    },
    Difference {
        name: "a_length_below_zero",
        theirs: "nothing",
        ours: "OSError",
        why: "what is no length is no empty message either: the stream is out of step",
    },
    Difference {
        name: "a_long_path",
        theirs: "OSError",
        ours: "works",
        why: "a path may be longer than a socket address (#132124, #140734)",
    },
    Difference {
        name: "accept_of_a_silent_client",
        theirs: "hangs",
        ours: "ends",
        why: "a handshake has a deadline",
    },
];

type Outcomes = Vec<(&'static str, String)>;

fn truth(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

fn text(message: impl AsRef<[u8]>) -> String {
    match message.as_ref() {
        [] => "nothing".to_owned(),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// An error by the name of its counterpart.
fn name(error: &ConnectionError) -> String {
    let name = match error {
        ConnectionError::Eof => "EOFError",
        ConnectionError::BrokenPipe => "BrokenPipeError",
        ConnectionError::Bounds(_) => "ValueError",
        ConnectionError::BufferTooShort(_) => "BufferTooShort",
        ConnectionError::Authentication(_) => "AuthenticationError",
        ConnectionError::Connect { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => "FileNotFoundError",
            io::ErrorKind::ConnectionRefused => "ConnectionRefusedError",
            _ => "OSError",
        },
        _ => "OSError",
    };
    name.to_owned()
}

fn told<T>(result: Result<T, ConnectionError>, tell: impl FnOnce(T) -> String) -> String {
    result.map_or_else(|error| name(&error), tell)
}

fn said(result: Result<Vec<u8>, ConnectionError>) -> String {
    told(result, text)
}

fn none(result: Result<(), ConnectionError>) -> String {
    told(result, |()| "None".to_owned())
}

/// A connection, and the other end as bytes.
fn against_bytes() -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours.into(), theirs)
}

fn messages(out: &mut Outcomes) {
    let (a, b) = mp::pipe(true).unwrap();
    let at_once = Some(Duration::ZERO);
    a.send_bytes(b"hello").unwrap();
    out.push(("bytes", said(b.recv_bytes(None))));
    a.send_bytes(b"").unwrap();
    out.push(("poll_at_an_empty_message", told(b.poll(at_once), truth)));
    out.push(("an_empty_message", said(b.recv_bytes(None))));
    out.push(("poll_at_nothing", told(b.poll(at_once), truth)));
    out.push(("poll_for_a_negative_time", told(b.poll(at_once), truth)));
    a.send_bytes(b"0123456789").unwrap();
    let mut buffer = [b'.'; 15];
    let got = b.recv_bytes_into(&mut buffer, 3);
    out.push(("into_a_buffer", told(got, |got| format!("{got} {}", text(buffer)))));
    a.send_bytes(b"0123456789").unwrap();
    let short = match b.recv_bytes_into(&mut [0; 5], 0) {
        Err(ConnectionError::BufferTooShort(error)) => text(error.0),
        other => panic!("{other:?}"),
    };
    out.push(("into_a_short_buffer", short));
    out.push(("nothing_is_left_of_it", told(b.poll(at_once), truth)));
    let beyond = b.recv_bytes_into(&mut [0; 3], 4);
    out.push(("into_beyond_a_buffer", told(beyond, |got| got.to_string())));
    for (name, offset, size) in [
        ("sent_from_an_offset", 7, None),
        ("sent_from_an_offset_so_many", 7, Some(2)),
        ("sent_from_the_end", 10, None),
        ("sent_from_beyond_the_end", 11, None),
        ("sent_too_many", 5, Some(6)),
        ("sent_too_many_from_the_end", 10, Some(1)),
    ] {
        let sent = a.send_bytes_range(b"0123456789", offset, size);
        out.push((name, said(sent.and_then(|()| b.recv_bytes(None)))));
    }
}

fn directions(out: &mut Outcomes) {
    let (reader, writer) = mp::pipe(false).unwrap();
    let flags = [reader.readable(), reader.writable(), writer.readable(), writer.writable()];
    out.push(("one_way", flags.map(truth).join(" ")));
    out.push(("send_to_a_reader", none(reader.send_bytes(b"x"))));
    out.push(("receive_from_a_writer", said(writer.recv_bytes(None))));
    out.push(("poll_of_a_writer", told(writer.poll(None), truth)));
    writer.send_bytes(b"too long").unwrap();
    out.push(("longer_than_allowed_one_way", said(reader.recv_bytes(Some(5)))));
    out.push(("closed_by_it", truth(reader.closed())));
    let (a, b) = mp::pipe(true).unwrap();
    a.send_bytes(b"too long").unwrap();
    out.push(("as_long_as_allowed", told(a.send_bytes(b"right"), |()| "sent".to_owned())));
    out.push(("longer_than_allowed", said(b.recv_bytes(Some(7)))));
    let flags = [b.readable(), b.writable(), b.closed()];
    out.push(("unreadable_by_it", flags.map(truth).join(" ")));
    out.push(("received_after_it", said(b.recv_bytes(None))));
    out.push(("sent_after_it", said(b.send_bytes(b"back").and_then(|()| a.recv_bytes(None)))));
}

fn ends(out: &mut Outcomes) {
    let (a, b) = mp::pipe(true).unwrap();
    b.send_bytes(b"last").unwrap();
    b.close();
    out.push(("poll_at_the_last_message", told(a.poll(Some(Duration::ZERO)), truth)));
    out.push(("the_last_message", said(a.recv_bytes(None))));
    out.push(("poll_at_the_end", told(a.poll(Some(Duration::ZERO)), truth)));
    out.push(("received_at_the_end", said(a.recv_bytes(None))));
    out.push(("received_at_the_end_again", said(a.recv_bytes(None))));
    out.push(("sent_to_nobody", none(a.send_bytes(b"x"))));
    let after = |bytes: &[u8]| {
        let (ours, mut peer) = against_bytes();
        peer.write_all(bytes).unwrap();
        drop(peer);
        said(ours.recv_bytes(None))
    };
    out.push(("the_end_in_a_message", after(b"\0\0\0\x64a part")));
    out.push(("the_end_in_a_header", after(b"\0\0")));
    let (a, b) = mp::pipe(true).unwrap();
    a.send_bytes(b"never read").unwrap();
    b.close();
    out.push(("received_from_who_left_something_unread", said(a.recv_bytes(None))));
    out.push(("a_length_below_zero", after(&(-5i32).to_be_bytes())));
    let long = [&[0xff; 4][..], &5u64.to_be_bytes(), b"short"].concat();
    out.push(("the_long_form_of_a_short_length", after(&long)));
}

fn closing(out: &mut Outcomes) {
    let (a, _b) = mp::pipe(true).unwrap();
    a.close();
    a.close();
    out.push(("closed_twice", "None".to_owned()));
    out.push(("closed", truth(a.closed())));
    out.push(("send_when_closed", none(a.send_bytes(b""))));
    out.push(("recv_when_closed", said(a.recv_bytes(None))));
    out.push(("poll_when_closed", told(a.poll(None), truth)));
    out.push(("fileno_when_closed", told(a.fileno(), |number| number.to_string())));
    out.push(("value_when_closed", none(a.recv())));
}

fn waiting(out: &mut Outcomes) {
    let (a, b) = mp::pipe(true).unwrap();
    let (c, d) = mp::pipe(true).unwrap();
    let (s, mut t) = UnixStream::pair().unwrap();
    let objects: [&dyn Waitable; 3] = [&a, &c, &s];
    let ready = |timeout| format!("{:?}", mp::wait(&objects, timeout));
    out.push(("wait_for_nothing", ready(Some(Duration::ZERO))));
    out.push(("wait_for_a_negative_time", ready(Some(Duration::ZERO))));
    d.send_bytes(b"x").unwrap();
    out.push(("wait_for_one", ready(None)));
    t.write_all(b"x").unwrap();
    b.close();
    out.push(("wait_for_all", ready(Some(PATIENCE))));
    let (start, told) = (Instant::now(), Duration::from_millis(100));
    let _ = mp::wait(&[&t], Some(told));
    out.push(("wait_as_long_as_told", truth(start.elapsed() >= told)));
}

/// What both sides come to, with the client's key.
fn served(listener: &Listener, key: Option<&[u8]>) -> String {
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            said(Client::connect(listener.address(), key).and_then(|it| it.recv_bytes(None)))
        });
        let server = listener.accept_timeout(PATIENCE).and_then(|it| it.send_bytes(b"hi"));
        let server = told(server, |()| "served".to_owned());
        format!("{server} {}", client.join().unwrap())
    })
}

fn listening(out: &mut Outcomes) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = Listener::bind(&path, Some(b"key")).unwrap();
    let last = |listener: &Listener| match listener.last_accepted() {
        None => "None".to_owned(),
        Some(mp::Address::Unnamed) => "unnamed".to_owned(),
        Some(other) => other.to_string(),
    };
    out.push(("last_accepted_at_first", last(&listener)));
    out.push(("the_right_key", served(&listener, Some(b"key"))));
    out.push(("last_accepted", last(&listener)));
    out.push(("the_wrong_key", served(&listener, Some(b"other"))));
    out.push(("the_empty_key_for_another", served(&listener, Some(b""))));
    out.push(("the_right_key_after_it", served(&listener, Some(b"key"))));
    let works = |_| "works".to_owned();
    out.push(("bound_twice", told(Listener::bind(&path, None), works)));
    listener.close();
    out.push(("the_file_is_gone", truth(!path.exists())));
    out.push(("accepted_when_closed", told(listener.accept(), |_| "served".to_owned())));
    let called = || told(Client::connect(&path, None), |_| "called".to_owned());
    out.push(("called_when_closed", called()));
    drop(UnixListener::bind(&path).unwrap());
    out.push(("called_when_nobody_listens", called()));
    let listener = Listener::builder().family(Family::Inet).bind().unwrap();
    out.push(("without_a_key_by_tcp", served(&listener, None)));
    let name = format!("\0mps-parity-{}", std::process::id());
    let listener = Listener::bind(name, Some(b"key")).unwrap();
    out.push(("by_an_abstract_name", served(&listener, Some(b"key"))));
    let listener = Listener::builder().bind().unwrap();
    let mp::Address::Path(own) = listener.address() else { panic!("{listener:?}") };
    let mode = own.parent().unwrap().metadata().unwrap().permissions().mode();
    out.push(("the_mode_of_its_own_directory", format!("{:o}", mode & 0o777)));
    let long = directory.path().join("x".repeat(120));
    std::fs::create_dir(&long).unwrap();
    out.push(("a_long_path", told(Listener::bind(long.join("socket"), None), works)));
}

fn silence(out: &mut Outcomes) {
    let limit = Duration::from_millis(200);
    let listener = Listener::builder().authkey(b"key").handshake_timeout(limit).bind().unwrap();
    let _silent = Client::connect(listener.address(), None).unwrap();
    let given_up = matches!(listener.accept(), Err(ConnectionError::Handshake(_)));
    out.push(("accept_of_a_silent_client", if given_up { "ends" } else { "hangs" }.to_owned()));
}

#[test]
fn connections() {
    let _turn = alone();
    let mut out = Vec::new();
    messages(&mut out);
    directions(&mut out);
    ends(&mut out);
    closing(&mut out);
    waiting(&mut out);
    listening(&mut out);
    silence(&mut out);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/connection.py");
    compare(&script, &out, &DIFFERENCES);
}
