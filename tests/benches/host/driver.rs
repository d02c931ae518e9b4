//! A process that is measured. It reads one command a line and answers with one line:
//!
//! | command | answer |
//! |---|---|
//! | `starts MS` | `COUNT FAILED P50 P99 PAUSE`: starts and joins one after the other for so long |
//!
//! Times are nanoseconds. A pause is the longest time between the ends of two starts that
//! succeeded: what a program feels of whatever happened meanwhile.

use mpserverd_tests::bench::{PATIENCE, text};
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

#[mp::task]
fn nothing() -> u64 {
    7
}

/// Obeys until its standard input ends.
pub(crate) fn run() -> Result<(), String> {
    let context = mp::get_context(mp::StartMethod::ForkServer).with_fallback(mp::Fallback::Fail);
    start(&context)?;
    say("ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(text)?;
        let time = line.strip_prefix("starts ").and_then(|time| time.parse().ok());
        let Some(time) = time else { return Err(format!("unknown command {line}")) };
        say(&starts(&context, Duration::from_millis(time)))?;
    }
    Ok(())
}

fn say(line: &str) -> Result<(), String> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(text)
}

fn start(context: &mp::Context) -> Result<(), String> {
    let process = context.process::<nothing>(()).start().map_err(text)?;
    process.result_timeout(PATIENCE).map_err(text)?;
    process.join();
    Ok(())
}

fn starts(context: &mp::Context, time: Duration) -> String {
    let (begun, mut last) = (Instant::now(), Instant::now());
    let (mut times, mut failed, mut pause) = (Vec::new(), 0u64, Duration::ZERO);
    while begun.elapsed() < time {
        let before = Instant::now();
        match start(context) {
            Ok(()) => {
                times.push(before.elapsed());
                pause = pause.max(last.elapsed());
                last = Instant::now();
            }
            // Nobody there: try again at once, as a program that wants its worker does.
            Err(_) => {
                failed += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }
    times.sort_unstable();
    let percentile = |percent: usize| {
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied()
    };
    let nanos = |time: Option<Duration>| time.unwrap_or_default().as_nanos();
    format!(
        "{} {failed} {} {} {}",
        times.len(),
        nanos(percentile(50)),
        nanos(percentile(99)),
        pause.as_nanos()
    )
}
