//! Killers: processes in tight loops on one object, of which one after the other is killed at a
//! random instant.
//!
//! Each member counts its rounds where all can see it. After a death all others must come further:
//! whoever hangs is found. What an object protects lies in words that nothing else protects, and
//! members look at each round whether it is whole, or whether they were told that it may not be.
//! The longest time that anybody waited is printed.

mod pair;
mod queue;
mod signals;

use mpserverd_tests::crew::Crew;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::words::Words;
use std::time::{Duration, Instant};

/// Members of a crew.
const SIZE: usize = 4;
/// How long members work until one is killed, at most.
const WITHIN: Duration = Duration::from_millis(4);
/// Rounds of the normal run.
const SOME: u64 = 200;
/// Rounds of the long run.
const MANY: u64 = 10_000;

// Words that all killers use; from `OWN` on each has its own.
const STOP: usize = 0;
const ROUNDS: usize = 1;
const LONGEST: usize = ROUNDS + SIZE;
const OWN: usize = LONGEST + SIZE;

/// What a member of a crew knows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Member {
    words: Words,
    place: usize,
    seed: u64,
}

impl Member {
    /// Works until it is told to stop. A round gives how long it waited for anybody.
    fn work(&self, mut round: impl FnMut(&mut Moments) -> Duration) {
        let mut moments = Moments::of(self.seed);
        let mut longest = 0;
        while self.words.get(STOP) == 0 {
            let waited = round(&mut moments).as_micros() as u64;
            if waited > longest {
                longest = waited;
                let known = self.words.get(LONGEST + self.place);
                self.words.set(LONGEST + self.place, known.max(waited));
            }
            self.words.add(ROUNDS + self.place, 1);
        }
    }
}

/// Times what waits for others.
fn timed<R>(wait: impl FnOnce() -> R) -> (R, Duration) {
    let begun = Instant::now();
    let result = wait();
    (result, begun.elapsed())
}

/// Kills so often. `start` describes a member; `mend` is asked again and again after each death
/// until all others have come further, and told whose place it was and how long ago.
fn kill<'a>(
    rounds: u64,
    ctx: &'a mp::Context,
    words: &Words,
    mut start: impl FnMut(&'a mp::Context, Member) -> mp::ProcessBuilder<()> + 'a,
    mut mend: impl FnMut(usize, Duration),
) {
    let seed = seeds::any();
    let mut moments = Moments::of(seed);
    let mut starts = seed;
    let shared = words.clone();
    let mut crew = Crew::new(SIZE, move |place| {
        starts += 1;
        start(ctx, Member { words: shared.clone(), place, seed: starts })
    });
    let counts = || [0, 1, 2, 3].map(|place| words.get(ROUNDS + place));
    for round in 0..seeds::count(rounds) {
        let dead = crew.kill_one(&mut moments, WITHIN);
        let before = counts();
        let died = Instant::now();
        let further = || {
            mend(dead, died.elapsed());
            let now = counts();
            // The round that was under way, and one more.
            (0..SIZE).all(|place| place == dead || now[place] > before[place] + 1)
        };
        let all = mpserverd_tests::eventually(PATIENCE, further);
        assert!(all, "round {round}, {dead} is dead: {before:?}, then {:?}; {crew:?}", counts());
        crew.replace(dead);
    }
    words.set(STOP, 1);
    let longest = (0..SIZE).map(|place| words.get(LONGEST + place)).max().unwrap_or(0);
    println!("{:?} rounds; nobody waited for more than {longest} µs", counts());
    let _ = crew.finish();
}

/// A normal and a long test of each killer.
macro_rules! killers {
    ($($name:ident),+) => {
        $(#[test]
        fn $name() {
            super::$name(super::SOME, &super::Daemon::start(&[]).context());
        })+

        mod long {
            $(#[test]
            #[ignore = "long: ten thousand processes are killed"]
            fn $name() {
                let daemon = super::super::Daemon::start(&[]);
                super::super::$name(super::super::MANY, &daemon.context());
            })+
        }
    };
}

use pair::{lock, rlock};
use queue::condition;
use signals::{barrier, event, semaphore};

mod killed {
    killers!(lock, rlock, semaphore, condition, event, barrier);
}
