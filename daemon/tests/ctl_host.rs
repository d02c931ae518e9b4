//! The programs as hosts of their own tasks: what `mpctl bench` relies on.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

/// One test: the executable is a matter of the whole process.
#[test]
fn both_programs_have_the_task_of_bench() {
    for program in [env!("CARGO_BIN_EXE_mpserverd"), env!("CARGO_BIN_EXE_mpctl")] {
        mp::set_executable(program);
        let context = mp::get_context(mp::StartMethod::Spawn);
        let before = mpserverd::tasks::bench::now();
        let process = context.process_named("bench::now", &[]).start().expect(program);
        let during = process.result().expect(program).as_u64().expect("a number");
        assert_eq!(process.join(), 0, "{program}");
        assert!((before..=mpserverd::tasks::bench::now()).contains(&during), "{program}");
    }
}
