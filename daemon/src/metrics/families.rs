//! Which metrics there are, and what each means.

use super::text::{Kind, Text};
use crate::core::measures::{Counts, Gauges, REASONS, Row, Snapshot};
use std::time::Duration;

/// What the kernel says about the daemon's own process; `None` where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Time on a processor, of user and kernel.
    pub cpu: Option<Duration>,
    /// Memory that is there, in bytes.
    pub resident_bytes: Option<u64>,
    /// Addresses that are taken, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Descriptors that are open.
    pub open_fds: Option<u64>,
    /// How many may be.
    pub max_fds: Option<u64>,
    /// Since the Unix epoch.
    pub started: Option<Duration>,
}

const STATES: [&str; 4] = ["loading", "ready", "retiring", "failed"];
const ENDS: [&str; 4] = ["success", "failure", "signal", "unused"];

/// The text.
#[must_use]
pub fn render(snapshot: &Snapshot<'_>, process: &Process) -> String {
    let mut text = Text::default();
    daemon(&mut text, snapshot);
    templates(&mut text, &snapshot.rows);
    workers(&mut text, &snapshot.rows);
    times(&mut text, snapshot);
    own(&mut text, process);
    text.finish()
}

fn daemon(text: &mut Text, snapshot: &Snapshot<'_>) {
    text.family("mpserverd_build", Kind::Info, "", "Which daemon this is.");
    text.sample(&[("version", snapshot.version)], true);
    let mut gauge = |name, help, value| {
        text.family(name, Kind::Gauge, "", help);
        text.sample(&[], value);
    };
    gauge(
        "mpserverd_generation",
        "Generation of the configuration that serves; every reload that switched adds one.",
        u64::from(snapshot.generation),
    );
    let ready = u64::from(snapshot.settled && !snapshot.stopping);
    gauge("mpserverd_ready", "Whether it serves: not starting, not stopping.", ready);
    gauge("mpserverd_stopping", "Whether it is going down.", u64::from(snapshot.stopping));
    gauge("mpserverd_sessions", "Clients that are connected.", snapshot.clients);
    gauge("mpserverd_workers_limit", "Workers that may run at once.", snapshot.workers_max);
    gauge("mpserverd_templates_limit", "Templates that may exist at once.", snapshot.templates_max);
    text.family("mpserverd_uptime_seconds", Kind::Gauge, "seconds", "How long it has been up.");
    text.sample(&[], snapshot.uptime);
    changes(text, snapshot);
    text.family("mpserverd_refusals", Kind::Counter, "", "Requests refused, by reason.");
    for (reason, count) in REASONS.iter().zip(snapshot.refusals) {
        text.sample(&[("reason", reason)], *count);
    }
    let help = "Workers that have died, by who caused it: see `mpctl deaths`.";
    text.family("mpserverd_deaths", Kind::Counter, "", help);
    for (cause, count) in &snapshot.deaths {
        text.sample(&[("cause", cause)], *count);
    }
    let help = "Misdeeds of clients that were noted against their users; see `[admission]`.";
    text.family("mpserverd_misdeeds", Kind::Counter, "", help);
    text.sample(&[], snapshot.misdeeds);
    let help = "Users whose requests are refused now for such.";
    text.family("mpserverd_penalised_users", Kind::Gauge, "", help);
    text.sample(&[], snapshot.penalised);
}

/// Reloads and upgrades. What is said of the last one is there once there was one.
fn changes(text: &mut Text, snapshot: &Snapshot<'_>) {
    for (name, help, (switched, unchanged)) in [
        ("mpserverd_reloads", "Reloads by how they ended.", snapshot.reloads),
        ("mpserverd_upgrades", "Upgrades by how they ended.", snapshot.upgrades),
    ] {
        text.family(name, Kind::Counter, "", help);
        text.sample(&[("result", "switched")], switched);
        text.sample(&[("result", "unchanged")], unchanged);
    }
    let last = [("reload", &snapshot.last_reload), ("upgrade", &snapshot.last_upgrade)];
    let last = last.into_iter().filter_map(|(what, change)| Some((what, change.as_ref()?)));
    let last: Vec<_> = last.collect();
    if !last.is_empty() {
        let help = "Whether the last one was done; otherwise all stayed as it was.";
        text.family("mpserverd_last_change_successful", Kind::Gauge, "", help);
        for (what, change) in &last {
            text.sample(&[("change", what)], change.error.is_none());
        }
        let help = "How long the last one took, whether or not it was done.";
        text.family("mpserverd_last_change_seconds", Kind::Gauge, "seconds", help);
        for (what, change) in &last {
            text.sample(&[("change", what)], Duration::from_millis(change.took_ms));
        }
    }
    if let Some(pause) = snapshot.last_upgrade.as_ref().and_then(|change| change.pause_us) {
        let help = "How long nobody listened when another program went on, the last time.";
        text.family("mpserverd_upgrade_pause_seconds", Kind::Gauge, "seconds", help);
        text.sample(&[], Duration::from_micros(pause));
    }
}

fn gauges(
    text: &mut Text,
    rows: &[Row<'_>],
    name: &'static str,
    unit: &str,
    help: &str,
    value: impl Fn(&Gauges) -> u64,
) {
    text.family(name, Kind::Gauge, unit, help);
    for row in rows {
        text.sample(&[("template", row.name)], value(&row.gauges));
    }
}

fn counters(
    text: &mut Text,
    rows: &[Row<'_>],
    name: &'static str,
    help: &str,
    value: impl Fn(&Counts) -> u64,
) {
    text.family(name, Kind::Counter, "", help);
    for row in rows {
        text.sample(&[("template", row.name)], value(&row.counts));
    }
}

fn templates(text: &mut Text, rows: &[Row<'_>]) {
    let name = "mpserverd_templates";
    text.family(name, Kind::Gauge, "", "Templates by state; a failed one is tried again.");
    for row in rows {
        for (state, count) in STATES.iter().zip(row.gauges.states) {
            text.sample(&[("template", row.name), ("state", state)], count);
        }
    }
    let name = "mpserverd_template_memory_bytes";
    let help = "Memory of template processes, as they last measured it. \"private\" is what only \
                they and their forks have, \"huge\" is on huge pages; both are part of \"resident\".";
    text.family(name, Kind::Gauge, "bytes", help);
    for Row { name, gauges, .. } in rows {
        for (kind, kib) in [
            ("resident", gauges.rss_kib),
            ("private", gauges.private_kib),
            ("huge", gauges.huge_kib),
        ] {
            text.sample(&[("template", name), ("kind", kind)], kib.saturating_mul(1024));
        }
    }
    let name = "mpserverd_template_builds";
    counters(text, rows, name, "Template processes started.", |counts| counts.builds);
    let name = "mpserverd_template_failures";
    counters(text, rows, name, "Templates that failed or died.", |counts| counts.failures);
}

fn workers(text: &mut Text, rows: &[Row<'_>]) {
    let name = "mpserverd_workers";
    gauges(text, rows, name, "", "Workers that clients have.", |gauges| gauges.workers);
    let name = "mpserverd_spares";
    gauges(text, rows, name, "", "Spares that wait for a client.", |gauges| gauges.spares);
    let help = "Spares that are aimed at; grows with demand.";
    gauges(text, rows, "mpserverd_spares_wanted", "", help, |gauges| gauges.spares_wanted);
    let help = "Requests for a worker that wait.";
    gauges(text, rows, "mpserverd_queued_requests", "", help, |gauges| gauges.queued);
    let help = "Workers handed over to clients.";
    counters(text, rows, "mpserverd_starts", help, |counts| counts.starts);
    let help = "Workers handed over that had been waiting as spares.";
    counters(text, rows, "mpserverd_spare_hits", help, |counts| counts.spare_hits);
    let help = "Spares forked.";
    counters(text, rows, "mpserverd_forks", help, |counts| counts.forks);
    let help = "Spares that a template could not fork.";
    counters(text, rows, "mpserverd_fork_failures", help, |counts| counts.fork_failures);
    let help = "Workers that ended: with code 0, with another code, by a signal; and spares that \
                ended before anybody asked for them.";
    text.family("mpserverd_worker_ends", Kind::Counter, "", help);
    for row in rows {
        for (end, count) in ENDS.iter().zip(row.counts.ends) {
            text.sample(&[("template", row.name), ("end", end)], count);
        }
    }
}

fn times(text: &mut Text, snapshot: &Snapshot<'_>) {
    for (name, help, histogram) in [
        (
            "mpserverd_queue_wait_seconds",
            "From a request for a worker to the worker; nothing where a spare was waiting.",
            snapshot.queue_wait,
        ),
        (
            "mpserverd_fork_seconds",
            "From asking a template for a spare to the spare.",
            snapshot.fork,
        ),
        (
            "mpserverd_template_load_seconds",
            "From starting a template's process to its readiness.",
            snapshot.load,
        ),
        (
            "mpserverd_loop_lag_seconds",
            "How long each turn of the daemon's loop took: so long may anybody have waited for it.",
            snapshot.turn,
        ),
    ] {
        text.family(name, Kind::Histogram, "seconds", help);
        text.histogram(histogram);
    }
}

/// The daemon's own process, under the names that everybody uses.
fn own(text: &mut Text, process: &Process) {
    if let Some(cpu) = process.cpu {
        let help = "Time on a processor, of user and kernel.";
        text.family("process_cpu_seconds", Kind::Counter, "seconds", help);
        text.sample(&[], cpu);
    }
    if let Some(started) = process.started {
        let help = "When the process was started, since the Unix epoch.";
        text.family("process_start_time_seconds", Kind::Gauge, "seconds", help);
        text.sample(&[], started);
    }
    for (name, unit, help, value) in [
        ("process_resident_memory_bytes", "bytes", "Memory that is there.", process.resident_bytes),
        ("process_virtual_memory_bytes", "bytes", "Addresses taken.", process.virtual_bytes),
        ("process_open_fds", "", "Open descriptors.", process.open_fds),
        ("process_max_fds", "", "Descriptors that may be open.", process.max_fds),
    ] {
        if let Some(value) = value {
            text.family(name, Kind::Gauge, unit, help);
            text.sample(&[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Core, Time};
    use mpserverd_proto::upkeep::Change;
    use std::collections::BTreeSet;

    /// First columns of the table under a heading of `metrics.md`.
    fn documented(heading: &str) -> BTreeSet<&'static str> {
        let document = include_str!("metrics.md");
        let section = document.split("\n| ").skip_while(|row| !row.starts_with(heading));
        let section = section.skip(1).take_while(|row| row.starts_with('`'));
        let names = section.flat_map(|row| row.split(" | ").next().unwrap().split(", "));
        names.map(|name| name.trim_matches('`')).collect()
    }

    #[test]
    fn every_metric_and_every_reason_is_documented() {
        let core = Core::new(Time::default(), "1", 7, "/sock", 1);
        let mut snapshot = core.snapshot();
        let change = Change { pause_us: Some(1500), took_ms: 20, ..Change::default() };
        let failed = Change { error: Some("no".into()), ..Change::default() };
        (snapshot.last_reload, snapshot.last_upgrade) = (Some(failed), Some(change));
        let process = Process {
            cpu: Some(Duration::ZERO),
            started: Some(Duration::ZERO),
            resident_bytes: Some(1),
            virtual_bytes: Some(1),
            open_fds: Some(1),
            max_fds: Some(1),
        };
        let text = render(&snapshot, &process);
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let told: BTreeSet<_> = types.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(told, documented("metric "));
        assert_eq!(REASONS.into_iter().collect::<BTreeSet<_>>(), documented("reason "));
        for line in [
            "mpserverd_last_change_successful{change=\"reload\"} 0\n",
            "mpserverd_last_change_successful{change=\"upgrade\"} 1\n",
            "mpserverd_last_change_seconds{change=\"upgrade\"} 0.020000000\n",
            "mpserverd_upgrade_pause_seconds 0.001500000\n",
            "mpserverd_refusals_total{reason=\"limit_workers\"} 0\n",
            "mpserverd_penalised_users 0\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn every_family_is_described_once_and_in_one_piece() {
        let core = Core::new(Time::default(), "1.\"2\"", 7, "/sock", 1);
        let process = Process {
            cpu: Some(Duration::from_millis(1500)),
            resident_bytes: Some(4096),
            ..Process::default()
        };
        let text = render(&core.snapshot(), &process);
        assert!(text.ends_with("\n# EOF\n"));
        assert!(text.contains("mpserverd_build_info{version=\"1.\\\"2\\\"\"} 1\n"), "{text}");
        assert!(text.contains("process_cpu_seconds_total 1.500000000\n"), "{text}");
        assert!(text.contains("mpserverd_queue_wait_seconds_bucket{le=\"+Inf\"} 0\n"), "{text}");
        assert!(!text.contains("process_open_fds"), "what is not known is not told");
        let (mut seen, mut current) = (BTreeSet::new(), "");
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap();
                assert!(seen.insert(current), "{current} twice");
            } else {
                let name = line.trim_start_matches("# HELP ").trim_start_matches("# UNIT ");
                assert!(name.starts_with(current), "{line}");
            }
        }
    }
}
