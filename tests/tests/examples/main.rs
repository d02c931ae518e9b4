//! The example programs do what their first lines say, with a daemon and without.
#![cfg(target_os = "linux")]

use mpserverd_tests::build;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::program;

/// What an example prints, where no daemon answers.
fn spawned(name: &str, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program::command(build::example(name), directory.path());
    program::output(command.args(arguments))
}

/// What an example prints beside a daemon of its own.
fn served(name: &str, arguments: &[&str]) -> String {
    let daemon = Daemon::start(&[]);
    let mut command = program::command(build::example(name), daemon.directory());
    program::output(command.args(arguments))
}

/// The number behind these words.
fn number_after(text: &str, words: &str) -> f64 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("no `{words}` in {text}"));
    let number = rest.split_whitespace().next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("`{number}` is no number: {text}"))
}

#[test]
fn bodies_keep_their_energy() {
    for said in [spawned("n_body", &["60", "50", "3"]), served("n_body", &["60", "50", "3"])] {
        assert!(said.starts_with("60 bodies, 50 steps, 3 workers"), "{said}");
        let change = said.rsplit_once('(').map(|(_, rest)| rest.trim_end_matches([')', '\n']));
        let change = change.and_then(|text| text.trim_end_matches(" %").parse::<f64>().ok());
        assert!(change.is_some_and(|percent| percent.abs() < 1.0), "{said}");
    }
}

#[test]
fn a_pipeline_counts_every_line_once() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("deep")).unwrap();
    for number in 0..50 {
        let path = format!("{}{number}.txt", if number % 2 == 0 { "deep/" } else { "" });
        std::fs::write(directory.path().join(path), "a line\n".repeat(number)).unwrap();
    }
    let path = directory.path().to_str().unwrap();
    for said in [spawned("queue_pipeline", &[path, "3"]), served("queue_pipeline", &[path, "3"])] {
        assert!(said.starts_with("50 files"), "{said}");
        assert_eq!(number_after(&said, "txt"), 50.0, "{said}");
        assert!(said.contains(&format!(" {} ", (0..50).sum::<usize>())), "{said}");
    }
}

#[test]
fn a_question_that_kills_costs_only_itself() {
    for said in [spawned("warm_model", &[]), served("warm_model", &[])] {
        assert!(said.contains("was killed by signal 6; a new one comes"), "{said}");
        assert_eq!(said.matches("after").count(), 4, "{said}");
        assert_eq!(number_after(&said, "the last worker answered"), 2.0, "{said}");
    }
}
