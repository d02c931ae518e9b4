//! `mpctl explain`: what the daemon knows about somebody, with what the kernel says of him.

use super::error::CtlError;
use super::proc::{self, Owned, Seen};
use super::screen::Screen;
use super::{connect, units};
use crate::cli::mpctl::Explain;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::explain::{Explanation, Facts, Finding};
use serde::Serialize;
use std::path::Path;

/// A finding, with what the kernel says.
#[derive(Debug, Serialize)]
struct Told<'a> {
    sentences: Vec<String>,
    facts: &'a Facts,
    /// `null` if he is gone by now, not visible from here, or no process of the daemon's.
    process: Option<Process>,
}

#[derive(Debug, Serialize)]
struct Process {
    #[serde(flatten)]
    seen: Seen,
    /// `null` where this user may not look.
    memory: Option<Owned>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    findings: Vec<Told<'a>>,
}

/// `mpctl explain`.
pub(super) fn main(
    socket: Option<&Path>,
    screen: &Screen,
    options: &Explain,
) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    match connect::ask(&mut connection, &Request::Explain(options.subject))? {
        Reply::Explained(explanation) => {
            let look = |pid| {
                let seen = proc::look(pid)?;
                Some(Process { seen, memory: proc::memory(pid) })
            };
            let report = enrich(&explanation, look);
            screen.show(&report, || text(&report))
        }
        other => Err(CtlError::unexpected(&other)),
    }
}

fn enrich(explanation: &Explanation, look: impl Fn(u32) -> Option<Process>) -> Report<'_> {
    let told = |finding: &'_ Finding| {
        let pid = match &finding.facts {
            Facts::Worker(row) => Some(row.pid),
            Facts::Template(row) => row.pid,
            Facts::Client { .. } | Facts::Daemon | Facts::Death(_) => None,
        };
        let process = pid.and_then(&look);
        let mut sentences = finding.sentences.clone();
        sentences.extend(process.as_ref().map(sentence));
        (sentences, process)
    };
    let findings = explanation.findings.iter().map(|finding| {
        let (sentences, process) = told(finding);
        Told { sentences, facts: &finding.facts, process }
    });
    Report { findings: findings.collect() }
}

fn sentence(process: &Process) -> String {
    let Process { seen, memory } = process;
    let does = match seen.state {
        'R' => "runs",
        'D' => "waits in the kernel",
        'T' | 't' => "is stopped",
        'Z' | 'X' => "has ended",
        _ => "sleeps",
    };
    let cpu = units::cpu(seen.cpu_ms);
    let memory = match memory {
        Some(Owned { private_kib, shared_kib }) => format!(
            "{} of memory of its own, beside {} that it shares",
            units::memory(*private_kib),
            units::memory(*shared_kib)
        ),
        None => format!("{} of memory, shared pages included", units::memory(seen.rss_kib)),
    };
    format!("Just now it {does}; it has used {cpu} of CPU time and has {memory}.")
}

fn text(report: &Report<'_>) -> String {
    let one = |told: &Told<'_>| {
        let lines = told.sentences.iter();
        lines.map(|line| line.replace(char::is_control, "\u{fffd}") + "\n").collect::<String>()
    };
    report.findings.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpserverd_proto::report::ProcessRow;

    fn worker(pid: u32) -> Finding {
        let row = ProcessRow { pid, ..ProcessRow::default() };
        Finding { sentences: vec!["It is.".into()], facts: Facts::Worker(row) }
    }

    fn process(_: u32) -> Option<Process> {
        let seen =
            Seen { name: "x".into(), state: 'T', cpu_ms: 1500, rss_kib: 90, anonymous_kib: 1 };
        Some(Process { seen, memory: Some(Owned { private_kib: 280, shared_kib: 4608 }) })
    }

    #[test]
    fn the_kernel_has_the_last_word() {
        let explanation = Explanation { findings: vec![worker(70)] };
        let report = enrich(&explanation, process);
        let expected = "It is.\nJust now it is stopped; it has used 1.5s of CPU time and has 280K \
                        of memory of its own, beside 4.5M that it shares.\n";
        assert_eq!(text(&report), expected);
        let gone = enrich(&explanation, |_| None);
        assert_eq!(text(&gone), "It is.\n");
    }

    #[test]
    fn no_text_reaches_the_terminal_as_a_command() {
        let mut finding = worker(70);
        finding.sentences = vec!["\x1b[31m\n".into()];
        let text = text(&enrich(&Explanation { findings: vec![finding] }, |_| None));
        assert!(!text.contains('\x1b') && text.lines().count() == 1, "{text:?}");
    }
}
