//! Each part of a sandbox, under each start method. Whoever starts the worker is free all the time,
//! and so is the next worker.

use crate::attempts::{Attempts, Place, all, attempt, can, number};
use mp::{Deny, Sandbox};
use mpserverd_tests::suite;
use mpserverd_tests::suite::value;
use std::path::PathBuf;

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENETUNREACH: i32 = 101;

/// What a confined worker is told; the starter and the next worker are told nothing.
fn told(ctx: &mp::Context, sandbox: impl FnOnce(&Place) -> Sandbox) -> Attempts {
    let place = Place::new();
    let told = value(ctx.process::<attempt>(place.arguments()).sandbox(sandbox(&place)));
    let (folder, port) = place.arguments();
    place.fill();
    assert_eq!(all(&folder, port), Attempts::default(), "the starter is confined");
    place.fill();
    let next = value(ctx.process::<attempt>(place.arguments()));
    assert_eq!(next, Attempts::default(), "the next worker is confined");
    told
}

fn files(errno: i32) -> Attempts {
    let (read, list, write) = (errno, errno, errno);
    Attempts { read, list, write, truncate: errno, remove: errno, ..Attempts::default() }
}

fn no_file_is_reached(ctx: &mp::Context) {
    if can(ctx, Sandbox::new().no_files()) {
        let want = Attempts { exec: EACCES, ..files(EACCES) };
        assert_eq!(told(ctx, |_| Sandbox::new().no_files()), want);
    }
}

fn what_may_be_read_may_not_be_written(ctx: &mp::Context) {
    if can(ctx, Sandbox::new().no_files()) {
        let want = Attempts { read: 0, list: 0, exec: EACCES, ..files(EACCES) };
        assert_eq!(told(ctx, |place| Sandbox::new().read_only(place.path())), want);
    }
}

fn what_may_be_written_may_not_be_executed(ctx: &mp::Context) {
    if can(ctx, Sandbox::new().no_files()) {
        let got = told(ctx, |place| {
            Sandbox::new().read_write(place.path()).read_write("/bin").read_write("/dev/null")
        });
        assert_eq!(got, Attempts { exec: EACCES, ..Attempts::default() });
        let got = told(ctx, |_| Sandbox::new().execute("/"));
        let want = Attempts { read: 0, list: 0, ..files(EACCES) };
        assert_eq!(got, want, "what may be executed may be read only");
    }
}

fn single_files_may_be_named(ctx: &mp::Context) {
    if can(ctx, Sandbox::new().no_files()) {
        let got = told(ctx, |place| Sandbox::new().read_only(place.path().join("secret")));
        assert_eq!(got, Attempts { read: 0, exec: EACCES, ..files(EACCES) });
    }
}

fn calls_are_denied_by_group(ctx: &mp::Context) {
    if !can(ctx, Sandbox::new().deny(Deny::Exec)) {
        return;
    }
    let none = Attempts::default;
    for (group, want) in [
        (Deny::Exec, Attempts { exec: EPERM, ..none() }),
        (Deny::Network, Attempts { connect: EPERM, ..none() }),
        (Deny::Sockets, Attempts { connect: EPERM, unix: EPERM, ..none() }),
        (Deny::Ptrace, Attempts { peek: EPERM, ..none() }),
        (Deny::Mount, Attempts { unshare: EPERM, ..none() }),
        (Deny::Kernel, none()),
    ] {
        assert_eq!(told(ctx, |_| Sandbox::new().deny(group)), want, "{group:?}");
    }
}

fn calls_are_denied_by_name(ctx: &mp::Context) {
    if can(ctx, Sandbox::new().deny(Deny::Exec)) {
        let got = told(ctx, |_| Sandbox::new().deny_call("unlink").deny_call("unlinkat"));
        assert_eq!(got, Attempts { remove: EPERM, ..Attempts::default() });
    }
}

fn a_private_network_is_empty(ctx: &mp::Context) {
    if can(ctx, Sandbox::new().private_network()) {
        let got = told(ctx, |_| Sandbox::new().private_network());
        let want = Attempts { connect: ENETUNREACH, unshare: EPERM, ..Attempts::default() };
        assert_eq!(got, want);
    }
}

/// What is in `/tmp`; what came of writing there, and of reaching what was there by other ways.
#[mp::task]
fn look_at_tmp(outside: PathBuf) -> (Vec<String>, i32, i32, i32) {
    let names = std::fs::read_dir("/tmp").unwrap().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let write = number(std::fs::write("/tmp/mine", "mine"));
    let by_name = number(std::fs::read(&outside));
    // The working folder was where that file is.
    let by_folder = number(std::fs::read(outside.file_name().unwrap()));
    (names, write, by_name, by_folder)
}

fn a_private_tmp_is_empty_and_its_own(ctx: &mp::Context) {
    if !can(ctx, Sandbox::new().private_tmp()) {
        return;
    }
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "outside").unwrap();
    let look = || ctx.process::<look_at_tmp>((outside.clone(),)).current_dir(folder.path());
    let (names, write, by_name, by_folder) = value(look().sandbox(Sandbox::new().private_tmp()));
    assert_eq!((names, write), (Vec::new(), 0));
    assert_eq!((by_name, by_folder), (libc::ENOENT, libc::ENOENT));
    assert!(!std::path::Path::new("/tmp/mine").exists(), "it was written outside");
    assert!(outside.exists());
}

fn everything_at_once_in_one_order(ctx: &mp::Context) {
    let everything = |place: &Place| {
        // Mounting is denied by the filter, and by Landlock; both come after the namespaces.
        Sandbox::new()
            .read_write("/tmp")
            .read_only(place.path())
            .deny(Deny::Exec)
            .deny(Deny::Sockets)
            .deny(Deny::Ptrace)
            .deny(Deny::Mount)
            .deny(Deny::Kernel)
            .private_network()
            .private_tmp()
    };
    if can(ctx, everything(&Place::new())) {
        let want = Attempts {
            read: 0,
            list: 0,
            exec: EPERM,
            connect: EPERM,
            unix: EPERM,
            peek: EPERM,
            unshare: EPERM,
            ..files(EACCES)
        };
        assert_eq!(told(ctx, everything), want);
    }
}

fn a_path_that_is_not_there_stops_the_task(ctx: &mp::Context) {
    if !can(ctx, Sandbox::new().no_files()) {
        return;
    }
    let place = Place::new();
    let sandbox = Sandbox::new().read_only(place.path()).execute("/no/such/path");
    let process = ctx.process::<attempt>(place.arguments()).sandbox(sandbox).start().unwrap();
    let error = suite::outcome(&process).unwrap_err();
    let mp::ProcessError::Rejected(mp::JobError::Sandbox { step, message }) = &error else {
        panic!("{error}")
    };
    assert_eq!(step, "landlock");
    assert!(message.contains("execute /no/such/path"), "{message}");
    assert_eq!(suite::end(&process), 111);
}

fn a_pool_is_confined_as_a_process_is(ctx: &mp::Context) {
    if !can(ctx, Sandbox::new().deny(Deny::Exec)) {
        return;
    }
    let place = Place::new();
    let pool = ctx.pool().processes(2).sandbox(Sandbox::new().deny(Deny::Exec)).build().unwrap();
    for _ in 0..4 {
        place.fill();
        let got = pool.apply::<attempt>(place.arguments()).unwrap();
        assert_eq!(got, Attempts { exec: EPERM, ..Attempts::default() });
    }
}

suite![
    no_file_is_reached,
    what_may_be_read_may_not_be_written,
    what_may_be_written_may_not_be_executed,
    single_files_may_be_named,
    calls_are_denied_by_group,
    calls_are_denied_by_name,
    a_private_network_is_empty,
    a_private_tmp_is_empty_and_its_own,
    everything_at_once_in_one_order,
    a_path_that_is_not_there_stops_the_task,
    a_pool_is_confined_as_a_process_is,
];
