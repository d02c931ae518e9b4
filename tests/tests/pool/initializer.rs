//! What each worker runs first, and what becomes of a pool whose workers do not come up.

use super::{get, square};
use mpserverd_tests::suite;
use std::io::Write;
use std::sync::OnceLock;

static SET: OnceLock<String> = OnceLock::new();

#[mp::task]
fn set(text: String, log: mp::Passed<std::fs::File>) {
    SET.set(text).unwrap();
    (&log.0).write_all(b"set\n").unwrap();
}

#[mp::task]
fn read_back() -> Option<String> {
    SET.get().cloned()
}

fn it_runs_once_in_each_worker_before_any_task(ctx: &mp::Context) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = mp::Passed(file.reopen().unwrap());
    let pool = ctx.pool().processes(3).initializer::<set>(("warm".into(), log)).build().unwrap();
    super::ready(&pool, 3);
    for _ in 0..30 {
        assert_eq!(pool.apply::<read_back>(()).unwrap().as_deref(), Some("warm"));
    }
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "set\n".repeat(3));
}

/// Fails, and counts how often.
#[mp::task]
fn fail(log: String, how: String) -> Result<(), String> {
    let mut log = std::fs::File::options().append(true).create(true).open(log).unwrap();
    log.write_all(b"x").unwrap();
    match how.as_str() {
        "error" => Err("the model is missing".to_owned()),
        "panic" => panic!("the model is broken"),
        _ => {
            eprintln!("the model is cursed");
            std::process::exit(3)
        }
    }
}

fn one_that_fails_breaks_the_pool_and_says_why(ctx: &mp::Context) {
    for (how, said) in [("error", "missing"), ("panic", "broken"), ("exit", "cursed")] {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let args = (log.to_str().unwrap().to_owned(), how.to_owned());
        let pool = ctx.pool().processes(2).initializer::<fail>(args).init_attempts(3).build();
        let pool = pool.unwrap();
        let waiting = match pool.apply_async::<square>((2,)) {
            Ok(result) => get(&result).unwrap_err(),
            Err(error) => error.into(),
        };
        let mp::TaskFailure::Pool(mp::PoolError::Broken { attempts, reason }) = waiting else {
            panic!("{how}: {waiting}")
        };
        assert_eq!(attempts, 3);
        assert!(reason.contains(said), "{how}: {reason}");
        let error = pool.apply_async::<square>((2,)).unwrap_err();
        assert!(matches!(error, mp::PoolError::Broken { .. }), "{error}");
        assert_eq!(pool.map::<square>(0..3).unwrap_err().index, 0);
        pool.join_timeout(super::PATIENCE).unwrap();
        let tries = std::fs::read(&log).unwrap().len();
        assert!((3..=2 * 2 * 3).contains(&tries), "{how}: {tries} workers were started");
    }
}

/// Fails until it was tried so often.
#[mp::task]
fn fail_at_first(log: String, times: usize) -> Result<(), String> {
    let mut file = std::fs::File::options().append(true).create(true).open(&log).unwrap();
    file.write_all(b"x").unwrap();
    let tried = std::fs::read(&log).unwrap().len();
    if tried > times { Ok(()) } else { Err(format!("attempt {tried}")) }
}

fn one_that_fails_at_first_is_tried_again(ctx: &mp::Context) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log").to_str().unwrap().to_owned();
    let pool = ctx.pool().processes(1).initializer::<fail_at_first>((log, 2)).build().unwrap();
    let result = pool.apply_async::<square>((4,)).unwrap();
    assert_eq!(get(&result).unwrap(), 16);
}

suite![
    it_runs_once_in_each_worker_before_any_task,
    one_that_fails_breaks_the_pool_and_says_why,
    one_that_fails_at_first_is_tried_again,
];
