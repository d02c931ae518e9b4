//! What errors say: the type, and the place in the value.

use mp::{CodecError, JobError, ProcessError, Reducer, StartError};
use mpserverd_tests::suite;
use mpserverd_tests::suite::outcome;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

suite![arguments_that_cannot_be_written, arguments_that_cannot_be_read];

/// Cannot be written if it is 0, nor read if it is 1.
#[derive(Debug)]
struct Choosy(u8);

impl Serialize for Choosy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => Err(serde::ser::Error::custom("zero has no form")),
            other => serializer.serialize_u8(other),
        }
    }
}

impl<'de> Deserialize<'de> for Choosy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1 => Err(serde::de::Error::custom("one is not enough")),
            other => Ok(Self(other)),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    items: Vec<(String, Choosy)>,
}

fn order(last: u8) -> Order {
    Order { items: vec![("a".into(), Choosy(2)), ("b".into(), Choosy(last))] }
}

#[mp::task]
fn take(number: u32, order: Order) -> usize {
    number as usize + order.items.len()
}

#[mp::task]
fn give(last: u8) -> Order {
    order(last)
}

fn arguments_that_cannot_be_written(ctx: &mp::Context) {
    for reducer in Reducer::all() {
        let ctx = ctx.clone().with_reducer(reducer);
        match ctx.process::<take>((1, order(0))).start() {
            Err(StartError::Unserializable(why)) => {
                assert!(why.contains(".1.items[1].1: zero has no form"), "{reducer}: {why}");
                assert!(why.contains("words::Order"), "{reducer}: {why}");
            }
            other => panic!("{reducer}: {other:?}"),
        }
        let process = ctx.process::<give>((0,)).start().unwrap();
        match outcome(&process) {
            Err(ProcessError::Rejected(JobError::Unserializable(why))) => {
                assert!(why.contains("Order`.items[1].1: zero has no form"), "{reducer}: {why}");
            }
            other => panic!("{reducer}: {other:?}"),
        }
    }
}

fn arguments_that_cannot_be_read(ctx: &mp::Context) {
    for reducer in Reducer::all() {
        let ctx = ctx.clone().with_reducer(reducer);
        let process = ctx.process::<take>((1, order(1))).start().unwrap();
        match outcome(&process) {
            Err(ProcessError::Rejected(JobError::BadArguments { signature, reason })) => {
                assert!(signature.contains("take(number: u32"), "{signature}");
                assert!(reason.contains("one is not enough"), "{reducer}: {reason}");
                if reducer != Reducer::json() {
                    assert!(reason.contains(".1.items[1].1"), "{reducer}: {reason}");
                }
            }
            other => panic!("{reducer}: {other:?}"),
        }
        let process = ctx.process::<give>((1,)).start().unwrap();
        match outcome(&process) {
            Err(ProcessError::Undecodable(why)) => {
                assert!(why.contains("one is not enough"), "{reducer}: {why}");
                assert!(why.contains("words::Order"), "{reducer}: {why}");
            }
            other => panic!("{reducer}: {other:?}"),
        }
    }
}

#[test]
fn bytes_left_over_are_refused_by_all() {
    for reducer in Reducer::all() {
        let mut bytes = reducer.encode(&(1u32, "two")).unwrap();
        let back = reducer.decode::<(u32, String)>(&bytes).unwrap();
        assert_eq!(back, (1, "two".to_owned()));
        bytes.push(b'1');
        let error = reducer.decode::<(u32, String)>(&bytes).unwrap_err();
        match reducer.to_string().as_str() {
            "bincode" | "postcard" => assert_eq!(error, CodecError::Trailing(1)),
            name => assert!(matches!(error, CodecError::Malformed(_)), "{name}: {error}"),
        }
    }
}

#[test]
fn handles_outside_a_journey_are_refused_by_all() {
    let lock = mp::Lock::new().unwrap();
    for reducer in Reducer::all() {
        let error = reducer.encode(&[&lock]).unwrap_err().to_string();
        assert!(error.contains("can only be shared with another process"), "{reducer}: {error}");
    }
}
