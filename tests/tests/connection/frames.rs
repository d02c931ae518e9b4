//! Frames of hostile peers, and calls whose time passes in the middle of one.

use super::{LONG, SHORT, against_bytes, frame, is_timeout};
use mp::ConnectionError;
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn absurd_lengths_are_refused() {
    for absurd in [-2i32, i32::MIN] {
        let (ours, mut peer) = against_bytes();
        peer.write_all(&absurd.to_be_bytes()).unwrap();
        let refused = ours.recv_bytes(None);
        assert!(matches!(refused, Err(ConnectionError::BadLength(_))), "{refused:?}");
        assert!(!ours.readable());
    }
    let (ours, mut peer) = against_bytes();
    peer.write_all(&[0xff; 12]).unwrap();
    assert!(matches!(ours.recv_bytes(None), Err(ConnectionError::BadLength(-1))));
}

/// Peak of the resident memory of this process, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[mp::task]
fn receive_claims() {
    let before = peak();
    for claim in [0x7fff_ffff_u64, 1 << 40, i64::MAX as u64] {
        let (ours, mut peer) = against_bytes();
        let header = [&[0xff; 4][..], &claim.to_be_bytes()].concat();
        peer.write_all(&header).unwrap();
        peer.write_all(&[7; 1000]).unwrap();
        assert!(is_timeout(&ours.recv_bytes_timeout(None, SHORT)));
        peer.write_all(&[7; 1000]).unwrap();
        drop(peer);
        assert!(matches!(ours.recv_bytes(None), Err(ConnectionError::EofInMessage)));

        let (ours, mut peer) = against_bytes();
        peer.write_all(&header).unwrap();
        let value = ours.recv_timeout::<Vec<u8>>(SHORT);
        if claim > 1 << 32 {
            let told =
                matches!(value, Err(ConnectionError::TooLong { length, .. }) if length == claim);
            assert!(told, "{value:?}");
        } else {
            assert!(is_timeout(&value), "{value:?}");
        }
    }
    assert!(peak() - before < 64 << 10, "{} KiB more", peak() - before);
}

#[test]
fn a_claim_costs_no_memory() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    mpserverd_tests::suite::passed(ctx.process::<receive_claims>(()));
}

#[test]
fn what_has_come_of_a_message_is_kept_for_the_next_call() {
    let (ours, mut peer) = against_bytes();
    let long = [&[0xff; 4][..], &6u64.to_be_bytes(), b"second"].concat();
    let stream = [frame(b"first"), long, frame(b""), frame(&[3; 1000])].concat();
    let mut got = Vec::new();
    for byte in stream {
        peer.write_all(&[byte]).unwrap();
        match ours.recv_bytes_timeout(None, Duration::ZERO) {
            Ok(message) => got.push(message),
            Err(ConnectionError::TimedOut(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(got, [&b"first"[..], b"second", b"", &[3; 1000]]);
}

#[test]
fn calls_of_different_kinds_go_on_with_one_message() {
    let (ours, mut peer) = against_bytes();
    peer.write_all(&frame(b"0123456789")[..7]).unwrap();
    assert!(is_timeout(&ours.recv_bytes_timeout(None, SHORT)));
    assert!(matches!(ours.poll(Some(Duration::ZERO)), Ok(false)));
    peer.write_all(b"34").unwrap();
    assert!(is_timeout(&ours.recv_bytes_into_timeout(&mut [0; 20], 0, SHORT)));
    peer.write_all(b"56").unwrap();
    assert!(is_timeout(&ours.recv_bytes_into_timeout(&mut [0; 2], 0, SHORT)));
    peer.write_all(b"789").unwrap();
    let mut buffer = [0; 20];
    assert_eq!(ours.recv_bytes_into_timeout(&mut buffer, 5, LONG).unwrap(), 10);
    assert_eq!(&buffer[5..15], b"0123456789");
}

#[test]
fn in_the_middle_of_a_message_a_connection_goes_nowhere() {
    let (ours, mut peer) = against_bytes();
    peer.write_all(&frame(b"0123456789")[..7]).unwrap();
    assert!(is_timeout(&ours.recv_bytes_timeout(None, SHORT)));
    let (carrier, _other) = super::pipe();
    let refused = carrier.send(&ours).unwrap_err();
    assert!(refused.to_string().contains("in the middle of a message"), "{refused}");
    assert!(matches!(ours.into_fd(), Err(ConnectionError::InMessage)));
}

#[test]
fn a_send_that_could_not_begin_leaves_all_as_it_was() {
    let (ours, mut peer) = against_bytes();
    let mut sent = 0;
    let full = loop {
        match ours.send_bytes_timeout(&[1; 100], Duration::ZERO) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, ConnectionError::TimedOut(_)), "{full:?}");
    assert!(is_timeout(&ours.send_timeout(&1u8, SHORT)));
    assert!(ours.writable());
    let mut bytes = vec![0; 104 * sent];
    peer.read_exact(&mut bytes).unwrap();
    ours.send_bytes_timeout(b"after", LONG).unwrap();
    let mut bytes = [0; 9];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, *frame(b"after"));
}

#[test]
fn a_send_that_was_cut_off_says_so_from_then_on() {
    let (ours, mut peer) = against_bytes();
    let huge = vec![1; 8 << 20];
    let cut = ours.send_bytes_timeout(&huge, SHORT);
    let Err(ConnectionError::TimedOutInMessage { sent, length, .. }) = cut else {
        panic!("{cut:?}")
    };
    assert!(sent > 0 && sent < length && length == huge.len() as u64 + 4);
    assert!(!ours.writable() && ours.readable());
    assert!(matches!(ours.send(&1), Err(ConnectionError::Cut)));
    assert!(matches!(ours.send_bytes(b""), Err(ConnectionError::Cut)));
    peer.write_all(&frame(b"still readable")).unwrap();
    assert_eq!(ours.recv_bytes(None).unwrap(), b"still readable");
    drop(ours);
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len() as u64, sent);
}

#[test]
fn a_peer_that_goes_in_the_middle_of_a_message_breaks_the_connection() {
    let (ours, mut peer) = against_bytes();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| ours.send_bytes(&vec![1; 8 << 20]));
        peer.read_exact(&mut [0; 1000]).unwrap();
        drop(peer);
        assert!(matches!(sending.join().unwrap(), Err(ConnectionError::BrokenPipe)));
    });
    for _ in 0..2 {
        assert!(matches!(ours.send_bytes(b""), Err(ConnectionError::BrokenPipe)));
    }
    assert!(super::is_eof(&ours.recv_bytes(None)));
}

#[test]
fn what_is_no_value_is_an_error_and_the_next_one_is_not() {
    let (ours, mut peer) = against_bytes();
    let pickle = b"\x80\x04\x95\x06\x00\x00\x00\x00\x00\x00\x00\x8c\x02hi\x94.";
    for wrong in [&pickle[..], b"", b"MP\x01\0\0\0\0", b"MP\x02\0\0\0\0\0x"] {
        peer.write_all(&frame(wrong)).unwrap();
        let error = ours.recv_timeout::<u8>(LONG).unwrap_err();
        assert!(matches!(error, ConnectionError::Codec(_)), "{wrong:?}: {error:?}");
    }
    peer.write_all(&frame(b"MP\x01\0\0\0\0\0x")).unwrap();
    assert_eq!(ours.recv::<u8>().unwrap(), b'x');
    peer.write_all(&frame(b"MP\x01\0\x02\0\0\0x")).unwrap();
    let missing = ours.recv::<u8>();
    let told =
        matches!(missing, Err(ConnectionError::DescriptorsMissing { announced: 2, came: 0 }));
    assert!(told, "{missing:?}");
}
