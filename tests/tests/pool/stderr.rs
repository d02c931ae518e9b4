//! Where workers write, and what they hear.

use super::{get, pool, square};
use mpserverd_tests::suite;
use nix::sys::signal::{Signal, raise};

#[mp::task]
fn grumble(text: String) {
    eprintln!("{text}");
}

/// Has a pool whose workers write to this process's standard error.
#[mp::task]
fn host(method: String) {
    let ctx = mp::get_context(method.parse::<mp::StartMethod>().unwrap());
    let pool = pool(&ctx, 2);
    pool.map::<grumble>((0..100).map(|at| format!("grumble {at} "))).unwrap();
    pool.close();
    pool.join_timeout(super::PATIENCE).unwrap();
}

fn what_workers_write_is_passed_on(ctx: &mp::Context) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let method = match ctx.method() {
        mp::StartMethod::ForkServer => mp::StartMethod::Spawn,
        other => other,
    };
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let process = spawn.process::<host>((method.as_str().to_owned(),));
    suite::passed(process.stderr(file.reopen().unwrap()));
    let text = std::fs::read_to_string(file.path()).unwrap();
    for at in 0..100 {
        assert!(text.contains(&format!("grumble {at} ")), "{at} is missing in {text}");
    }
}

fn a_stream_may_be_given(ctx: &mp::Context) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let pool = ctx.pool().processes(2).stderr(file.reopen().unwrap()).build().unwrap();
    pool.map::<grumble>(["to a file".to_owned()]).unwrap();
    assert!(std::fs::read_to_string(file.path()).unwrap().contains("to a file"));
    let quiet = ctx.pool().processes(1).stderr(mp::Stream::Null).build().unwrap();
    quiet.map::<grumble>(["to nobody".to_owned()]).unwrap();
}

fn a_flood_holds_up_nobody_but_its_worker(ctx: &mp::Context) {
    let pool = ctx.pool().processes(2).build().unwrap();
    let flood = pool.apply_async::<write_much>((1 << 20,)).unwrap();
    assert_eq!(pool.map::<square>(0..100).unwrap().len(), 100);
    get(&flood).unwrap();
}

#[mp::task]
fn write_much(bytes: usize) {
    for _ in 0..bytes / 64 {
        eprint!("{}", "\u{0}".repeat(64));
    }
}

fn workers_do_not_hear_ctrl_c(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    assert_eq!(pool.apply::<interrupt_self>((5,)).unwrap(), 5);
    let pid = super::ready(&pool, 1)[0];
    super::signal(pid, Signal::SIGINT);
    assert_eq!(pool.apply::<interrupt_self>((6,)).unwrap(), 6);
    assert_eq!(super::ready(&pool, 1), [pid]);
}

#[mp::task]
fn interrupt_self(x: u64) -> u64 {
    raise(Signal::SIGINT).unwrap();
    x
}

suite![
    what_workers_write_is_passed_on,
    a_stream_may_be_given,
    a_flood_holds_up_nobody_but_its_worker,
    workers_do_not_hear_ctrl_c,
];
