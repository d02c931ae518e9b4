//! Ten processes hammer one dict, with an oracle; some of them are killed.

use mp::DictProxy;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::{end, outcome};
use std::collections::BTreeMap;

const PROCESSES: u64 = 10;
const KEYS: u64 = 12;

/// Adds to counters, moves things between them; gives how much it has added to each.
#[mp::task]
fn hammer(
    counts: DictProxy<u64, i64>,
    log: mp::ListProxy<u64>,
    seed: u64,
    rounds: u64,
) -> Result<BTreeMap<u64, i64>, mp::TaskError> {
    let mut moments = Moments::of(seed);
    let mut added = BTreeMap::new();
    for round in 0..rounds {
        let (key, other) = (moments.below(KEYS), moments.below(KEYS));
        match moments.below(6) {
            0 | 1 => {
                counts.update_value(&key, |count| Some(count.unwrap_or(0) + 1))?;
                *added.entry(key).or_default() += 1;
            }
            2 => {
                let amount = moments.below(9) as i64;
                counts.update_value(&key, |count| Some(count.unwrap_or(0) - amount))?;
                counts.update_value(&other, |count| Some(count.unwrap_or(0) + amount))?;
                *added.entry(key).or_default() -= amount;
                *added.entry(other).or_default() += amount;
            }
            3 => {
                counts.setdefault(&key, &0)?;
            }
            4 => {
                counts.items()?;
                counts.contains(&key)?;
            }
            _ => log.append(&(seed * 1_000_000 + round))?,
        }
    }
    Ok(added)
}

fn ten_processes(rounds: u64, ctx: &mp::Context) {
    let seed = seeds::any();
    let manager = ctx.manager().unwrap();
    let (counts, log) = (manager.dict([]).unwrap(), manager.list([]).unwrap());
    let start = |number| {
        let arguments = (counts.clone(), log.clone(), seed + number, rounds);
        ctx.process::<hammer>(arguments).daemon(true).start().unwrap()
    };
    let processes = (0..PROCESSES).map(start).collect::<Vec<_>>();
    let mut expected = BTreeMap::<u64, i64>::new();
    for process in &processes {
        for (key, count) in outcome(process).unwrap().unwrap() {
            *expected.entry(key).or_default() += count;
        }
        assert_eq!(end(process), 0);
    }
    let mut found = counts.items().unwrap().into_iter().collect::<BTreeMap<_, _>>();
    found.retain(|_, count| *count != 0);
    expected.retain(|_, count| *count != 0);
    assert_eq!(found, expected);
    let log = log.copy().unwrap();
    for number in 0..PROCESSES {
        let of_one = log.iter().filter(|entry| *entry / 1_000_000 == seed + number);
        assert!(of_one.is_sorted(), "the entries of one are in order");
    }
}

/// One writes pairs that belong together, under a lock; whoever is killed is replaced.
#[mp::task]
fn keep_pairs(lock: mp::LockProxy, pairs: DictProxy<u64, u64>, told: mp::ValueProxy<u64>) {
    let mut round = u64::from(std::process::id());
    loop {
        let mut held = lock.lock().unwrap();
        let (left, right) = (pairs.get(&0).unwrap(), pairs.get(&1).unwrap());
        if held.owner_died() {
            told.update(|told| *told += 1).unwrap();
            pairs.set(&1, &left.unwrap_or(0)).unwrap();
            held.make_consistent().unwrap();
        } else {
            assert_eq!(left, right, "half-changed, and nobody was told");
        }
        round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        pairs.set(&0, &round).unwrap();
        pairs.set(&1, &round).unwrap();
    }
}

fn who_is_killed_with_a_lock_is_noticed(rounds: u64, ctx: &mp::Context) {
    let seed = seeds::any();
    let manager = ctx.manager().unwrap();
    let lock = manager.lock().unwrap();
    let pairs = manager.dict([(0, 0), (1, 0)]).unwrap();
    let told = manager.value(&0).unwrap();
    let arguments = (lock.clone(), pairs.clone(), told.clone());
    let mut crew =
        mpserverd_tests::crew::Crew::new(4, move |_| ctx.process::<keep_pairs>(arguments.clone()));
    let mut moments = Moments::of(seed);
    for _ in 0..seeds::count(rounds) {
        let within = std::time::Duration::from_millis(8);
        let place = crew.kill_one(&mut moments, within);
        crew.replace(place);
        let before = pairs.get(&0).unwrap();
        crate::until("the others go on", || pairs.get(&0).unwrap() != before);
    }
    println!("{} deaths were told", told.get().unwrap());
    drop(crew);
    crate::until("all sessions have ended", || manager.stats().unwrap().sessions == 1);
}

#[test]
fn ten_processes_hammer_one_dict() {
    ten_processes(150, &Daemon::start(&[]).context());
}

#[test]
fn killed_with_a_lock() {
    who_is_killed_with_a_lock_is_noticed(60, &Daemon::start(&[]).context());
}

mod long {
    #[test]
    #[ignore = "long: ten processes, ten thousand rounds each"]
    fn ten_processes_hammer_one_dict() {
        super::ten_processes(10_000, &super::Daemon::start(&[]).context());
    }

    #[test]
    #[ignore = "long: ten thousand processes are killed"]
    fn killed_with_a_lock() {
        let daemon = super::Daemon::start(&[]);
        super::who_is_killed_with_a_lock_is_noticed(10_000, &daemon.context());
    }
}
