//! Closing: what comes after it, and who notices.

use super::{LONG, SHORT, is_closed, is_eof, open_descriptors, pipe};
use mp::ConnectionError;
use mpserverd_tests::suite::passed;
use std::os::fd::{AsFd, AsRawFd};

#[test]
fn any_use_after_close_is_an_error_that_says_so() {
    let (a, b) = pipe();
    a.close();
    a.close();
    assert!(a.closed() && !b.closed());
    assert!(is_closed(&a.send(&1)) && is_closed(&a.send_timeout(&1, SHORT)));
    assert!(is_closed(&a.recv::<u8>()) && is_closed(&a.recv_timeout::<u8>(SHORT)));
    assert!(is_closed(&a.send_bytes(b"")) && is_closed(&a.recv_bytes(None)));
    assert!(is_closed(&a.send_bytes_range(b"", 5, None)));
    assert!(is_closed(&a.recv_bytes_into(&mut [], 5)) && is_closed(&a.poll(None)));
    assert!(is_closed(&a.fileno()));
    assert_eq!(a.recv::<u8>().unwrap_err().to_string(), "Connection: it is closed");
    assert!(is_closed(&a.into_fd()));
    assert!(is_eof(&b.recv::<u8>()));
    assert!(matches!(b.send(&1), Err(ConnectionError::BrokenPipe)));
}

#[test]
fn the_number_of_a_closed_connection_is_nobody_elses_before_it_is_dropped() {
    let (a, b) = pipe();
    let number = a.as_raw_fd();
    a.close();
    assert!(is_eof(&b.recv_timeout::<u8>(LONG)), "closed at once, not when dropped");
    let other = std::fs::File::open("/dev/null").unwrap();
    assert_ne!(other.as_raw_fd(), number);
    let refused = nix::unistd::read(a.as_fd(), &mut [0]);
    assert_eq!(refused, Err(nix::errno::Errno::EBADF));
    assert_eq!(mp::wait(&[&a], Some(LONG)), [0], "what is closed is ready, to say so");
}

#[mp::task]
fn close_many() {
    // What is made once in a process is there from now on.
    pipe().0.close();
    let before = open_descriptors();
    for _ in 0..200 {
        let (a, b) = pipe();
        a.send(&b).unwrap();
        b.close();
        drop((a, b));
        let (c, d) = mp::pipe(false).unwrap();
        drop(c);
        d.close();
    }
    assert_eq!(open_descriptors(), before);
}

#[test]
fn nothing_stays_open() {
    passed(mp::get_context(mp::StartMethod::Spawn).process::<close_many>(()));
}

#[test]
fn a_call_that_waits_ends_when_the_peer_does_or_its_time_passes() {
    let (a, b) = pipe();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| a.recv_bytes_timeout(None, 5 * SHORT));
        let for_ever = scope.spawn(|| a.recv_bytes(None));
        std::thread::sleep(SHORT);
        a.close();
        // Whichever had the turn goes on until it is done; the other finds it closed, or late.
        b.close();
        for ended in [waiting.join().unwrap(), for_ever.join().unwrap()] {
            let told = is_closed(&ended) || is_eof(&ended) || super::is_timeout(&ended);
            assert!(told, "{ended:?}");
        }
    });
}
