//! A program that is measured: it says `ready`, and answers each line, how often it is to do its
//! case, with a line of numbers: how long that took, and the figures of the case.

use super::by_ours::{Method, Ours};
use super::by_procspawn::Procspawn;
use super::case::Case;
use super::turns::{Run, of_crew, of_maps, of_recycling};
use super::{manager, raw};
use mpserverd_tests::bench::text;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Who {
    Ours(Method),
    Procspawn,
    Rayon,
    Futex,
    SocketPair,
    /// Our manager.
    Manager,
    /// CPython, of which there is `peer.py`.
    Python(Python),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Python {
    Pool,
    Executor,
    Manager,
}

fn prepare(who: Who, case: Case) -> Result<Run, String> {
    match who {
        Who::Ours(method) if case == Case::Recycle => of_recycling::<Ours>(method),
        Who::Ours(method) => of_crew::<Ours>(method, case),
        Who::Procspawn => of_crew::<Procspawn>((), case),
        Who::Rayon => of_maps::<rayon::ThreadPool>((), case),
        Who::Futex => raw::futex(),
        Who::SocketPair => raw::socket_pair(),
        Who::Manager => match case {
            Case::Call(call) => manager::calls(call),
            other => Err(format!("{other:?} is not for it")),
        },
        Who::Python(_) => Err("that is another program".to_owned()),
    }
}

/// Obeys until its standard input ends.
pub(crate) fn run(part: &str) -> Result<(), String> {
    let (who, case) = serde_json::from_str::<(Who, Case)>(part).map_err(text)?;
    let mut run = prepare(who, case);
    say(match &run {
        Ok(_) => "ready".to_owned(),
        Err(error) => format!("error: {}", error.replace('\n', " ")),
    })?;
    let Ok(run) = &mut run else { return Ok(()) };
    for line in std::io::stdin().lock().lines() {
        let count = line.map_err(text)?.parse().map_err(text)?;
        say(match run(count) {
            Ok(turn) => {
                let numbers = std::iter::once(turn.time).chain(turn.figures);
                numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
            }
            Err(error) => format!("error: {}", error.replace('\n', " ")),
        })?;
    }
    Ok(())
}

fn say(line: String) -> Result<(), String> {
    let mut stdout = std::io::stdout().lock();
    let said = stdout.write_all((line + "\n").as_bytes());
    said.and_then(|()| stdout.flush()).map_err(text)
}
