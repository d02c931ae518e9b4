//! Items one after the other, until there will be none.

use super::core::{Core, Wait};
use super::error::GetError;
use super::item::QueueItem;
use std::fmt;
use std::marker::PhantomData;

/// The items of a queue until nobody is left who could put one, or the queue is closed.
pub struct Items<'a, T> {
    core: &'a Core,
    _items: PhantomData<fn() -> T>,
}

impl<'a, T> Items<'a, T> {
    pub(super) fn new(core: &'a Core) -> Self {
        Self { core, _items: PhantomData }
    }
}

impl<T> fmt::Debug for Items<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Items of a {}", self.core.name)
    }
}

impl<T: QueueItem> Iterator for Items<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.core.get_item(Wait::FOR_EVER) {
            Err(GetError::ProducersGone { .. } | GetError::Closed { .. }) => None,
            other => Some(other),
        }
    }
}
