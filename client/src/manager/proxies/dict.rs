//! `DictProxy`.

use super::iterator::IteratorProxy;
use super::methods::{collection_methods, count_methods};
use crate::manager::client::Client;
use crate::manager::error::ManagerError;
use crate::manager::handle::{Answered, Packed, pack};
use crate::manager::proxy::{Proxy, proxy};
use crate::manager::transaction::{retry, stored};
use crate::manager::wire::{Item, MapOp, Op};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

proxy! {
    /// A dict in a manager's server, as `SyncManager.dict`, in the order in which keys came.
    ///
    /// Keys are equal if their encodings are: use types whose equal values encode equally, such as
    /// text, numbers, and structs and tuples of those, but no sets with an order of their own.
    /// Values are copied on their way: to change one, store it again ([`update_value`] does that
    /// atomically), or have proxies as values. Each call is atomic, those too that compute here.
    ///
    /// [`update_value`]: Self::update_value
    DictProxy<K, V>
}

/// Keys and values ready to be sent.
pub(super) type PackedPairs = Vec<(Packed, Packed)>;

/// As they are sent.
pub(super) fn pairs(packed: &PackedPairs) -> Vec<(Item<'_>, Item<'_>)> {
    packed.iter().map(|(key, value)| (key.item(), value.item())).collect()
}

impl<K, V> DictProxy<K, V>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    fn ask(&self, op: MapOp<'_>) -> Result<Answered, ManagerError> {
        self.handle.ask(Self::NAME, Op::Map(op))
    }

    fn ask_by(&self, client: &Arc<Client>, op: MapOp<'_>) -> Result<Answered, ManagerError> {
        self.handle.ask_by(client, Self::NAME, Op::Map(op))
    }

    fn with_key(
        &self,
        key: &K,
        op: impl FnOnce(Item<'_>) -> MapOp<'_>,
    ) -> Result<Answered, ManagerError> {
        let client = self.handle.client()?;
        let key = pack(&client, Self::NAME, key)?;
        self.ask_by(&client, op(key.item()))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn get(&self, key: &K) -> Result<Option<V>, ManagerError> {
        self.with_key(key, |key| MapOp::Get { key })?.maybe()
    }

    /// Sets the value of a key: `dict[key] = value`.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn set(&self, key: &K, value: &V) -> Result<(), ManagerError> {
        self.update([(key, value)])
    }

    /// Sets the value of a key, and gives that of before.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn insert(&self, key: &K, value: &V) -> Result<Option<V>, ManagerError> {
        let client = self.handle.client()?;
        let (key, value) = (pack(&client, Self::NAME, key)?, pack(&client, Self::NAME, value)?);
        let op = MapOp::Insert { key: key.item(), value: value.item() };
        self.ask_by(&client, op)?.maybe()
    }

    /// The value of a key, which is set if there is none.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn setdefault(&self, key: &K, value: &V) -> Result<V, ManagerError> {
        let client = self.handle.client()?;
        let (key, value) = (pack(&client, Self::NAME, key)?, pack(&client, Self::NAME, value)?);
        let op = MapOp::SetDefault { key: key.item(), value: value.item() };
        self.ask_by(&client, op)?.one()
    }

    /// Removes a key, and gives its value.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn pop(&self, key: &K) -> Result<Option<V>, ManagerError> {
        self.with_key(key, |key| MapOp::Remove { key })?.maybe()
    }

    /// Removes the pair whose key came last.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn popitem(&self) -> Result<Option<(K, V)>, ManagerError> {
        Ok(self.ask(MapOp::PopItem)?.pairs()?.1.pop())
    }

    /// Whether there is a key.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn contains(&self, key: &K) -> Result<bool, ManagerError> {
        self.with_key(key, |key| MapOp::Contains { key })?.yes()
    }

    collection_methods!(MapOp, "keys");

    /// Sets the values of several keys, all at once: `dict.update(pairs)`, `dict |= pairs`.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn update<'a>(
        &self,
        with: impl IntoIterator<Item = (&'a K, &'a V)>,
    ) -> Result<(), ManagerError>
    where
        K: 'a,
        V: 'a,
    {
        let client = self.handle.client()?;
        let pack = |(key, value)| -> Result<_, ManagerError> {
            Ok((pack(&client, Self::NAME, key)?, pack(&client, Self::NAME, value)?))
        };
        let packed = with.into_iter().map(pack).collect::<Result<PackedPairs, _>>()?;
        let op = MapOp::Extend { pairs: pairs(&packed) };
        self.ask_by(&client, op)?.done()
    }

    /// All keys.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn keys(&self) -> Result<Vec<K>, ManagerError> {
        Ok(self.ask(MapOp::Keys)?.many()?.1)
    }

    /// All values.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn values(&self) -> Result<Vec<V>, ManagerError> {
        Ok(self.ask(MapOp::Values)?.many()?.1)
    }

    /// All pairs, as they were at one moment: `dict.items()`, `dict.copy()`.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn items(&self) -> Result<Vec<(K, V)>, ManagerError> {
        Ok(self.ask(MapOp::LoadAll)?.pairs()?.1)
    }

    /// An iterator over the keys as they are now, in the server: any number of processes take from
    /// it.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn iter(&self) -> Result<IteratorProxy<K>, ManagerError> {
        let (handle, _) = self.ask(MapOp::Iterate)?.object()?;
        Ok(IteratorProxy::from_handle(handle))
    }

    /// Changes the value of a key by a function of what it is, or of `None`; a function that gives
    /// `None` removes the key. It is atomic: if others have changed that value meanwhile, the
    /// function runs again. Gives what is there now.
    ///
    /// ```no_run
    /// # use mpserverd_client as mp;
    /// # fn count(words: &mp::DictProxy<String, u64>) -> Result<(), mp::ManagerError> {
    /// let word = "prose".to_owned();
    /// words.update_value(&word, |count| Some(count.unwrap_or(0) + 1))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ManagerError`], `Contended` among others.
    pub fn update_value(
        &self,
        key: &K,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<Option<V>, ManagerError> {
        let client = self.handle.client()?;
        let key = pack(&client, Self::NAME, key)?;
        retry(Self::NAME, || {
            let (version, mut found) =
                self.ask_by(&client, MapOp::Load { key: key.item() })?.many()?;
            let version = (!found.is_empty()).then_some(version);
            let new = change(found.pop());
            let packed = match &new {
                Some(new) => Some(pack(&client, Self::NAME, new)?),
                None => None,
            };
            let value = packed.as_ref().map(Packed::item);
            let answered =
                self.ask_by(&client, MapOp::Store { key: key.item(), version, value })?;
            Ok(stored(&answered)?.then_some(new))
        })
    }

    /// Keeps the pairs that `keep` says yes to, atomically; it may run more than once.
    ///
    /// # Errors
    /// [`ManagerError`], `Contended` among others.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> Result<(), ManagerError> {
        let client = self.handle.client()?;
        retry(Self::NAME, || {
            let (version, mut all) = self.ask(MapOp::LoadAll)?.pairs::<K, V>()?;
            all.retain(|(key, value)| keep(key, value));
            let pack = |(key, value): &(K, V)| -> Result<_, ManagerError> {
                Ok((pack(&client, Self::NAME, key)?, pack(&client, Self::NAME, value)?))
            };
            let packed = all.iter().map(pack).collect::<Result<PackedPairs, _>>()?;
            let op = MapOp::StoreAll { version, pairs: pairs(&packed) };
            let answered = self.ask_by(&client, op)?;
            Ok(stored(&answered)?.then_some(()))
        })
    }
}
