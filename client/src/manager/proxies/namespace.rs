//! `NamespaceProxy`.

use crate::manager::client::Client;
use crate::manager::error::ManagerError;
use crate::manager::handle::{Answered, pack};
use crate::manager::proxy::proxy;
use crate::manager::transaction::{retry, stored};
use crate::manager::wire::{Item, MapOp, Op};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

proxy! {
    /// Attributes of any types in a manager's server, as `SyncManager.Namespace`.
    ///
    /// ```no_run
    /// # use mpserverd_client as mp;
    /// # fn example(manager: &mp::Manager) -> Result<(), mp::ManagerError> {
    /// let options = manager.namespace()?;
    /// options.set("depth", &3u32)?;
    /// options.set("title", "fern")?;
    /// assert_eq!(options.get::<u32>("depth")?, Some(3));
    /// assert_eq!(options.names()?, ["depth", "title"]);
    /// # Ok(())
    /// # }
    /// ```
    NamespaceProxy
}

impl NamespaceProxy {
    fn ask_by(&self, client: &Arc<Client>, op: MapOp<'_>) -> Result<Answered, ManagerError> {
        self.handle.ask_by(client, Self::NAME, Op::Map(op))
    }

    fn with(
        &self,
        name: &str,
        op: impl FnOnce(Item<'_>) -> MapOp<'_>,
    ) -> Result<Answered, ManagerError> {
        let client = self.handle.client()?;
        let name = pack(&client, Self::NAME, name)?;
        self.handle.ask_by(&client, Self::NAME, Op::Map(op(name.item())))
    }

    /// An attribute, if there is one of that name.
    ///
    /// # Errors
    /// [`ManagerError`], `Codec` for one of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ManagerError> {
        self.with(name, |key| MapOp::Get { key })?.maybe()
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), ManagerError> {
        let client = self.handle.client()?;
        let (name, value) = (pack(&client, Self::NAME, name)?, pack(&client, Self::NAME, value)?);
        let op = MapOp::Extend { pairs: vec![(name.item(), value.item())] };
        self.handle.ask_by(&client, Self::NAME, Op::Map(op))?.done()
    }

    /// Removes an attribute; whether there was one: `del namespace.name`.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn delete(&self, name: &str) -> Result<bool, ManagerError> {
        let answered = self.with(name, |key| MapOp::Remove { key })?;
        match answered.body()? {
            crate::manager::wire::Body::Maybe(before) => Ok(before.is_some()),
            _ => Err(ManagerError::Protocol("Namespace: an answer of another kind".to_owned())),
        }
    }

    /// Whether there is an attribute of that name.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn contains(&self, name: &str) -> Result<bool, ManagerError> {
        self.with(name, |key| MapOp::Contains { key })?.yes()
    }

    /// The names of all, in the order in which they came.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn names(&self) -> Result<Vec<String>, ManagerError> {
        Ok(self.handle.ask(Self::NAME, Op::Map(MapOp::Keys))?.many()?.1)
    }

    /// Changes an attribute by a function of what it is, or of `None`, atomically: if others have
    /// changed it meanwhile, the function runs again. Gives what is there now.
    ///
    /// # Errors
    /// [`ManagerError`], `Contended` among others.
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        mut change: impl FnMut(Option<T>) -> T,
    ) -> Result<T, ManagerError> {
        let client = self.handle.client()?;
        let key = pack(&client, Self::NAME, name)?;
        retry(Self::NAME, || {
            let (version, mut found) =
                self.ask_by(&client, MapOp::Load { key: key.item() })?.many()?;
            let version = (!found.is_empty()).then_some(version);
            let new = change(found.pop());
            let packed = pack(&client, Self::NAME, &new)?;
            let value = Some(packed.item());
            let answered =
                self.ask_by(&client, MapOp::Store { key: key.item(), version, value })?;
            Ok(stored(&answered)?.then_some(new))
        })
    }
}
