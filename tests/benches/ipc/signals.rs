//! Semaphores, events and barriers.

use super::operation::{Member, Operation, Pace, Role, Unit, alone, member, ours, peer, python};
use super::worker::{self, Run, repeat, text};
use mpserverd_tests::bench::raw::{Barrier, Semaphore, Ticket, Words};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    Semaphore(mp::Semaphore),
    Sem(Ticket),
    /// Sets the first and awaits the second.
    Call(mp::Event, mp::Event),
    /// Awaits the first and sets the second.
    Answer(mp::Event, mp::Event),
    CallFutex(Ticket),
    AnswerFutex(Ticket),
    Barrier(mp::Barrier),
    PthreadBarrier(Ticket),
}

impl Part {
    pub(crate) fn prepare(self) -> Result<Run, String> {
        Ok(match self {
            Self::Semaphore(semaphore) => repeat(move || {
                semaphore.acquire(true, None)?;
                semaphore.release()
            }),
            Self::Sem(ticket) => {
                let semaphore = Semaphore::of(ticket).map_err(text)?;
                repeat(move || semaphore.acquire_and_release())
            }
            Self::Call(call, answer) => repeat(move || {
                call.set();
                await_and_clear(&answer)
            }),
            Self::Answer(call, answer) => repeat(move || {
                await_and_clear(&call)?;
                answer.set();
                Ok::<(), &str>(())
            }),
            Self::CallFutex(ticket) => {
                let words = Words::of(ticket).map_err(text)?;
                repeat(move || {
                    words.set(0)?;
                    words.await_and_clear(1);
                    Ok::<(), std::io::Error>(())
                })
            }
            Self::AnswerFutex(ticket) => {
                let words = Words::of(ticket).map_err(text)?;
                repeat(move || {
                    words.await_and_clear(0);
                    words.set(1)
                })
            }
            Self::Barrier(barrier) => repeat(move || barrier.wait(None).map(drop)),
            Self::PthreadBarrier(ticket) => {
                let barrier = Barrier::of(ticket).map_err(text)?;
                repeat(move || barrier.wait())
            }
        })
    }
}

fn await_and_clear(event: &mp::Event) -> Result<(), &'static str> {
    if !event.wait(None) {
        return Err("a wait without a timeout timed out");
    }
    event.clear();
    Ok(())
}

fn part(part: Part) -> worker::Part {
    worker::Part::Signal(part)
}

/// One that does it and one that answers.
fn pair(does: Part, answers: Part) -> Result<Vec<Member>, String> {
    let answers = member(Role::Answers, part(answers))?;
    Ok(vec![member(Role::Does, part(does))?, answers])
}

fn events() -> Result<Vec<Member>, String> {
    let event = || mp::Event::new().map_err(text);
    let (call, answer) = (event()?, event()?);
    pair(Part::Call(call.clone(), answer.clone()), Part::Answer(call, answer))
}

fn futexes() -> Result<Vec<Member>, String> {
    let words = Words::new().map_err(text)?;
    pair(Part::CallFutex(words.ticket()), Part::AnswerFutex(words.ticket()))
}

fn barriers() -> Result<Vec<Member>, String> {
    let barrier = mp::Barrier::new(2, None).map_err(text)?;
    pair(Part::Barrier(barrier.clone()), Part::Barrier(barrier))
}

fn pthread_barriers() -> Result<Vec<Member>, String> {
    let barrier = Barrier::new(2).map_err(text)?;
    pair(Part::PthreadBarrier(barrier.ticket()), Part::PthreadBarrier(barrier.ticket()))
}

pub(crate) fn operations() -> Vec<Operation> {
    let operation = |id: &str, table, row: &str, variants| Operation {
        id: id.to_owned(),
        table,
        note: "All shared between processes; the futex is two words, with a system call each time.",
        row: row.to_owned(),
        unit: Unit::Time,
        pace: Pace::ANY,
        variants,
    };
    let semaphore = vec![
        ours("Semaphore", || {
            let semaphore = mp::Semaphore::new(1).map_err(text)?;
            alone(part(Part::Semaphore(semaphore)))
        }),
        peer("sem_t", "shared", || {
            alone(part(Part::Sem(Semaphore::new(1).map_err(text)?.ticket())))
        }),
        python("Semaphore", &[&"semaphore"]),
    ];
    let event =
        vec![ours("Event", events), peer("futex", "raw", futexes), python("Event", &[&"event"])];
    let barrier = vec![
        ours("Barrier", barriers),
        peer("pthread", "barrier", pthread_barriers),
        python("Barrier", &[&"barrier"]),
    ];
    vec![
        operation("semaphore", "Semaphore: acquired and released", "by one process", semaphore),
        operation(
            "event",
            "Event: set, awaited, cleared, to another process and back",
            "round trip",
            event,
        ),
        operation("barrier", "Barrier: two processes meet", "round", barrier),
    ]
}
