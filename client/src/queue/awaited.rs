//! Queues that are awaited. What waits here is a future; all else is as in `put`, `take` and
//! `join`.

use super::core::Core;
use super::error::{GetError, GetManyError, PutError};
use super::item::{QueueItem, encode_alone, keep_buffer};
use super::join::JoinError;
use super::memory::QueueState;
use super::put::Obstacle;
use crate::handles::SharedFd;
use crate::reactor::{Interest, Seat, Whom, Word, before, ready, stir, until};
use crate::shared::object::{Object, Shareable};
use crate::sync::awaited;
use crate::sync::raw::bell::Bell;
use crate::sync::raw::lock::{NAP_LONGEST, NAP_SHORTEST};
use crate::sync::raw::ring::Refused;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// One who waits at a bell of an object, sleep after sleep.
struct Listener<T: Object> {
    object: Shareable<T>,
    find: fn(&Shareable<T>) -> &Bell,
    seat: Seat,
    nap: Duration,
    word: Option<Arc<dyn Word>>,
}

/// The word of a bell.
struct BellOf<T: Object> {
    object: Shareable<T>,
    find: fn(&Shareable<T>) -> &Bell,
}

impl<T: Object> Word for BellOf<T> {
    fn word(&self) -> &AtomicU32 {
        (self.find)(&self.object).sleepers()
    }
}

impl<T: Object + 'static> Listener<T> {
    fn new(object: &Shareable<T>, find: fn(&Shareable<T>) -> &Bell, whom: Whom) -> Self {
        let (seat, nap) = (Seat::new(whom), NAP_SHORTEST);
        Self { object: object.clone(), find, seat, nap, word: None }
    }

    fn bell(&self) -> &Bell {
        (self.find)(&self.object)
    }

    fn has_slept(&self) -> bool {
        self.word.is_some()
    }

    /// Sleeps until the bell rings, the nap ends, or what is waited for is there.
    async fn sleep(&mut self, there: impl Fn() -> bool) {
        let heard = self.bell().listen();
        if there() {
            return;
        }
        let (object, find) = (&self.object, self.find);
        let word =
            self.word.get_or_insert_with(|| Arc::new(BellOf { object: object.clone(), find }));
        // However it ended, the next look tells.
        let _ = self.seat.sleep(word.clone(), heard.0, self.nap).await;
        self.nap = (self.nap * 2).min(NAP_LONGEST);
    }

    /// Tells the others that wait here that it is in vain: one looks for all.
    fn tell_all(&self) {
        stir(self.bell().sleepers());
    }
}

impl Core {
    async fn enter_taking_end(&self) {
        let taken = awaited::lock(&self.memory.state, |state| &state.ring.empty.lock).await;
        self.entered_taking_end(taken);
    }

    /// Waits for items, and takes the lock of the taking end; tells whether it has slept.
    async fn await_items(
        &self,
        listener: &mut Option<Listener<QueueState>>,
    ) -> Result<bool, GetError> {
        loop {
            if self.is_closed() {
                return Err(self.get_closed());
            }
            if self.has_items() {
                self.enter_taking_end().await;
                return Ok(listener.as_ref().is_some_and(Listener::has_slept));
            }
            let listener = listener.get_or_insert_with(|| {
                Listener::new(&self.memory.state, |state| &state.items, Whom::One)
            });
            if self.is_watched() {
                self.settle();
            }
            let gone = self.producers_gone();
            if self.has_items() {
                continue;
            }
            if gone {
                listener.tell_all();
                return Err(GetError::ProducersGone { queue: self.name });
            }
            listener.sleep(|| self.has_items()).await;
        }
    }

    /// Takes the next item. It is taken and given in one poll, so it is never lost.
    pub(super) async fn get_item_async<T: QueueItem>(&self) -> Result<T, GetError> {
        self.check_reducer()?;
        let mut listener = None;
        loop {
            let slept = self.await_items(&mut listener).await?;
            if let Some(item) = self.get_item_entered(slept)? {
                return Ok(item);
            }
        }
    }

    /// Takes what there is.
    pub(super) async fn get_items_async<T: QueueItem>(
        &self,
        at_most: usize,
    ) -> Result<Vec<T>, GetManyError<T>> {
        let mut listener = None;
        if at_most == 0 {
            return Ok(Vec::new());
        }
        self.check_reducer().map_err(|source| GetManyError { items: Vec::new(), source })?;
        loop {
            let slept = self.await_items(&mut listener).await;
            let slept = slept.map_err(|source| GetManyError { items: Vec::new(), source })?;
            let items = self.get_items_entered(at_most, slept)?;
            if !items.is_empty() {
                return Ok(items);
            }
        }
    }

    /// Encodes an item now, and puts it when that is awaited.
    pub(super) fn put_item_async<T: QueueItem>(
        &self,
        item: &T,
    ) -> impl Future<Output = Result<(), PutError>> + Send + use<'_, T> {
        let encoded = encode_alone(self.memory.codec, item);
        async move {
            let queue = self.name;
            let (bytes, fds) = encoded.map_err(|source| PutError::Encode { queue, source })?;
            let done = self.put_async(&bytes, fds).await;
            keep_buffer(bytes);
            done
        }
    }

    async fn put_async(&self, bytes: &[u8], fds: Vec<SharedFd>) -> Result<(), PutError> {
        if self.is_closed() {
            return Err(self.put_closed());
        }
        let mut listener = None;
        let inside = self.units_inside(bytes.len()).filter(|_| fds.is_empty());
        let loaded = match inside {
            Some(_) => None,
            None => Some(self.load(&[bytes], bytes.len(), fds)?),
        };
        loop {
            let taken = awaited::lock(&self.memory.state, |state| &state.ring.fill.lock).await;
            let put = self.fill_entered(taken, |writer| match &loaded {
                Some(loaded) => self.push_loaded(writer, &[bytes], loaded),
                None => writer.push(&[bytes], 0).map_err(|refused| match refused {
                    Refused::Full => Ok(Obstacle::Ring(inside.unwrap_or(u32::MAX))),
                    Refused::Damaged => Err(PutError::Damaged { queue: self.name }),
                }),
            });
            match put {
                Ok(()) => return Ok(()),
                Err(Err(error)) => return Err(error),
                Err(Ok(obstacle)) => {
                    let end = loaded.as_ref().map(|loaded| &loaded.end);
                    self.overcome(&obstacle, end, &mut listener).await?;
                }
            }
        }
    }

    /// Waits for what keeps an item out. The socket is that of an item that needs one.
    async fn overcome(
        &self,
        obstacle: &Obstacle,
        end: Option<&SharedFd>,
        listener: &mut Option<Listener<QueueState>>,
    ) -> Result<(), PutError> {
        let listener = listener.get_or_insert_with(|| {
            Listener::new(&self.memory.state, |state| &state.space, Whom::All)
        });
        if let Err(error) = self.check_takers() {
            listener.tell_all();
            return Err(error);
        }
        match end {
            Some(end) if matches!(obstacle, Obstacle::Socket) => {
                let room = ready(Arc::new(end.clone()), Interest::Write);
                before(room, &mut Some(until(Instant::now() + NAP_LONGEST))).await;
            }
            _ => listener.sleep(|| self.is_overcome(obstacle)).await,
        }
        Ok(())
    }

    /// Waits until everything that was put is done.
    pub(super) async fn join_async(&self) -> Result<(), JoinError> {
        let Some(join) = &self.join else { return Ok(()) };
        let ring = || self.memory.ring();
        let mut listener = None;
        while join.unfinished(&ring()) > 0 {
            let listener = listener.get_or_insert_with(|| {
                Listener::new(&join.state, |state| &state.finished, Whom::All)
            });
            listener.sleep(|| join.unfinished(&ring()) == 0).await;
            if join.unfinished(&ring()) > 0 && join.has_accounts_of_the_dead() {
                self.enter_taking_end().await;
                join.bury(&ring());
                self.unlock_taking_end();
            }
        }
        join.tell(self.name)
    }
}
