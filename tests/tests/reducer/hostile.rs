//! Bytes that nobody has written: every decoder gives a value or an error, and takes no more
//! memory than they justify.

use mp::{CodecError, Reducer, Resource};
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::{PATIENCE, outcome};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Address space of the process that decodes: an allocation that believes a length ends it.
const SPACE: u64 = 1 << 30;

#[derive(Debug, Serialize, Deserialize)]
enum Branch {
    Leaf,
    Text(String),
    Pair(Box<Branch>, Box<Branch>),
    Record { name: String, list: Vec<Branch>, map: BTreeMap<u16, Option<f64>> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    number: u64,
    letters: (char, bool),
    bytes: Vec<u8>,
    words: Vec<Vec<String>>,
    map: HashMap<String, i128>,
}

fn specimens(reducer: Reducer) -> Vec<Vec<u8>> {
    let leaf = || Box::new(Branch::Text("leaf".into()));
    let map = [(1, None), (2, Some(0.5))].into();
    let record = Branch::Record { name: "n".into(), list: vec![Branch::Leaf], map };
    let flat = Flat {
        number: u64::MAX,
        letters: ('ß', true),
        bytes: vec![1, 2, 3],
        words: vec![vec!["a".into()], vec![]],
        map: [("k".into(), -1)].into(),
    };
    vec![
        reducer.encode(&Branch::Pair(leaf(), Box::new(record))).unwrap(),
        reducer.encode(&flat).unwrap(),
        reducer.encode(&vec![1u64; 20]).unwrap(),
        reducer.encode(&("text", Some(1u8))).unwrap(),
    ]
}

fn attempt<T: DeserializeOwned + std::fmt::Debug>(reducer: Reducer, bytes: &[u8]) {
    match reducer.decode::<T>(bytes) {
        Ok(value) => drop(format!("{value:?}")),
        Err(CodecError::Malformed(_) | CodecError::Trailing(_)) => {}
        Err(other) => panic!("{reducer}: {other:?} of {bytes:?}"),
    }
}

fn attempts(reducer: Reducer, bytes: &[u8]) {
    attempt::<Branch>(reducer, bytes);
    attempt::<Flat>(reducer, bytes);
    attempt::<Vec<u64>>(reducer, bytes);
    attempt::<Vec<Vec<String>>>(reducer, bytes);
    attempt::<(String, Option<u8>)>(reducer, bytes);
    attempt::<HashMap<u32, Vec<u8>>>(reducer, bytes);
    attempt::<std::time::Duration>(reducer, bytes);
    attempt::<mp::SharedFd>(reducer, bytes);
    attempt::<mp::Queue<u8>>(reducer, bytes);
    attempt::<mp::Codec>(reducer, bytes);
}

fn random(moments: &mut Moments) -> Vec<u8> {
    let length = moments.below(64);
    (0..length).map(|_| moments.below(256) as u8).collect()
}

/// Changes, cuts, repeats and joins.
fn disturb(bytes: &mut Vec<u8>, moments: &mut Moments) {
    for _ in 0..=moments.below(3) {
        let at = moments.below(bytes.len() as u64 + 1) as usize;
        match moments.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, moments.below(256) as u8),
            2 => bytes.splice(at..at, [0xff; 9]).for_each(drop),
            3 => bytes.extend_from_within(at..),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << moments.below(8);
                }
            }
        }
    }
}

#[mp::task]
fn gnaw(name: String, seed: u64, rounds: u64) {
    let reducer = Reducer::by_name(&name).unwrap();
    let mut moments = Moments::of(seed);
    let specimens = specimens(reducer);
    // What claims to be long: lengths of each width, with nothing behind them.
    for byte in 0..=255u8 {
        for length in [1, 2, 4, 5, 8, 9, 10, 16] {
            attempts(reducer, &vec![byte; length]);
        }
    }
    for specimen in &specimens {
        for cut in 0..specimen.len() {
            attempts(reducer, &specimen[..cut]);
        }
    }
    for _ in 0..rounds {
        let mut bytes = match moments.below(4) {
            0 => random(&mut moments),
            _ => specimens[moments.below(specimens.len() as u64) as usize].clone(),
        };
        disturb(&mut bytes, &mut moments);
        attempts(reducer, &bytes);
    }
}

fn gnaw_all(rounds: u64) {
    let seed = seeds::any();
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let start = |reducer: Reducer| {
        let process = spawn.process::<gnaw>((reducer.to_string(), seed, rounds));
        process.rlimit(Resource::AddressSpace, SPACE, SPACE).start().unwrap()
    };
    for process in Reducer::all().map(start).collect::<Vec<_>>() {
        outcome(&process).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(process.join_timeout(PATIENCE), Some(0));
    }
}

#[test]
fn whatever_the_bytes_are() {
    gnaw_all(seeds::count(2000));
}

#[test]
#[ignore = "long: a million attempts by each"]
fn whatever_the_bytes_are_for_long() {
    gnaw_all(seeds::count(100_000));
}

#[mp::task]
fn count(items: Vec<u64>) -> usize {
    items.len()
}

/// `count`, called with whatever bytes.
#[derive(Debug)]
enum Forged {}

impl mp::Task for Forged {
    const NAME: &'static str = <count as mp::Task>::NAME;
    const SIGNATURE: &'static str = "";
    const DOC: &'static str = "";
    const SCHEMA: u64 = 0;
    const ARITY: usize = 1;
    type Args = (u64,);
    type Output = usize;

    fn call(_: Self::Args) -> usize {
        unreachable!("only the caller uses it")
    }

    fn encode(codec: mp::Codec, output: usize) -> mp::task::Encoded {
        mp::task::ReturnsValue::encode(&mp::task::Returns::new(), codec, output)
    }

    fn append(
        codec: mp::Codec,
        output: usize,
        into: &mut mp::task::Buffer,
    ) -> Result<bool, Box<CodecError>> {
        mp::task::ReturnsValue::append(&mp::task::Returns::new(), codec, output, into)
    }

    fn decode(codec: mp::Codec, failed: bool, payload: &[u8]) -> Result<usize, CodecError> {
        mp::task::ReturnsValue::decode(&mp::task::Returns::new(), codec, failed, payload)
    }
}

#[test]
fn a_worker_rejects_arguments_of_another_type() {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    for reducer in Reducer::all() {
        let ctx = spawn.clone().with_reducer(reducer);
        let process =
            ctx.process::<Forged>((u64::MAX,)).rlimit(Resource::AddressSpace, SPACE, SPACE);
        match outcome(&process.start().unwrap()) {
            Err(mp::ProcessError::Rejected(mp::JobError::BadArguments { .. })) => {}
            other => panic!("{reducer}: {other:?}"),
        }
    }
}
