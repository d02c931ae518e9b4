//! Records as they arrive: in the order of their times, not too many of them, and with what is
//! missing said.

use super::callsite::Sites;
use super::collector::{Ask, Collector, Output, output_since, rate, step};
use super::memory::{LANES, ROOM};
use super::record::{Record, label};
use super::replay::Replay;
use super::stderr;
use crate::sync::raw::atomics::{Ordering, pid_of};
use crate::sys::identity::Identity;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Bytes that are taken out of one lane at a time, so that no lane waits long for its turn.
const BATCH_BYTES: usize = 128 << 10;
/// Bytes of an event that count as one for the limit.
const BYTES_OF_ONE: usize = 4 << 10;
/// Over what time events are counted, and how often losses of one process are reported.
const PERIOD: Duration = Duration::from_secs(1);
/// Last events of a process that are kept while it is over the limit.
const TAIL: usize = 8;
/// How long the thread sleeps when no process has a lane.
const LONG: Duration = Duration::from_secs(3600);

/// What is known about a lane.
#[derive(Debug, Default)]
struct Book {
    /// Of the last record.
    process: String,
    pid: u32,
    /// Since when events are counted, and how many they are.
    since: Option<Instant>,
    count: u32,
    /// The last events over the limit, and how many were left out before them.
    tail: VecDeque<Vec<u8>>,
    left_out: u64,
    reported_at: Option<Instant>,
    /// What is in it cannot be.
    is_damaged: bool,
}

/// A record that was taken out of a lane.
#[derive(Debug)]
struct Taken {
    time: u64,
    lane: usize,
    range: Range<usize>,
}

/// Where records go, with what that needs.
#[derive(Debug)]
enum Exit {
    Nowhere,
    Lines(String),
    Subscriber(Box<Replay>),
}

/// Everything about records on this side.
#[derive(Debug)]
pub(super) struct Intake {
    books: Vec<Book>,
    bytes: Vec<u8>,
    taken: Vec<Taken>,
    exit: Exit,
    sites: Sites,
    output: u64,
    looked_for_dead: Instant,
}

impl Intake {
    pub(super) fn new() -> Self {
        Self {
            books: (0..LANES).map(|_| Book::default()).collect(),
            bytes: Vec::new(),
            taken: Vec::new(),
            exit: Exit::Nowhere,
            sites: Sites::default(),
            output: 0,
            looked_for_dead: Instant::now(),
        }
    }

    /// Takes what is there and passes it on. Returns how long there is nothing to do unless
    /// somebody logs; `None` if there may be more already.
    pub(super) fn pass(&mut self, collector: &Collector, asks: &[Ask]) -> Option<Duration> {
        if let Some((output, count)) = output_since(self.output) {
            self.output = count;
            if let Exit::Subscriber(replay) = &mut self.exit {
                replay.forget_all();
            }
            self.exit = match output {
                Output::Stderr => Exit::Lines(String::new()),
                Output::Subscriber(dispatch) => Exit::Subscriber(Box::new(Replay::new(dispatch))),
            };
        }
        for (at, _) in collector.hub.owned() {
            self.take(collector, at, None);
        }
        for ask in asks {
            self.take(collector, ask.lane, Some(ask.items));
        }
        let found = !self.taken.is_empty();
        self.pass_on();
        for (at, _) in collector.hub.owned() {
            if let Some(lane) = collector.hub.lane(at) {
                // Nobody else takes any.
                collector.passed_on[at].store(lane.ring().items_taken(), Ordering::Release);
            }
        }
        let now = Instant::now();
        for ask in asks {
            self.catch_up(collector, ask.lane, None);
            if ask.is_last {
                self.bury(collector, ask.lane);
            }
        }
        let mut owned = false;
        for (at, _) in collector.hub.owned() {
            owned = true;
            self.catch_up(collector, at, Some(now));
        }
        if now - self.looked_for_dead >= PERIOD {
            self.looked_for_dead = now;
            collector.hub.owned().for_each(|(at, _)| self.bury(collector, at));
        }
        self.flush();
        (!found).then_some(if owned { PERIOD } else { LONG })
    }

    /// Takes records out of a lane: a batch, or all up to some record.
    fn take(&mut self, collector: &Collector, at: usize, up_to: Option<u32>) {
        let Some(lane) = collector.hub.lane(at) else { return };
        if self.books[at].is_damaged {
            return;
        }
        let ring = lane.ring();
        if !ring.has_items() {
            return;
        }
        let begin = self.bytes.len();
        let mut reader = ring.reader();
        let mut left = up_to.map(|items| items.wrapping_sub(ring.items_taken()) as i32);
        let damaged = loop {
            // More than fits cannot have been there when it was asked for.
            let enough = if left.is_some() { ROOM } else { BATCH_BYTES };
            if self.bytes.len() - begin >= enough || left.is_some_and(|left| left <= 0) {
                break false;
            }
            let from = self.bytes.len();
            let item = match reader.next() {
                Ok(Some(item)) => item,
                Ok(None) => break false,
                Err(_) => break true,
            };
            if reader.copy(&item, 0, &mut self.bytes).is_err() {
                break true;
            }
            reader.skip(&item);
            left = left.map(|left| left - 1);
            let range = from..self.bytes.len();
            match label(&self.bytes[range.clone()]) {
                Some(label) => self.taken.push(Taken { time: label.time, lane: at, range }),
                None => self.books[at].left_out += 1,
            }
        };
        reader.publish();
        if damaged {
            self.books[at].is_damaged = true;
            self.books[at].left_out += 1;
        }
    }

    /// Passes on what was taken.
    fn pass_on(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        let bytes = std::mem::take(&mut self.bytes);
        // Stable: records of the same time stay as they were.
        taken.sort_by_key(|taken| taken.time);
        for Taken { lane, range, .. } in taken.drain(..) {
            self.offer(lane, &bytes[range]);
            step();
        }
        self.taken = taken;
        self.bytes = bytes;
        self.bytes.clear();
        self.bytes.shrink_to(4 * BATCH_BYTES);
    }

    fn offer(&mut self, lane: usize, bytes: &[u8]) {
        let Some(label) = label(bytes) else { return };
        let now = Instant::now();
        if self.books[lane].since.is_none_or(|since| now - since >= PERIOD) {
            self.say_tail(lane);
            self.books[lane].since = Some(now);
            self.books[lane].count = 0;
        }
        let book = &mut self.books[lane];
        if label.is_closed || book.count < rate() {
            if label.is_event {
                let cost = 1 + bytes.len() / BYTES_OF_ONE;
                book.count = book.count.saturating_add(cost as u32);
            }
            self.emit(lane, bytes);
        } else if label.is_event {
            book.tail.push_back(bytes.to_vec());
            if book.tail.len() > TAIL {
                book.tail.pop_front();
                book.left_out += 1;
            }
        }
    }

    /// Says what was left out of a lane, and passes on the last of it.
    fn say_tail(&mut self, lane: usize) {
        let left_out = std::mem::take(&mut self.books[lane].left_out);
        self.report(lane, left_out);
        for bytes in std::mem::take(&mut self.books[lane].tail) {
            self.emit(lane, &bytes);
        }
    }

    /// Says what is missing of a lane: at once, or if it is time for it.
    fn catch_up(&mut self, collector: &Collector, at: usize, now: Option<Instant>) {
        let Some(lane) = collector.hub.lane(at) else { return };
        let is_over = |since: Option<Instant>| {
            now.is_none_or(|now| since.is_none_or(|since| now - since >= PERIOD))
        };
        if is_over(self.books[at].since) {
            self.say_tail(at);
        }
        if self.books[at].pid == 0 {
            // It has lost events before it had any.
            self.books[at].pid = pid_of(collector.hub.state.owners[at].load(Ordering::Relaxed));
        }
        let lost = lane.state.lost.load(Ordering::SeqCst);
        let reported = collector.reported[at].load(Ordering::Relaxed);
        if lost != reported && is_over(self.books[at].reported_at) {
            self.books[at].reported_at = Some(now.unwrap_or_else(Instant::now));
            self.report(at, lost.wrapping_sub(reported));
            collector.reported[at].store(lost, Ordering::Release);
        }
    }

    /// Frees the lane of a process that has ended, once it is empty.
    fn bury(&mut self, collector: &Collector, at: usize) {
        let Some(lane) = collector.hub.lane(at) else { return };
        let owner = &collector.hub.state.owners[at];
        let who = owner.load(Ordering::Acquire);
        let is_dead = who != 0 && Identity::from_bits(who).is_none_or(Identity::is_dead);
        if !is_dead || (lane.ring().has_items() && !self.books[at].is_damaged) {
            return;
        }
        self.catch_up(collector, at, None);
        if let Exit::Subscriber(replay) = &mut self.exit {
            replay.forget(self.books[at].pid);
        }
        if !self.books[at].is_damaged {
            self.books[at] = Book::default();
            owner.store(0, Ordering::Release);
        }
    }

    fn emit(&mut self, lane: usize, bytes: &[u8]) {
        let Some(record) = Record::read(bytes) else {
            self.books[lane].left_out += 1;
            return;
        };
        let book = &mut self.books[lane];
        book.pid = record.pid;
        if book.process != record.process {
            book.process = record.process.clone().into_owned();
        }
        match &mut self.exit {
            Exit::Nowhere => {}
            Exit::Lines(lines) => stderr::event(&record, lines),
            // A subscriber that panics has said so; the next event is another one.
            Exit::Subscriber(replay) => {
                let play = || replay.play(&record, &mut self.sites);
                let _ = catch_unwind(AssertUnwindSafe(play));
            }
        }
    }

    fn report(&mut self, lane: usize, lost: u64) {
        let book = &self.books[lane];
        if lost == 0 {
            return;
        }
        match &mut self.exit {
            Exit::Nowhere => {}
            Exit::Lines(lines) => stderr::report(&book.process, book.pid, lost, lines),
            Exit::Subscriber(replay) => {
                let report = || replay.report(&book.process, book.pid, lost);
                let _ = catch_unwind(AssertUnwindSafe(report));
            }
        }
    }

    fn flush(&mut self) {
        if let Exit::Lines(lines) = &mut self.exit {
            stderr::write(lines);
            lines.clear();
            lines.shrink_to(4 * BATCH_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::memory::Hub;
    use crate::logging::sender::Sender;
    use crate::parcel::Parcel;

    fn collector() -> (Collector, Sender) {
        let hub = Hub::new().expect("memory");
        let sender = Sender::new(hub.clone(), Parcel::default());
        (Collector::new(hub, Parcel::default()), sender)
    }

    /// A generator of numbers (xorshift).
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn what_is_sent_is_taken() {
        let (collector, sender) = collector();
        let mut intake = Intake::new();
        assert_eq!(intake.pass(&collector, &[]), Some(LONG));
        for number in 0u8..10 {
            assert!(sender.send(&[1, 3, 0, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0], false));
        }
        let (lane, _) = collector.hub.owned().next().expect("a lane of this process");
        assert_eq!(intake.pass(&collector, &[]), None);
        assert_eq!(collector.passed_on[lane].load(Ordering::Relaxed), 10);
        // This process lives: its lane stays its own.
        intake.bury(&collector, lane);
        assert_eq!(collector.hub.owned().count(), 1);
    }

    #[test]
    fn a_full_lane_still_takes_an_error() {
        let (collector, sender) = collector();
        let record = [1; 1000];
        let sent = (0..10_000).take_while(|_| sender.send(&record, false)).count();
        assert!((900..1100).contains(&sent), "{sent}");
        assert!(!sender.send(&record, false) && sender.send(&record, true));
        let mut intake = Intake::new();
        let (lane, _) = collector.hub.owned().next().expect("a lane of this process");
        let ask = Ask { lane, items: sent as u32 + 1, is_last: false };
        intake.pass(&collector, &[ask]);
        assert_eq!(collector.passed_on[lane].load(Ordering::Relaxed), sent as u32 + 1);
        assert!(sender.send(&record, false));
    }

    #[test]
    fn memory_that_was_scribbled_over_is_survived() {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for round in 0..60 {
            let (collector, sender) = collector();
            let mut intake = Intake::new();
            for step in 0..40 {
                sender.send(&[(step % 4) as u8; 200], step > 30);
                let (lane, _) = collector.hub.owned().next().expect("a lane of this process");
                if step > 20 {
                    // Mostly where the ring says where its ends are.
                    let at = next(&mut state) as usize % if round > 30 { 256 } else { 1 << 20 };
                    collector.hub.scribble(lane, at, &next(&mut state).to_le_bytes());
                }
                let items = next(&mut state) as u32;
                let asks = [Ask { lane, items, is_last: items.is_multiple_of(2) }];
                intake.pass(&collector, &asks[..(items % 3).min(1) as usize]);
            }
        }
    }

    #[test]
    fn lanes_of_strangers_are_freed() {
        let (collector, _) = collector();
        collector.hub.state.owners[5].store(u64::MAX, Ordering::Relaxed);
        collector.hub.state.owners[6].store(1 << 31, Ordering::Relaxed);
        let mut intake = Intake::new();
        let ask = |lane| Ask { lane, items: 0, is_last: true };
        intake.pass(&collector, &[ask(5), ask(6), ask(LANES), ask(7)]);
        assert_eq!(collector.hub.owned().count(), 0);
    }
}
