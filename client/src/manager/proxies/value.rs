//! `ValueProxy`.

use crate::manager::error::ManagerError;
use crate::manager::handle::{Answered, pack};
use crate::manager::proxy::proxy;
use crate::manager::transaction::{retry, stored};
use crate::manager::wire::{CellOp, Item, Op};
use serde::Serialize;
use serde::de::DeserializeOwned;

proxy! {
    /// A value in a manager's server, as `SyncManager.Value`.
    ///
    /// ```no_run
    /// # use mpserverd_client as mp;
    /// # fn example(manager: &mp::Manager) -> Result<(), mp::ManagerError> {
    /// let total = manager.value(&0u64)?;
    /// total.update(|total| *total += 5)?; // atomic, unlike `value.value += 5` in the reference
    /// assert_eq!(total.get()?, 5);
    /// # Ok(())
    /// # }
    /// ```
    ValueProxy<T>
}

impl<T: Serialize + DeserializeOwned> ValueProxy<T> {
    fn with(
        &self,
        value: &T,
        op: impl FnOnce(Item<'_>) -> CellOp<'_>,
    ) -> Result<Answered, ManagerError> {
        let client = self.handle.client()?;
        let packed = pack(&client, Self::NAME, value)?;
        self.handle.ask_by(&client, Self::NAME, Op::Cell(op(packed.item())))
    }

    fn load(&self) -> Result<(u64, T), ManagerError> {
        let (version, mut values) = self.handle.ask(Self::NAME, Op::Cell(CellOp::Load))?.many()?;
        let missing = || ManagerError::Protocol("ValueProxy: no value came".to_owned());
        Ok((version, values.pop().ok_or_else(missing)?))
    }

    /// The value.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn get(&self) -> Result<T, ManagerError> {
        Ok(self.load()?.1)
    }

    /// Replaces it.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn set(&self, value: &T) -> Result<(), ManagerError> {
        self.with(value, |item| CellOp::Set { item })?.done()
    }

    /// Replaces it, and gives that of before.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn swap(&self, value: &T) -> Result<T, ManagerError> {
        self.with(value, |item| CellOp::Swap { item })?.one()
    }

    /// Replaces it if its encoding is that of `current`; whether it was.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn compare_exchange(&self, current: &T, new: &T) -> Result<bool, ManagerError> {
        let client = self.handle.client()?;
        let (current, new) = (pack(&client, Self::NAME, current)?, pack(&client, Self::NAME, new)?);
        let op = CellOp::CompareExchange { current: current.item(), new: new.item() };
        self.handle.ask_by(&client, Self::NAME, Op::Cell(op))?.yes()
    }

    /// Changes it by a function of what it is, atomically: if others have changed it meanwhile,
    /// the function runs again.
    ///
    /// # Errors
    /// [`ManagerError`], `Contended` among others.
    pub fn update<R>(&self, mut change: impl FnMut(&mut T) -> R) -> Result<R, ManagerError> {
        retry(Self::NAME, || {
            let (version, mut value) = self.load()?;
            let result = change(&mut value);
            let answered = self.with(&value, |item| CellOp::Store { version, item })?;
            Ok(stored(&answered)?.then_some(result))
        })
    }
}
