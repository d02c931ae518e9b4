//! What a process and a server say to each other.
//!
//! A frame is its length in four bytes, the number of the call in eight, and an encoded [`Request`]
//! or [`Body`]. A call of number 0 is not answered. Values travel as bytes that the server does not
//! look into; beside them stand the objects that they refer to, so that it can keep those alive.
//!
//! | file | holds |
//! |---|---|
//! | `ops` | what can be asked of an object |
//!
//! What must never be in here: memory for a length that a peer only claims.

mod ops;

pub(super) use ops::{
    BarrierOp, CellOp, Combine, Compare, EventOp, MapOp, MutexOp, PendingOp, PoolOp, QueueOp,
    SemaphoreOp, SequenceOp, Start,
};

use super::error::RemoteError;
use crate::codec::CodecError;
use mpserverd_proto::codec as plain;
use mpserverd_proto::limits::PAYLOAD_BYTES_MAX;
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

/// Version of this protocol.
pub(super) const VERSION: u32 = 1;
/// Longest frame behind its length: a value, and what is said about it.
pub(super) const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX as usize + (1 << 20);
/// The call that is not answered.
pub(super) const ONE_WAY: u64 = 0;

/// A value, and the objects that it refers to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    pub(super) bytes: &'a Bytes,
    pub(super) refs: Vec<u64>,
}

/// What is asked, and of which object (0: of the server).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request<'a> {
    pub(super) object: u64,
    #[serde(borrow)]
    pub(super) op: Op<'a>,
}

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Op<'a> {
    /// First of all: the version, and a key that relatives of this process will know.
    Hello { version: u32, ticket: &'a Bytes },
    /// The end of the server.
    Shutdown,
    /// Counts.
    Stats,
    /// A new object.
    Create(#[serde(borrow)] New<'a>),
    /// Gives an object a name, unless one has it.
    Publish { name: &'a str },
    /// The object of a name.
    Find { name: &'a str },
    /// Takes a name away.
    Unpublish { name: &'a str },
    /// One reference more for this session.
    Adopt,
    /// One reference less, of each.
    Release { objects: Vec<u64> },
    /// Keeps the object for a while, whoever refers to it.
    Lease,
    /// The time of a call has passed: it is to be answered at once.
    Cancel { call: u64 },
    /// The answer of a call will not be taken note of: what it took is given back.
    Void { call: u64 },
    /// To a list or array.
    Sequence(#[serde(borrow)] SequenceOp<'a>),
    /// To a dict, set or namespace.
    Map(#[serde(borrow)] MapOp<'a>),
    /// To a value.
    Cell(#[serde(borrow)] CellOp<'a>),
    /// To a queue.
    Queue(#[serde(borrow)] QueueOp<'a>),
    /// To a lock, recursive lock or condition, by a thread.
    Mutex { thread: u64, op: MutexOp },
    /// To a semaphore.
    Semaphore(SemaphoreOp),
    /// To an event.
    Event(EventOp),
    /// To a barrier.
    Barrier(BarrierOp),
    /// To a pool.
    Pool(#[serde(borrow)] PoolOp<'a>),
    /// To a result of a pool that is to come.
    Pending(PendingOp),
    /// To an iterator: so many items.
    Next { count: u64 },
    /// To an object of a user's type.
    Call {
        method: &'a str,
        #[serde(borrow)]
        args: Item<'a>,
    },
    /// To an object of a user's type: what a panic left is in order.
    MakeConsistent,
}

/// A new object.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum New<'a> {
    List(#[serde(borrow)] Vec<Item<'a>>),
    Array(#[serde(borrow)] Vec<Item<'a>>),
    Dict(#[serde(borrow)] Vec<(Item<'a>, Item<'a>)>),
    Set(#[serde(borrow)] Vec<Item<'a>>),
    Namespace,
    Value(#[serde(borrow)] Item<'a>),
    Queue {
        maxsize: u64,
        joinable: bool,
    },
    Lock,
    RLock,
    Condition,
    Semaphore {
        value: u32,
        bounded: bool,
    },
    Event,
    Barrier {
        parties: u32,
    },
    Pool {
        processes: u64,
        #[serde(borrow)]
        initializer: Option<Start<'a>>,
    },
    User {
        name: &'a str,
        constructor: &'a str,
        #[serde(borrow)]
        args: Item<'a>,
    },
}

/// How an acquisition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Taken {
    Yes,
    OwnerDied,
    No,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Body<'a> {
    Done,
    Yes(bool),
    Count(u64),
    Item(#[serde(borrow)] Item<'a>),
    Maybe(#[serde(borrow)] Option<Item<'a>>),
    Items(#[serde(borrow)] Vec<Item<'a>>),
    /// Items, or the one item there is, with their version.
    Version(u64, #[serde(borrow)] Vec<Item<'a>>),
    Pairs(u64, #[serde(borrow)] Vec<(Item<'a>, Item<'a>)>),
    Object {
        id: u64,
        label: &'a str,
    },
    Taken(Taken),
    Woken {
        notified: bool,
        taken: Taken,
    },
    /// The action of a barrier is to be run now.
    Act,
    Sizes {
        items: u64,
        maxsize: u64,
        unfinished: u64,
    },
    Barrier {
        parties: u32,
        waiting: u32,
        broken: bool,
    },
    Welcome {
        server: u128,
        lease_ms: u64,
    },
    Stats(super::manager::ManagerStats),
    Failed(Failure),
}

/// Why a barrier is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cause {
    TimedOut,
    Aborted,
    Reset,
    ActionFailed,
    Died { pid: u32 },
}

/// Why there is no other answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    Version(u32),
    NoObject,
    WrongType,
    NoName,
    Unknown { name: String, near: Vec<String> },
    Index { index: u64, length: u64 },
    FixedLength,
    Conflict,
    Empty,
    Full,
    Unfinished { items: u64 },
    NotHeld,
    NotOwner,
    OverRelease { limit: u32 },
    TooManyWaiters { limit: u64 },
    Barrier(Cause),
    TooManyTasksDone,
    ItemsLost { items: u64 },
    Limit { what: String, limit: u64 },
    Poisoned,
    Remote(RemoteError),
    Malformed(String),
}

/// Appends a frame.
///
/// # Errors
/// [`CodecError::TooLarge`].
pub(super) fn frame<T: Serialize>(
    into: &mut Vec<u8>,
    call: u64,
    value: &T,
) -> Result<(), CodecError> {
    let start = into.len();
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&call.to_le_bytes());
    let encoded = plain::encode_payload_into(value, into);
    let length = into.len() - start - 4;
    if let Err(error) = encoded {
        into.truncate(start);
        return Err(error);
    }
    // Checked against 2 GiB by the encoder.
    into[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(())
}

/// The call and the rest of a frame, behind its length.
pub(super) fn split(frame: &[u8]) -> Option<(u64, &[u8])> {
    let (call, rest) = frame.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*call), rest))
}

/// Reads a request or an answer.
///
/// # Errors
/// [`CodecError`].
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    plain::decode_payload_in_place(bytes)
}

impl Body<'_> {
    /// All objects that the values in it refer to, and the one that it is about.
    pub(super) fn refs(&self) -> Vec<u64> {
        let of = |items: &[Item<'_>]| items.iter().flat_map(|item| item.refs.clone()).collect();
        match self {
            Self::Item(item) => item.refs.clone(),
            Self::Maybe(item) => item.as_ref().map(|item| item.refs.clone()).unwrap_or_default(),
            Self::Items(items) | Self::Version(_, items) => of(items),
            Self::Pairs(_, pairs) => {
                let both =
                    |(key, value): &(Item<'_>, Item<'_>)| [key.refs.clone(), value.refs.clone()];
                pairs.iter().flat_map(both).flatten().collect()
            }
            Self::Object { id, .. } => vec![*id],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back_and_no_part_of_it_is_one() {
        let item = |bytes| Item { bytes: Bytes::new(bytes), refs: vec![7] };
        let op = Op::Sequence(SequenceOp::Extend { items: vec![item(b"a"), item(b"")] });
        let mut frame_bytes = Vec::new();
        frame(&mut frame_bytes, 3, &Request { object: 9, op }).expect("encodes");
        let length = u32::from_le_bytes(frame_bytes[..4].try_into().expect("four"));
        assert_eq!(length as usize, frame_bytes.len() - 4);
        let (call, rest) = split(&frame_bytes[4..]).expect("long enough");
        assert_eq!(call, 3);
        let Request { object: 9, op: Op::Sequence(SequenceOp::Extend { items }) } =
            parse(rest).expect("decodes")
        else {
            panic!("another request")
        };
        assert_eq!((items[0].bytes.as_ref(), &*items[1].refs), (&b"a"[..], &[7][..]));
        for cut in 0..rest.len() {
            assert!(parse::<Request<'_>>(&rest[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn absurd_lengths_cost_nothing() {
        let mut request = Vec::new();
        let op = Op::Create(New::List(Vec::new()));
        frame(&mut request, 1, &Request { object: 0, op }).expect("encodes");
        let at = request.len() - 8;
        request[at..].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(parse::<Request<'_>>(&request[4 + 8..]).is_err());
        request[at..].copy_from_slice(&(1u64 << 30).to_le_bytes());
        assert!(parse::<Request<'_>>(&request[4 + 8..]).is_err());
    }
}
