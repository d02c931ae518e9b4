//! Rounds, in which all who do an operation take turns.

use super::options::Options;
use super::report::Column;
use serde::{Deserialize, Serialize};

/// Turns of this part of the time wanted tell how long one takes.
const CALIBRATED: u64 = 3;
/// So many turns tell how long one takes.
const CALIBRATING_TURNS: usize = 3;

/// What to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Order {
    /// The operation so often.
    Count(u64),
    /// The operation for so many nanoseconds.
    Time(u64),
}

/// How an operation is ordered.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So often that a turn is as long as it should be.
    Count {
        /// A multiple of this.
        of: u64,
        /// At most so much.
        most: u64,
    },
    /// As often as it goes, for as long: where those who contend may not be equally fast.
    Time,
}

impl Pace {
    /// Any number.
    pub const ANY: Self = Self::Count { of: 1, most: 1 << 40 };
    /// Once, however long it takes.
    pub const ONCE: Self = Self::Count { of: 1, most: 1 };

    fn order(self, count: u64, time: u64) -> Order {
        match self {
            Self::Count { .. } => Order::Count(count),
            Self::Time => Order::Time(time),
        }
    }
}

/// What a turn told.
#[derive(Clone, Debug)]
pub struct Turn {
    /// How long it took, nanoseconds.
    pub time: f64,
    /// The figures that are wanted of the operation, always as many.
    pub figures: Vec<f64>,
}

/// Somebody who does an operation when told.
pub trait Contestant {
    /// Has a turn.
    ///
    /// # Errors
    /// Why there will be no more.
    fn turn(&mut self, order: Order) -> Result<Turn, String>;
}

/// A contestant that is ready, or why it is not; `None` if it was known not to be there.
pub type Ready<C> = Result<Option<C>, String>;

/// Of each column, each figure in each round.
pub type Samples = Vec<(Column, Vec<Vec<f64>>)>;

struct Running<C> {
    column: Column,
    contestant: C,
    count: u64,
    samples: Vec<Vec<f64>>,
}

/// Lets all take turns. One of the peers that fails is left out from then on, with a note.
///
/// # Errors
/// Ours has failed.
pub fn measure<C: Contestant>(
    id: &str,
    contestants: impl Iterator<Item = (Column, Ready<C>)>,
    pace: Pace,
    options: &Options,
) -> Result<Samples, String> {
    let time = u64::try_from(options.turn.as_nanos()).unwrap_or(u64::MAX);
    let mut running = Vec::new();
    for (column, ready) in contestants {
        let ready = ready.and_then(|ready| {
            ready.map(|contestant| Running::calibrated(column, contestant, pace, time)).transpose()
        });
        match ready {
            Ok(ready) => running.extend(ready),
            Err(error) => excuse(id, column, &error)?,
        }
    }
    for round in 0..options.rounds {
        let all = running.len();
        let mut failed = Vec::new();
        for at in 0..all {
            let at = (at + round) % all;
            let one = &mut running[at];
            match one.contestant.turn(pace.order(one.count, time)) {
                Ok(turn) => one.samples.push(turn.figures),
                Err(error) => {
                    excuse(id, one.column, &error)?;
                    failed.push(at);
                }
            }
        }
        failed.sort_unstable();
        for at in failed.into_iter().rev() {
            running.remove(at);
        }
    }
    Ok(running.into_iter().map(|one| (one.column, one.samples)).collect())
}

/// Ours must not fail; that a peer has is said.
fn excuse(id: &str, column: Column, error: &str) -> Result<(), String> {
    let who = column.join(", ");
    if column[0].starts_with("ours") {
        return Err(format!("{id}: {who}: {error}"));
    }
    println!("note           {id}: {who}: {error}");
    Ok(())
}

impl<C: Contestant> Running<C> {
    /// Finds out how often it can do it in a turn, which warms it up too.
    fn calibrated(column: Column, contestant: C, pace: Pace, time: u64) -> Result<Self, String> {
        let mut this = Self { column, contestant, count: 1, samples: Vec::new() };
        let (of, most) = match pace {
            Pace::Count { of, most } if of < most => (of, most),
            Pace::Count { of, .. } => {
                this.count = of;
                this.contestant.turn(Order::Count(of))?;
                return Ok(this);
            }
            Pace::Time => {
                this.contestant.turn(Order::Time(time))?;
                return Ok(this);
            }
        };
        this.count = of;
        loop {
            let took = this.best_turn()?;
            let wanted = time as f64 / (took / this.count as f64);
            let long_enough = took * CALIBRATED as f64 >= time as f64;
            let next = if long_enough { wanted } else { wanted.min(this.count as f64 * 8.0) };
            let next = (next as u64 / of * of).clamp(of, most / of * of);
            if long_enough || next <= this.count {
                this.count = next;
                return Ok(this);
            }
            this.count = next;
        }
    }

    /// The best of a few turns: one may be disturbed.
    fn best_turn(&mut self) -> Result<f64, String> {
        let mut best = f64::MAX;
        for _ in 0..CALIBRATING_TURNS {
            let turn = self.contestant.turn(Order::Count(self.count))?;
            best = best.min(turn.time.max(1.0));
        }
        Ok(best)
    }
}
