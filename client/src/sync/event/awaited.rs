//! An [`Event`] that is awaited.

use super::Event;
use crate::reactor::{Seat, Whom, Word, WordOf};
use std::sync::Arc;
use std::time::Duration;

impl Event {
    /// Waits until it is set, without keeping a thread: the awaited [`wait`](Self::wait). What
    /// counts is that it is, or was, set since the future was first polled.
    ///
    /// Dropping the future changes nothing.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let event = mp::Event::new()?;
    /// tokio::join!(event.wait_async(), async { event.set() });
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_async(&self) {
        let raw = &self.0.raw;
        if raw.is_set() {
            return;
        }
        let begin = raw.begin();
        let mut seat = Seat::new(Whom::All);
        let mut word: Option<Arc<dyn Word>> = None;
        while let Some(expected) = raw.look(begin) {
            let word = word.get_or_insert_with(|| {
                Arc::new(WordOf { object: self.0.clone(), find: |state| state.raw.sleepers() })
            });
            // The word says it all: nobody has to be looked after.
            seat.sleep(word.clone(), expected, Duration::MAX).await;
        }
    }
}
