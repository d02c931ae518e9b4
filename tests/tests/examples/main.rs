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

#[test]
fn every_file_is_looked_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for number in 0..40 {
        let path = directory.path().join(format!("{number}.txt"));
        std::fs::write(&path, "two words\n".repeat(number)).unwrap();
        paths.push(path.to_str().unwrap().to_owned());
    }
    paths.push(directory.path().join("missing").to_str().unwrap().to_owned());
    let arguments = paths.iter().map(String::as_str).collect::<Vec<_>>();
    let words = 2 * (0..40).sum::<usize>();
    for said in [spawned("parallel_files", &arguments), served("parallel_files", &arguments)] {
        assert!(said.starts_with("41 files, 1 failures"), "{said}");
        assert!(said.contains(&format!(" {words} words")), "{said}");
    }
}

#[test]
fn what_a_library_does_to_itself_hurts_nobody_else() {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    if program::command(&compiler, std::path::Path::new("/")).arg("--version").output().is_err() {
        return mpserverd_tests::skip("no C compiler");
    }
    for said in [spawned("fragile_library", &[]), served("fragile_library", &[])] {
        assert!(said.contains("was killed by signal 11"), "{said}");
        assert!(said.contains("five, 6: its deadline of 1s passed"), "{said}");
        assert!(said.contains("298 of 300 texts have a sum, 2 were given up"), "{said}");
    }
}

#[test]
fn a_board_serves_clients_that_may_vanish() {
    let directory = tempfile::tempdir().unwrap();
    let start = |name: &str, arguments: &[&str]| {
        let mut command = program::command(build::example(name), directory.path());
        command.env("JOB_BOARD_KEY", "secret").args(arguments);
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let mut board = start("job_board", &["127.0.0.1:0", "60"]);
    let mut said = std::io::BufReader::new(board.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    let address = line.trim().strip_prefix("jobs at ").unwrap_or_else(|| panic!("{line}"));
    let address = address.to_owned();

    let mut vanishing = start("job_worker", &[&address]);
    std::thread::sleep(std::time::Duration::from_millis(50));
    vanishing.kill().unwrap();
    vanishing.wait().unwrap();
    let working = [start("job_worker", &[&address]), start("job_worker", &[&address])];

    let mut rest = String::new();
    std::io::Read::read_to_string(&mut said, &mut rest).unwrap();
    assert!(board.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("60 results, 0 of them wrong"), "{rest}");
    for worker in working {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("jobs done"));
    }
    let stranger = program::command(build::example("job_worker"), directory.path())
        .env("JOB_BOARD_KEY", "wrong")
        .arg(&address)
        .output()
        .unwrap();
    assert!(!stranger.status.success());
}
