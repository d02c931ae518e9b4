//! How long no start comes through when the host is replaced, over many times: ours over reloads,
//! upgrades and deaths, beside CPython's forkserver, whose only way to another one is to die.

use super::measure::{Options, daemon, line};
use mpserverd_tests::bench::driver::Driver;
use mpserverd_tests::columns::columns;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::load::{Clients, Sleepers, percentile, under};
use std::time::Duration;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(300);

/// A way to replace a host, by its name.
type Kind = (&'static str, fn(&mut Daemon));

/// Measures and prints it.
pub(super) fn run(options: &Options, python: Option<&str>) -> Result<(), String> {
    let mut host = daemon()?;
    let context = host.context();
    let asleep = Sleepers::start(&context, options.asleep);
    let mut all = Vec::new();
    let kinds: [Kind; 3] = [
        ("ours, reload", |daemon| must(daemon, "reload")),
        ("ours, upgrade", |daemon| must(daemon, "upgrade")),
        ("ours, kill -9 and restart", |daemon| {
            daemon.crash();
            daemon.restart();
        }),
    ];
    for (name, happen) in kinds {
        eprintln!("gaps: {name}");
        let one = Clients { count: 1, pause: Duration::from_millis(1) };
        let record = under(&context, one, |stage| {
            for _ in 0..options.gaps {
                std::thread::sleep(PAUSE);
                assert!(!host.remains().is_empty(), "the daemon has left nothing");
                stage.event(|| happen(&mut host));
            }
        });
        all.push((name, record.gaps()));
    }
    asleep.end();
    if let Some(python) = python {
        eprintln!("gaps: CPython");
        let mut driver = Driver::python(python, "host", &[""; 0], &[])?.ready()?;
        driver.send(&format!("gaps {}", options.gaps))?;
        let gaps = driver.numbers::<u64>()?.into_iter().map(Duration::from_nanos);
        let mut gaps = gaps.collect::<Vec<_>>();
        gaps.sort_unstable();
        all.push(("CPython forkserver, killed and started anew", gaps));
    }
    println!(
        "No start came through for so long, over {} of each with {} workers asleep (CPython: \
         none)\n\n{}",
        options.gaps,
        options.asleep,
        table(&all)
    );
    Ok(())
}

fn must(daemon: &mut Daemon, what: &str) {
    let output = daemon.mpctl(&[what]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Their times, and how many of each the last one takes at the median.
fn table(all: &[(&str, Vec<Duration>)]) -> String {
    let peer = all.last().and_then(|(_, gaps)| percentile(gaps, 50));
    let mut rows = vec![line(["", "p50", "p99", "longest", "times the last one's p50"])];
    for (name, gaps) in all {
        let at = |percent| percentile(gaps, percent).unwrap_or_default();
        let ratio = at(50).as_secs_f64() / peer.unwrap_or_default().as_secs_f64();
        let mut row = vec![(*name).to_owned()];
        row.extend([50, 99, 100].map(|percent| format!("{:.1?}", at(percent))));
        row.push(format!("{ratio:.2}"));
        rows.push(row);
    }
    columns(&rows)
}
