//! Plain sentences about workers, templates and clients. Words only: what is true `explain.rs`
//! finds out.

use super::template::Role;
use super::workers::Owner;
use mpserverd_proto::death::{Cause, Certificate};
use mpserverd_proto::error::{PreloadError, Stage};
use mpserverd_proto::explain::{WaitKind, WaitReason, WaitingRow};
use mpserverd_proto::quota::QuotaRow;
use mpserverd_proto::report::{ProcessRow, TemplateRow, TemplateState};
use mpserverd_proto::upkeep::{Change, GenerationRow};
use std::time::Duration;

/// A span of time in words, no more precise than it matters.
fn span(ms: u64) -> String {
    let whole = match ms {
        0..1_000 => ms,
        _ => ms / 1000 * 1000,
    };
    humantime::format_duration(Duration::from_millis(whole)).to_string()
}

fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

pub(super) fn daemon(pid: u32, version: &str) -> String {
    format!("Pid {pid} is this daemon, mpserverd {version}.")
}

/// A reload that is under way, and what it waits for.
pub(super) fn reloading(ms: u64, missing: &[String]) -> String {
    let begun = format!("A reload has been under way for {}", span(ms));
    match self::missing(missing) {
        Some(missing) => format!("{begun}; the old templates serve meanwhile. {missing}"),
        None => format!("{begun}."),
    }
}

/// Templates that a reload still waits for.
pub(super) fn missing(names: &[String]) -> Option<String> {
    let (first, more) = names.split_first()?;
    Some(match more.len() {
        0 => format!("The new template `{first}` is not ready yet."),
        more => format!("The new template `{first}` and {more} more are not ready yet."),
    })
}

/// An upgrade that is under way.
pub(super) fn upgrading(ms: u64) -> String {
    format!("An upgrade has been under way for {}: the new program is being tried.", span(ms))
}

/// A client that asked for an upgrade.
pub(super) fn awaits_upgrade(ms: u64) -> String {
    format!("It waits for the end of an upgrade, for {} so far.", span(ms))
}

/// How the last reload or upgrade ended.
pub(super) fn changed(what: &str, change: &Change) -> String {
    let Change { ago_ms, took_ms, pause_us, error } = change;
    let (ago, took) = (span(*ago_ms), span(*took_ms));
    match (error, pause_us) {
        (Some(error), _) => {
            let error = error.trim_end_matches('.');
            format!("The last {what} failed {ago} ago, and everything is as it was: {error}.")
        }
        (None, Some(pause)) => format!(
            "The last {what} was done {ago} ago; it took {took}, and nobody listened for {}.",
            humantime::format_duration(Duration::from_micros(*pause))
        ),
        (None, None) => format!("The last {what} was done {ago} ago; it took {took}."),
    }
}

/// What is left of an earlier generation.
pub(super) fn left_over(row: &GenerationRow) -> String {
    let workers = count(row.workers, "worker");
    let templates = count(row.templates, "template");
    format!("Of generation {} there are still {workers} and {templates}.", row.generation)
}

/// A limit of waiting requests that is reached.
pub(super) fn queue_full(row: &QuotaRow) -> String {
    let QuotaRow { limit, scope, max, set_in, .. } = row;
    let waiting = match max {
        1 => format!("1 request of {} waits", whose(scope)),
        more => format!("{more} requests of {} wait", whose(scope)),
    };
    format!(
        "{waiting}, which is the limit (`{limit} = {max}`, set in {set_in}): further \
         ones are refused at once."
    )
}

/// Whose limit it is, in a sentence.
fn whose(scope: &str) -> String {
    match scope.split_once(' ') {
        Some((kind, name)) => format!("{kind} {name}"),
        None => format!("the {scope}"),
    }
}

pub(super) fn worker(row: &ProcessRow, owner: Owner, template_leaves: bool) -> Vec<String> {
    let ProcessRow { worker, pid, template, template_name, generation, uid, .. } = row;
    let of = format!("of the template `{template_name}` ({template}, generation {generation})");
    let age = span(row.age_ms);
    let (what, now) = match owner {
        Owner::Client { pid: Some(client) } => {
            ("a worker", format!("The client with pid {client} has had it for {age}."))
        }
        Owner::Client { pid: None } => (
            "a worker",
            format!("A client got it from an earlier daemon; this one has known it for {age}."),
        ),
        Owner::Pool => ("a spare", format!("It has waited for a job for {age}.")),
        Owner::Nobody => {
            ("a spare", format!("It was let go {age} ago because nobody needs it, and ends next."))
        }
    };
    let mut told =
        vec![format!("{worker} (pid {pid}) is {what} {of}, and runs as uid {uid}."), now];
    if template_leaves {
        told.push("Its template forks no more workers: it has been replaced or dropped.".into());
    }
    told
}

/// How and why a worker ended.
pub(super) fn death(it: &Certificate) -> Vec<String> {
    let Certificate { worker, pid, template, template_name, generation, uid, .. } = it;
    let code = it.record.code;
    let how = match it.record.signal() {
        Some(signal) => format!("was killed by signal {signal}"),
        None => format!("ended with exit code {code}"),
    };
    let why = match it.cause {
        Cause::Itself => "It did so itself.".to_owned(),
        Cause::Unknown => "Nobody here had a hand in it: who did is not known.".to_owned(),
        cause => format!("The cause: {cause}."),
    };
    let lived = span(it.lived_ms);
    let mut told = vec![
        format!(
            "{worker} (pid {pid}) was a worker of the template `{template_name}` ({template}, \
             generation {generation}), and ran as uid {uid}. It {how} after {lived}."
        ),
        why,
    ];
    if let Some(task) = &it.task {
        told.push(format!("The last task that it ran was {task}."));
    }
    if let Some(trace) = it.trace {
        told.push(format!("It belonged to the trace {trace}."));
    }
    if let Some(client) = it.client_pid {
        told.push(format!("The client with pid {client} had it."));
    }
    if let Some(kib) = it.peak_private_kib {
        told.push(format!("It had {kib} KiB of memory of its own at most."));
    }
    if !it.stderr.is_empty() {
        told.push("The last that it wrote to standard error:".to_owned());
        told.extend(it.stderr.iter().map(|line| format!("  {line}")));
    }
    told
}

pub(super) fn template(row: &TemplateRow, role: Role) -> Vec<String> {
    let TemplateRow { template, name, generation, .. } = row;
    let pid = row.pid.map_or_else(|| "no process yet".to_owned(), |pid| format!("pid {pid}"));
    let age = span(row.age_ms);
    let does = match (role, row.state) {
        (Role::Active, _) => format!("serves; it was started {age} ago"),
        (Role::Building, _) => format!("is being built, for {age} so far"),
        (Role::Candidate, TemplateState::Ready) => {
            "is ready, and waits for the rest of a reload".to_owned()
        }
        (Role::Candidate, _) => format!("is being built by a reload, for {age} so far"),
        (Role::Leaving, _) => {
            format!("forks no more, and waits for {} to end", count(row.workers.into(), "worker"))
        }
    };
    let mut told = vec![format!(
        "{template} ({pid}) is the template `{name}` of generation {generation}; it {does}."
    )];
    if role == Role::Active {
        told.push(format!(
            "Of {} that it aims at, {} there; {} of it run, and {} for one.",
            count(row.spares_wanted.into(), "spare"),
            if row.spares == 1 { "1 is".to_owned() } else { format!("{} are", row.spares) },
            count(row.workers.into(), "worker"),
            if row.queued == 1 {
                "1 request waits".to_owned()
            } else {
                format!("{} requests wait", row.queued)
            },
        ));
    }
    told
}

/// Where a template is.
pub(super) fn loading(module: &str, stage: Stage) -> String {
    format!("It works on `{module}` just now (stage: {stage}).")
}

/// What a template does without.
pub(super) fn without(error: &PreloadError) -> String {
    format!("It was built without `{}`, which failed: {error}.", error.module)
}

pub(super) fn failed(row: &TemplateRow, retry_ms: u64) -> Vec<String> {
    let why = row.error.as_deref().unwrap_or("for an unknown reason");
    vec![
        format!("{} was the template `{}`, and failed: {why}.", row.template, row.name),
        match retry_ms {
            0 => "The next request for it builds it again.".to_owned(),
            ms => format!(
                "It is not built again for another {}; requests for it are refused until then. A \
                 reload tries at once.",
                span(ms)
            ),
        },
    ]
}

pub(super) fn client(
    pid: u32,
    uid: u32,
    workers: u64,
    waiting: u64,
    requests: &[WaitingRow],
) -> Vec<String> {
    let waits = match waiting {
        0 => "waits for nothing".to_owned(),
        _ => format!("waits for the answers to {}", count(waiting, "request")),
    };
    let has = count(workers, "worker");
    let mut told = vec![format!("Pid {pid} is a client, of uid {uid}; it has {has} and {waits}.")];
    told.extend(requests.iter().map(request));
    let more = waiting.saturating_sub(requests.len() as u64);
    if more > 0 {
        told.push(format!("{} more like these.", count(more, "request")));
    }
    told
}

/// Why a user gets no worker now, whoever else does.
pub(super) fn penalised(left: Duration, why: &str) -> String {
    let left = span(super::report::millis(left).max(1));
    format!("Requests of its user are refused for another {left} (`[admission]`): {why}.")
}

/// Why more requests of a user may be refused.
pub(super) fn refused_early(waiting: u64, per_mille: u64) -> String {
    let percent = per_mille.div_ceil(10);
    let requests = count(waiting, "request");
    format!(
        "With {requests} of its user waiting, {percent}% of further ones that would have to wait \
         for a worker are refused at once (`early_refusal`)."
    )
}

fn request(row: &WaitingRow) -> String {
    let name = row.template_name.as_deref().unwrap_or("?");
    let what = match row.kind {
        WaitKind::Worker => format!("a worker of `{name}`"),
        WaitKind::Modules => format!("the modules of `{name}`"),
        WaitKind::Reload => "the end of a reload".to_owned(),
    };
    let mut told = format!("Request {} waits for {what}", row.request);
    if let Some(ms) = row.waited_ms {
        told += &format!(", for {} so far", span(ms));
    }
    if let Some(ms) = row.left_ms {
        told += &format!("; it gives up in {}", span(ms));
    }
    told += ". ";
    told += &reason(&row.reason);
    match row.ahead {
        Some(0) => told += " It is the next in turn.",
        Some(1) => told += " 1 request is served before it.",
        Some(ahead) => told += &format!(" {ahead} requests are served before it."),
        None => {}
    }
    told
}

fn reason(reason: &WaitReason) -> String {
    match reason {
        WaitReason::TemplateLoads { template, module, stage, since_ms } => {
            let at = match (module, stage) {
                (Some(module), Some(stage)) => format!(", and works on `{module}` ({stage})"),
                _ => String::new(),
            };
            format!(
                "The template ({template}) is not ready: it has loaded for {}{at}.",
                span(*since_ms)
            )
        }
        WaitReason::BackOff { error, retry_ms } => {
            format!("The template failed ({error}), and is built again in {}.", span(*retry_ms))
        }
        WaitReason::WorkersMax { limit } => {
            format!("{limit} workers run, which is the limit (`max_workers`): one must end first.")
        }
        WaitReason::Limit { limit, scope, max, set_in, retry_ms } => {
            let whose = whose(scope);
            let then = match retry_ms {
                Some(ms) => format!("the next one may start in {}", span((*ms).max(1))),
                None => format!(
                    "one of its {} must end first",
                    if *max == 1 { "worker" } else { "workers" }
                ),
            };
            format!("The limit `{limit} = {max}` of {whose}, set in {set_in}, is reached: {then}.")
        }
        WaitReason::ForkFails { retry_ms } => {
            format!("The template could not fork, and tries again in {}.", span(*retry_ms))
        }
        WaitReason::Forking { in_flight } => {
            format!(
                "No spare is left; {} being forked.",
                match in_flight {
                    1 => "1 is".to_owned(),
                    more => format!("{more} are"),
                }
            )
        }
        WaitReason::Turn => "Nothing stands in its way.".to_owned(),
        WaitReason::Reload => {
            "New templates are being built; the old ones serve meanwhile.".to_owned()
        }
    }
}
