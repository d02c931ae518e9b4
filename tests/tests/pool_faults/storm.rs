//! Every kind of call, every kind of pool, every kind of death, at the same time: each task has one
//! outcome, in order; what was lost really was on a worker that died; afterwards the pool is whole,
//! and nothing of it is left when it is gone.

use crate::census::Census;
use crate::judge::Judge;
use crate::killer;
use crate::log::{Log, keep_log};
use crate::work::{Deed, Work, work};
use crate::{alone, get, is_whole};
use mp::TaskFailure;
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::PATIENCE;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How many kinds of calls there are.
const KINDS: u64 = 5;

/// How a round ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Join,
    Terminate,
    Drop,
}

/// What a round is like.
#[derive(Debug)]
struct Plan {
    workers: usize,
    retries: u32,
    chunk: usize,
    max_tasks: Option<u64>,
    max_age: Option<Duration>,
    /// Whether tasks end their workers.
    deeds: bool,
    /// Longest time between two deaths.
    within: Duration,
    /// Tasks of each kind of call, and how long each takes.
    count: u64,
    micros: u64,
    end: End,
}

impl Plan {
    fn of(moments: &mut Moments) -> Self {
        // The first moments of neighbouring seeds are alike.
        for _ in 0..20 {
            moments.below(2);
        }
        let max_tasks = (moments.below(3) == 0).then(|| 1 + moments.below(20));
        let micros = [1, 1, 1, 1000, 1000, 1000, 1000, 1_000_000][moments.below(8) as usize];
        let workers = 1 + moments.below(4) as usize;
        let count = match micros {
            1 => 20 + moments.below(400),
            1000 => 10 + moments.below(60),
            _ => 1 + moments.below(2),
        };
        Self {
            workers,
            retries: [0, 2][moments.below(2) as usize],
            chunk: [1, 1, 3, 50][moments.below(4) as usize],
            max_tasks,
            max_age: (moments.below(4) == 0).then(|| Duration::from_millis(5 + moments.below(50))),
            deeds: moments.below(3) == 0,
            within: Duration::from_micros([500, 5_000, 20_000, 100_000][moments.below(4) as usize]),
            count: max_tasks.map_or(count, |most| count.min(10 * most)),
            micros,
            end: [End::Join, End::Terminate, End::Drop][moments.below(3) as usize],
        }
    }

    fn build(&self, ctx: &mp::Context, log: &Log) -> mp::Pool {
        let mut builder = ctx
            .pool()
            .processes(self.workers)
            .retries(self.retries)
            .initializer::<keep_log>((log.clone(),))
            .init_attempts(u32::MAX);
        if let Some(most) = self.max_tasks {
            builder = builder.max_tasks_per_child(most).max_tasks_jitter(most / 2);
        }
        if let Some(age) = self.max_age {
            builder = builder.max_age(age);
        }
        if self.deeds {
            // What they say when they end is of no use.
            builder = builder.stderr(mp::Stream::Null);
        }
        builder.build().unwrap()
    }

    /// All tasks, by kind of call.
    fn works(&self, moments: &mut Moments) -> Vec<Vec<Work>> {
        let mut deed = || match moments.below(if self.deeds { 40 } else { 1 }) {
            1 => Deed::Panic,
            2 => Deed::Abort,
            3 => Deed::Exit,
            4 => Deed::Overflow,
            _ => Deed::Return,
        };
        let kinds = 0..KINDS;
        let numbers = kinds.map(|kind| kind * self.count..(kind + 1) * self.count);
        let mut work = |number| Work { number, micros: self.micros, deed: deed() };
        numbers.map(|numbers| numbers.map(&mut work).collect()).collect()
    }
}

/// Who calls, in threads of their own, and what came of it.
struct Callers<'a> {
    pool: &'a mp::Pool,
    plan: &'a Plan,
    judge: &'a Judge,
}

impl Callers<'_> {
    fn map(&self, works: &[Work]) {
        let mapping = self.pool.mapping::<work>().chunk(self.plan.chunk);
        let each = mapping.map_each(works).unwrap();
        assert_eq!(each.len(), works.len());
        each.into_iter().zip(works).for_each(|(outcome, work)| self.judge.take(*work, outcome));
    }

    fn imap(&self, works: &[Work]) {
        let mapping = self.pool.mapping::<work>().chunk(self.plan.chunk);
        let mut imap = mapping.imap(works).unwrap();
        for work in works {
            let outcome = imap.next_timeout(PATIENCE).expect("there is one for each");
            self.judge.take(*work, outcome);
        }
        assert!(imap.next_timeout(PATIENCE).is_none());
    }

    /// Nobody knows of which task a failure is: each return is of one, and there are as many.
    fn unordered(&self, works: &[Work]) {
        let mapping = self.pool.mapping::<work>().chunk(self.plan.chunk);
        let mut imap = mapping.imap_unordered(works).unwrap();
        let mut left = works.to_vec();
        let mut failures = Vec::new();
        while let Some(outcome) = imap.next_timeout(PATIENCE) {
            match outcome {
                Ok(result) => {
                    let at = left.iter().position(|work| 3 * work.number == result);
                    let work = left.remove(at.expect("one of these, and only once"));
                    self.judge.take(work, Ok(result));
                }
                Err(error) => failures.push(error),
            }
        }
        assert_eq!(failures.len(), left.len(), "one outcome each");
        // A panic names its task, a loss its worker.
        let (panics, losses) =
            failures.into_iter().partition::<Vec<_>, _>(|f| matches!(f, TaskFailure::Panicked(_)));
        for panic in panics {
            let says =
                |work: &Work| panic.to_string().contains(&format!("task {} is", work.number));
            let at = left.iter().position(says).expect("one of these");
            self.judge.take(left.remove(at), Err(panic));
        }
        self.judge.assign(left, losses);
    }

    fn apply_with_callbacks(&self, works: &[Work], called: &[Arc<AtomicU64>]) {
        let submit = |(work, called): (&Work, &Arc<AtomicU64>)| {
            let (good, bad) = (Arc::clone(called), Arc::clone(called));
            let task = self.pool.task::<work>((*work,));
            let task = task.callback(move |_| {
                let _ = good.fetch_add(1, Ordering::SeqCst);
            });
            task.error_callback(move |_| {
                let _ = bad.fetch_add(1 << 32, Ordering::SeqCst);
            })
            .submit()
            .unwrap()
        };
        let results = works.iter().zip(called).map(submit).collect::<Vec<_>>();
        for (result, work) in results.iter().zip(works) {
            self.judge.take(*work, get(self.pool, result));
        }
    }

    fn futures(&self, works: &[Work]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let submit = |work: &Work| self.pool.apply_async::<work>((*work,)).unwrap();
        let results = works.iter().map(submit).collect::<Vec<_>>();
        runtime.block_on(async {
            for (result, work) in results.into_iter().zip(works) {
                let outcome = tokio::time::timeout(PATIENCE, result).await;
                let late = |_| panic!("{work:?} has no outcome: {:?}", self.pool.status());
                self.judge.take(*work, outcome.unwrap_or_else(late));
            }
        });
    }
}

/// Waits for a thread, and says so if it does not end.
type Wait<'a> = Box<dyn FnOnce(&mp::Pool) + 'a>;

/// Runs this in a thread and says so if it does not end.
fn in_time<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    name: &'static str,
    body: impl FnOnce() + Send + 'scope,
) -> Wait<'scope> {
    let (done, is_done) = mpsc::channel::<()>();
    let thread = scope.spawn(move || {
        let _done = done;
        body();
    });
    Box::new(move |pool| {
        let late = is_done.recv_timeout(2 * PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            // The scope would wait for it.
            eprintln!("{name} hangs: {:?}", pool.status());
            std::process::abort();
        }
        thread.join().unwrap_or_else(|_| panic!("{name} has failed"));
    })
}

fn round(ctx: &mp::Context, moments: &mut Moments) -> (u64, u64, u64) {
    let plan = Plan::of(moments);
    println!("{plan:?}");
    let works = plan.works(moments);
    let all = works.concat();
    let log = Log::new(all.len() as u64);
    let judge = Judge::new(log.clone(), plan.retries);
    let pool = plan.build(ctx, &log);
    let (stop, calls) =
        (AtomicBool::new(false), Callers { pool: &pool, plan: &plan, judge: &judge });
    let called = (0..plan.count).map(|_| Arc::new(AtomicU64::new(0))).collect::<Vec<_>>();
    let rage = Moments::of(moments.below(u64::from(u32::MAX)));
    let struck = std::thread::scope(|scope| {
        let killing = scope.spawn(|| killer::rage(&pool, rage, plan.within, &stop));
        let waits: [Wait<'_>; KINDS as usize] = [
            in_time(scope, "map_each", || calls.map(&works[0])),
            in_time(scope, "imap", || calls.imap(&works[1])),
            in_time(scope, "imap_unordered", || calls.unordered(&works[2])),
            in_time(scope, "apply", || calls.apply_with_callbacks(&works[3], &called)),
            in_time(scope, "futures", || calls.futures(&works[4])),
        ];
        let stopped = Stop(&stop);
        waits.into_iter().for_each(|wait| wait(&pool));
        drop(stopped);
        killing.join().unwrap()
    });
    let lost = judge.give_verdict(&all, &struck);
    is_whole(&pool, plan.workers);
    let begun = log.all_begun();
    match plan.end {
        End::Join => {
            pool.close();
            pool.join_timeout(PATIENCE).unwrap();
        }
        End::Terminate => pool.terminate_timeout(PATIENCE).unwrap(),
        End::Drop => {}
    }
    drop(pool);
    assert_eq!(log.all_begun(), begun, "a task was run again");
    for (called, work) in called.iter().zip(&works[3]) {
        let called = called.load(Ordering::SeqCst);
        assert!(called == 1 || called == 1 << 32, "{work:?}: {called:#x} callbacks");
    }
    (all.len() as u64, lost, struck.len() as u64)
}

/// Ends the rage, however the round ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn rounds(ctx: &mp::Context, count: u64) {
    // What this process needs once is there then.
    crate::is_whole(&ctx.pool().processes(2).build().unwrap(), 2);
    let before = Census::take();
    let mut sums = (0, 0, 0);
    for (_, mut moments) in seeds::rounds(count) {
        let (tasks, lost, struck) = round(ctx, &mut moments);
        sums = (sums.0 + tasks, sums.1 + lost, sums.2 + struck);
        before.holds_again();
        alone::beat();
    }
    println!("{} tasks, {} of them lost, {} workers ended from outside", sums.0, sums.1, sums.2);
}

fn each_task_has_one_outcome(ctx: &mp::Context) {
    rounds(ctx, 3);
}

fn each_task_has_one_outcome_for_long(ctx: &mp::Context) {
    rounds(ctx, 300);
}

alone![each_task_has_one_outcome; long: each_task_has_one_outcome_for_long];
