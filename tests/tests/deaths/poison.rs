//! Tasks that are refused for the deaths of their workers.

use super::*;
use mp::{DaemonError, Refusal, StartError};

#[mp::task]
fn crashes() {
    std::process::abort();
}

#[mp::task]
fn doubles(x: u32) -> u32 {
    2 * x
}

fn crash(ctx: &mp::Context) -> Result<Option<Cause>, StartError> {
    let process = ctx.process::<crashes>(()).rlimit(mp::Resource::Core, 0, 0).start()?;
    // The daemon knows of it once it has said why.
    Ok(cause_of(&process))
}

fn is_poisoned(error: &StartError) -> bool {
    matches!(error, StartError::Daemon(DaemonError::Refused(Refusal::Poisoned { .. })))
}

#[test]
fn a_task_that_kills_its_workers_is_refused_for_a_while() {
    mpserverd_tests::suite::in_time(Duration::from_secs(2), is_refused_for);
}

/// The refusal of a crash; `None` if it went through because the pause since then was over.
fn refusal(ctx: &mp::Context, since: Instant, pause: Duration) -> Option<StartError> {
    match crash(ctx) {
        Err(error) => Some(error),
        Ok(_) if since.elapsed() >= pause => None,
        Ok(_) => panic!("it was tried"),
    }
}

/// `None` if the machine was so slow that the pause was over before it was looked at.
fn is_refused_for(pause: Duration) -> Option<()> {
    let daemon = Daemon::start(&["--poison", &format!("3/10m/{}s", pause.as_secs())]);
    let ctx = daemon.context();
    let mut third = Instant::now();
    for _ in 0..3 {
        third = Instant::now();
        assert_eq!(crash(&ctx).unwrap(), Some(Cause::Itself));
    }
    let refused = Instant::now();
    let error = refusal(&ctx, third, pause)?;
    assert!(is_poisoned(&error), "{error}");
    let text = error.to_string();
    for part in ["crashes", "3 workers died of it within 600 s", "tried again in"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Other tasks of the same program are served, one after the other and in quick succession.
    for x in 0..20 {
        let process = ctx.process::<doubles>((x,)).start().unwrap();
        assert_eq!(process.result_timeout(PATIENCE).unwrap(), 2 * x);
    }
    if refused.elapsed() < Duration::from_secs(1) {
        assert!(is_poisoned(&crash(&ctx).unwrap_err()));
    }
    let (mut last, mut trial) = (None, refused);
    let tried = eventually(PATIENCE, || {
        trial = Instant::now();
        last = Some(crash(&ctx));
        matches!(last, Some(Ok(_)))
    });
    assert!(tried, "never tried again: {last:?}");
    assert!(is_poisoned(&refusal(&ctx, trial, pause)?), "it has but one try");
    Some(())
}

#[test]
fn deaths_that_are_explained_blame_nobody() {
    let daemon = Daemon::start(&["--poison", "1/10m/10m"]);
    let ctx = daemon.context();
    for _ in 0..3 {
        let process = sleeping(&ctx);
        process.kill().unwrap();
        assert_eq!(cause_of(&process), Some(Cause::Client));
        let process = sleeping(&ctx);
        let pid = process.pid().to_string();
        assert!(daemon.mpctl(&["kill", &pid, "--signal", "KILL"]).status.success());
        assert!(matches!(cause_of(&process), Some(Cause::Operator { .. })));
        let process = ctx.process::<panics>(()).start().unwrap();
        assert!(matches!(process.result_timeout(PATIENCE), Err(ProcessError::Panicked(_))));
        process.join();
    }
    let process = sleeping(&ctx);
    kill(process.pid(), Signal::SIGKILL);
    assert_eq!(cause_of(&process), Some(Cause::Unknown));
    let begun = mp::Event::new().unwrap();
    let error = ctx.process::<sleeps>((begun,)).start().unwrap_err();
    assert!(is_poisoned(&error), "{error}");
}

#[test]
fn a_pool_is_not_refused_for_one_of_its_tasks() {
    let daemon = Daemon::start(&["--poison", "2/10m/10m"]);
    let ctx = daemon.context();
    let pool = ctx.pool().processes(2).build().unwrap();
    for round in 0..5 {
        let error = pool.apply::<crashes>(()).unwrap_err();
        let mp::TaskFailure::WorkerLost { cause, pid, .. } = error else { panic!("{error}") };
        assert_eq!(cause, Some(Cause::Itself));
        let found = certificate(&daemon, pid);
        assert!(found.task.is_some_and(|task| task.ends_with("crashes")), "round {round}");
        assert_eq!(pool.apply::<doubles>((round,)).unwrap(), 2 * round);
    }
    // Whoever runs the task in a process of its own has to wait all the same.
    assert!(is_poisoned(&crash(&ctx).unwrap_err()));
}
