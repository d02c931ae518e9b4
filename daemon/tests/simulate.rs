//! Runs the daemon's core in a world of virtual time and seeded faults, and checks after every
//! step what must always be true. A failure names its seed; the same seed gives the same run.
//!
//! | file | holds |
//! |---|---|
//! | `simulate/world.rs` | time, the schedule of events, and the reaction to each action |
//! | `simulate/seen.rs` | kinds of actions, and how often each was seen |
//! | `simulate/templates.rs` | template processes: they load, fork, fail, hang and die |
//! | `simulate/limits.rs` | limits of all kinds, and workers that run into them |
//! | `simulate/clients.rs` | sessions that ask, cancel and vanish; operators that reload and stop |
//! | `simulate/upkeep.rs` | upgrades, broken configurations, other confinements |
//! | `simulate/nonsense.rs` | events in no sensible order |
//! | `simulate/checks.rs` | what a run must come to: rest, or an end |

#[path = "simulate/checks.rs"]
mod checks;
#[path = "simulate/clients.rs"]
mod clients;
#[path = "simulate/limits.rs"]
mod limits;
#[path = "simulate/nonsense.rs"]
mod nonsense;
#[path = "simulate/seen.rs"]
mod seen;
#[path = "simulate/templates.rs"]
mod templates;
#[path = "simulate/upkeep.rs"]
mod upkeep;
#[path = "simulate/world.rs"]
mod world;

use seen::Seen;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use world::World;

/// One life; returns what was seen in it.
fn run(seed: u64, steps: u32) -> Seen {
    let mut world = World::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..steps {
            world.step();
        }
        if seed.is_multiple_of(2) {
            world.come_to_rest();
        }
        world.come_to_an_end();
    }));
    if let Err(panic) = outcome {
        eprintln!("the seed was {seed}, with {steps} steps; it came so:\n{}", world.story());
        resume_unwind(panic);
    }
    world.seen
}

fn run_seeds(seeds: std::ops::Range<u64>, steps: u32) -> Seen {
    let mut seen = Seen::new();
    for (what, times) in seeds.flat_map(|seed| run(seed, steps)) {
        *seen.entry(what).or_default() += times;
    }
    seen
}

/// A simulator that never meets a case proves nothing about it.
fn assert_all_seen(seen: &Seen) {
    let rare: Vec<_> = seen::KINDS.iter().filter(|kind| !seen.contains_key(*kind)).collect();
    assert!(rare.is_empty(), "never seen: {rare:?}; seen: {seen:?}");
}

#[test]
fn many_short_lives() {
    assert_all_seen(&run_seeds(0..300, 400));
}

#[test]
fn some_long_lives() {
    let mut seen = run_seeds(1100..1130, 3000);
    // That happens in the first moments of a life, of which these are few; the short lives see it.
    seen.entry("start failed").or_default();
    assert_all_seen(&seen);
}

#[test]
fn nonsense_does_not_confuse_the_book() {
    for seed in 0..150 {
        nonsense::feed(seed, 800);
    }
}

/// Hours of it: `cargo test --release --test simulate -- --ignored`; `SEED` runs one seed.
#[test]
#[ignore = "takes minutes to hours"]
fn very_many_lives() {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => drop(run(seed, 400)),
        None => assert_all_seen(&run_seeds(10_000..30_000, 3000)),
    }
}
