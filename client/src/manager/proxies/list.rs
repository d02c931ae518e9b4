//! `ListProxy`.

use super::iterator::IteratorProxy;
use super::methods::{collection_methods, count_methods};
use crate::manager::error::ManagerError;
use crate::manager::handle::{Answered, items, pack, pack_all};
use crate::manager::proxy::{Proxy, proxy};
use crate::manager::transaction::{retry, stored};
use crate::manager::wire::{Body, Op, SequenceOp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::{Bound, RangeBounds};

proxy! {
    /// A list in a manager's server, as `SyncManager.list`.
    ///
    /// Elements are copied on their way: to change one, store it again, or have proxies as
    /// elements. Each call is atomic, those too that compute here ([`sort`](Self::sort),
    /// [`retain`](Self::retain), [`update`](Self::update)): what they store is based on what was
    /// there just before, or they do it again. Elements are equal if their encodings are, in
    /// [`index`](Self::index), [`count`](Self::count), [`contains`](Self::contains) and
    /// [`remove`](Self::remove).
    ///
    /// ```no_run
    /// use mpserverd_client as mp;
    ///
    /// #[mp::task]
    /// fn work(squares: mp::ListProxy<u64>, x: u64) -> Result<(), mp::TaskError> {
    ///     Ok(squares.append(&(x * x))?)
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     mp::freeze_support();
    ///     let ctx = mp::get_context(None);
    ///     let manager = ctx.manager()?;
    ///     let squares = manager.list([])?;
    ///     let start = |x| ctx.process::<work>((squares.clone(), x)).start();
    ///     let workers = (0..4).map(start).collect::<Result<Vec<_>, _>>()?;
    ///     workers.iter().for_each(|worker| drop(worker.join()));
    ///     squares.sort()?;
    ///     assert_eq!(squares.copy()?, [0, 1, 4, 9]);
    ///     Ok(())
    /// }
    /// ```
    ListProxy<T>
}

/// The elements of a range, in a length.
pub(super) fn range(range: &impl RangeBounds<usize>, length: usize) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => length.max(from),
    };
    (from as u64, to as u64)
}

impl<T: Serialize + DeserializeOwned> ListProxy<T> {
    fn ask(&self, op: SequenceOp<'_>) -> Result<Answered, ManagerError> {
        self.handle.ask(Self::NAME, Op::Sequence(op))
    }

    /// Asks with a value.
    fn with(
        &self,
        value: &T,
        op: impl FnOnce(crate::manager::wire::Item<'_>) -> SequenceOp<'_>,
    ) -> Result<Answered, ManagerError> {
        let client = self.handle.client()?;
        let packed = pack(&client, Self::NAME, value)?;
        self.handle.ask_by(&client, Self::NAME, Op::Sequence(op(packed.item())))
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn append(&self, value: &T) -> Result<(), ManagerError> {
        let client = self.handle.client()?;
        let packed = pack(&client, Self::NAME, value)?;
        let op = SequenceOp::Extend { items: vec![packed.item()] };
        self.handle.ask_by(&client, Self::NAME, Op::Sequence(op))?.done()
    }

    /// Adds elements at the end, all at once.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn extend<'a>(&self, values: impl IntoIterator<Item = &'a T>) -> Result<(), ManagerError>
    where
        T: 'a,
    {
        let client = self.handle.client()?;
        let packed = pack_all(&client, Self::NAME, values)?;
        let op = SequenceOp::Extend { items: items(&packed) };
        self.handle.ask_by(&client, Self::NAME, Op::Sequence(op))?.done()
    }

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
        let index = index as u64;
        self.with(value, |item| SequenceOp::Set { index, item })?.done()
    }

    /// Inserts an element before that of this index; behind the end is at the end.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn insert(&self, index: usize, value: &T) -> Result<(), ManagerError> {
        let index = index as u64;
        self.with(value, |item| SequenceOp::Insert { index, item })?.done()
    }

    /// Removes an element: `del list[index]`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn delete(&self, index: usize) -> Result<(), ManagerError> {
        self.ask(SequenceOp::Delete { index: index as u64 })?.done()
    }

    /// Takes the last element, if there is one.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        self.ask(SequenceOp::Pop { index: None })?.maybe()
    }

    /// Takes an element.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn pop_at(&self, index: usize) -> Result<T, ManagerError> {
        let index = index as u64;
        let popped = self.ask(SequenceOp::Pop { index: Some(index) })?.maybe()?;
        popped.ok_or(ManagerError::Index { proxy: Self::NAME, index, length: 0 })
    }

    /// Removes the first element that is equal to this one; whether there was one.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn remove(&self, value: &T) -> Result<bool, ManagerError> {
        self.with(value, |item| SequenceOp::Remove { item })?.yes()
    }

    /// The index of the first element that is equal to this one.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn index(&self, value: &T) -> Result<Option<usize>, ManagerError> {
        let answered = self.with(value, |item| SequenceOp::Index { item })?;
        match answered.body()? {
            Body::Yes(false) => Ok(None),
            _ => answered.count().map(Some),
        }
    }

    /// How many elements are equal to this one.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn count(&self, value: &T) -> Result<usize, ManagerError> {
        self.with(value, |item| SequenceOp::Count { item })?.count()
    }

    /// Whether an element is equal to this one.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn contains(&self, value: &T) -> Result<bool, ManagerError> {
        self.index(value).map(|found| found.is_some())
    }

    collection_methods!(SequenceOp, "elements");

    /// All elements, as they were at one moment.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn copy(&self) -> Result<Vec<T>, ManagerError> {
        Ok(self.ask(SequenceOp::Load)?.many()?.1)
    }

    /// The elements of a range.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn slice(&self, of: impl RangeBounds<usize>) -> Result<Vec<T>, ManagerError> {
        let (from, to) = self.range(&of)?;
        Ok(self.ask(SequenceOp::Slice { from, to })?.many()?.1)
    }

    /// Puts elements, as many as you like, in the place of those of a range.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn set_slice<'a>(
        &self,
        of: impl RangeBounds<usize>,
        values: impl IntoIterator<Item = &'a T>,
    ) -> Result<(), ManagerError>
    where
        T: 'a,
    {
        let (from, to) = self.range(&of)?;
        let client = self.handle.client()?;
        let packed = pack_all(&client, Self::NAME, values)?;
        let op = SequenceOp::SetSlice { from, to, items: items(&packed) };
        self.handle.ask_by(&client, Self::NAME, Op::Sequence(op))?.done()
    }

    /// Removes the elements of a range: `del list[a:b]`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn delete_slice(&self, of: impl RangeBounds<usize>) -> Result<(), ManagerError> {
        self.set_slice(of, [])
    }

    fn range(&self, of: &impl RangeBounds<usize>) -> Result<(u64, u64), ManagerError> {
        let open = matches!(of.end_bound(), Bound::Unbounded);
        let length = if open { self.len()? } else { 0 };
        Ok(range(of, length))
    }

    /// Reverses the order.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn reverse(&self) -> Result<(), ManagerError> {
        self.ask(SequenceOp::Reverse)?.done()
    }

    /// Repeats the elements so many times in all: `list *= times`.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn repeat(&self, times: usize) -> Result<(), ManagerError> {
        self.ask(SequenceOp::Repeat { times: times as u64 })?.done()
    }

    /// All elements, changed here as a whole and stored, unless others have changed the list
    /// meanwhile: then it is done again. So it is atomic, and `change` may run more than once.
    ///
    /// # Errors
    /// [`ManagerError`], `Contended` among others.
    pub fn transform<R>(
        &self,
        mut change: impl FnMut(&mut Vec<T>) -> R,
    ) -> Result<R, ManagerError> {
        retry(Self::NAME, || {
            let (version, mut values) = self.ask(SequenceOp::Load)?.many()?;
            let result = change(&mut values);
            let client = self.handle.client()?;
            let packed = pack_all(&client, Self::NAME, &values)?;
            let op = SequenceOp::Store { version, items: items(&packed) };
            let answered = self.handle.ask_by(&client, Self::NAME, Op::Sequence(op))?;
            Ok(stored(&answered)?.then_some(result))
        })
    }

    /// Sorts it; equal elements stay in their order.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn sort(&self) -> Result<(), ManagerError>
    where
        T: Ord,
    {
        self.transform(|values| values.sort())
    }

    /// Sorts it by a key.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn sort_by_key<K: Ord>(&self, mut key: impl FnMut(&T) -> K) -> Result<(), ManagerError> {
        self.transform(|values| values.sort_by_key(&mut key))
    }

    /// Sorts it by a comparison.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn sort_by(
        &self,
        mut compare: impl FnMut(&T, &T) -> std::cmp::Ordering,
    ) -> Result<(), ManagerError> {
        self.transform(|values| values.sort_by(&mut compare))
    }

    /// Keeps what `keep` says yes to.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn retain(&self, mut keep: impl FnMut(&T) -> bool) -> Result<(), ManagerError> {
        self.transform(|values| values.retain(&mut keep))
    }

    /// Changes one element by a function of what it is, which may run more than once.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`transform`](Self::transform).
    pub fn update<R>(
        &self,
        index: usize,
        mut change: impl FnMut(&mut T) -> R,
    ) -> Result<R, ManagerError> {
        let changed = self.transform(|values| {
            let length = values.len() as u64;
            values.get_mut(index).map(&mut change).ok_or(length)
        })?;
        let index = index as u64;
        changed.map_err(|length| ManagerError::Index { proxy: Self::NAME, index, length })
    }

    /// An iterator over the elements as they are now, in the server: any number of processes take
    /// from it.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn iter(&self) -> Result<IteratorProxy<T>, ManagerError> {
        let (handle, _) = self.ask(SequenceOp::Iterate)?.object()?;
        Ok(IteratorProxy::from_handle(handle))
    }
}
