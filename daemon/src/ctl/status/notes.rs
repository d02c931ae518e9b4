//! What is worth a line below the headline: reloads and upgrades, what earlier generations left,
//! who holds the limits, who is penalised. Nothing where there is nothing to say.

use crate::ctl::units;
use mpserverd_proto::quota::{HeldRow, Holder};
use mpserverd_proto::report::{PenaltyRow, StatusReport};
use mpserverd_proto::upkeep::{Change, GenerationRow, Upkeep};

/// All lines.
pub(super) fn lines(report: &StatusReport) -> Vec<String> {
    let mut lines = change("reload", &report.reload);
    lines.extend(change("upgrade", &report.upgrade));
    lines.extend(report.generations.iter().map(generation));
    lines.extend(held(&report.held));
    lines.extend(report.penalties.iter().map(penalty));
    lines
}

fn change(what: &str, upkeep: &Upkeep) -> Vec<String> {
    let Upkeep { running_ms, last } = upkeep;
    let running = running_ms.map(|ms| format!("{what} under way for {}", units::micros(ms * 1000)));
    let last = last.as_ref().map(|Change { ago_ms, took_ms, pause_us, error }| {
        let (ago, took) = (units::age(*ago_ms), units::micros(took_ms.saturating_mul(1000)));
        match (error, pause_us) {
            (Some(error), _) => format!("last {what} {ago} ago FAILED, all is as it was: {error}"),
            (None, Some(pause)) => {
                format!("last {what} {ago} ago, took {took}, pause {}", units::micros(*pause))
            }
            (None, None) => format!("last {what} {ago} ago, took {took}"),
        }
    });
    running.into_iter().chain(last).collect()
}

fn generation(row: &GenerationRow) -> String {
    let GenerationRow { generation, templates, workers } = row;
    let workers = units::count(*workers, "worker");
    let templates = units::count(*templates, "template");
    format!("generation {generation}: {workers} and {templates} left")
}

/// The configured limits, by who holds them.
fn held(rows: &[HeldRow]) -> Option<String> {
    let all = [
        Holder::Cgroup,
        Holder::Sampling,
        Holder::Rlimit,
        Holder::Process,
        Holder::Daemon,
        Holder::Nobody,
    ];
    let parts = all.into_iter().filter_map(|holder| {
        let own = rows.iter().filter(|row| row.configured && row.by == holder);
        let own: Vec<_> = own.map(|row| row.limit.as_str()).collect();
        (!own.is_empty()).then(|| format!("{} by {}", own.join(", "), holder.words()))
    });
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| format!("limits held: {}", parts.join("; ")))
}

/// A user whose clients misbehaved: refused now, or only noted.
fn penalty(row: &PenaltyRow) -> String {
    let PenaltyRow { uid, times, why, penalty_ms, left_ms } = row;
    let state = match left_ms {
        0 => format!("noted ({})", units::age(*penalty_ms)),
        _ => format!("refused for {} more", units::age(*left_ms)),
    };
    format!("uid {uid}: {state}, {} of misbehaviour, the last: {why}", units::count(*times, "time"))
}
