//! Clients that start workers all the time and workers that sleep meanwhile, while something happens
//! to their daemon; and how long nobody's start came through.
//!
//! A gap is the time in which no start of any client succeeded. It is what the daemon's absence
//! costs: how long one start takes with a hundred of them in flight is the machine's to say.

use crate::columns::columns;
use crate::suite::PATIENCE;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What something that has happened may still be felt for.
const AFTERMATH: Duration = Duration::from_millis(200);

#[mp::task]
fn double(x: u64) -> u64 {
    2 * x
}

#[mp::task]
fn leave(code: i32) {
    std::process::exit(code)
}

/// Waits for the event, then exits with this code.
#[mp::task]
fn hold(until: mp::Event, code: i32) {
    until.wait(None);
    std::process::exit(code)
}

/// Sleeping workers, of which each knows the code that it will exit with.
#[derive(Debug)]
pub struct Sleepers {
    wake: mp::Event,
    all: Vec<(mp::Process<()>, i32)>,
}

impl Sleepers {
    /// So many of them.
    ///
    /// # Panics
    /// When one does not start.
    #[must_use]
    pub fn start(context: &mp::Context, count: usize) -> Self {
        let wake = context.event().expect("an event");
        let start = |at: usize| {
            let code = (at % 100) as i32;
            let process = context.process::<hold>((wake.clone(), code)).start();
            (process.unwrap_or_else(|error| panic!("sleeper {at}: {error}")), code)
        };
        let all = (0..count).map(start).collect();
        Self { wake, all }
    }

    /// All of them still run; woken, each ends with its own code.
    ///
    /// # Panics
    /// When that is not so.
    pub fn end(self) {
        let running = self.all.iter().filter(|(process, _)| process.is_alive()).count();
        assert_eq!(running, self.all.len(), "a worker was lost");
        self.wake.set();
        for (process, code) in &self.all {
            let ended = process.join_timeout(PATIENCE);
            assert_eq!(ended, Some(*code), "{process:?}: {:?}", process.ending());
        }
    }
}

/// Who starts workers.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// So many starts are in flight.
    pub count: usize,
    /// What each waits between two of them.
    pub pause: Duration,
}

/// From when to when.
type Span = (Instant, Instant);

/// What came of it.
#[derive(Debug, Default)]
pub struct Record {
    /// From each call to the worker that it gave, by the time of the latter.
    starts: Vec<Span>,
    /// What happened to the daemon.
    events: Vec<Span>,
}

/// What an act on the daemon may know of the starts meanwhile.
#[derive(Debug)]
pub struct Stage<'a> {
    over: &'a AtomicBool,
    events: Vec<Span>,
}

impl Stage<'_> {
    /// Does something to the daemon, and notes when.
    pub fn event<T>(&mut self, happen: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = happen();
        self.events.push((begun, Instant::now()));
        done
    }

    /// Whether a client has given up, so that there is nothing left to see.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Sets it, also when its owner panics.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts, and hears the result or the code of each, until told to stop; the first error is a failure.
fn client(context: &mp::Context, pause: Duration, over: &AtomicBool) -> Vec<Span> {
    let mut starts = Vec::new();
    let _end = OnDrop(over);
    while !over.load(Ordering::Relaxed) {
        let x = starts.len() as u64;
        let begun = Instant::now();
        if x.is_multiple_of(2) {
            let process = context.process::<double>((x,)).start();
            let process = process.unwrap_or_else(|error| panic!("start {x}: {error}"));
            starts.push((begun, Instant::now()));
            assert_eq!(process.result_timeout(PATIENCE).expect("a result"), 2 * x);
            assert_eq!(process.join_timeout(PATIENCE), Some(0), "{:?}", process.ending());
        } else {
            let code = (x % 100) as i32;
            let process = context.process::<leave>((code,)).start();
            let process = process.unwrap_or_else(|error| panic!("start {x}: {error}"));
            starts.push((begun, Instant::now()));
            assert_eq!(process.join_timeout(PATIENCE), Some(code), "{:?}", process.ending());
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    starts
}

/// Runs `act` under clients, then lets them end what they have begun.
///
/// # Panics
/// With the first failure of a client, or of `act`.
pub fn under(context: &mp::Context, clients: Clients, act: impl FnOnce(&mut Stage<'_>)) -> Record {
    let over = AtomicBool::new(false);
    let mut record = std::thread::scope(|scope| {
        let start = |_| scope.spawn(|| client(context, clients.pause, &over));
        let all = (0..clients.count).map(start).collect::<Vec<_>>();
        let mut stage = Stage { over: &over, events: Vec::new() };
        let end = OnDrop(&over);
        act(&mut stage);
        std::thread::sleep(AFTERMATH);
        drop(end);
        let events = stage.events;
        let joined = all.into_iter().map(std::thread::ScopedJoinHandle::join);
        let starts = joined.collect::<Result<Vec<_>, _>>();
        let starts = starts.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).concat();
        Record { starts, events }
    });
    record.starts.sort_unstable_by_key(|(_, ended)| *ended);
    record
}

impl Record {
    /// How many starts there were.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.starts.len()
    }

    /// The longest time without a start that begins or ends within a span.
    fn gap(&self, (from, until): Span) -> Option<Duration> {
        let first = self.starts.partition_point(|(_, ended)| *ended < from);
        let last = self.starts.partition_point(|(_, ended)| *ended <= until);
        let seen = self.starts.get(first.saturating_sub(1)..(last + 1).min(self.starts.len()))?;
        seen.windows(2).map(|pair| pair[1].1.duration_since(pair[0].1)).max()
    }

    /// The longest time that a start took which was under way within a span.
    fn longest(&self, (from, until): Span) -> Option<Duration> {
        let first = self.starts.partition_point(|(_, ended)| *ended < from);
        let under_way = self.starts[first..].iter().filter(|(begun, _)| *begun <= until);
        under_way.map(|(begun, ended)| ended.duration_since(*begun)).max()
    }

    /// The longest gap of each event, ascending.
    #[must_use]
    pub fn gaps(&self) -> Vec<Duration> {
        let mut gaps = self.felt().filter_map(|span| self.gap(span)).collect::<Vec<_>>();
        gaps.sort_unstable();
        gaps
    }

    fn felt(&self) -> impl Iterator<Item = Span> {
        self.events.iter().map(|(from, until)| (*from, *until + AFTERMATH))
    }

    /// The times between events, each as long as what an event is felt for.
    fn quiet(&self) -> impl Iterator<Item = Span> {
        let between = self.events.windows(2).map(|pair| (pair[0].1 + AFTERMATH, pair[1].0));
        between.filter(|(from, until)| until.saturating_duration_since(*from) > AFTERMATH / 4)
    }

    /// A table of it.
    #[must_use]
    pub fn table(&self, what: &str) -> String {
        let of = |spans: &mut dyn Iterator<Item = Span>, measure: fn(&Self, Span) -> _| {
            spans.filter_map(|span| measure(self, span)).collect::<Vec<_>>()
        };
        let lasted = self.events.iter().map(|(from, until)| until.duration_since(*from));
        let all = self.starts.iter().map(|(begun, ended)| ended.duration_since(*begun));
        let rows = [
            line(["", "p50", "p99", "longest"].map(str::to_owned)),
            row(&format!("{what}, each"), lasted.collect()),
            row("no start came through meanwhile for", of(&mut self.felt(), Self::gap)),
            row("and when nothing happened", of(&mut self.quiet(), Self::gap)),
            row("the longest start of each", of(&mut self.felt(), Self::longest)),
            row("and when nothing happened", of(&mut self.quiet(), Self::longest)),
            row("all starts", all.collect()),
        ];
        columns(&rows)
    }
}

fn line(cells: [String; 4]) -> Vec<String> {
    cells.to_vec()
}

fn row(name: &str, mut times: Vec<Duration>) -> Vec<String> {
    times.sort_unstable();
    let at = |percent| percentile(&times, percent).map_or("-".to_owned(), |at| format!("{at:.1?}"));
    line([name.to_owned(), at(50), at(99), at(100)])
}

/// That of times in ascending order, if there are any.
#[must_use]
pub fn percentile(times: &[Duration], percent: usize) -> Option<Duration> {
    times.get(times.len().checked_sub(1)? * percent / 100).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_those_that_touch_an_event() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let starts = [0, 10, 70, 80, 1000, 1001].map(|ms| (at(ms), at(ms)));
        let record = Record { starts: starts.to_vec(), events: vec![(at(20), at(30))] };
        assert_eq!(record.gap((at(20), at(30))), Some(Duration::from_millis(60)));
        assert_eq!(record.gap((at(75), at(79))), Some(Duration::from_millis(10)));
        assert_eq!(record.gap((at(1001), at(2000))), Some(Duration::from_millis(1)));
        // Up to 230 ms, which is amid the longest of all.
        assert_eq!(record.gaps(), [Duration::from_millis(920)]);
        assert_eq!(Record::default().gap((at(0), at(1))), None);
    }

    #[test]
    fn a_start_counts_while_it_is_under_way() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let starts = vec![(at(0), at(9)), (at(5), at(50)), (at(60), at(200))];
        let record = Record { starts, events: Vec::new() };
        assert_eq!(record.longest((at(10), at(20))), Some(Duration::from_millis(45)));
        assert_eq!(record.longest((at(300), at(400))), None);
    }

    #[test]
    fn percentiles_are_among_the_times() {
        let times = (1..=100).map(Duration::from_millis).collect::<Vec<_>>();
        assert_eq!(percentile(&times, 99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&times, 100), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&[], 50), None);
    }
}
