//! procspawn's pool. It has no map: its user spawns what he wants mapped, and joins in order.

use super::case::WORKERS;
use super::crew::{Crew, Maps, PATIENCE};
use super::meeting::Meeting;
use super::tasks::{attend, give, take, work, work_all};
use mpserverd_tests::bench::text;
use procspawn::{JoinHandle, Pool};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::VecDeque;
use std::path::PathBuf;

/// Spawned at once: each holds descriptors, of which there are not many.
const SPAWNED: usize = 64;

#[derive(Debug)]
pub(crate) struct Procspawn(Pool);

impl Procspawn {
    /// Spawns all, no more than so many ahead, and joins each.
    fn all<A, R>(
        &self,
        ahead: usize,
        inputs: impl Iterator<Item = A>,
        run: fn(A) -> R,
    ) -> Result<usize, String>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let (mut spawned, mut results) = (VecDeque::with_capacity(ahead), Vec::new());
        let mut join = |mut one: JoinHandle<R>| {
            results.push(one.join_timeout(PATIENCE).map_err(text)?);
            Ok::<(), String>(())
        };
        for input in inputs {
            if spawned.len() == ahead {
                spawned.pop_front().map(&mut join).transpose()?;
            }
            spawned.push_back(self.0.spawn(input, run));
        }
        spawned.into_iter().try_for_each(join)?;
        Ok(results.len())
    }
}

fn complete(got: usize, wanted: u64) -> Result<(), String> {
    if got as u64 == wanted { Ok(()) } else { Err("results are missing".to_owned()) }
}

impl Maps for Procspawn {
    type Kind = ();

    fn start((): (), workers: usize) -> Result<Self, String> {
        Pool::new(workers).map(Self).map_err(text)
    }

    fn apply(&mut self) -> Result<(), String> {
        self.0.spawn(0, work).join_timeout(PATIENCE).map_err(text).map(drop)
    }

    fn map(&mut self, nanos: u64, count: u64, chunk: Option<u64>) -> Result<(), String> {
        match chunk {
            None => Err("it has no chunks".to_owned()),
            Some(1) => complete(self.all(SPAWNED, (0..count).map(|_| nanos), work)?, count),
            Some(chunk) => {
                let items = vec![nanos; usize::try_from(chunk).map_err(text)?];
                let chunks = (0..count / chunk).map(|_| items.clone());
                complete(self.all(SPAWNED, chunks, work_all)?, count / chunk)
            }
        }
    }
}

fn attend_there((arrivals, dismissals): (PathBuf, PathBuf)) -> Result<(), String> {
    attend(arrivals, dismissals).map_err(text)
}

impl Crew for Procspawn {
    type Pending = JoinHandle<Result<(), String>>;

    fn inputs(&mut self, input: &[u8], count: u64) -> Result<(), String> {
        // A large input is written to whoever runs it. Who would be next could not, as those who
        // run are not done before their results are joined.
        let inputs = (0..count).map(|_| input.to_vec());
        complete(self.all(WORKERS, inputs, take)?, count)
    }

    fn outputs(&mut self, count: u64) -> Result<(), String> {
        complete(self.all(SPAWNED, (0..count).map(|_| 7), give)?, count)
    }

    fn attend(&mut self, meeting: &Meeting) -> Result<Self::Pending, String> {
        Ok(self.0.spawn(meeting.place(), attend_there))
    }

    fn is_lost(&mut self, mut pending: Self::Pending) -> Result<bool, String> {
        match pending.join_timeout(PATIENCE) {
            Ok(attended) => attended.map(|()| false),
            Err(error) if error.is_timeout() => Err(error.to_string()),
            Err(_) => Ok(true),
        }
    }

    fn end(self) -> Result<(), String> {
        self.0.shutdown();
        Ok(())
    }
}
