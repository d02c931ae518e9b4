//! The comparison of two runs, as a table for people.

use super::{Outcome, Run};
use std::time::Duration;

/// Two runs side by side, in aligned columns.
#[must_use]
pub fn compare(warm: &Run, spawned: &Run) -> String {
    let row = |name: &str, of: &dyn Fn(&Run) -> String| {
        format!("{name:<24}{:>12}{:>12}\n", of(warm), of(spawned))
    };
    let first = |outcome: &Outcome| outcome.first;
    let total = |outcome: &Outcome| outcome.total;
    let mut table = format!("{:<24}{:>12}{:>12}\n", "", "warm", "spawned");
    table += &row("starts", &|run| run.outcomes.len().to_string());
    table += &row("first instruction, p50", &|run| quantile(run, 50, first));
    table += &row("first instruction, p90", &|run| quantile(run, 90, first));
    table += &row("whole job, p50", &|run| quantile(run, 50, total));
    table += &row("files/s", &|run| {
        let done = run.outcomes.len() - run.failures().count();
        format!("{:.1}", done as f64 / run.took.as_secs_f64().max(f64::EPSILON))
    });
    table += &row("failures", &|run| run.failures().count().to_string());
    table
}

/// The smallest value that so many percent of the successful jobs do not exceed.
fn quantile(run: &Run, percent: usize, of: impl Fn(&Outcome) -> Duration) -> String {
    let good = run.outcomes.iter().filter(|outcome| outcome.result.is_ok());
    let mut values = good.map(of).collect::<Vec<_>>();
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).map_or_else(|| "-".to_owned(), |value| show(*value))
}

fn show(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{Job, Rendered};

    fn run(micros: &[u64]) -> Run {
        let job = Job { source: "a".into(), out_dir: "b".into(), shown: "a".into() };
        let rendered =
            Rendered { language: "C".into(), lines: 1, written: "b/a".into(), begun_ns: 0 };
        let outcome = |micros: &u64| Outcome {
            job: job.clone(),
            result: if *micros == 0 { Err("x".into()) } else { Ok(rendered.clone()) },
            first: Duration::from_micros(*micros),
            total: Duration::from_micros(2 * micros),
        };
        let outcomes = micros.iter().map(outcome).collect();
        Run { outcomes, took: Duration::from_secs(2) }
    }

    #[test]
    fn columns_are_aligned_and_failures_do_not_count_as_fast() {
        let table = compare(&run(&[100, 200, 300, 0]), &run(&[]));
        let widths = table.lines().map(|line| line.chars().count()).collect::<Vec<_>>();
        assert!(widths.iter().all(|width| *width == 48), "{table}");
        assert!(table.contains("first instruction, p50        200 µs           -"), "{table}");
        assert!(table.contains("whole job, p50                400 µs           -"), "{table}");
        assert!(table.contains("files/s                          1.5         0.0"), "{table}");
        assert!(table.contains("failures                           1           0"), "{table}");
    }

    #[test]
    fn times_are_shown_in_fitting_units() {
        assert_eq!(show(Duration::from_micros(85)), "85 µs");
        assert_eq!(show(Duration::from_micros(1_250)), "1.2 ms");
        assert_eq!(show(Duration::from_millis(2_500)), "2.50 s");
    }
}
