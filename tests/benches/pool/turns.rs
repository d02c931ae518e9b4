//! What is done and measured, the same for every crew.

use super::case::{Case, LARGE, TASKS_A_WORKER, WEIGHED, WORKERS};
use super::crew::{Crew, Maps, Recycles};
use super::meeting::Meeting;
use mpserverd_tests::bench::measure::Turn;
use mpserverd_tests::bench::{machine, now, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Does a case so often.
pub(crate) type Run = Box<dyn FnMut(u64) -> Result<Turn, String>>;

fn since(begin: u64) -> f64 {
    now().saturating_sub(begin).max(1) as f64
}

/// How long something takes, for each of so many.
pub(crate) fn each(count: u64, run: impl FnOnce() -> Result<(), String>) -> Result<Turn, String> {
    let begin = now();
    run()?;
    let time = since(begin);
    Ok(Turn { time, figures: vec![time / count as f64] })
}

/// How long the middle one of so many takes, and the one that one in a hundred exceeds.
pub(crate) fn latencies(
    count: u64,
    mut once: impl FnMut() -> Result<(), String>,
) -> Result<Turn, String> {
    let mut all = Vec::with_capacity(usize::try_from(count).map_err(text)?);
    let begin = now();
    let mut before = begin;
    for _ in 0..count {
        once()?;
        let after = now();
        all.push(after - before);
        before = after;
    }
    all.sort_unstable();
    let of = |percent: usize| all[(all.len() * percent).div_ceil(100).saturating_sub(1)] as f64;
    Ok(Turn { time: (before - begin) as f64, figures: vec![of(50), of(99)] })
}

/// Cases of what only maps.
pub(crate) fn of_maps<M: Maps>(kind: M::Kind, case: Case) -> Result<Run, String> {
    Ok(match case {
        Case::Apply => {
            let mut crew = M::start(kind, WORKERS)?;
            Box::new(move |count| latencies(count, || crew.apply()))
        }
        Case::Map { nanos, chunk } => {
            let mut crew = M::start(kind, WORKERS)?;
            Box::new(move |count| each(count, || crew.map(nanos, count, chunk)))
        }
        Case::Scale { nanos, chunk } => {
            let (mut one, mut more) = (M::start(kind, 1)?, M::start(kind, WORKERS)?);
            Box::new(move |count| {
                let one = each(count, || one.map(nanos, count, Some(chunk)))?;
                let more = each(count, || more.map(nanos, count, Some(chunk)))?;
                let (time, gain) = (one.time + more.time, one.time / more.time);
                Ok(Turn { time, figures: vec![one.figures[0], more.figures[0], gain] })
            })
        }
        other => return Err(format!("{other:?} is not for it")),
    })
}

/// Cases of pools of processes.
pub(crate) fn of_crew<C: Crew>(kind: C::Kind, case: Case) -> Result<Run, String> {
    Ok(match case {
        Case::Inputs => {
            let mut crew = C::start(kind, WORKERS)?;
            let input = vec![7; LARGE];
            Box::new(move |count| each(count, || crew.inputs(&input, count)))
        }
        Case::Outputs => {
            let mut crew = C::start(kind, WORKERS)?;
            Box::new(move |count| each(count, || crew.outputs(count)))
        }
        Case::Create(workers) => {
            let mut meeting = Meeting::new()?;
            Box::new(move |_| create::<C>(kind, workers, &mut meeting))
        }
        Case::Recover => {
            let (mut crew, mut meeting) = (C::start(kind, WORKERS)?, Meeting::new()?);
            Box::new(move |_| recover(&mut crew, &mut meeting))
        }
        Case::Memory => {
            let (mut crew, mut meeting) = (C::start(kind, WEIGHED)?, Meeting::new()?);
            Box::new(move |_| weigh(&mut crew, &mut meeting))
        }
        other => return of_maps::<C>(kind, other),
    })
}

/// A case of pools that replace their workers: what that costs is known beside one that does not.
pub(crate) fn of_recycling<R: Recycles>(kind: R::Kind) -> Result<Run, String> {
    let mut plain = R::start(kind, WORKERS)?;
    let mut recycling = R::start_recycling(kind, WORKERS, TASKS_A_WORKER)?;
    Ok(Box::new(move |count| {
        let plain = each(count, || plain.map(0, count, Some(1)))?;
        let recycling = each(count, || recycling.map(0, count, Some(1)))?;
        let more = (recycling.time - plain.time).max(0.0);
        let workers = count as f64 / TASKS_A_WORKER as f64;
        Ok(Turn {
            time: plain.time + recycling.time,
            figures: vec![recycling.figures[0], more / workers],
        })
    }))
}

/// Workers begin a task each, all at once, are done with it, and none is lost.
fn meet<C: Crew, R>(
    crew: &mut C,
    meeting: &mut Meeting,
    count: usize,
    then: impl FnOnce(&[u32]) -> Result<R, String>,
) -> Result<R, String> {
    let pending = (0..count).map(|_| crew.attend(meeting)).collect::<Result<Vec<_>, _>>()?;
    let result = then(&meeting.arrived(count)?)?;
    meeting.dismiss(count)?;
    for pending in pending {
        if crew.is_lost(pending)? {
            return Err("a task was lost".to_owned());
        }
    }
    Ok(result)
}

fn create<C: Crew>(kind: C::Kind, workers: usize, meeting: &mut Meeting) -> Result<Turn, String> {
    let begin = now();
    let mut crew = C::start(kind, workers)?;
    crew.apply()?;
    let first = since(begin);
    let all = meet(&mut crew, meeting, workers, |_| Ok(since(begin)))?;
    let ending = now();
    crew.end()?;
    Ok(Turn { time: since(begin), figures: vec![first, all, since(ending)] })
}

fn recover<C: Crew>(crew: &mut C, meeting: &mut Meeting) -> Result<Turn, String> {
    // All are there before one is missed.
    meet(crew, meeting, WORKERS, |_| Ok(()))?;
    let pending = crew.attend(meeting)?;
    let victim = meeting.arrived(1)?[0];
    let begin = now();
    kill(Pid::from_raw(i32::try_from(victim).map_err(text)?), Signal::SIGKILL).map_err(text)?;
    if !crew.is_lost(pending)? {
        return Err("a task survived its worker".to_owned());
    }
    let error = since(begin);
    let whole = meet(crew, meeting, WORKERS, |_| Ok(since(begin)))?;
    Ok(Turn { time: whole, figures: vec![error, whole] })
}

/// The middle one of the workers' own memory, each after a task.
fn weigh<C: Crew>(crew: &mut C, meeting: &mut Meeting) -> Result<Turn, String> {
    let begin = now();
    let mut all = meet(crew, meeting, WEIGHED, |pids| {
        let kib = pids.iter().map(|pid| machine::private_kib(*pid).ok_or("no such worker"));
        kib.collect::<Result<Vec<_>, _>>().map_err(text)
    })?;
    all.sort_unstable();
    Ok(Turn { time: since(begin), figures: vec![all[all.len() / 2] as f64] })
}
