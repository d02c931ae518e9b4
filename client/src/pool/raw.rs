//! Tasks by name, with encoded arguments and outcomes: for pools whose users are elsewhere.

use super::decode;
use super::engine::{Call, Chunk, Then};
use super::error::{PoolError, TaskFailure};
use super::handle::Pool;
use std::sync::Arc;

/// Whether the task returned an `Err`, and the encoded value; or why there is none.
pub(crate) type RawOutcome = Result<(bool, Vec<u8>), TaskFailure>;

impl Pool {
    /// Applies a task to each of these encoded arguments, of which there is at least one. `done`
    /// gets the outcomes, in order, on the thread of the callbacks.
    ///
    /// # Errors
    /// [`PoolError`]: the pool takes no more.
    pub(crate) fn submit_raw(
        &self,
        name: &'static str,
        schema: u64,
        inputs: Vec<Vec<u8>>,
        done: impl FnOnce(Vec<RawOutcome>) + Send + 'static,
    ) -> Result<(), PoolError> {
        let engine = self.engine();
        let task = engine.task(name, schema);
        let (deadline, retries) = (engine.settings.task_deadline, engine.settings.retries);
        let then: Then = Box::new(move |call| done(decode::raw(call)));
        let call = Call::whole((task, deadline, retries), inputs.len() as u64, Some(then));
        let chunk = |(body, first)| {
            let (call, fds) = (Arc::clone(&call), Vec::new());
            Chunk { call, first, count: 1, attempts: 0, body, fds }
        };
        let chunks = inputs.into_iter().zip(0..).map(chunk).collect::<Vec<_>>();
        engine.submit(chunks, true)?;
        engine.collect_for_others();
        Ok(())
    }
}
