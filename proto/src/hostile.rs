//! Property tests: whatever the bytes are, decoding ends in a value or an error; and what one
//! side writes, the other reads back.

use crate::client::{Answer, Call};
use crate::hello::{HELLO_BYTES, Hello, HelloReply};
use crate::job::{Ended, Host, Job, WorkerBoot};
use crate::packet::Header;
use crate::status::ExitRecord;
use crate::template::{Attach, FromTemplate, TemplateBoot, ToTemplate};
use crate::{codec, frame, job, packet};
use arbitrary::{Arbitrary, Unstructured};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn message<T: for<'a> Arbitrary<'a>>(seed: &[u8]) -> T {
    T::arbitrary(&mut Unstructured::new(seed)).expect("arbitrary fills up with zeros")
}

/// Round trip, every truncation, one trailing byte, and one flipped byte.
fn abuse<T>(seed: &[u8], flip: usize)
where
    T: for<'a> Arbitrary<'a> + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let value: T = message(seed);
    let bytes = codec::encode(&value).unwrap();
    assert_eq!(codec::decode::<T>(&bytes).unwrap(), value);
    for end in 0..bytes.len() {
        assert!(codec::decode::<T>(&bytes[..end]).is_err(), "truncated at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(codec::decode::<T>(&longer), Err(codec::CodecError::Trailing(1)));
    if !bytes.is_empty() {
        let mut flipped = bytes.clone();
        let at = flip % flipped.len();
        flipped[at] ^= 0xff;
        let _ = codec::decode::<T>(&flipped);
    }
}

macro_rules! messages {
    ($($test:ident: $type:ty),* $(,)?) => {
        proptest! {
            $(#[test]
            fn $test(seed in prop::collection::vec(any::<u8>(), 0..512), flip in any::<usize>()) {
                abuse::<$type>(&seed, flip);
            })*

            #[test]
            fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
                $(let _ = codec::decode::<$type>(&bytes);)*
                let _ = codec::decode_payload::<Vec<Vec<String>>>(&bytes);
                let _ = job::split::<Job>(&bytes);
                let _ = job::split::<Ended>(&bytes);
                let _ = Header::split(&bytes, 0);
                let mut decoder = frame::Decoder::new();
                decoder.feed(&bytes);
                while let Ok(Some(_)) = decoder.next_frame() {}
            }
        }
    };
}

messages! {
    call: Call,
    answer: Answer,
    to_template: ToTemplate,
    from_template: FromTemplate,
    boot: TemplateBoot,
    attach: Attach,
    a_job: Job,
    ended: Ended,
    worker_boot: WorkerBoot,
    host: Host,
    record: ExitRecord,
}

proptest! {
    #[test]
    fn hello_round_trip(oldest in 1u16.., span in 0u16..9, features: u32) {
        let hello = Hello { oldest, newest: oldest.saturating_add(span), features };
        prop_assert_eq!(Hello::decode(hello.encode()), Ok(hello));
        let reply = hello.answer();
        prop_assert_eq!(HelloReply::decode(reply.encode(), hello).is_ok(), reply.chosen != 0);
    }

    #[test]
    fn hello_bytes(bytes: [u8; HELLO_BYTES]) {
        let _ = Hello::decode(bytes);
        let _ = HelloReply::decode(bytes, Hello::ours());
    }

    #[test]
    fn frames_survive_any_split(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
        step in 1usize..50,
    ) {
        let mut wire = Vec::new();
        for (fds, payload) in payloads.iter().enumerate() {
            wire.extend(frame::encode(payload, fds).unwrap());
        }
        let (mut decoder, mut got) = (frame::Decoder::new(), Vec::new());
        for chunk in wire.chunks(step) {
            decoder.feed(chunk);
            while let Some(frame) = decoder.next_frame().unwrap() {
                prop_assert_eq!(frame.fds, got.len());
                got.push(frame.payload);
            }
        }
        prop_assert!(!decoder.is_partial());
        prop_assert_eq!(got, payloads);
    }

    #[test]
    fn packets_check_every_count(
        seed: [u8; 32],
        body in 0usize..64,
        fds in 0usize..300,
    ) {
        let header: Header = message(&seed);
        let mut bytes = header.encode().to_vec();
        bytes.resize(packet::HEADER_BYTES + body, 7);
        if let Ok((read, rest)) = Header::split(&bytes, fds) {
            prop_assert_eq!(read, header);
            prop_assert_eq!(rest.len(), body);
        }
    }
}

#[test]
fn an_oversize_count_costs_no_memory() {
    let huge = u64::MAX.to_le_bytes();
    assert!(codec::decode_payload::<Vec<u64>>(&huge).is_err());
    assert!(codec::decode_payload::<String>(&huge).is_err());
    assert!(codec::decode::<ToTemplate>(&[0xff; 16]).is_err());
    let mut decoder = frame::Decoder::new();
    decoder.feed(&[0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]);
    assert_eq!(decoder.next_frame(), Err(frame::FrameError::TooLong { length: 0x7fff_ffff }));
    let mut decoder = frame::Decoder::new();
    decoder.feed(&[0, 0, 0, 0, 254, 0, 0, 0]);
    assert_eq!(decoder.next_frame(), Err(frame::FrameError::TooManyFds { fds: 254 }));
}

#[test]
fn a_refusal_names_the_older_side() {
    let old = Hello { oldest: 0xfff0, newest: 0xfff1, features: 0 };
    let error = HelloReply::decode(old.answer().encode(), old).unwrap_err();
    assert!(error.to_string().contains("upgrade and restart mpserverd"), "{error}");
    let reply = HelloReply { chosen: 0, oldest: 7, newest: 9, features: 0 };
    let error = HelloReply::decode(reply.encode(), Hello::ours()).unwrap_err();
    assert!(error.to_string().contains("rebuild the client"), "{error}");
}

#[test]
fn a_record_fits_the_pipe_atomically() {
    let record: ExitRecord = message(&[0xff; 256]);
    assert!(record.encode().len() <= crate::status::RECORD_BYTES_MAX);
}

#[test]
fn a_payload_that_fails_to_serialise_is_an_error() {
    let path = std::path::PathBuf::from(
        <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(vec![0xff]),
    );
    assert!(matches!(codec::encode_payload(&path), Err(codec::CodecError::Unserializable(_))));
}
