//! Our pool, with workers of each start method.

use super::crew::{Crew, Maps, PATIENCE, Recycles};
use super::meeting::Meeting;
use super::tasks::{attend, give, take, work};
use mpserverd_tests::bench::text;
use serde::{Deserialize, Serialize};
use std::io;

/// Where its workers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Method {
    ForkServer,
    Spawn,
    Fork,
}

impl Method {
    fn builder(self, workers: usize) -> mp::PoolBuilder {
        let method = match self {
            Self::ForkServer => mp::StartMethod::ForkServer,
            Self::Spawn => mp::StartMethod::Spawn,
            Self::Fork => mp::StartMethod::Fork,
        };
        let context = mp::get_context(method).with_fallback(mp::Fallback::Fail);
        context.pool().processes(workers)
    }
}

#[derive(Debug)]
pub(crate) struct Ours(mp::Pool);

fn complete(got: usize, wanted: u64) -> Result<(), String> {
    if got as u64 == wanted { Ok(()) } else { Err("results are missing".to_owned()) }
}

impl Maps for Ours {
    type Kind = Method;

    fn start(method: Method, workers: usize) -> Result<Self, String> {
        method.builder(workers).build().map(Self).map_err(text)
    }

    fn apply(&mut self) -> Result<(), String> {
        self.0.apply::<work>((0,)).map_err(text).map(drop)
    }

    fn map(&mut self, nanos: u64, count: u64, chunk: Option<u64>) -> Result<(), String> {
        let mut mapping = self.0.mapping::<work>();
        if let Some(chunk) = chunk {
            mapping = mapping.chunk(usize::try_from(chunk).map_err(text)?);
        }
        let results = mapping.map((0..count).map(|_| nanos)).map_err(text)?;
        complete(results.len(), count)
    }
}

impl Crew for Ours {
    type Pending = mp::AsyncResult<io::Result<()>>;

    fn inputs(&mut self, input: &[u8], count: u64) -> Result<(), String> {
        let inputs = (0..count).map(|_| input);
        let results = self.0.mapping::<take>().chunk(1).map(inputs).map_err(text)?;
        complete(results.len(), count)
    }

    fn outputs(&mut self, count: u64) -> Result<(), String> {
        let inputs = (0..count).map(|_| 7);
        let results = self.0.mapping::<give>().chunk(1).map(inputs).map_err(text)?;
        complete(results.len(), count)
    }

    fn attend(&mut self, meeting: &Meeting) -> Result<Self::Pending, String> {
        self.0.apply_async::<attend>(meeting.place()).map_err(text)
    }

    fn is_lost(&mut self, pending: Self::Pending) -> Result<bool, String> {
        match pending.get_timeout(PATIENCE) {
            Ok(attended) => attended.map(|()| false).map_err(text),
            Err(failure) if failure.is_lost() => Ok(true),
            Err(failure) => Err(failure.to_string()),
        }
    }

    fn end(self) -> Result<(), String> {
        self.0.close();
        self.0.join_timeout(PATIENCE).map_err(text)
    }
}

impl Recycles for Ours {
    fn start_recycling(method: Method, workers: usize, tasks: u64) -> Result<Self, String> {
        let builder = method.builder(workers).max_tasks_per_child(tasks);
        builder.build().map(Self).map_err(text)
    }
}
