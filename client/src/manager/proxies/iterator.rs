//! `IteratorProxy`.

use crate::manager::error::ManagerError;
use crate::manager::proxy::proxy;
use crate::manager::wire::Op;
use serde::Serialize;
use serde::de::DeserializeOwned;

proxy! {
    /// What is left of a snapshot in a manager's server: the elements of a list, the keys of a dict
    /// or set. Whoever has it takes from it, and nobody gets what another has taken.
    ///
    /// As an `Iterator` it ends after the first error.
    IteratorProxy<T>
}

impl<T: Serialize + DeserializeOwned> IteratorProxy<T> {
    /// The next one, if there is any: `next(iterator)`.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn take_next(&self) -> Result<Option<T>, ManagerError> {
        Ok(self.take_many(1)?.pop())
    }

    /// The next ones, so many at most; in one call.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn take_many(&self, count: usize) -> Result<Vec<T>, ManagerError> {
        let op = Op::Next { count: count as u64 };
        Ok(self.handle.ask(Self::NAME, op)?.many()?.1)
    }
}

impl<T: Serialize + DeserializeOwned> Iterator for IteratorProxy<T> {
    type Item = Result<T, ManagerError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take_next().transpose()
    }
}
