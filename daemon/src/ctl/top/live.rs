//! The loop of the live screen: keys, signals and looks come in, frames go out.

use super::model::{Model, Reaction};
use super::sample::{Sample, Sampler};
use super::terminal::Screen;
use super::view;
use crate::cli::parsers::SignalNumber;
use crate::ctl::error::{CtlError, exit_by_signal};
use crossterm::event::{self, Event};
use mpserverd_proto::ids::WorkerId;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

/// What happened.
enum Happened {
    Typed(Event),
    /// The terminal says nothing any more.
    Silence,
    Signal(i32),
    Looked(Box<Result<Sample, CtlError>>),
    Sent(WorkerId, SignalNumber, Result<(), CtlError>),
}

/// What the thread that asks the daemon is to do.
enum Order {
    Look { spares: bool, shown: Vec<WorkerId> },
    Kill(WorkerId, SignalNumber),
}

/// Runs until somebody quits; gives the exit code.
pub(super) fn run(sampler: Sampler, mut model: Model) -> Result<u8, CtlError> {
    // Before the terminal is taken, so that no signal finds it unguarded.
    let (happened, happenings) = channel();
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT])?;
    thread("signals", happened.clone(), move |tell| pass_signals(signals, &tell))?;
    let (order, orders) = channel();
    let asker = thread("daemon", happened.clone(), move |tell| ask(sampler, &orders, &tell))?;
    let mut screen = Screen::take()?;
    thread("keys", happened, |tell| pass_keys(&tell))?;
    let mut looking = false;
    let mut next = Instant::now();
    loop {
        screen.draw(|area, cells| view::draw(&mut model, area, cells, true))?;
        let now = Instant::now();
        if now >= next && !looking {
            looking = true;
            next = now + model.interval;
            let look = Order::Look { spares: model.spares, shown: model.shown() };
            order.send(look).map_err(|_| nobody_looks())?;
        }
        let happened = wait(&happenings, looking, next);
        if asker.is_finished() {
            return Err(nobody_looks());
        }
        let Some(happened) = happened else { continue };
        match happened {
            Happened::Looked(looked) => {
                looking = false;
                model.take(looked.map_err(|error| error.to_string()));
            }
            Happened::Sent(worker, signal, done) => {
                model.message = Some(match done {
                    Ok(()) => format!("sent signal {signal} to {worker}"),
                    Err(error) => error.to_string(),
                })
            }
            Happened::Signal(SIGTSTP) => screen.pause()?,
            Happened::Signal(SIGCONT) => screen.resume()?,
            Happened::Signal(signal) => return Ok(exit_by_signal(signal)),
            Happened::Silence => return Ok(exit_by_signal(SIGHUP)),
            Happened::Typed(Event::Key(key)) => match model.key(key) {
                Reaction::Quit => return Ok(0),
                Reaction::Suspend => screen.pause()?,
                Reaction::Look => next = Instant::now(),
                Reaction::Kill(worker, signal) => {
                    order.send(Order::Kill(worker, signal)).map_err(|_| nobody_looks())?;
                }
                Reaction::Nothing => {}
            },
            // A new size: the next frame has it.
            Happened::Typed(_) => {}
        }
    }
}

/// Waits for something to happen, while a look is due not longer than until then.
fn wait(happenings: &Receiver<Happened>, looking: bool, next: Instant) -> Option<Happened> {
    if looking {
        // Whatever becomes of the look is told.
        return happenings.recv().ok();
    }
    happenings.recv_timeout(next.saturating_duration_since(Instant::now())).ok()
}

fn nobody_looks() -> CtlError {
    CtlError::system("the thread that asks the daemon has ended")
}

fn thread(
    name: &str,
    tell: Sender<Happened>,
    run: impl FnOnce(Sender<Happened>) + Send + 'static,
) -> Result<JoinHandle<()>, CtlError> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    Ok(builder.spawn(move || run(tell))?)
}

fn pass_signals(mut signals: Signals, tell: &Sender<Happened>) {
    for signal in signals.forever() {
        if tell.send(Happened::Signal(signal)).is_err() {
            return;
        }
    }
}

fn pass_keys(tell: &Sender<Happened>) {
    while let Ok(event) = event::read() {
        if tell.send(Happened::Typed(event)).is_err() {
            return;
        }
    }
    // If nobody hears it, nobody has to.
    let _ = tell.send(Happened::Silence);
}

/// Asks the daemon, one thing after the other, however long that takes.
fn ask(mut sampler: Sampler, orders: &Receiver<Order>, tell: &Sender<Happened>) {
    for order in orders {
        let happened = match order {
            Order::Look { spares, shown } => {
                Happened::Looked(Box::new(sampler.look(spares, &shown)))
            }
            Order::Kill(worker, signal) => {
                Happened::Sent(worker, signal, sampler.kill(worker, signal.0))
            }
        };
        if tell.send(happened).is_err() {
            return;
        }
    }
}
