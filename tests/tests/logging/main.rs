//! What workers log: that it arrives, in order and complete, whatever becomes of whom.
//!
//! What a process collects is a matter of the whole process, so each test runs in one of its own,
//! a spawned worker; its workers are started by each method.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod arrivals;
mod deaths;
mod floods;
mod leaks;
mod levels;
mod lines;
mod recorder;
mod stops;
mod subscribers;

use mpserverd_tests::suite::passed;
use recorder::{Recorder, Seen};
use std::path::PathBuf;

/// How a process that a test runs in shall start its own.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Method {
    name: String,
    socket: Option<PathBuf>,
}

impl Method {
    pub(crate) fn context(&self) -> mp::Context {
        let method = self.name.parse::<mp::StartMethod>().unwrap();
        let context = mp::get_context(method).with_fallback(mp::Fallback::Fail);
        match &self.socket {
            Some(path) => context.with_socket(path),
            None => context,
        }
    }
}

/// Calls a test's body for one method, in a process of its own.
pub(crate) fn in_own_process(
    method: mp::StartMethod,
    start: impl Fn(&mp::Context, Method) -> mp::ProcessBuilder<()>,
) {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let name = method.as_str().to_owned();
    if method == mp::StartMethod::ForkServer {
        let daemon = mpserverd_tests::daemon::Daemon::start(&[]);
        passed(start(&spawn, Method { name, socket: Some(daemon.socket()) }));
    } else {
        passed(start(&spawn, Method { name, socket: None }));
    }
}

/// Makes three tests of each function `fn(&mp::Context)`: in `spawn`, `forkserver` and `fork`.
macro_rules! alone {
    ($($name:ident),+ $(,)?) => {
        #[mp::task]
        fn alone(name: String, method: crate::Method) {
            let bodies: &[(&str, fn(&mp::Context))] = &[$((stringify!($name), $name)),+];
            let (_, body) = bodies.iter().find(|(known, _)| *known == name).unwrap();
            body(&method.context());
        }

        mod spawn {
            $(#[test]
            fn $name() {
                crate::alone!(@run $name, Spawn);
            })+
        }

        mod forkserver {
            $(#[test]
            fn $name() {
                crate::alone!(@run $name, ForkServer);
            })+
        }

        mod fork {
            $(#[test]
            fn $name() {
                crate::alone!(@run $name, Fork);
            })+
        }
    };
    (@run $name:ident, $method:ident) => {
        crate::in_own_process(mp::StartMethod::$method, |spawn, method| {
            spawn.process::<super::alone>((stringify!($name).to_owned(), method))
        });
    };
}
pub(crate) use alone;

/// Records everything from now on, also what workers log.
pub(crate) fn record(level: mp::logging::Level) -> Seen {
    let seen = Seen::default();
    tracing::subscriber::set_global_default(Recorder::subscriber(&seen)).unwrap();
    mp::logging::forward(level);
    seen
}
