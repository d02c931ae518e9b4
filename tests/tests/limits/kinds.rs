//! Every kind of limit, from the configuration and from the client.

use super::{cause, certificate, daemon, death, sleep_for_ever};
use mp::Limits;
use mpserverd_proto::death::{Cause, LimitKind};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, value};
use std::time::Duration;

const XCPU: i32 = 24;
const XFSZ: i32 = 25;
const MIB: usize = 1 << 20;

/// Takes so much memory bit by bit, then sleeps.
#[mp::task]
pub(super) fn hoard(mebibytes: usize) {
    let mut all = Vec::new();
    for _ in 0..mebibytes {
        all.push(std::hint::black_box(vec![1u8; MIB]));
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(PATIENCE);
}

/// Uses the CPU, and pays no heed to being asked to end once it has set the event.
#[mp::task]
fn spin(heedless: Option<mp::Event>) {
    if let Some(begun) = heedless {
        let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        signal_hook::flag::register(XCPU, std::sync::Arc::clone(&flag)).unwrap();
        signal_hook::flag::register(libc::SIGTERM, flag).unwrap();
        begun.set();
    }
    loop {
        std::hint::black_box(17u64.pow(3));
    }
}

#[mp::task]
fn make_threads(count: usize) {
    for _ in 0..count {
        let named = std::thread::Builder::new();
        // Where the kernel holds the limit, there is no other to be had.
        let _ = named.spawn(|| std::thread::sleep(PATIENCE));
    }
    std::thread::sleep(PATIENCE);
}

#[mp::task]
fn open_many() -> usize {
    let files = (0..2000).map_while(|_| std::fs::File::open("/dev/null").ok());
    files.collect::<Vec<_>>().len()
}

#[mp::task]
fn write_much(bytes: usize) {
    std::fs::write(
        std::env::temp_dir().join(format!("mps-{}", std::process::id())),
        vec![0; bytes],
    )
    .unwrap();
}

#[mp::task]
fn nice_value() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    fields.split_ascii_whitespace().nth(16).unwrap().parse().unwrap()
}

/// Starts one that pays no heed, and gives its pid when its limit has ended it. One that was asked
/// before it could turn a deaf ear proves nothing, and another is tried.
fn killed_deaf(ctx: &mp::Context, limits: Limits) -> u32 {
    let mut killed = None;
    let deaf = mpserverd_tests::eventually(PATIENCE, || {
        let begun = mp::Event::new().unwrap();
        let process = ctx.process::<spin>((Some(begun.clone()),)).limits(limits).start().unwrap();
        let code = death(&process);
        if begun.is_set() {
            assert_eq!(code, -libc::SIGKILL);
            killed = Some(process.pid());
        }
        killed.is_some()
    });
    assert!(deaf, "the limit always comes first");
    killed.unwrap()
}

/// Runs it under the limit, set by the configuration and set by the client.
fn both(option: &str, limits: Limits, check: impl Fn(&Daemon, &mp::Context, Limits)) {
    let configured = daemon(&[option, "kill-grace=300ms"]);
    check(&configured, &configured.context(), Limits::new());
    let free = daemon(&["kill-grace=300ms"]);
    check(&free, &free.context(), limits);
}

#[test]
fn memory_of_its_own_is_limited() {
    both("memory=64M", Limits::new().memory(64 << 20), |daemon, ctx, limits| {
        let greedy = ctx.process::<hoard>((400,)).limits(limits).start().unwrap();
        assert_eq!(death(&greedy), -libc::SIGKILL);
        assert_eq!(cause(daemon, greedy.pid()), Cause::Limit(LimitKind::Memory));
        let modest = ctx.process::<hoard>((4,)).limits(limits).start().unwrap();
        assert_eq!(modest.join_timeout(Duration::from_millis(500)), None, "it is within");
        modest.kill().unwrap();
        assert_ne!(cause(daemon, modest.pid()), Cause::Limit(LimitKind::Memory));
    });
}

#[test]
fn processes_and_threads_are_limited() {
    both("pids=10", Limits::new().pids(10), |daemon, ctx, limits| {
        let many = ctx.process::<make_threads>((20,)).limits(limits).start().unwrap();
        assert_eq!(death(&many), -libc::SIGKILL);
        assert_eq!(cause(daemon, many.pid()), Cause::Limit(LimitKind::Pids));
    });
}

#[test]
fn time_on_the_cpu_is_limited() {
    both("cpu-time=200ms", Limits::new().cpu_time(Duration::from_millis(200)), |daemon, ctx, l| {
        let heeds = ctx.process::<spin>((None,)).limits(l).start().unwrap();
        assert_eq!(death(&heeds), -XCPU);
        let certificate = certificate(daemon, heeds.pid());
        assert_eq!(certificate.cause, Cause::Limit(LimitKind::CpuTime));
        let used = certificate.record.usage.user_us + certificate.record.usage.system_us;
        assert!(used >= 190_000, "{used} µs");
        let heedless = killed_deaf(ctx, l);
        assert_eq!(cause(daemon, heedless), Cause::Limit(LimitKind::CpuTime));
        // It sleeps, and uses none.
        let idle = ctx.process::<sleep_for_ever>(()).limits(l).start().unwrap();
        assert_eq!(idle.join_timeout(Duration::from_millis(600)), None);
        idle.kill().unwrap();
    });
}

#[test]
fn time_on_the_wall_is_limited() {
    both(
        "wall-time=300ms",
        Limits::new().wall_time(Duration::from_millis(300)),
        |daemon, ctx, l| {
            let began = std::time::Instant::now();
            let sleeps = ctx.process::<sleep_for_ever>(()).limits(l).start().unwrap();
            assert_eq!(death(&sleeps), -libc::SIGTERM);
            assert!(began.elapsed() >= Duration::from_millis(300));
            assert_eq!(cause(daemon, sleeps.pid()), Cause::Limit(LimitKind::WallTime));
            let heedless = killed_deaf(ctx, l);
            assert_eq!(cause(daemon, heedless), Cause::Limit(LimitKind::WallTime));
        },
    );
}

#[test]
fn without_a_grace_nobody_is_asked() {
    let daemon = daemon(&["wall-time=200ms", "kill-grace=0s"]);
    let sleeps = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    assert_eq!(death(&sleeps), -libc::SIGKILL);
    assert_eq!(cause(&daemon, sleeps.pid()), Cause::Limit(LimitKind::WallTime));
}

#[test]
fn open_files_are_limited() {
    both("fds=40", Limits::new().open_files(40), |_, ctx, limits| {
        let opened = value(ctx.process::<open_many>(()).limits(limits));
        assert!(opened < 40, "{opened}");
    });
}

#[test]
fn the_size_of_files_is_limited() {
    both("file-size=64K", Limits::new().file_size(64 << 10), |daemon, ctx, limits| {
        let writes = |bytes: usize| {
            let process = ctx.process::<write_much>((bytes,)).limits(limits);
            let folder = daemon.directory();
            process.env("TMPDIR", folder).rlimit(mp::Resource::Core, 0, 0).start().unwrap()
        };
        let large = writes(100 << 10);
        assert_eq!(death(&large), -XFSZ);
        assert_eq!(cause(daemon, large.pid()), Cause::Limit(LimitKind::FileSize));
        writes(60 << 10).result_timeout(PATIENCE).unwrap();
    });
}

#[test]
fn the_nice_value_is_at_least() {
    let daemon = daemon(&["nice=7"]);
    let ctx = daemon.context();
    assert_eq!(value(ctx.process::<nice_value>(())), 7);
    assert_eq!(value(ctx.process::<nice_value>(()).nice(9)), 9);
}

#[test]
fn without_a_daemon_the_process_keeps_what_it_can() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let limits = Limits::new().open_files(40);
    assert!(value(ctx.process::<open_many>(()).limits(limits)) < 40);
    let limits = Limits::new().wall_time(Duration::from_millis(200)).kill_grace(Duration::ZERO);
    let sleeps = ctx.process::<sleep_for_ever>(()).limits(limits).start().unwrap();
    let ended = sleeps.result_timeout(PATIENCE);
    assert!(matches!(ended, Err(mp::ProcessError::DeadlineExceeded(_))), "{ended:?}");
    let refused = ctx.process::<sleep_for_ever>(()).limits(Limits::new().memory(1 << 30)).start();
    let text = refused.map(drop).unwrap_err().to_string();
    assert!(text.contains("`memory`") && text.contains("daemon"), "{text}");
}

/// While nothing is limited, nothing wakes the daemon; a limited worker at rest hardly does.
#[test]
fn a_daemon_without_limits_sleeps() {
    let daemon = daemon(&[]);
    let process = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    // Refills and surplus of the start are over.
    std::thread::sleep(Duration::from_millis(500));
    let quiet = mpserverd_tests::eventually(PATIENCE, || {
        let before = switches();
        std::thread::sleep(Duration::from_secs(1));
        switches() == before
    });
    assert!(quiet, "it never sleeps for a second");
    process.kill().unwrap();
}
