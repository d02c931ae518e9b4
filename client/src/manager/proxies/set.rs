//! `SetProxy`.

use super::iterator::IteratorProxy;
use super::methods::{collection_methods, count_methods};
use crate::manager::error::ManagerError;
use crate::manager::handle::{Answered, items, pack, pack_all};
use crate::manager::proxy::{Proxy, proxy};
use crate::manager::wire::{Combine, Compare, Item, MapOp, Op};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::Bytes;

proxy! {
    /// A set in a manager's server, as `SyncManager.set`.
    ///
    /// Elements are equal if their encodings are; see [`DictProxy`](super::DictProxy). The other
    /// side of an operation is anything that gives elements: a `HashSet` of yours, a slice, or
    /// [`copy`](Self::copy) of another proxy. Each call is atomic.
    SetProxy<T>
}

impl<T: Serialize + DeserializeOwned> SetProxy<T> {
    fn ask(&self, op: MapOp<'_>) -> Result<Answered, ManagerError> {
        self.handle.ask(Self::NAME, Op::Map(op))
    }

    fn with(
        &self,
        value: &T,
        op: impl FnOnce(Item<'_>) -> MapOp<'_>,
    ) -> Result<Answered, ManagerError> {
        let client = self.handle.client()?;
        let packed = pack(&client, Self::NAME, value)?;
        self.handle.ask_by(&client, Self::NAME, Op::Map(op(packed.item())))
    }

    fn with_all<'a>(
        &self,
        values: impl IntoIterator<Item = &'a T>,
        op: impl FnOnce(Vec<Item<'_>>) -> MapOp<'_>,
    ) -> Result<Answered, ManagerError>
    where
        T: 'a,
    {
        let client = self.handle.client()?;
        let packed = pack_all(&client, Self::NAME, values)?;
        self.handle.ask_by(&client, Self::NAME, Op::Map(op(items(&packed))))
    }

    fn combine<'a>(
        &self,
        how: Combine,
        other: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<T>, ManagerError>
    where
        T: 'a,
    {
        let made = self.with_all(other, |with| MapOp::Combine { how, with, assign: false })?;
        Ok(made.many()?.1)
    }

    fn assign<'a>(
        &self,
        how: Combine,
        other: impl IntoIterator<Item = &'a T>,
    ) -> Result<(), ManagerError>
    where
        T: 'a,
    {
        self.with_all(other, |with| MapOp::Combine { how, with, assign: true })?.done()
    }

    /// Adds an element; whether it was not there.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn add(&self, value: &T) -> Result<bool, ManagerError> {
        let nothing = || Item { bytes: Bytes::new(&[]), refs: Vec::new() };
        let answered = self.with(value, |key| MapOp::Insert { key, value: nothing() })?;
        match answered.body()? {
            crate::manager::wire::Body::Maybe(before) => Ok(before.is_none()),
            _ => Err(ManagerError::Protocol("SetProxy: an answer of another kind".to_owned())),
        }
    }

    /// Removes an element; whether it was there: `discard`, and `remove` without its error.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn discard(&self, value: &T) -> Result<bool, ManagerError> {
        let answered = self.with(value, |key| MapOp::Remove { key })?;
        match answered.body()? {
            crate::manager::wire::Body::Maybe(before) => Ok(before.is_some()),
            _ => Err(ManagerError::Protocol("SetProxy: an answer of another kind".to_owned())),
        }
    }

    /// Takes any element, if there is one.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        let answered = self.ask(MapOp::PopItem)?;
        let crate::manager::wire::Body::Pairs(_, mut pairs) = answered.body()? else {
            return Err(ManagerError::Protocol("SetProxy: an answer of another kind".to_owned()));
        };
        let taken = pairs.pop().map(|(key, _)| {
            crate::manager::handle::Came::with(&answered.client, key).unpack(Self::NAME)
        });
        taken.transpose()
    }

    /// Whether an element is there.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn contains(&self, value: &T) -> Result<bool, ManagerError> {
        self.with(value, |key| MapOp::Contains { key })?.yes()
    }

    collection_methods!(MapOp, "elements");

    /// All elements, each once, as they were at one moment.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn copy(&self) -> Result<Vec<T>, ManagerError> {
        Ok(self.ask(MapOp::Keys)?.many()?.1)
    }

    /// An iterator over the elements as they are now, in the server: any number of processes take
    /// from it.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn iter(&self) -> Result<IteratorProxy<T>, ManagerError> {
        let (handle, _) = self.ask(MapOp::Iterate)?.object()?;
        Ok(IteratorProxy::from_handle(handle))
    }
}

macro_rules! combinations {
    ($($(#[$doc:meta])* $name:ident, $(#[$doc_of:meta])* $update:ident => $how:ident;)+) => {
        impl<T: Serialize + DeserializeOwned> SetProxy<T> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`ManagerError`].
                pub fn $name<'a>(
                    &self,
                    other: impl IntoIterator<Item = &'a T>,
                ) -> Result<Vec<T>, ManagerError>
                where
                    T: 'a,
                {
                    self.combine(Combine::$how, other)
                }

                $(#[$doc_of])*
                ///
                /// # Errors
                /// [`ManagerError`].
                pub fn $update<'a>(
                    &self,
                    other: impl IntoIterator<Item = &'a T>,
                ) -> Result<(), ManagerError>
                where
                    T: 'a,
                {
                    self.assign(Combine::$how, other)
                }
            )+
        }
    };
}

combinations! {
    /// What is in either: `set | other`.
    union, /// Adds all of the other: `set |= other`.
    update => Union;
    /// What is in both: `set & other`.
    intersection, /// Keeps what is in the other: `set &= other`.
    intersection_update => Intersection;
    /// What is not in the other: `set - other`.
    difference, /// Removes what is in the other: `set -= other`.
    difference_update => Difference;
    /// What is in one of both: `set ^ other`.
    symmetric_difference, /// Keeps what is in one of both: `set ^= other`.
    symmetric_difference_update => SymmetricDifference;
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident => $how:ident;)+) => {
        impl<T: Serialize + DeserializeOwned> SetProxy<T> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`ManagerError`].
                pub fn $name<'a>(
                    &self,
                    other: impl IntoIterator<Item = &'a T>,
                ) -> Result<bool, ManagerError>
                where
                    T: 'a,
                {
                    self.with_all(other, |with| MapOp::Compare { how: Compare::$how, with })?.yes()
                }
            )+
        }
    };
}

comparisons! {
    /// Whether nothing is in both.
    is_disjoint => Disjoint;
    /// Whether all of it is in the other: `set <= other`.
    is_subset => Subset;
    /// Whether all of the other is in it: `set >= other`.
    is_superset => Superset;
}
