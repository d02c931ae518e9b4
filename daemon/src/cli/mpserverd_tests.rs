//! Command lines that must be understood, and such that must not.

use super::*;
use crate::cli::examples;
use crate::config::draft::{Draft, Setting, Visitor};
use crate::config::toml_value::TomlValue;
use crate::config::values::Spares;
use clap::CommandFactory;
use clap::error::ErrorKind;
use proptest::prelude::*;

fn parse(line: &str) -> Result<Mpserverd, clap::Error> {
    Mpserverd::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Mpserverd::command().debug_assert();
}

#[test]
fn every_example_parses() {
    let lines: Vec<_> = [EXAMPLES, RUN_EXAMPLES].into_iter().flat_map(examples).collect();
    assert!(lines.len() >= 6, "{lines:?}");
    for line in lines {
        assert!(parse(&line).is_ok(), "{line}: {}", parse(&line).expect_err("failed"));
    }
}

#[test]
fn a_command_keeps_its_own_options() {
    let line = "mpserverd run --spares 1..2 -- make --check -j8";
    let Some(Command::Run { options, command }) = parse(line).expect(line).command else {
        panic!("not a run")
    };
    assert_eq!(options.spares, Some(Spares { min: 1, max: 2 }));
    assert!(!options.check);
    assert_eq!(command, ["make", "--check", "-j8"]);
    let Some(Command::Run { command, .. }) =
        parse("mpserverd run make --check").expect("without dashes").command
    else {
        panic!("not a run")
    };
    assert_eq!(command, ["make", "--check"]);
}

#[test]
fn switches_with_and_without_a_value() {
    for (line, expected) in [
        ("mpserverd", None),
        ("mpserverd --hugepages", Some(true)),
        ("mpserverd --hugepages=false", Some(false)),
    ] {
        assert_eq!(parse(line).expect(line).options.hugepages, expected, "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (line, part) in [
        ("mpserverd --spares 5..2", "5 is more than 2"),
        ("mpserverd --spares many", "MIN..MAX"),
        ("mpserverd --grace 5", "500ms, 2s"),
        ("mpserverd --log-level inof", "off, error, warn"),
        ("mpserverd --on-preload-error panic", "ignore, warn, fail"),
        ("mpserverd --poison 5", "5/10m/1m"),
        ("mpserverd --poison 5/x/1m", "500ms, 2s"),
        ("mpserverd --slow-log never", "500ms, 2s"),
        ("mpserverd --stop-policy later", "wait, term, kill"),
        ("mpserverd --max-workers -1", "'-1' for '--max-workers <N>'"),
        ("mpserverd --sockte /x", "--socket"),
        ("mpserverd serve", "unrecognized subcommand"),
        ("mpserverd run", "COMMAND"),
        ("mpserverd run --daemonize -- true", "unexpected argument '--daemonize'"),
        ("mpserverd --check run -- true", "cannot be used with"),
        ("mpserverd completions tcsh", "bash"),
    ] {
        match parse(line) {
            Ok(parsed) => panic!("{line}: {parsed:?}"),
            Err(error) => assert!(error.to_string().contains(part), "{line}: {error}"),
        }
    }
}

#[test]
fn help_names_what_a_person_needs() {
    let help = parse("mpserverd --help").expect_err("help");
    assert_eq!(help.kind(), ErrorKind::DisplayHelp);
    let help = help.to_string();
    for part in ["Templates:", "Logging:", "MPSERVERD_SOCKET", "MPSERVERD_MODULE_PATH", "111 "] {
        assert!(help.contains(part), "{part}");
    }
    let long = help.len();
    let short = parse("mpserverd -h").expect_err("help").to_string().len();
    assert!(short < long);
}

/// Compares the default that each help text states with the real one.
struct Stated(clap::Command, usize);

impl Visitor for Stated {
    fn visit<T: TomlValue>(&mut self, setting: &mut Setting<T>) {
        if setting.value.write().is_some_and(|value| value.starts_with('{')) {
            // A table: its keys have options of other names, or none.
            return;
        }
        let name = setting.key.replace('_', "-");
        let mut options = self.0.get_arguments();
        let option = options.find(|one| one.get_long() == Some(&name));
        let help = option.unwrap_or_else(|| panic!("no --{name}")).get_help();
        let help = help.expect("help").to_string();
        let Some((_, stated)) = help.split_once("[default: ") else { return };
        let real = setting.value.write().expect("a default");
        assert_eq!(stated.trim_end_matches(']'), real.trim_matches('"'), "--{name}");
        self.1 += 1;
    }
}

#[test]
fn every_key_is_an_option_and_help_states_the_real_defaults() {
    let mut stated = Stated(Mpserverd::command(), 0);
    Draft::default().visit(&mut stated);
    assert!(stated.1 > 20, "{}", stated.1);
}

proptest! {
    #[test]
    fn any_words_are_answered(words in proptest::collection::vec("[-a-z0-9./=]{0,12}", 0..6)) {
        let line = std::iter::once("mpserverd".to_owned()).chain(words);
        let _ = Mpserverd::try_parse_from(line);
    }
}
