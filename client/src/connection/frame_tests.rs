//! Frames over a stream that gives and takes as little as it may.

use super::*;
use std::cell::RefCell;
use std::collections::VecDeque;

/// What a peer has sent, given out in pieces; a gap is a time that passes.
#[derive(Default)]
struct Trickle {
    incoming: RefCell<VecDeque<Option<u8>>>,
    outgoing: RefCell<Vec<u8>>,
    piece: usize,
    /// How many calls of `write` succeed.
    writes: RefCell<usize>,
    largest: RefCell<usize>,
    /// Packets that a peer has sent, if it sends packets.
    packets: Option<RefCell<VecDeque<Vec<u8>>>>,
}

impl Trickle {
    fn of(bytes: &[u8], piece: usize) -> Self {
        let incoming = RefCell::new(bytes.iter().copied().map(Some).collect());
        Self { incoming, piece, writes: RefCell::new(usize::MAX), ..Self::default() }
    }

    fn take(&self, most: usize) -> Result<Vec<u8>, Fault> {
        if let Some(packets) = &self.packets {
            let mut packet = packets.borrow_mut().pop_front().unwrap_or_default();
            assert!(packet.len() <= most, "the end of a packet is lost");
            packet.truncate(most);
            return Ok(packet);
        }
        let mut incoming = self.incoming.borrow_mut();
        if incoming.front() == Some(&None) {
            incoming.pop_front();
            return Err(Fault::TimedOut);
        }
        let there = incoming.iter().take_while(|byte| byte.is_some()).count();
        Ok(incoming.drain(..there.min(most).min(self.piece)).flatten().collect())
    }
}

impl Wire for Trickle {
    fn has_packets(&self) -> bool {
        self.packets.is_some()
    }

    fn read(&self, into: &mut [u8], _: Option<&mut Handles>, _: &Deadline) -> Result<usize, Fault> {
        let bytes = self.take(into.len())?;
        into[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn append(
        &self,
        into: &mut Vec<u8>,
        most: usize,
        _: Option<&mut Handles>,
        _: &Deadline,
    ) -> Result<usize, Fault> {
        let room = into.capacity() - into.len();
        self.largest.replace_with(|largest| into.capacity().max(*largest));
        let bytes = self.take(most.min(room))?;
        into.extend_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write(&self, parts: &[&[u8]], _: &[SharedFd], _: &Deadline) -> Result<usize, Fault> {
        let mut writes = self.writes.borrow_mut();
        *writes = writes.checked_sub(1).ok_or(Fault::TimedOut)?;
        let all = parts.concat();
        if let Some(packets) = &self.packets {
            packets.borrow_mut().push_back(all.clone());
            return Ok(all.len());
        }
        let some = all.len().min(self.piece);
        self.outgoing.borrow_mut().extend_from_slice(&all[..some]);
        Ok(some)
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let wire = Trickle::of(&[], 3);
    send(&wire, [&body[..body.len() / 3], &body[body.len() / 3..]], &[], &Deadline::NEVER)
        .expect("nothing refuses");
    wire.outgoing.into_inner()
}

fn next(incoming: &mut Incoming, wire: &Trickle) -> Result<Vec<u8>, ConnectionError> {
    incoming.message(wire, 1 << 40, false, &Deadline::NEVER).map(|(body, _)| body)
}

#[test]
fn frames_are_those_of_cpython() {
    assert_eq!(framed(b""), [0, 0, 0, 0]);
    assert_eq!(framed(b"abc"), *b"\0\0\0\x03abc");
    assert_eq!(header(SHORT_MAX), ([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], 4));
    let long = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0];
    assert_eq!(header(SHORT_MAX + 1), (long, 12));
}

#[test]
fn messages_come_whole_whatever_the_pieces() {
    let bodies = [vec![], vec![1], vec![2; 4], vec![3; 5000]];
    let stream = bodies.iter().flat_map(|body| framed(body)).collect::<Vec<_>>();
    for piece in [1, 2, 3, 4, 5, 7, 4096] {
        let wire = Trickle::of(&stream, piece);
        let mut incoming = Incoming::default();
        for body in &bodies {
            assert_eq!(next(&mut incoming, &wire).expect("whole"), *body);
        }
        assert!(matches!(next(&mut incoming, &wire), Err(ConnectionError::Eof)));
    }
}

#[test]
fn a_time_that_passes_anywhere_loses_nothing() {
    let long = [&[0xff; 4][..], &5u64.to_be_bytes(), b"hello"].concat();
    for frame in [framed(b"hello"), long] {
        for cut in 0..frame.len() {
            for into in [false, true] {
                let wire = Trickle::of(&frame, 64);
                wire.incoming.borrow_mut().insert(cut, None);
                let mut incoming = Incoming::default();
                let mut buffer = [0; 5];
                let first = match into {
                    true => incoming
                        .message_into(&wire, &mut buffer, &Deadline::NEVER)
                        .map(|_| Vec::new()),
                    false => next(&mut incoming, &wire),
                };
                assert!(matches!(first, Err(ConnectionError::TimedOut(_))), "{cut}: {first:?}");
                assert_eq!(incoming.is_begun(), cut > 0);
                let placed = incoming.message_into(&wire, &mut buffer, &Deadline::NEVER);
                assert!(matches!(placed, Ok(Placed::There(5))), "{cut}: {placed:?}");
                assert_eq!(&buffer, b"hello");
            }
        }
    }
}

#[test]
fn the_end_is_told_from_an_end_inside() {
    let frame = framed(b"hello");
    for cut in 1..frame.len() {
        let wire = Trickle::of(&frame[..cut], 64);
        let got = next(&mut Incoming::default(), &wire);
        assert!(matches!(got, Err(ConnectionError::EofInMessage)), "{cut}: {got:?}");
    }
}

#[test]
fn what_does_not_fit_comes_whole_in_the_error() {
    let wire = Trickle::of(&framed(b"hello"), 2);
    match Incoming::default().message_into(&wire, &mut [0; 4], &Deadline::NEVER) {
        Ok(Placed::TooShort(error)) => assert_eq!(error.0, b"hello"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn absurd_lengths_are_refused_and_get_no_memory() {
    for absurd in [i32::MIN, -2, -1000] {
        let wire = Trickle::of(&absurd.to_be_bytes(), 64);
        let got = next(&mut Incoming::default(), &wire);
        assert!(matches!(got, Err(ConnectionError::BadLength(_))), "{absurd}: {got:?}");
    }
    for (claim, some) in [(1u64 << 39, 100), (1 << 31, (1 << 20) + 1)] {
        let mut stream = [&[0xff; 4][..], &claim.to_be_bytes()].concat();
        stream.resize(12 + some, 7);
        let wire = Trickle::of(&stream, 1 << 16);
        let got = next(&mut Incoming::default(), &wire);
        assert!(matches!(got, Err(ConnectionError::EofInMessage)), "{got:?}");
        let largest = wire.largest.into_inner();
        assert!(largest <= (some * (ROOM_FACTOR + 1)).max(ROOM_FIRST), "{largest} for {some}");
    }
    let wire = Trickle::of(&[0xff; 12], 64);
    assert!(matches!(next(&mut Incoming::default(), &wire), Err(ConnectionError::BadLength(-1))));
}

#[test]
fn a_message_cut_off_says_so() {
    let wire = Trickle { writes: RefCell::new(0), piece: 4, ..Trickle::default() };
    let deadline = Deadline::within(std::time::Duration::ZERO);
    let unsent = send(&wire, [b"", b"hello"], &[], &deadline).expect_err("nothing was sent");
    assert!(!unsent.cut && matches!(unsent.error, ConnectionError::TimedOut(_)), "{unsent:?}");
    wire.writes.replace(1);
    let unsent = send(&wire, [b"", b"hello"], &[], &deadline).expect_err("a part was sent");
    let told =
        matches!(unsent.error, ConnectionError::TimedOutInMessage { sent: 4, length: 9, .. });
    assert!(unsent.cut && told, "{unsent:?}");
}

fn with_packets(packets: &[&[u8]]) -> Trickle {
    let packets = packets.iter().map(|packet| packet.to_vec()).collect();
    let writes = RefCell::new(usize::MAX);
    Trickle { packets: Some(RefCell::new(packets)), writes, ..Trickle::default() }
}

#[test]
fn in_packets_each_message_begins_with_one_of_its_own() {
    let sizes = [0, 1, FIRST_PACKET_BYTES - 4, FIRST_PACKET_BYTES - 3, 3 * PACKET_BYTES + 7];
    for two in sizes {
        let wire = with_packets(&[]);
        let bodies = [vec![1; 5], vec![2; two], vec![3; 70]];
        for body in &bodies {
            send(&wire, [&[], body], &[], &Deadline::NEVER).expect("nothing refuses");
        }
        let lengths = |wire: &Trickle| {
            let packets = wire.packets.as_ref().expect("packets").borrow();
            packets.iter().map(Vec::len).collect::<Vec<_>>()
        };
        let lengths = lengths(&wire);
        assert!(lengths[0] == 9 && *lengths.last().expect("some") == 74, "{lengths:?}");
        assert!(lengths.iter().all(|length| *length <= PACKET_BYTES), "{lengths:?}");
        let mut incoming = Incoming::default();
        assert_eq!(next(&mut incoming, &wire).expect("whole"), bodies[0]);
        let mut buffer = vec![0; two];
        let placed = incoming.message_into(&wire, &mut buffer, &Deadline::NEVER);
        assert!(matches!(placed, Ok(Placed::There(length)) if length == two), "{placed:?}");
        assert!(buffer == bodies[1]);
        assert_eq!(next(&mut incoming, &wire).expect("whole"), bodies[2]);
        assert!(matches!(next(&mut incoming, &wire), Err(ConnectionError::Eof)));
    }
}

#[test]
fn the_parts_of_a_long_header_are_packets() {
    assert_eq!((packet(0, 12), packet(4, 12), packet(12, 12)), (4, 8, PACKET_BYTES));
    let wire = with_packets(&[&[0xff; 4], &5u64.to_be_bytes(), b"hello"]);
    assert_eq!(next(&mut Incoming::default(), &wire).expect("whole"), b"hello");
}

#[test]
fn packets_that_are_none_of_ours_are_refused() {
    for wrong in [&b"\0\0\0\x03hello"[..], b"\xff\xff\xff\xffx", b"\x80\0\0\0"] {
        let got = next(&mut Incoming::default(), &with_packets(&[wrong]));
        assert!(matches!(got, Err(ConnectionError::BadLength(_))), "{wrong:?}: {got:?}");
    }
    let split = with_packets(&[b"\0\0", b"\0\x05", b"he", b"llo"]);
    assert_eq!(next(&mut Incoming::default(), &split).expect("whole"), b"hello");
    let cut = next(&mut Incoming::default(), &with_packets(&[b"\0\0"]));
    assert!(matches!(cut, Err(ConnectionError::EofInMessage)), "{cut:?}");
}
