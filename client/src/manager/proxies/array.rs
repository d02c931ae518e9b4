//! `ArrayProxy`.

use super::list::range;
use super::methods::count_methods;
use crate::manager::error::ManagerError;
use crate::manager::handle::{Answered, items, pack, pack_all};
use crate::manager::proxy::proxy;
use crate::manager::transaction::{retry, stored};
use crate::manager::wire::{Op, SequenceOp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::RangeBounds;

proxy! {
    /// An array in a manager's server, as `SyncManager.Array`: a list of fixed length.
    ///
    /// For numbers that many processes compute with, [`Array`](crate::Array) in shared memory is
    /// a thousand times as fast; this one reaches other machines.
    ArrayProxy<T>
}

impl<T: Serialize + DeserializeOwned> ArrayProxy<T> {
    fn ask(&self, op: SequenceOp<'_>) -> Result<Answered, ManagerError> {
        self.handle.ask(Self::NAME, Op::Sequence(op))
    }

    count_methods!(SequenceOp, "elements");

    /// An element.
    ///
    /// # Errors
    /// [`ManagerError`], `Index` among others.
    pub fn get(&self, index: usize) -> Result<T, ManagerError> {
        self.ask(SequenceOp::Get { index: index as u64 })?.one()
    }

    /// Replaces an element.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn set(&self, index: usize, value: &T) -> Result<(), ManagerError> {
        let client = self.handle.client()?;
        let packed = pack(&client, Self::NAME, value)?;
        let op = SequenceOp::Set { index: index as u64, item: packed.item() };
        self.handle.ask_by(&client, Self::NAME, Op::Sequence(op))?.done()
    }

    /// All elements, as they were at one moment.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        Ok(self.ask(SequenceOp::Load)?.many()?.1)
    }

    /// The elements of a range.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn slice(&self, of: impl RangeBounds<usize>) -> Result<Vec<T>, ManagerError> {
        let (from, to) = range(&of, self.len()?);
        Ok(self.ask(SequenceOp::Slice { from, to })?.many()?.1)
    }

    /// Replaces the elements from an index on, all at once.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn set_slice(&self, from: usize, values: &[T]) -> Result<(), ManagerError> {
        let client = self.handle.client()?;
        let packed = pack_all(&client, Self::NAME, values)?;
        let (from, to) = (from as u64, from.saturating_add(values.len()) as u64);
        let op = SequenceOp::SetSlice { from, to, items: items(&packed) };
        self.handle.ask_by(&client, Self::NAME, Op::Sequence(op))?.done()
    }

    /// Changes one element by a function of what it is, atomically: if others have changed the
    /// array meanwhile, the function runs again.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Contended`.
    pub fn update<R>(
        &self,
        index: usize,
        mut change: impl FnMut(&mut T) -> R,
    ) -> Result<R, ManagerError> {
        retry(Self::NAME, || {
            let (version, mut values) = self.ask(SequenceOp::Load)?.many::<T>()?;
            let length = values.len() as u64;
            let missing = ManagerError::Index { proxy: Self::NAME, index: index as u64, length };
            let result = change(values.get_mut(index).ok_or(missing)?);
            let client = self.handle.client()?;
            let packed = pack_all(&client, Self::NAME, &values)?;
            let op = SequenceOp::Store { version, items: items(&packed) };
            let answered = self.handle.ask_by(&client, Self::NAME, Op::Sequence(op))?;
            Ok(stored(&answered)?.then_some(result))
        })
    }
}
