//! The engine under `map` and `run`: inputs in, workers between, results out.
//!
//! One loop over `poll`. It waits for the input, for starts, for results, for the ends of workers,
//! for room in the output and for the user's signal, all at once; it never blocks on one of them.

use super::crew::{self, Running};
use super::failure::{self, Failure, Trouble, Verdict};
use super::plan::{Done, End, Item, Plan, Progress, Sink, Summary};
use super::source::Source;
use super::starter::Starter;
use super::stop::Stop;
use super::window::Window;
use crate::ctl::error::CtlError;
use mp::{Process, StartError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Inputs under way for each worker, results that wait for their turn included.
const WINDOW_PER_JOB: usize = 16;
/// Inputs under way in any case.
const WINDOW_MIN: usize = 256;
/// Workers that have given their result and tear down, beside those that run.
const LEAVING_MAX: usize = 16;
/// How long those are waited for in the end.
const LEAVE: Duration = Duration::from_secs(5);
/// How long a start that is under way is waited for when all stops.
const HALT: Duration = Duration::from_millis(300);
/// How long a reader that does not read is waited for when all stops.
const UNREAD: Duration = Duration::from_secs(1);
/// First and longest delay of a retry and of a start after a refused one.
const DELAY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

struct Engine<'a> {
    plan: &'a Plan,
    source: &'a mut Source,
    sink: &'a mut dyn Sink,
    stop: &'a Stop,
    starter: Starter,
    window: Window<Done>,
    /// Inputs given to the starter.
    starting: usize,
    running: Vec<Running>,
    leaving: Vec<Process<Value>>,
    /// Inputs to be tried again, and when.
    waiting: Vec<(Instant, Arc<Item>)>,
    /// No start before; since when starts are refused, and how often they were.
    hold: Option<(Instant, Instant, u32)>,
    ever_started: bool,
    broken: Option<CtlError>,
    done: u64,
    failed: u64,
}

/// What `poll` found.
struct Ready {
    stopped: bool,
    source: bool,
    unread: bool,
    running: Vec<bool>,
}

/// Runs the task for every input.
///
/// When it returns, no worker is left but such as the kernel cannot kill, whatever ended it.
///
/// # Errors
/// If it could not begin. What happens later is the [`Summary::end`].
pub fn run(
    plan: &Plan,
    source: &mut Source,
    sink: &mut dyn Sink,
    stop: &Stop,
) -> Result<Summary, CtlError> {
    let capacity = plan.jobs.saturating_mul(WINDOW_PER_JOB).max(WINDOW_MIN);
    let mut engine = Engine {
        plan,
        source,
        sink,
        stop,
        starter: Starter::begin(plan)?,
        window: Window::new(capacity, plan.ordered),
        starting: 0,
        running: Vec::new(),
        leaving: Vec::new(),
        waiting: Vec::new(),
        hold: None,
        ever_started: false,
        broken: None,
        done: 0,
        failed: 0,
    };
    let end = engine.serve();
    Ok(engine.finish(end))
}

impl Engine<'_> {
    fn serve(&mut self) -> End {
        loop {
            self.admit(Instant::now());
            self.give_out();
            let tick = self.sink.show(self.progress());
            if self.is_over() {
                return self.broken.take().map_or(End::Done, End::Broken);
            }
            let ready = self.wait(tick);
            if ready.stopped {
                return End::Stopped(self.stop.signal().unwrap_or(libc::SIGTERM));
            }
            if ready.unread {
                return End::Unread;
            }
            if ready.source
                && let Err(error) = self.source.read()
            {
                self.break_off(CtlError::system(format!("cannot read the input: {error}")));
            }
            self.take_started();
            self.collect(&ready.running);
            self.leaving.retain(|process| process.is_alive());
            match self.sink.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                    return End::Unread;
                }
                Err(error) => {
                    return End::Broken(CtlError::system(format!("cannot write: {error}")));
                }
            }
        }
    }

    fn progress(&self) -> Progress {
        let (total, running) = (self.source.total(), self.running.len() + self.starting);
        Progress { total, done: self.done, failed: self.failed, running }
    }

    fn is_over(&self) -> bool {
        let idle = self.running.is_empty() && self.starting == 0;
        let through = self.window.is_empty() && self.source.is_done();
        let written = self.sink.watch().is_none_or(|(_, flags)| flags.is_empty());
        idle && written && (through || self.broken.is_some())
    }

    /// Starts nothing more; what runs may end.
    fn break_off(&mut self, error: CtlError) {
        self.broken.get_or_insert(error);
    }

    fn has_room(&self) -> bool {
        self.broken.is_none()
            && self.running.len() + self.starting < self.plan.jobs
            && self.leaving.len() < self.plan.jobs.clamp(1, LEAVING_MAX)
            && !self.sink.is_full()
    }

    /// Orders starts for inputs that are there, as many as there is room for.
    fn admit(&mut self, now: Instant) {
        while self.has_room() && self.hold.is_none_or(|(until, ..)| now >= until) {
            let due = self.waiting.iter().position(|(at, _)| *at <= now);
            let item = match due {
                Some(at) => self.waiting.swap_remove(at).1,
                None => match self.take_input() {
                    Some(item) => item,
                    None => return,
                },
            };
            self.starting += 1;
            self.starter.order(item);
        }
    }

    /// The next input that means something.
    fn take_input(&mut self) -> Option<Arc<Item>> {
        loop {
            if self.window.is_full() {
                return None;
            }
            let input = self.source.next()?;
            let index = self.window.take()?;
            let (arguments, wrong) = match input.arguments {
                Ok(arguments) => (arguments, None),
                Err(why) => (Vec::new(), Some(Failure::rejected(why))),
            };
            let item = Arc::new(Item { index, text: input.text, arguments, attempt: 1 });
            match wrong {
                None => return Some(item),
                Some(failure) => self.conclude(item, Err(failure), Duration::ZERO, None),
            }
        }
    }

    fn conclude(
        &mut self,
        item: Arc<Item>,
        result: Result<Value, Failure>,
        took: Duration,
        pid: Option<u32>,
    ) {
        self.window.put(item.index, Done { item, result, took, pid });
    }

    fn give_out(&mut self) {
        while let Some(done) = self.window.pop() {
            self.give(done);
        }
    }

    fn give(&mut self, done: Done) {
        self.done += 1;
        self.failed += u64::from(done.result.is_err());
        self.sink.done(done);
    }

    /// When to look again though nothing happens.
    fn next_look(&self, tick: Option<Duration>) -> Option<Instant> {
        let now = Instant::now();
        let tick = tick.map(|tick| now + tick);
        let looks = self.running.iter().filter_map(|running| running.next_look(now));
        let retries = self.waiting.iter().map(|(at, _)| *at);
        let hold = self.hold.map(|(until, ..)| until).filter(|until| *until > now);
        let starts = retries.chain(hold).filter(|_| self.has_room());
        tick.into_iter().chain(looks).chain(starts).min()
    }

    fn wait(&self, tick: Option<Duration>) -> Ready {
        let input = self.source.fd().filter(|_| self.has_room() && !self.window.is_full());
        let output = self.sink.watch();
        let asked = self.running.iter().map(Running::fd).collect::<Vec<_>>();
        let for_reading = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut sources = vec![for_reading(self.stop.fd()), for_reading(self.starter.fd())];
        sources.extend(input.map(for_reading));
        sources.extend(output.map(|(fd, flags)| PollFd::new(fd, flags)));
        let results = sources.len();
        sources.extend(asked.iter().flatten().map(|fd| for_reading(*fd)));
        sources.extend(self.leaving.iter().map(|process| for_reading(process.sentinel())));
        let timeout = self.next_look(tick).map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now());
            // Rounded up: poll counts in milliseconds and must not wake before the time.
            let left = if left.is_zero() { left } else { left + Duration::from_micros(999) };
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        // An interruption by a signal is like a timeout: all is looked at again.
        let found = poll(&mut sources, timeout).unwrap_or(0) > 0;
        let any = |source: &PollFd<'_>| found && source.any().unwrap_or(false);
        let hung_up = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        let unread = output.is_some()
            && found
            && sources[results - 1].revents().is_some_and(|events| events.intersects(hung_up));
        let mut answers = sources[results..].iter().map(any);
        let running = asked.iter().map(|fd| fd.is_none() || answers.next().unwrap_or(false));
        Ready {
            stopped: any(&sources[0]),
            source: input.is_some() && any(&sources[2]),
            unread,
            running: running.collect(),
        }
    }

    fn take_started(&mut self) {
        for (item, started) in self.starter.started() {
            self.starting -= 1;
            match started {
                Ok(process) => {
                    self.ever_started = true;
                    self.hold = None;
                    self.running.push(Running::new(item, process, self.plan.timeout));
                }
                Err(error) => self.refused(item, error),
            }
        }
    }

    /// A start was refused: now, or for good?
    fn refused(&mut self, item: Arc<Item>, error: StartError) {
        let trouble = failure::trouble(&error);
        let now = Instant::now();
        let (since, times) = self.hold.map_or((now, 0), |(_, since, times)| (since, times));
        let patience = match trouble {
            Trouble::Input => {
                let failure = Failure::rejected(error.to_string());
                return self.conclude(item, Err(failure), Duration::ZERO, None);
            }
            // Nobody expects a daemon that was never there.
            Trouble::Away if !self.ever_started => Duration::ZERO,
            Trouble::Away | Trouble::Busy => self.plan.patience,
            Trouble::Lasting => Duration::ZERO,
        };
        if trouble == Trouble::Busy
            && patience.is_zero()
            && let (Some(limit), true) = (self.plan.timeout, self.plan.start_timeout.is_some())
        {
            let mut failure = Failure::timeout(limit);
            failure.message = format!("no worker within {limit:?}: {error}");
            return self.conclude(item, Err(failure), limit, None);
        }
        if now.duration_since(since) >= patience {
            return self.break_off(error.into());
        }
        let until = now + delay(times);
        self.hold = Some((until, since, times.saturating_add(1)));
        self.waiting.push((until, item));
    }

    /// Takes results from workers that have one.
    fn collect(&mut self, ready: &[bool]) {
        let now = Instant::now();
        // From the back: removing one moves only such as were looked at.
        for at in (0..self.running.len()).rev() {
            let running = &mut self.running[at];
            running.enforce(now);
            // Those that were started after `poll` are looked at as well.
            if !ready.get(at).copied().unwrap_or(true) {
                continue;
            }
            if let Some(result) = running.result() {
                let Running { item, process, since, overdue, .. } = self.running.swap_remove(at);
                let (took, pid) = (since.elapsed(), process.pid());
                self.leaving.push(process);
                self.judge(item, result, overdue, took, pid);
            }
        }
    }

    fn judge(
        &mut self,
        item: Arc<Item>,
        result: Result<Value, mp::ProcessError>,
        overdue: bool,
        took: Duration,
        pid: u32,
    ) {
        let error = match result {
            Ok(value) => return self.conclude(item, Ok(value), took, Some(pid)),
            Err(error) => error,
        };
        let failure = match (failure::judge(error), self.plan.timeout) {
            (Verdict::Hopeless(error), _) => return self.break_off(error),
            (Verdict::Failed(_), Some(limit)) if overdue => Failure::timeout(limit),
            (Verdict::Failed(failure), _) => failure,
        };
        if failure.is_worth_a_retry(item.attempt, self.plan.retries) {
            let at = Instant::now() + delay(item.attempt - 1);
            let again = Item { attempt: item.attempt + 1, ..Item::clone(&item) };
            self.waiting.push((at, Arc::new(again)));
        } else {
            self.conclude(item, Err(failure), took, Some(pid));
        }
    }

    /// Sees to it that nobody is left behind.
    fn finish(mut self, mut end: End) -> Summary {
        let leaving = std::mem::take(&mut self.leaving);
        let mut killed = 0;
        if end == End::Done {
            let rest = crew::wait(leaving, Some(self.stop.fd()), LEAVE);
            if let (false, Some(signal)) = (rest.is_empty(), self.stop.signal()) {
                end = End::Stopped(signal);
            }
            crew::kill(rest);
            self.starter.halt(Duration::ZERO);
        } else {
            // Those that run first: nobody waits for a start that hangs to have them stopped.
            let mut rest: Vec<_> = self.running.drain(..).map(|running| running.process).collect();
            for process in &rest {
                let _ = process.kill();
            }
            let late = if self.starting == 0 { Duration::ZERO } else { HALT };
            rest.extend(self.starter.halt(late));
            killed = rest.len();
            rest.extend(leaving);
            crew::kill(rest);
            for done in self.window.drain() {
                self.done += 1;
                self.failed += u64::from(done.result.is_err());
                self.sink.done(done);
            }
            if end != End::Unread {
                write_out(self.sink);
            }
        }
        Summary { end, done: self.done, failed: self.failed, killed }
    }
}

/// Writes what is left, to a reader that reads.
fn write_out(sink: &mut dyn Sink) {
    let deadline = Instant::now() + UNREAD;
    while let Some((fd, flags)) = sink.watch()
        && !flags.is_empty()
        && crew::is_ready(fd, flags, deadline.saturating_duration_since(Instant::now()))
        && sink.flush().is_ok()
    {}
}

/// Longer each time.
fn delay(times: u32) -> Duration {
    let (first, longest) = DELAY;
    first.saturating_mul(1 << times.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_a_bound() {
        let delays = [0, 1, 2, 5, 6, u32::MAX].map(delay).map(|delay| delay.as_millis());
        assert_eq!(delays, [50, 100, 200, 1600, 2000, 2000]);
    }
}
