//! Command lines of `mpctl` that must be understood, and such that must not.

use super::*;
use crate::cli::examples;
use clap::CommandFactory;
use mpserverd_proto::ids::WorkerId;

fn parse(line: &str) -> Result<Mpctl, clap::Error> {
    Mpctl::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Mpctl::command().debug_assert();
}

#[test]
fn every_example_parses() {
    let texts = [
        EXAMPLES,
        RUN_EXAMPLES,
        MAP_EXAMPLES,
        DOCTOR_EXAMPLES,
        TOP_EXAMPLES,
        EXPLAIN_EXAMPLES,
        LOGS_EXAMPLES,
        DEATHS_EXAMPLES,
        UPGRADE_EXAMPLES,
        KILL_EXAMPLES,
        INSTALL_EXAMPLES,
    ];
    let lines: Vec<_> = texts.into_iter().flat_map(examples).collect();
    assert!(lines.len() >= 24, "{lines:?}");
    for line in lines {
        assert!(parse(&line).is_ok(), "{line}: {}", parse(&line).expect_err("failed"));
    }
}

/// Whoever has a narrow terminal reads whole lines, not halves of longer ones: paragraphs are broken
/// by whoever prints them.
#[test]
fn paragraphs_of_the_help_are_not_broken_twice() {
    for mut command in Mpctl::command().term_width(80).get_subcommands().cloned() {
        let help = command.clone().term_width(80).render_long_help().to_string();
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in after.lines().filter(|line| !line.starts_with(' ')) {
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            let shown = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(shown.contains(&words), "{}: {line}", command.get_name());
        }
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{}: {help}", command.render_usage());
        let broken = |(line, next): (&str, &str)| {
            let word = next.split(' ').next().unwrap_or_default();
            let flush = |line: &str| !line.is_empty() && !line.starts_with(' ');
            flush(line) && flush(next) && line.chars().count() + 1 + word.chars().count() <= 80
        };
        let mut pairs = help.lines().zip(help.lines().skip(1));
        let text = pairs.find(|pair| broken(*pair) && !pair.0.ends_with(':'));
        assert_eq!(text, None, "{}", command.get_name());
    }
}

#[test]
fn options_stand_anywhere() {
    for line in ["mpctl --json --socket /x ps", "mpctl ps --json --socket /x"] {
        let parsed = parse(line).expect(line);
        assert!(parsed.json, "{line}");
        assert_eq!(parsed.socket.as_deref(), Some(std::path::Path::new("/x")), "{line}");
    }
}

#[test]
fn arguments_of_tasks() {
    let Command::Run(run) =
        parse("mpctl run add -3 --timeout 2s 5 -- --json").expect("run").command
    else {
        panic!("not a run")
    };
    assert_eq!(
        (run.task.as_str(), run.args),
        ("add", vec!["-3".into(), "5".into(), "--json".into()])
    );
    assert_eq!(run.timeout, Some(Duration::from_secs(2)));
    let Command::Map(map) = parse("mpctl map sq 1 2 --unordered --ordered").expect("map").command
    else {
        panic!("not a map")
    };
    assert_eq!(map.inputs, ["1", "2"]);
    assert!(map.ordered && !map.unordered, "the last one counts");
}

#[test]
fn kill_takes_pid_or_id() {
    for (line, worker, signal) in [
        ("mpctl kill 4711", WorkerRef::Pid(4711), SignalNumber::TERM),
        ("mpctl kill w17 --signal 9", WorkerRef::Id(WorkerId(17)), SignalNumber(9)),
        ("mpctl kill w17 -s KILL", WorkerRef::Id(WorkerId(17)), SignalNumber(9)),
    ] {
        assert_eq!(parse(line).expect(line).command, Command::Kill(Kill { worker, signal }));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "mpctl",
        "mpctl explode",
        "mpctl run",
        "mpctl map",
        "mpctl map t --jobs 0",
        "mpctl map t --timeout 5",
        "mpctl kill",
        "mpctl kill everybody",
        "mpctl kill 1 --signal 99",
        "mpctl stop --policy never",
        "mpctl bench --starts 0",
        "mpctl top --interval 5ms",
        "mpctl top --sort beauty",
        "mpctl explain",
        "mpctl explain p3",
        "mpctl logs --level loud",
        "mpctl ps --limit 0",
        "mpctl ps --uid root",
        "mpctl ping --loud",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}
