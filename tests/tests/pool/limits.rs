//! What cannot be asked for.

use super::{pool, square};
use mpserverd_tests::suite;

fn absurd_pools_are_refused_early(ctx: &mp::Context) {
    let error = ctx.pool().processes(0).build().unwrap_err();
    assert!(matches!(error, mp::PoolError::NoProcesses), "{error}");
    let error = ctx.pool().processes(1_000_000).build().unwrap_err();
    let mp::PoolError::TooManyProcesses { asked: 1_000_000, most, .. } = error else {
        panic!("{error}")
    };
    assert!(most <= 1024);
    let error = ctx.pool().max_tasks_per_child(0).build().unwrap_err();
    assert!(matches!(error, mp::PoolError::Invalid(_)), "{error}");
    assert!(ctx.pool().init_attempts(0).build().is_err());
    assert!(ctx.pool().name("a\0b").build().is_err());
    assert!(ctx.pool().name("a".repeat(1000)).build().is_err());
}

fn the_limit_that_is_hit_is_named(_: &mp::Context) {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let limited = spawn.process::<ask_for_too_many>(()).rlimit(mp::Resource::OpenFiles, 200, 200);
    suite::passed(limited);
}

#[mp::task]
fn ask_for_too_many() {
    let error = mp::get_context(mp::StartMethod::Spawn).pool().processes(100).build().unwrap_err();
    assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
}

fn chunks_and_windows_have_a_least(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let zero = || drop(pool.mapping::<square>().chunk(0));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(zero)).is_err());
    let zero = || drop(pool.mapping::<square>().window(0));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(zero)).is_err());
}

suite![
    absurd_pools_are_refused_early,
    the_limit_that_is_hit_is_named,
    chunks_and_windows_have_a_least,
];
