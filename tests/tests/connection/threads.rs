//! Many threads on one connection: no message is mixed with another, and none waits past its time.

use super::{LONG, SHORT, is_timeout, pipe};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const THREADS: u32 = 6;
const EACH: u32 = 150;

/// A message whose bytes all follow from its number.
fn message(number: u32) -> Vec<u8> {
    let size = [0, 3, 700, 40_000, 300_000][number as usize % 5];
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(4 + size, number as u8);
    bytes
}

#[test]
fn messages_of_many_threads_come_whole_and_once() {
    let (a, b) = pipe();
    let seen = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let a = &a;
            scope.spawn(move || {
                for number in thread * EACH..(thread + 1) * EACH {
                    a.send_bytes_timeout(&message(number), LONG).unwrap();
                }
            });
        }
        let readers = (0..THREADS).map(|_| {
            scope.spawn(|| {
                let mut seen = Vec::new();
                for _ in 0..EACH {
                    let got = b.recv_bytes(None).unwrap();
                    let number = u32::from_le_bytes(*got.first_chunk().unwrap());
                    assert!(got == message(number), "message {number} is torn");
                    seen.push(number);
                }
                seen
            })
        });
        let readers = readers.collect::<Vec<_>>();
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(seen.len() as u32, THREADS * EACH);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), (0..THREADS * EACH).collect());
}

#[test]
fn who_waits_for_a_turn_waits_no_longer_than_told() {
    let (a, b) = pipe();
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| a.recv_bytes(None).unwrap());
        std::thread::sleep(SHORT);
        let start = Instant::now();
        assert!(is_timeout(&a.recv_bytes_timeout(None, SHORT)));
        assert!(start.elapsed() >= SHORT);
        assert!(!a.poll(Some(Duration::ZERO)).unwrap(), "asking needs no turn");
        b.send_bytes(b"for the holder").unwrap();
        assert_eq!(holder.join().unwrap(), b"for the holder");
    });
    b.send_bytes(b"next").unwrap();
    assert_eq!(a.recv_bytes_timeout(None, LONG).unwrap(), b"next");
}

#[test]
fn both_directions_go_at_once() {
    let (a, b) = pipe();
    let big = vec![7; 4 << 20];
    std::thread::scope(|scope| {
        for (one, other) in [(&a, &b), (&b, &a)] {
            scope.spawn(|| one.send_bytes(&big).unwrap());
            scope.spawn(|| assert!(other.recv_bytes(None).unwrap() == big));
        }
    });
}
