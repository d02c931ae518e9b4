//! The thread that takes what others log, and those who wait for it.
//!
//! There is one thread in a process that collects, from its first worker on. It sleeps while
//! nobody logs. While it works it may hold any lock of the program's subscriber; so a fork first
//! waits until it does not ([`hush`]), and the fork's copy of this module has no thread.

use super::intake::Intake;
use super::memory::{Hub, LANES};
use super::switch::Switch;
use super::{TARGET, level, sink, travel};
use crate::parcel::Parcel;
use crate::sync::raw::atomics::{Ordering, pid_of};
use crate::sys::identity::Identity;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, dispatcher};

/// Events that one process may log in a second before some are left out.
pub const RATE_LIMIT: u32 = 10_000;
static RATE: AtomicU32 = AtomicU32::new(RATE_LIMIT);

/// The news of a process's result or end, a fork, and the end of this process wait for the thread.
/// When it has passed on nothing for so long, a subscriber or a standard error hangs, and they do
/// not wait any longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Nor do they when it takes so long in all.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(10);
/// How often they look whether it gets on.
const LOOK: Duration = Duration::from_millis(100);
/// How long the thread looks the other way after it has worked: so often it is woken at most.
const LINGER: Duration = Duration::from_millis(1);

/// Where records go.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// To standard error, as lines.
    Stderr,
    /// To this subscriber; without one to the global one.
    Subscriber(Option<Dispatch>),
}

impl Output {
    /// The subscriber of this thread.
    pub(super) fn of_now() -> Self {
        Self::Subscriber(dispatcher::get_default(|now| {
            (!now.is::<NoSubscriber>()).then(|| now.clone())
        }))
    }
}

/// Where records go, and how often that was changed.
static OUTPUT: Mutex<(Option<Output>, u64)> = Mutex::new((None, 0));
static COLLECTOR: Switch<Collector> = Switch::new();
/// How many records the thread of this process has passed on.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// Said by the thread for each record: it does not hang.
pub(super) fn step() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

/// Limits how many events of one process reach the subscriber or standard error in a second;
/// 0 is no limit, [`RATE_LIMIT`] is the default. An event of several KiB counts as several. Those
/// that are left out are counted; the last few before the process ends are never left out.
pub fn set_rate_limit(events: u32) {
    RATE.store(events, Ordering::Relaxed);
}

/// The limit.
pub(super) fn rate() -> u32 {
    match RATE.load(Ordering::Relaxed) {
        0 => u32::MAX,
        rate => rate,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This process collects from now on.
pub(super) fn collect(output: Output) {
    let mut now = lock(&OUTPUT);
    if let Some(collector) = own() {
        collector.wants(&output);
    }
    *now = (Some(output), now.1 + 1);
}

/// This process does not, in spite of what it was copied from.
pub(super) fn forget() {
    // A thread that the fork does not have may have held it: then nobody asks any more.
    if let Ok(mut now) = OUTPUT.try_lock() {
        now.0 = None;
    }
}

/// Where records go, if that is another place than at that count.
pub(super) fn output_since(count: u64) -> Option<(Output, u64)> {
    let now = lock(&OUTPUT);
    if now.1 == count { None } else { Some((now.0.clone()?, now.1)) }
}

/// The collector of this process.
fn own() -> Option<&'static Collector> {
    COLLECTOR.get().filter(|collector| collector.maker == Identity::own().0)
}

/// What names the memory for a process that is about to be started; `None` if this one does not
/// collect, or cannot.
pub(super) fn parcel() -> Option<Parcel> {
    let now = lock(&OUTPUT);
    let output = now.0.as_ref()?;
    let collector = match own() {
        Some(collector) => collector,
        None => Collector::start(output)?,
    };
    collector.is_up.load(Ordering::Acquire).then(|| collector.parcel.clone())
}

/// Tells running workers the level.
pub(super) fn level_changed() {
    if let Some(collector) = own() {
        collector.tell_level();
    }
}

/// Threads of this process that belong to the log.
pub(crate) fn threads() -> usize {
    usize::from(own().is_some_and(|collector| collector.is_up.load(Ordering::Acquire)))
}

/// Waits until what this process has logged so far is where it belongs, but not for long.
pub(crate) fn settle(pid: u32) {
    if let Some(collector) = own() {
        collector.wait_for(|owner| pid_of(owner) == pid, false);
    }
}

/// The same for a process that has ended.
pub(crate) fn ended(pid: u32) {
    if let Some(collector) = own() {
        collector.wait_for(|owner| pid_of(owner) == pid, true);
    }
}

/// The same for all, when this process ends.
pub(crate) fn close() {
    if let Some(collector) = own() {
        collector.wait_for(|_| true, false);
    }
}

/// While this lives the thread does nothing, unless it hangs, and nobody starts a collector.
#[derive(Debug)]
pub(crate) struct Hush {
    _control: Option<MutexGuard<'static, Control>>,
    _output: MutexGuard<'static, (Option<Output>, u64)>,
    is_silent: bool,
}

impl Hush {
    /// Whether it does not hang.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }
}

/// Waits until the thread does nothing, and takes all locks of this module, so that a fork has none
/// that another thread holds.
pub(crate) fn hush() -> Hush {
    let waited = own().map(|collector| {
        let control = lock(&collector.control);
        collector.wait_while(control, |control| control.is_busy)
    });
    let is_silent = waited.as_ref().is_none_or(|control| !control.is_busy);
    Hush { _control: waited, _output: lock(&OUTPUT), is_silent }
}

/// A lane that somebody waits for, up to some record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) lane: usize,
    /// How many records were ever in it.
    pub(super) items: u32,
    /// Whether its process has ended.
    pub(super) is_last: bool,
}

/// What the thread and those who wait tell each other.
#[derive(Debug, Default)]
pub(crate) struct Control {
    is_busy: bool,
    asks: Vec<Ask>,
    asked: u64,
    answered: u64,
    /// What was asked last when somebody gave up: until that is answered nobody waits.
    given_up: u64,
}

/// All there is of it.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) hub: Hub,
    parcel: Parcel,
    maker: u64,
    is_up: AtomicBool,
    thread: OnceLock<ThreadId>,
    control: Mutex<Control>,
    /// Somebody asks.
    asking: Condvar,
    /// The thread has answered, or does nothing.
    idle: Condvar,
    /// Records of each lane that are where they belong; counted as the ring counts.
    pub(super) passed_on: [AtomicU32; LANES],
    /// Losses of each lane that were reported.
    pub(super) reported: [AtomicU64; LANES],
}

impl Collector {
    pub(super) fn new(hub: Hub, parcel: Parcel) -> Self {
        Self {
            hub,
            parcel,
            maker: Identity::own().0,
            is_up: AtomicBool::new(false),
            thread: OnceLock::new(),
            // Busy until it says otherwise, so that no fork has a thread that is only beginning.
            control: Mutex::new(Control { is_busy: true, ..Control::default() }),
            asking: Condvar::new(),
            idle: Condvar::new(),
            passed_on: [const { AtomicU32::new(0) }; LANES],
            reported: [const { AtomicU64::new(0) }; LANES],
        }
    }

    fn start(output: &Output) -> Option<&'static Self> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::warn!(target: TARGET, "what workers log is lost: {error}");
        };
        let hub = Hub::new().map_err(|error| failed(&error)).ok()?;
        let parcel = travel::pack(&hub)?;
        COLLECTOR.set(Self::new(hub, parcel)).ok()?;
        let collector = own()?;
        collector.wants(output);
        collector.tell_level();
        let thread = std::thread::Builder::new().name("mp-log".to_owned());
        let started = thread.spawn(move || collector.run());
        match started {
            Ok(_) => collector.is_up.store(true, Ordering::Release),
            Err(error) => {
                lock(&collector.control).is_busy = false;
                failed(&error);
            }
        }
        Some(collector)
    }

    fn wants(&self, output: &Output) {
        let spans = matches!(output, Output::Subscriber(_));
        self.hub.state.spans.store(spans.into(), Ordering::Relaxed);
    }

    fn tell_level(&self) {
        let number = sink::level().map_or(5, level::number);
        self.hub.state.level.store(number.into(), Ordering::Relaxed);
    }

    fn run(&self) {
        // Signals are for the threads of the program.
        let _ = nix::sys::signal::SigSet::all().thread_block();
        let _ = self.thread.set(std::thread::current().id());
        let mut intake = Intake::new();
        loop {
            let (asks, asked) = self.begin();
            let nap = intake.pass(self, &asks);
            self.end(asked);
            match nap {
                Some(nap) => self.sleep(nap),
                None => self.linger(),
            }
        }
    }

    fn begin(&self) -> (Vec<Ask>, u64) {
        let mut control = lock(&self.control);
        control.is_busy = true;
        (std::mem::take(&mut control.asks), control.asked)
    }

    fn end(&self, asked: u64) {
        let mut control = lock(&self.control);
        control.is_busy = false;
        control.answered = asked;
        self.idle.notify_all();
    }

    fn linger(&self) {
        let control = lock(&self.control);
        let nobody = |control: &mut Control| control.asks.is_empty();
        // However it ended, the next look tells.
        drop(self.asking.wait_timeout_while(control, LINGER, nobody));
    }

    fn sleep(&self, nap: Duration) {
        let heard = self.hub.state.bell.listen();
        let mut lanes = self.hub.owned().filter_map(|(at, _)| self.hub.lane(at));
        if lanes.any(|lane| lane.ring().has_items()) || !lock(&self.control).asks.is_empty() {
            return;
        }
        // However it ended, the next look tells.
        let _ = self.hub.state.bell.sleep(heard, nap);
    }

    /// What somebody would wait for in these lanes. When all are taken, others may share any.
    fn asks(&self, whose: impl Fn(u64) -> bool, is_last: bool) -> Vec<Ask> {
        let owned = self.hub.owned().collect::<Vec<_>>();
        let shared = owned.len() == LANES;
        let wanted = owned.into_iter().filter(|(_, owner)| shared || whose(*owner));
        wanted
            .filter_map(|(at, _)| {
                let lane = self.hub.lane(at)?;
                let items = lane.ring().items_ever();
                let news = items != self.passed_on[at].load(Ordering::Acquire)
                    || lane.state.lost.load(Ordering::SeqCst)
                        != self.reported[at].load(Ordering::Acquire);
                (news || is_last).then_some(Ask { lane: at, items, is_last })
            })
            .collect()
    }

    fn wait_for(&self, whose: impl Fn(u64) -> bool, is_last: bool) {
        let asks = self.asks(whose, is_last);
        let is_itself = self.thread.get() == Some(&std::thread::current().id());
        if asks.is_empty() || is_itself || !self.is_up.load(Ordering::Acquire) {
            return;
        }
        let mut control = lock(&self.control);
        if control.answered < control.given_up {
            return;
        }
        control.asks.extend(asks);
        control.asked += 1;
        let ticket = control.asked;
        self.asking.notify_all();
        // Whoever rang last may have died before it woke anybody, so this wakes in any case.
        self.hub.state.bell.pass_on();
        self.hub.state.bell.ring(1);
        let mut control = self.wait_while(control, |control| control.answered < ticket);
        if control.answered < ticket {
            control.given_up = ticket;
        }
    }

    /// Waits for the thread as long as it gets on.
    fn wait_while<'a>(
        &self,
        mut control: MutexGuard<'a, Control>,
        what: impl Fn(&Control) -> bool,
    ) -> MutexGuard<'a, Control> {
        let begun = Instant::now();
        let (mut steps, mut since) = (STEPS.load(Ordering::Relaxed), begun);
        while what(&control) && since.elapsed() < PATIENCE && begun.elapsed() < PATIENCE_IN_ALL {
            let waited = self.idle.wait_timeout(control, LOOK);
            control = waited.unwrap_or_else(PoisonError::into_inner).0;
            let now = STEPS.load(Ordering::Relaxed);
            if now != steps {
                (steps, since) = (now, Instant::now());
            }
        }
        control
    }
}
