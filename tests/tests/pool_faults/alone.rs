//! Each test in a process of its own: nothing but the test changes what that process has, and one
//! that hangs is ended.

use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, proc};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A test that has not said for so long that it goes on, hangs.
const SILENCE_MOST: Duration = PATIENCE.saturating_mul(3);

/// Beats while the test goes on.
static HEART: OnceLock<mp::RawValue<u64>> = OnceLock::new();

/// The start method of the test.
static METHOD: OnceLock<mp::StartMethod> = OnceLock::new();

/// The start method of the test in this process.
pub(crate) fn method() -> Option<mp::StartMethod> {
    METHOD.get().copied()
}

/// What the process of a test gets: the test, how it starts workers, and where it beats.
pub(crate) type Arguments = (String, Starts, mp::RawValue<u64>);

/// How a test starts workers: the method, and the socket of a daemon if it needs one.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Starts {
    method: String,
    socket: Option<PathBuf>,
}

/// The test goes on.
pub(crate) fn beat() {
    if let Some(heart) = HEART.get() {
        heart.fetch_add(1);
    }
}

/// Runs a test in a process of its own and waits for its end.
pub(crate) fn start<T: mp::Task<Args = Arguments, Output = ()>>(name: &str, method: &str) {
    let heart = mp::RawValue::new(0u64).unwrap();
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let daemon = (method == "forkserver").then(|| Daemon::start(&["--spares", "4..16"]));
    let socket = daemon.as_ref().map(Daemon::socket);
    let starts = Starts { method: method.to_owned(), socket };
    let arguments = (name.to_owned(), starts, heart.clone());
    let process = spawn.process::<T>(arguments).env("RUST_BACKTRACE", "0");
    let process = process.rlimit(mp::Resource::Core, 0, 0).start().unwrap();
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        match process.result_timeout(Duration::from_secs(1)) {
            Err(mp::ProcessError::Timeout(_)) => {}
            Err(error) => panic!("{name} under {method}: {error}"),
            Ok(()) => break,
        }
        let now = heart.get();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        if since.elapsed() > SILENCE_MOST {
            let pid = process.pid();
            let _ = process.kill();
            panic!("{name} under {method} hangs, as process {pid}");
        }
    }
    if let Some(daemon) = daemon {
        let reaped = eventually(PATIENCE, || proc::no_zombies_below(daemon.pid()));
        assert!(reaped, "zombies: {:?}", proc::zombies_below(daemon.pid()));
    }
}

/// In that process: runs the test with a context of the method.
pub(crate) fn run(starts: &Starts, heart: mp::RawValue<u64>, body: fn(&mp::Context)) {
    HEART.set(heart).expect("one test a process");
    let method = starts.method.parse::<mp::StartMethod>().unwrap();
    METHOD.set(method).expect("one test a process");
    let context = mp::get_context(method).with_fallback(mp::Fallback::Fail);
    match &starts.socket {
        Some(socket) => body(&context.with_socket(socket)),
        None => body(&context),
    }
}

/// Makes three tests of each function `fn(&mp::Context)`, each in a process of its own: in
/// `spawn`, `forkserver` and `fork`. Those behind `long:` are run when they are asked for.
macro_rules! alone {
    ($($name:ident),+ $(,)? $(; long: $($long:ident),+ $(,)?)?) => {
        #[mp::task]
        fn in_a_process(
            name: String,
            starts: $crate::alone::Starts,
            heart: mp::RawValue<u64>,
        ) {
            let bodies: &[(&str, fn(&mp::Context))] =
                &[$((stringify!($name), $name),)+ $($((stringify!($long), $long),)+)?];
            let (_, body) = bodies.iter().find(|(known, _)| *known == name).unwrap();
            $crate::alone::run(&starts, heart, *body);
        }

        alone!(@ spawn, ($($name),+), ($($($long),+)?));
        alone!(@ forkserver, ($($name),+), ($($($long),+)?));
        alone!(@ fork, ($($name),+), ($($($long),+)?));
    };
    (@ $method:ident, ($($name:ident),+), ($($long:ident),*)) => {
        mod $method {
            $(#[test]
            fn $name() {
                $crate::alone::start::<super::in_a_process>(
                    stringify!($name),
                    stringify!($method),
                );
            })+
            $(#[test]
            #[ignore = "long: minutes"]
            fn $long() {
                $crate::alone::start::<super::in_a_process>(
                    stringify!($long),
                    stringify!($method),
                );
            })*
        }
    };
}
