//! Results that are awaited, that do not decode, that cannot travel.

use super::{PATIENCE, get, nap, panics, pool, square};
use mpserverd_tests::suite;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};

/// Wakes a thread that waits for a message.
struct Ring(Sender<()>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// A runtime of one task.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let (sender, receiver) = channel();
    let waker = Waker::from(Arc::new(Ring(sender)));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = std::pin::Pin::new(&mut future).poll(&mut context) {
            return output;
        }
        receiver.recv_timeout(PATIENCE).expect("nobody wakes the task");
    }
}

fn results_are_futures(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    assert_eq!(block_on(pool.apply_async::<square>((5,)).unwrap()).unwrap(), 25);
    let naps = (0..4).map(|_| pool.apply_async::<nap>((30,)).unwrap()).collect::<Vec<_>>();
    for nap in naps {
        block_on(nap).unwrap();
    }
    let squares = block_on(pool.map_async::<square>(0..100).unwrap()).unwrap();
    assert_eq!(squares[99], 9801);
    let lost = pool.apply_async::<nap>((60_000,)).unwrap();
    let other = pool.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || other.terminate());
        assert!(block_on(lost).is_err());
    });
}

fn results_are_futures_of_any_runtime(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sum = runtime.block_on(async {
        let tasks = (0..50u64).map(|x| pool.apply_async::<square>((x,)).unwrap());
        let tasks = tasks.map(|result| tokio::spawn(async move { result.await.unwrap() }));
        let mut sum = 0;
        for task in tasks.collect::<Vec<_>>() {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, (0..50).map(|x| x * x).sum::<u64>());
}

/// Reads back as a number that must be even.
#[derive(Debug, PartialEq, Eq)]
struct Even(u64);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 13 {
            return Err(serde::ser::Error::custom("thirteen does not travel"));
        }
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            7 => panic!("seven cannot be read at all"),
            odd if odd % 2 == 1 => Err(serde::de::Error::custom("odd")),
            even => Ok(Self(even)),
        }
    }
}

#[mp::task]
fn believe(x: u64) -> Even {
    Even(x)
}

fn a_result_that_does_not_decode_hurts_only_itself(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let each = pool.mapping::<believe>().chunk(4).map_each(0..10).unwrap();
    for (at, outcome) in (0..).zip(each) {
        match outcome {
            Ok(even) => assert_eq!(even, Even(at)),
            Err(mp::TaskFailure::Undecodable { bytes, source }) => {
                assert_eq!(bytes, at.to_le_bytes(), "its bytes are there: {source}");
                assert!(at % 2 == 1);
            }
            Err(other) => panic!("{other}"),
        }
    }
    let result = pool.apply_async::<believe>((7,)).unwrap();
    assert!(matches!(get(&result), Err(mp::TaskFailure::Undecodable { .. })));
    assert_eq!(pool.apply::<square>((2,)).unwrap(), 4);
}

fn a_result_that_cannot_travel_hurts_only_itself(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let each = pool.mapping::<believe>().chunk(3).map_each([12, 13, 14]).unwrap();
    assert!(each[0].is_ok() && each[2].is_ok());
    let Err(mp::TaskFailure::Rejected(error)) = &each[1] else { panic!("{:?}", each[1]) };
    assert!(error.to_string().contains("thirteen does not travel"), "{error}");
}

fn a_panic_comes_with_its_place_and_trace(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let result = pool.apply_async::<panics>(("as told".into(),)).unwrap();
    let Err(mp::TaskFailure::Panicked(panic)) = get(&result) else { panic!("it returned") };
    assert_eq!(panic.message, "as told");
    assert!(panic.location.unwrap().contains("main.rs"));
    assert_eq!(result.successful(), Ok(false));
    let pid = pool.apply::<nap>((0,)).unwrap();
    assert!(pool.apply::<panics>(("again".into(),)).is_err());
    assert_eq!(pool.apply::<nap>((0,)).unwrap(), pid, "its worker goes on");
}

fn an_unknown_signature_is_refused_not_run(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let error = pool.apply::<Stranger>((1,)).unwrap_err();
    let mp::TaskFailure::Rejected(mp::JobError::UnknownTask { name, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(name, "nobody::has::this");
    assert_eq!(pool.apply::<square>((2,)).unwrap(), 4);
}

/// A task that no worker has: written by hand, as another program's would be.
struct Stranger;

impl mp::Task for Stranger {
    const NAME: &'static str = "nobody::has::this";
    const SIGNATURE: &'static str = "(x: u64) -> u64";
    const DOC: &'static str = "";
    const SCHEMA: u64 = 77;
    const ARITY: usize = 1;
    type Args = (u64,);
    type Output = u64;

    fn call((x,): (u64,)) -> u64 {
        x
    }

    fn encode(codec: mp::Codec, output: u64) -> mp::task::Encoded {
        mp::task::ReturnsValue::encode(&mp::task::Returns::<u64>::new(), codec, output)
    }

    fn decode(codec: mp::Codec, failed: bool, payload: &[u8]) -> Result<u64, mp::CodecError> {
        mp::task::ReturnsValue::decode(&mp::task::Returns::<u64>::new(), codec, failed, payload)
    }
}

suite![
    results_are_futures,
    results_are_futures_of_any_runtime,
    a_result_that_does_not_decode_hurts_only_itself,
    a_result_that_cannot_travel_hurts_only_itself,
    a_panic_comes_with_its_place_and_trace,
    an_unknown_signature_is_refused_not_run,
];
