//! Reducers: each of them through everything that values go through, and those that do not match.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod awaited;
mod connections;
mod foreign;
mod hostile;
mod modules;
mod pools;
mod queues;
mod travel;
mod words;

#[path = "../../modules/misbehave/src/reducers.rs"]
mod reducers;

pub(crate) use reducers::MSGPACK;

mp::reducer! {
    /// The module has the first version.
    pub(crate) DRAFT: reducers::Draft<2> = reducers::Draft;
}

/// Those that carry handles.
fn binary() -> [mp::Reducer; 3] {
    [mp::Reducer::bincode(), mp::Reducer::postcard(), MSGPACK]
}

#[test]
fn a_program_knows_its_own() {
    let mut names = mp::Reducer::all().map(|reducer| reducer.to_string()).collect::<Vec<_>>();
    names[3..].sort();
    assert_eq!(names, ["bincode", "json", "postcard", "draft/2", "msgpack/1"]);
    assert_eq!(mp::Reducer::by_name("draft/2").unwrap(), DRAFT);
    match mp::Reducer::by_name("draft/1") {
        Err(mp::CodecError::UnknownReducer(unknown)) => {
            assert_eq!(unknown.name, "draft/1");
            assert_eq!(unknown.known.len(), 5);
        }
        other => panic!("{other:?}"),
    }
}
