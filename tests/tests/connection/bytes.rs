//! Bytes: sizes, offsets and limits, over everything that a connection can be made of.

use super::{SHORT, is_eof, is_timeout, pipe};
use mp::{Connection, ConnectionError};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

/// Pairs of every kind: first end, second end.
fn pairs() -> Vec<(&'static str, Connection, Connection)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    let (reader, writer) = std::io::pipe().unwrap();
    let (a, b) = pipe();
    let (receiver, sender) = mp::pipe(false).unwrap();
    vec![
        ("a pipe of ours", a, b),
        ("one way", receiver, sender),
        ("TCP", near.into(), far.into()),
        ("a pipe of the system", reader.into(), writer.into()),
    ]
}

#[test]
fn every_size_comes_over_everything() {
    for (what, first, second) in pairs() {
        let sizes = [0, 1, 15, 508, 509, 4096, (16 << 10) - 1, 16 << 10, (16 << 10) + 1, 3 << 20];
        for size in sizes {
            let message = (0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>();
            std::thread::scope(|scope| {
                scope.spawn(|| second.send_bytes(&message).unwrap());
                assert!(first.recv_bytes(None).unwrap() == message, "{what}: {size}");
                scope.spawn(|| second.send_bytes_timeout(&message, super::LONG).unwrap());
                let got = first.recv_bytes_timeout(Some(size), super::LONG).unwrap();
                assert!(got == message, "{what}: {size}, timed");
                scope.spawn(|| second.send_bytes(&message).unwrap());
                let mut buffer = vec![9; size + 2];
                assert_eq!(first.recv_bytes_into(&mut buffer, 1).unwrap(), size);
                assert!(buffer[1..=size] == message && buffer[size + 1] == 9, "{what}: {size}");
            });
        }
        drop(second);
        assert!(is_eof(&first.recv_bytes(None)), "{what}");
        if first.writable() {
            let broken = (0..3).map(|_| first.send_bytes(b"x")).find(Result::is_err);
            assert!(matches!(broken, Some(Err(ConnectionError::BrokenPipe))), "{what}");
        }
    }
}

#[test]
fn a_reader_that_is_gone_breaks_a_pipe_of_the_system() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let writer = Connection::from(writer);
    assert!(matches!(writer.send_bytes(b"x"), Err(ConnectionError::BrokenPipe)));
    assert!(matches!(writer.recv_bytes(None), Err(ConnectionError::WrongDirection { .. })));
}

#[test]
fn test_sendbytes() {
    let message = b"abcdefghijklmnopqrstuvwxyz";
    let (a, b) = pipe();
    let sent = |offset, size| {
        a.send_bytes_range(message, offset, size)?;
        b.recv_bytes(None)
    };
    assert_eq!(sent(0, None).unwrap(), message);
    assert_eq!(sent(5, None).unwrap(), message[5..]);
    assert_eq!(sent(7, Some(8)).unwrap(), message[7..15]);
    assert_eq!(sent(26, None).unwrap(), b"");
    assert_eq!(sent(26, Some(0)).unwrap(), b"");
    let wrong = [(27, None), (27, Some(0)), (22, Some(5)), (26, Some(1)), (0, Some(usize::MAX))];
    for (offset, size) in wrong {
        let bounds = a.send_bytes_range(message, offset, size);
        assert!(matches!(bounds, Err(ConnectionError::Bounds(_))), "{offset} {size:?}: {bounds:?}");
    }
    let beyond = b.recv_bytes_into(&mut [0; 3], 4);
    assert!(matches!(beyond, Err(ConnectionError::Bounds("offset too large"))), "{beyond:?}");
    assert!(is_timeout(&b.recv_bytes_timeout(None, SHORT)), "nothing was sent, nothing taken");
}

#[test]
fn a_message_longer_than_the_limit_makes_a_connection_unreadable() {
    let (a, b) = pipe();
    b.send_bytes(b"12345").unwrap();
    b.send_bytes(b"123456").unwrap();
    assert_eq!(a.recv_bytes(Some(5)).unwrap(), b"12345");
    let long = a.recv_bytes(Some(5));
    assert!(matches!(long, Err(ConnectionError::TooLong { length: 6, limit: 5 })), "{long:?}");
    assert!(!a.readable() && a.writable() && !a.closed());
    assert!(matches!(a.recv_bytes(None), Err(ConnectionError::WrongDirection { .. })));
    assert!(matches!(a.poll(None), Err(ConnectionError::WrongDirection { .. })));
    a.send_bytes(b"still").unwrap();
    assert_eq!(b.recv_bytes(None).unwrap(), b"still");

    let (receiver, sender) = mp::pipe(false).unwrap();
    sender.send_bytes(b"123456").unwrap();
    assert!(matches!(receiver.recv_bytes(Some(0)), Err(ConnectionError::TooLong { .. })));
    assert!(receiver.closed());
    assert!(matches!(sender.send_bytes(b""), Err(ConnectionError::BrokenPipe)));
}

#[test]
fn an_empty_message_is_one() {
    let (a, b) = pipe();
    a.send_bytes(b"").unwrap();
    assert!(b.poll(Some(SHORT)).unwrap());
    assert_eq!(b.recv_bytes(Some(0)).unwrap(), b"");
    a.send_bytes(b"").unwrap();
    assert_eq!(b.recv_bytes_into(&mut [], 0).unwrap(), 0);
}

#[test]
fn a_connection_goes_back_to_what_it_was_made_of() {
    let (a, b) = pipe();
    let number = a.fileno().unwrap();
    assert_eq!(a.as_raw_fd(), number);
    let fd = a.into_fd().unwrap();
    assert_eq!(fd.as_raw_fd(), number);
    let again = Connection::from_fd(fd).unwrap();
    again.send("back").unwrap();
    assert_eq!(b.recv::<String>().unwrap(), "back");

    let (reader, writer) = std::io::pipe().unwrap();
    let reader = Connection::from_fd(OwnedFd::from(reader)).unwrap();
    let writer = Connection::from_fd(OwnedFd::from(writer)).unwrap();
    assert!(reader.readable() && !reader.writable() && !writer.readable() && writer.writable());
    let datagrams = UnixDatagram::pair().unwrap().0;
    let refused = Connection::from_fd(datagrams.into()).map(drop);
    assert!(matches!(refused, Err(ConnectionError::System(_))), "{refused:?}");
}

#[test]
fn a_descriptor_that_others_made_non_blocking_does_not_matter() {
    for (what, a, b) in pairs() {
        for end in [&a, &b] {
            mp::sys::fd::set_nonblocking(end.as_fd(), true).unwrap();
        }
        let message = vec![5; 1 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(a.recv_bytes(None).unwrap() == message, "{what}"));
            std::thread::sleep(SHORT);
            b.send_bytes(&message).unwrap();
        });
    }
}
