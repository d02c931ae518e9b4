//! The daemon under a real systemd, which this test boots: units as they are installed, started by
//! a connection, reloaded, hung, killed, stopped; for the system, for a user, for several.
//!
//! | file | holds |
//! |---|---|
//! | `machine`, `boot.sh` | the machine that runs systemd |
//! | `service` | a daemon there |
//! | `starting` | installing, socket activation, instances, users' own |
//! | `living` | reload, watchdog, crashes, memory |
//! | `ending` | stop, restart, what cannot run |
//! | `upgrading` | upgrades, and what the next daemon knows |
//! | `users` | who may use which daemon |
//!
//! One boot serves all cases; each has daemons of its own. `CASE=NAME` runs one of them.
#![cfg(target_os = "linux")]

mod ending;
mod living;
mod machine;
mod service;
mod starting;
mod upgrading;
mod users;

use machine::Machine;
use mpserverd_tests::skip;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// A case, by name.
type Case = (&'static str, fn(&Machine));

const CASES: [Case; 22] = [
    ("installed by the book", starting::by_the_book),
    ("instances by the book", starting::instances_by_the_book),
    ("started by a connection", starting::by_a_connection),
    ("instances are strangers", starting::instances),
    ("a user's own", starting::of_a_user),
    ("reload", living::reload),
    ("a missed watchdog", living::watchdog),
    ("a crash", living::crashes),
    ("a crash with limited workers", living::crash_with_limited_workers),
    ("a worker out of memory", living::out_of_memory),
    ("upgrades", upgrading::upgrades),
    ("refused upgrades", upgrading::refused_upgrades),
    ("what the next daemon knows", upgrading::remembered),
    ("stop", ending::stop),
    ("restart", ending::restart),
    ("without pidfds", ending::without_pidfds),
    ("a module that fails", ending::failing_module),
    ("doctor", ending::doctor),
    ("members of the group", users::throw_away),
    ("strangers", users::strangers),
    ("two users", users::two_users),
    ("code at run time", users::code_at_run_time),
];

#[test]
fn under_a_real_systemd() {
    let machine = match Machine::boot() {
        Ok(machine) => machine,
        Err(reason) => return skip(&reason),
    };
    let only = std::env::var("CASE").ok();
    let mut failed = Vec::new();
    for (name, case) in CASES {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let begun = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| case(&machine))).is_ok();
        println!("{name}: {} ({:.1?})", if passed { "ok" } else { "FAILED" }, begun.elapsed());
        if !passed {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
