//! Tasks that run long are reported once.

use super::*;

fn reports(daemon: &Daemon, task: &str) -> Vec<String> {
    let log = daemon.log();
    let own = log.lines().filter(|line| line.contains("slow task") && line.contains(task));
    own.map(str::to_owned).collect()
}

#[test]
fn a_slow_task_is_reported_once_with_what_the_kernel_shows() {
    let daemon = Daemon::start(&["--slow-log", "300ms"]);
    let ctx = daemon.context();
    let trace = mp::TraceId(0x5107);
    let process = sleeping_with(&ctx, |builder| builder.trace(trace).name("sleeper"));
    assert_eq!(ctx.process::<fine>(()).start().unwrap().result_timeout(PATIENCE).unwrap(), 17);
    assert!(eventually(PATIENCE, || !reports(&daemon, "sleeps").is_empty()), "{}", daemon.log());
    a_while();
    a_while();
    let lines = reports(&daemon, "sleeps");
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    let pid = format!("pid={}", process.pid());
    for part in [pid.as_str(), "sleeps", "sleeper", &trace.to_string(), "age_ms=", "sleeper S"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    process.kill().unwrap();
}

#[mp::task]
fn naps(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

#[test]
fn a_worker_of_a_pool_is_slow_by_its_task_not_by_its_age() {
    let daemon = Daemon::start(&["--slow-log", "500ms"]);
    let pool = daemon.context().pool().processes(1).build().unwrap();
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_millis(1800) {
        let asked = Instant::now();
        pool.apply::<naps>((5,)).unwrap();
        longest = longest.max(asked.elapsed());
    }
    let before = reports(&daemon, "naps");
    // On a machine that stood still one of them was slow indeed.
    let slow = longest >= Duration::from_millis(500);
    assert!(before.is_empty() || slow, "busy, not slow: {before:#?}");
    pool.apply::<naps>((3000,)).unwrap();
    let lines = reports(&daemon, "naps");
    assert_eq!(lines.len(), before.len() + 1, "{lines:#?}");
}

#[test]
fn nobody_is_looked_at_unless_that_is_asked_for() {
    let daemon = Daemon::start(&[]);
    let process = sleeping(&daemon.context());
    a_while();
    assert!(reports(&daemon, "").is_empty());
    process.kill().unwrap();
}
