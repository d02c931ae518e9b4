//! What a manager makes.

use super::error::ManagerError;
use super::handle::{Handle, Packed, ask, items, pack, pack_all};
use super::manager::{ConnectedManager, NAME};
use super::proxies::{
    ArrayProxy, BarrierProxy, BoundedSemaphoreProxy, ConditionProxy, DictProxy, EventProxy,
    JoinableQueueProxy, ListProxy, LockProxy, NamespaceProxy, PoolProxy, QueueProxy, RLockProxy,
    SemaphoreProxy, SetProxy, ValueProxy,
};
use super::proxy::Proxy;
use super::wire::{New, Op, Start};
use crate::task::Task;
use serde::Serialize;
use serde::de::DeserializeOwned;

impl ConnectedManager {
    fn create<P: Proxy>(&self, new: New<'_>) -> Result<P, ManagerError> {
        Ok(P::from_handle(self.ask(Op::Create(new))?.object()?.0))
    }

    pub(super) fn create_user(
        &self,
        name: &'static str,
        constructor: &'static str,
        args: &impl Serialize,
    ) -> Result<Handle, ManagerError> {
        let client = self.client()?;
        let args = pack(&client, name, args)?;
        let new = New::User { name, constructor, args: args.item() };
        Ok(ask(&client, name, 0, Op::Create(new), None)?.object()?.0)
    }

    /// A list of these elements.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn list<T: Serialize + DeserializeOwned>(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<ListProxy<T>, ManagerError> {
        let packed = self.pack_owned(values)?;
        self.create(New::List(items(&packed)))
    }

    /// An array of these elements.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn array<T: Serialize + DeserializeOwned>(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<ArrayProxy<T>, ManagerError> {
        let packed = self.pack_owned(values)?;
        self.create(New::Array(items(&packed)))
    }

    /// A dict of these pairs; of two with the same key the last one.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn dict<K, V>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<DictProxy<K, V>, ManagerError>
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        let client = self.client()?;
        let pack = |(key, value): (K, V)| -> Result<_, ManagerError> {
            Ok((pack(&client, NAME, &key)?, pack(&client, NAME, &value)?))
        };
        let packed = pairs.into_iter().map(pack).collect::<Result<Vec<_>, _>>()?;
        let pairs = packed.iter().map(|(key, value)| (key.item(), value.item())).collect();
        self.create(New::Dict(pairs))
    }

    /// A dict in which each of these keys has that value: `dict.fromkeys`.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn dict_from_keys<K, V>(
        &self,
        keys: impl IntoIterator<Item = K>,
        value: &V,
    ) -> Result<DictProxy<K, V>, ManagerError>
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        let client = self.client()?;
        let value = pack(&client, NAME, value)?;
        let keys = self.pack_owned(keys)?;
        let pairs = keys.iter().map(|key| (key.item(), value.item())).collect();
        self.create(New::Dict(pairs))
    }

    /// A set of these elements.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn set<T: Serialize + DeserializeOwned>(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<SetProxy<T>, ManagerError> {
        let packed = self.pack_owned(values)?;
        self.create(New::Set(items(&packed)))
    }

    fn pack_owned<T: Serialize>(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Packed>, ManagerError> {
        let values = values.into_iter().collect::<Vec<_>>();
        pack_all(&*self.client()?, NAME, &values)
    }

    /// Attributes of any types; none at first.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn namespace(&self) -> Result<NamespaceProxy, ManagerError> {
        self.create(New::Namespace)
    }

    /// A value.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn value<T: Serialize + DeserializeOwned>(
        &self,
        value: &T,
    ) -> Result<ValueProxy<T>, ManagerError> {
        let packed = pack(&*self.client()?, NAME, value)?;
        self.create(New::Value(packed.item()))
    }

    /// A queue for so many items; 0 is as many as you like.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn queue<T: Serialize + DeserializeOwned>(
        &self,
        maxsize: usize,
    ) -> Result<QueueProxy<T>, ManagerError> {
        self.create(New::Queue { maxsize: maxsize as u64, joinable: false })
    }

    /// A joinable queue for so many items; 0 is as many as you like.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn joinable_queue<T: Serialize + DeserializeOwned>(
        &self,
        maxsize: usize,
    ) -> Result<JoinableQueueProxy<T>, ManagerError> {
        self.create(New::Queue { maxsize: maxsize as u64, joinable: true })
    }

    /// A lock.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn lock(&self) -> Result<LockProxy, ManagerError> {
        self.create(New::Lock)
    }

    /// A recursive lock.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn rlock(&self) -> Result<RLockProxy, ManagerError> {
        self.create(New::RLock)
    }

    /// A condition, with a lock of its own.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn condition(&self) -> Result<ConditionProxy, ManagerError> {
        self.create(New::Condition)
    }

    /// A semaphore of so many permits.
    ///
    /// # Errors
    /// [`ManagerError`], `Limit` for more than `i32::MAX`.
    pub fn semaphore(&self, value: u32) -> Result<SemaphoreProxy, ManagerError> {
        self.create(New::Semaphore { value, bounded: false })
    }

    /// A semaphore whose value never exceeds this one.
    ///
    /// # Errors
    /// As [`semaphore`](Self::semaphore).
    pub fn bounded_semaphore(&self, value: u32) -> Result<BoundedSemaphoreProxy, ManagerError> {
        self.create(New::Semaphore { value, bounded: true })
    }

    /// An event, not set.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn event(&self) -> Result<EventProxy, ManagerError> {
        self.create(New::Event)
    }

    /// A barrier for so many parties.
    ///
    /// # Errors
    /// [`ManagerError`], `Limit` for none or more than 65536.
    pub fn barrier(&self, parties: usize) -> Result<BarrierProxy, ManagerError> {
        self.create(New::Barrier { parties: u32::try_from(parties).unwrap_or(u32::MAX) })
    }

    /// A pool of so many workers, or of as many as there are processors if it is 0.
    ///
    /// # Errors
    /// [`ManagerError`], `Remote` with what the pool said when it cannot be made.
    pub fn pool(&self, processes: usize) -> Result<PoolProxy, ManagerError> {
        self.create(New::Pool { processes: processes as u64, initializer: None })
    }

    /// The same; each worker runs this task first.
    ///
    /// # Errors
    /// As [`pool`](Self::pool).
    pub fn pool_with_initializer<T: Task>(
        &self,
        processes: usize,
        args: T::Args,
    ) -> Result<PoolProxy, ManagerError> {
        let args = pack(&*self.client()?, NAME, &args)?;
        let initializer = Start { name: T::NAME, schema: T::SCHEMA, args: args.item() };
        self.create(New::Pool { processes: processes as u64, initializer: Some(initializer) })
    }
}
