//! The same test under every start method.
//!
//! Under `forkserver` each test has a private daemon. Under `fork` it runs in a spawned worker,
//! which has no threads but the runtime's: a test harness has some, and a fork of it might hang.

use std::time::Duration;

/// How long anything may take that is expected to happen: a busy machine, not a slow one.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a process and gives its exit code.
///
/// # Panics
/// When it does not end.
#[must_use]
pub fn end(process: &mp::Handle) -> i32 {
    process.join_timeout(PATIENCE).unwrap_or_else(|| panic!("{process:?} does not end"))
}

/// Waits for the result of a process.
///
/// # Errors
/// As [`mp::Process::result`].
///
/// # Panics
/// When there is none in time.
pub fn outcome<R>(process: &mp::Process<R>) -> Result<R, mp::ProcessError> {
    match process.result_timeout(PATIENCE) {
        Err(mp::ProcessError::Timeout(_)) => panic!("{process:?} gives no result"),
        other => other,
    }
}

/// Starts a process and gives its result, which it must have.
///
/// # Panics
/// When it has none.
pub fn value<R>(builder: mp::ProcessBuilder<R>) -> R {
    let process = builder.start().unwrap_or_else(|error| panic!("{error}"));
    outcome(&process).unwrap_or_else(|error| panic!("{error}"))
}

/// Tries something that a limit must not hit before it has begun: with this limit, and with twice
/// of it each time that it says, by `None`, that the machine was too slow.
///
/// # Panics
/// When that is so with the longest limit too.
pub fn in_time<T>(limit: Duration, mut attempt: impl FnMut(Duration) -> Option<T>) -> T {
    let limits = std::iter::successors(Some(limit), |limit| Some(*limit * 2));
    let mut tried = limits.take_while(|limit| *limit <= PATIENCE).filter_map(&mut attempt);
    tried.next().unwrap_or_else(|| panic!("it never begins within {PATIENCE:?}"))
}

/// What a test in another process came to.
///
/// # Panics
/// With what it said.
pub fn passed(process: mp::ProcessBuilder<()>) {
    let process = process.env("RUST_BACKTRACE", "0").start().unwrap();
    if let Err(error) = process.result_timeout(5 * PATIENCE) {
        panic!("{error}");
    }
}

/// Makes three tests of each function `fn(&mp::Context)`: in `spawn`, `forkserver` and `fork`.
#[macro_export]
macro_rules! suite {
    ($($name:ident),+ $(,)?) => {
        #[mp::task]
        fn under_fork(name: String) {
            let bodies: &[(&str, fn(&mp::Context))] = &[$((stringify!($name), $name)),+];
            let (_, body) = bodies.iter().find(|(known, _)| *known == name).unwrap();
            body(&mp::get_context(mp::StartMethod::Fork));
        }

        mod spawn {
            $(#[test]
            fn $name() {
                super::$name(&mp::get_context(mp::StartMethod::Spawn));
            })+
        }

        mod forkserver {
            $(#[test]
            fn $name() {
                let daemon = $crate::daemon::Daemon::start(&[]);
                super::$name(&daemon.context());
            })+
        }

        mod fork {
            $(#[test]
            fn $name() {
                let spawn = mp::get_context(mp::StartMethod::Spawn);
                let name = stringify!($name).to_owned();
                $crate::suite::passed(spawn.process::<super::under_fork>((name,)));
            })+
        }
    };
}
