//! `mpctl bench`: how fast workers start, against a plain spawn of this very program.

use super::error::CtlError;
use super::screen::Screen;
use super::table::{Column, Value, numbers, plain, render, words};
use super::{arguments, connect, locate, units};
use crate::cli::mpctl::Bench;
use crate::tasks::bench;
use mp::{OnParentDeath, StartMethod, Task};
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A start that takes longer than this is no measurement any more.
const LIMIT: Duration = Duration::from_secs(30);
/// Plain spawns are only there to compare with.
const SPAWNS_MAX: u64 = 200;
/// Starts before the measurement: templates are built and connections opened on first use.
const WARM_UP: u64 = 20;

const COLUMNS: [Column; 12] = [
    words("METHOD", 0),
    numbers("CLIENTS", 3),
    numbers("STARTS", 2),
    numbers("STARTS/S", 0),
    numbers("FIRST P50", 0),
    numbers("P90", 1),
    numbers("P99", 0),
    numbers("MAX", 4),
    numbers("JOIN P50", 0),
    numbers("P90", 1),
    numbers("P99", 0),
    numbers("MAX", 4),
];

/// One start, in microseconds from the call.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// To the first instruction of the task.
    first: u64,
    /// To the return of `join`.
    join: u64,
}

/// A distribution, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Spread {
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    max_us: u64,
}

impl Spread {
    fn of(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        let at = |percent: usize| {
            // The smallest that so many are not above.
            let rank = (samples.len() * percent).div_ceil(100).max(1);
            samples.get(rank - 1).copied().unwrap_or(0)
        };
        Self { p50_us: at(50), p90_us: at(90), p99_us: at(99), max_us: at(100) }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Measured {
    method: &'static str,
    clients: u32,
    starts: u64,
    starts_per_second: f64,
    first_instruction: Spread,
    join: Spread,
}

/// `mpctl bench`.
pub(super) fn main(
    socket: Option<&Path>,
    screen: &Screen,
    options: &Bench,
) -> Result<u8, CtlError> {
    let modules = arguments::modules(&options.modules)?;
    let connection = connect::open(socket)?;
    let warm =
        locate::Place::host(<bench::now as Task>::NAME, modules).context(connection.path())?;
    drop(connection);
    measure(&warm, "forkserver", WARM_UP.min(options.starts), 1)?;
    let forkserver = measure(&warm, "forkserver", options.starts, options.clients)?;
    let cold = mp::get_context(StartMethod::Spawn);
    let spawn = measure(&cold, "spawn", options.starts.min(SPAWNS_MAX), options.clients)?;
    let all = [forkserver, spawn];
    screen.show(&all, || render(screen, &COLUMNS, all.iter().map(row).collect()))
}

fn row(measured: &Measured) -> Vec<Value> {
    let Measured { method, clients, starts, starts_per_second, first_instruction, join } = measured;
    let mut row = vec![
        plain(method),
        plain(clients),
        plain(starts),
        plain(format!("{starts_per_second:.0}")),
    ];
    for spread in [first_instruction, join] {
        let Spread { p50_us, p90_us, p99_us, max_us } = *spread;
        row.extend([p50_us, p90_us, p99_us, max_us].map(units::micros).map(plain));
    }
    row
}

/// Starts so many workers, by so many clients side by side.
fn measure(
    context: &mp::Context,
    method: &'static str,
    starts: u64,
    clients: u32,
) -> Result<Measured, CtlError> {
    let begun_so_far = AtomicU64::new(0);
    let client = || {
        let mut samples = Vec::new();
        while begun_so_far.fetch_add(1, Ordering::Relaxed) < starts {
            match one(context) {
                Ok(sample) => samples.push(sample),
                Err(error) => {
                    // The others need not go on.
                    begun_so_far.store(starts, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(samples)
    };
    let begun = Instant::now();
    let samples = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let ended = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(CtlError::system("a client panicked")))
        });
        ended.collect::<Result<Vec<Vec<Sample>>, CtlError>>()
    })?;
    let took = begun.elapsed().as_secs_f64();
    let samples = samples.concat();
    Ok(Measured {
        method,
        clients,
        starts: samples.len() as u64,
        starts_per_second: (samples.len() as f64 / took.max(1e-9)).round(),
        first_instruction: Spread::of(samples.iter().map(|sample| sample.first).collect()),
        join: Spread::of(samples.iter().map(|sample| sample.join).collect()),
    })
}

/// One start, through to its end.
fn one(context: &mp::Context) -> Result<Sample, CtlError> {
    let begun = bench::now();
    let builder = context.process::<bench::now>(()).daemon(true);
    let builder = builder.on_parent_death(OnParentDeath::Kill).start_timeout(LIMIT);
    let process = builder.start()?;
    let result = process.result_timeout(LIMIT);
    let joined = result.is_ok().then(|| process.join_timeout(LIMIT)).flatten();
    let ended = bench::now();
    let first = match (result, joined) {
        (Ok(first), Some(_)) => first,
        (Err(error), _) => {
            let _ = process.kill();
            return Err(CtlError::system(error.to_string()));
        }
        (Ok(_), None) => {
            let _ = process.kill();
            return Err(CtlError::system(format!("a worker did not end within {LIMIT:?}")));
        }
    };
    let since = |time: u64| time.saturating_sub(begun) / 1000;
    Ok(Sample { first: since(first), join: since(ended) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let spread = Spread::of((1..=100).rev().collect());
        let expected = Spread { p50_us: 50, p90_us: 90, p99_us: 99, max_us: 100 };
        assert_eq!(spread, expected);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        assert_eq!(Spread::of(vec![7]).p50_us, 7);
    }

    #[test]
    fn it_fits() {
        let spread = Spread { p50_us: 99_999, p90_us: 99_999, p99_us: 99_999, max_us: 99_999 };
        let measured = Measured {
            method: "forkserver",
            clients: 1024,
            starts: 1_000_000,
            starts_per_second: 20_000.0,
            first_instruction: spread,
            join: spread,
        };
        for width in [80, 200] {
            let screen = Screen { width: Some(width), colours: false, json: false };
            let text = render(&screen, &COLUMNS, vec![row(&measured)]);
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{text}");
            assert!(text.contains("20000") && text.contains("99ms"), "{text}");
        }
    }
}
