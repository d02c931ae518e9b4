//! Methods that several proxies have.

/// How many there are: of what has elements; what they are called comes with it.
macro_rules! count_methods {
    ($op:ident, $many:literal) => {
        #[doc = concat!("How many ", $many, " there are.")]
        ///
        /// # Errors
        /// [`ManagerError`].
        pub fn len(&self) -> Result<usize, ManagerError> {
            self.ask($op::Len)?.count()
        }

        /// Whether there are none.
        ///
        /// # Errors
        /// [`ManagerError`].
        pub fn is_empty(&self) -> Result<bool, ManagerError> {
            self.len().map(|length| length == 0)
        }
    };
}

/// Those, and one that removes all.
macro_rules! collection_methods {
    ($op:ident, $many:literal) => {
        count_methods!($op, $many);

        /// Removes all.
        ///
        /// # Errors
        /// [`ManagerError`].
        pub fn clear(&self) -> Result<(), ManagerError> {
            self.ask($op::Clear)?.done()
        }
    };
}

/// Those of a lock, or of the lock that something has: `$it` is what is taken and released, `$what`
/// what is said of a release.
macro_rules! mutex_methods {
    ($it:literal, $what:literal) => {
        #[doc = concat!("Takes ", $it, " as `multiprocessing` does: waits if `block` is set, for ever")]
        /// without a timeout. A timeout without `block` is ignored.
        ///
        /// # Errors
        /// [`ManagerError`].
        pub fn acquire(
            &self,
            block: bool,
            timeout: Option<Duration>,
        ) -> Result<Acquired, ManagerError> {
            acquire(&self.handle, Self::NAME, block, timeout)
        }

        #[doc = concat!("Releases ", $it, ", ", $what, ".")]
        ///
        /// # Errors
        /// [`ManagerError`], `Sync` among others.
        pub fn release(&self) -> Result<(), ManagerError> {
            ask(&self.handle, Self::NAME, MutexOp::Release)?.done()
        }

        #[doc = concat!("Whether somebody holds ", $it, " just now.")]
        ///
        /// # Errors
        /// [`ManagerError`].
        pub fn locked(&self) -> Result<bool, ManagerError> {
            ask(&self.handle, Self::NAME, MutexOp::Locked)?.yes()
        }

        /// Says that what the lock protects is in order again, after an owner died. To be called
        /// while it is held.
        ///
        /// # Errors
        /// [`ManagerError`], `Sync` among others.
        pub fn make_consistent(&self) -> Result<(), ManagerError> {
            ask(&self.handle, Self::NAME, MutexOp::MakeConsistent)?.done()
        }
    };
}

pub(super) use {collection_methods, count_methods, mutex_methods};
