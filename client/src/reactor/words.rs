//! Who waits for which word of shared memory, and the thread that sleeps on them.
//!
//! Those who wait for one word are a group, in the order in which they came; the thread sleeps in
//! their place, as any other sleeper of any process. A wake-up, or a change of the word that is
//! seen without one, ends the wait of the first, or of all where one wake-up is for all. Who is
//! woken is bound to pass it on, as the algorithms have it: by taking what is there and leaving
//! the flags set, or, if its future is dropped before it could look, by [`Words::leave`].
//!
//! **No wake-up is lost.** Whoever is to sleep has announced that in the word and gives the word as
//! it was then. It is compared before it goes into the table, by this thread each time round, and
//! by the kernel before it sleeps. A wake-up that comes while the thread is not asleep finds
//! nobody, but there is none without a change of the word before it, and that is seen. The kernel
//! tells one of several words by which it was woken: of the others the change is seen as well.
//! Words that do not count wake-ups could change back: so those who stay when one was woken are
//! announced anew, and a word that says so and is as before has somebody who owes them the next
//! wake-up. What remains are the naps of the algorithms:
//! however it comes about, somebody of each group looks again after 50 ms.
//!
//! One call sleeps on 128 words. If there are more, the thread takes them in turn, a millisecond
//! each, and compares all of them in between. Where the system has no such call, it sleeps in naps
//! and compares.

use super::entry::{Entry, call};
use super::sleep::{Whom, Word};
use super::{IDLE, Reactor, lock, thread};
use crate::sync::raw::lock::{NAP_LONGEST, NAP_SHORTEST};
use crate::sys::futex::{self, WORDS_MAX, Woken, WokenAmong};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// How long the thread sleeps on some words if there are more.
const TURN: Duration = Duration::from_millis(1);
/// Words of one turn; the first of a call is the thread's own.
const TURN_WORDS: usize = WORDS_MAX - 1;

/// Those who wait for one word.
struct Group {
    word: Arc<dyn Word>,
    expected: u32,
    whom: Whom,
    /// When one of them is to look, whatever happens; `None` if the word says it all.
    look_at: Option<Instant>,
    members: BTreeMap<u64, Arc<Entry>>,
}

#[derive(Default)]
struct Table {
    /// By the address of the word.
    groups: BTreeMap<usize, Group>,
    tickets: u64,
    has_thread: bool,
    /// The thread sleeps, or is about to.
    asleep: bool,
}

/// Who waits for which word.
#[derive(Default)]
pub(super) struct Words {
    table: Mutex<Table>,
    /// Changes when the thread should look at the table.
    news: AtomicU32,
    /// Held by the thread whenever it does not sleep.
    pub(super) gate: Mutex<()>,
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({})", lock(&self.table).groups.len())
    }
}

/// One wait for a word.
pub(super) struct Want<'a> {
    pub(super) word: &'a Arc<dyn Word>,
    pub(super) expected: u32,
    pub(super) nap: Duration,
    pub(super) whom: Whom,
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word).addr()
}

impl Group {
    /// Ends the wait of the first, or of all.
    fn fire(&mut self, wakers: &mut Vec<Waker>) {
        match self.whom {
            Whom::One => self.end_first(Woken::Perhaps, wakers),
            Whom::All => self.end_all(wakers),
        }
    }

    fn end_first(&mut self, woken: Woken, wakers: &mut Vec<Waker>) {
        let first = self.members.pop_first();
        wakers.extend(first.and_then(|(_, entry)| entry.end(woken)));
    }

    fn end_all(&mut self, wakers: &mut Vec<Waker>) {
        let all = std::mem::take(&mut self.members).into_values();
        wakers.extend(all.filter_map(|entry| entry.end(Woken::Perhaps)));
    }

    /// Fires if the word has changed; tells whether it has.
    fn compare(&mut self, wakers: &mut Vec<Waker>) -> bool {
        let now = self.word.word().load(Ordering::Acquire);
        let changed = now != self.expected;
        if changed {
            self.fire(wakers);
            let stay = !self.members.is_empty();
            self.expected = stay.then(|| self.word.announce()).flatten().unwrap_or(now);
        }
        changed
    }
}

impl Reactor {
    /// Registers a wait; its ticket, or `None` if there is nothing to wait for: the word has
    /// changed. An older ticket keeps its place.
    pub(super) fn want(
        &'static self,
        want: &Want<'_>,
        ticket: Option<u64>,
        cx: &Context<'_>,
    ) -> Result<Option<(u64, Arc<Entry>)>, NoThread> {
        let words = &self.words;
        let mut wakers = Vec::new();
        let mut table = lock(&words.table);
        // The kernel compares once more before the thread sleeps.
        if want.word.word().load(Ordering::Acquire) != want.expected {
            return Ok(None);
        }
        if !table.has_thread {
            table.has_thread = thread::start(self, "mp-words", run);
            if !table.has_thread {
                return Err(NoThread);
            }
        }
        let at = address(want.word.word());
        let is_free =
            |ticket: &u64| table.groups.get(&at).is_none_or(|g| !g.members.contains_key(ticket));
        let ticket = ticket.filter(is_free).unwrap_or(table.tickets);
        table.tickets = table.tickets.max(ticket + 1);
        let entry = Arc::new(Entry::new(cx));
        let mut is_new = false;
        let group = table.groups.entry(at).or_insert_with(|| {
            is_new = true;
            Group {
                word: want.word.clone(),
                expected: want.expected,
                whom: want.whom,
                look_at: Instant::now().checked_add(want.nap),
                members: BTreeMap::new(),
            }
        });
        // The others are owed that it has changed.
        let changed = group.expected != want.expected;
        if changed {
            group.expected = want.expected;
            group.fire(&mut wakers);
        }
        group.members.insert(ticket, entry.clone());
        if is_new || changed {
            words.tell(&table);
        }
        drop(table);
        call(wakers);
        Ok(Some((ticket, entry)))
    }
}

/// No thread could be started.
#[derive(Debug)]
pub(super) struct NoThread;

impl Words {
    /// Makes the thread look at the table.
    fn tell(&self, table: &Table) {
        self.news.fetch_add(1, Ordering::Relaxed);
        if table.asleep {
            futex::wake(&self.news, 1);
        }
    }

    /// Ends a wait whose future is dropped. If it was woken and nobody has looked, it hands that
    /// on: to the next of the group, or to whoever else sleeps on the word.
    pub(super) fn leave(&self, word: &Arc<dyn Word>, ticket: u64, entry: &Entry, whom: Whom) {
        let mut wakers = Vec::new();
        let mut table = lock(&self.table);
        let at = address(word.word());
        let owes = whom == Whom::One && entry.woken() == Some(Woken::Perhaps);
        let mut others = false;
        if let Some(group) = table.groups.get_mut(&at) {
            let known = group.members.get(&ticket);
            if known.is_some_and(|known| std::ptr::eq(&raw const **known, entry)) {
                group.members.remove(&ticket);
            }
            others = !group.members.is_empty();
            if owes {
                group.end_first(Woken::Perhaps, &mut wakers);
            }
            if group.members.is_empty() {
                table.groups.remove(&at);
            }
        }
        drop(table);
        call(wakers);
        if owes && !others {
            futex::wake(word.word(), 1);
        }
    }

    /// Ends the waits of all who wait for a word.
    pub(super) fn stir(&self, word: &AtomicU32) {
        let mut wakers = Vec::new();
        if let Some(mut group) = lock(&self.table).groups.remove(&address(word)) {
            group.end_all(&mut wakers);
        }
        call(wakers);
    }
}

/// What the thread sleeps on next.
struct Plan {
    words: Vec<(Arc<dyn Word>, u32)>,
    news: u32,
    time: Duration,
}

impl Table {
    /// What has happened to the words that the thread slept on.
    fn settle(&mut self, slept: &Plan, at: Option<usize>, wakers: &mut Vec<Waker>) {
        for (place, (word, expected)) in slept.words.iter().enumerate() {
            let word = word.word();
            let woken = at == Some(place);
            if let Some(group) = self.groups.get_mut(&address(word)) {
                // Other changes are found when all words are looked at.
                if woken && !group.compare(wakers) {
                    group.fire(wakers);
                }
            } else if woken || word.load(Ordering::Acquire) != *expected {
                // All who waited here were dropped: the wake-up is for somebody else.
                futex::wake(word, 1);
            }
        }
    }

    /// Ends the waits that are over, or whose nap is.
    fn look(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        self.groups.retain(|_, group| {
            if !group.compare(wakers) && group.look_at.is_some_and(|look_at| now >= look_at) {
                group.look_at = Some(now + NAP_LONGEST);
                // One looks for all.
                group.end_first(Woken::TimedOut, wakers);
            }
            !group.members.is_empty()
        });
    }

    /// What to sleep on, and for how long.
    fn plan(&self, turn: &mut usize, news: u32) -> Plan {
        let turns = self.groups.len().div_ceil(TURN_WORDS).max(1);
        *turn = (*turn + 1) % turns;
        let chosen = self.groups.values().skip(*turn * TURN_WORDS).take(TURN_WORDS);
        let words = chosen.map(|group| (group.word.clone(), group.expected)).collect();
        let next = self.groups.values().filter_map(|group| group.look_at).min();
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        let longest = match self.groups.len() {
            0 => IDLE,
            // Words are compared so often, whatever becomes of who should have woken them.
            1..=TURN_WORDS => NAP_LONGEST,
            _ => TURN,
        };
        Plan { words, news, time: left.unwrap_or(longest).min(longest) }
    }
}

/// The thread.
fn run(reactor: &'static Reactor) {
    let words = &reactor.words;
    let (mut turn, mut nap) = (0, NAP_SHORTEST);
    let mut slept: Option<(Plan, WokenAmong)> = None;
    let mut idle_since = Instant::now();
    loop {
        let gate = lock(&words.gate);
        let mut wakers = Vec::new();
        let mut table = lock(&words.table);
        table.asleep = false;
        if let Some((plan, woken)) = slept.take() {
            let at = if let WokenAmong::At(place) = woken { place.checked_sub(1) } else { None };
            table.settle(&plan, at, &mut wakers);
        }
        let now = Instant::now();
        table.look(now, &mut wakers);
        if !table.groups.is_empty() || !wakers.is_empty() {
            idle_since = now;
        } else if now.duration_since(idle_since) >= IDLE {
            table.has_thread = false;
            return;
        }
        let plan = table.plan(&mut turn, words.news.load(Ordering::Relaxed));
        table.asleep = true;
        drop(table);
        if !wakers.is_empty() {
            nap = NAP_SHORTEST;
        }
        call(wakers);
        drop(gate);
        let woken = plan.sleep(&words.news, &mut nap);
        slept = Some((plan, woken));
    }
}

impl Plan {
    fn sleep(&self, own: &AtomicU32, nap: &mut Duration) -> WokenAmong {
        let own = (own, self.news);
        let others = self.words.iter().map(|(word, expected)| (word.word(), *expected));
        let all = std::iter::once(own).chain(others).collect::<Vec<_>>();
        let woken = futex::wait_among(&all, self.time);
        if woken == WokenAmong::Unsupported {
            if futex::wait(own.0, own.1, self.time.min(*nap)) != Woken::TimedOut {
                *nap = NAP_SHORTEST;
            } else {
                *nap = (*nap * 2).min(NAP_LONGEST);
            }
        }
        woken
    }
}
