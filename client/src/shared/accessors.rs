//! The accessors that an array with a lock has, whether the lock is held or yet to be taken.

/// Writes them for a type. `read` gives where to read, `write` where to write; `errors` says what
/// can go wrong in either.
macro_rules! accessors {
    ($self:ident, read: $read:expr, write: $write:expr, errors: $errors:literal) => {
        /// How many elements there are.
        #[must_use]
        pub fn len(&$self) -> usize {
            $self.raw.len()
        }

        /// Whether there are none.
        #[must_use]
        pub fn is_empty(&$self) -> bool {
            $self.raw.is_empty()
        }

        /// An element.
        ///
        /// # Errors
        #[doc = $errors]
        pub fn get(&$self, index: usize) -> Result<T, ShareError> {
            $read.get(index)
        }

        /// Replaces an element.
        ///
        /// # Errors
        #[doc = $errors]
        pub fn set(&$self, index: usize, value: T) -> Result<(), ShareError> {
            $write.set(index, value)
        }

        /// Copies the elements from `from` on, as many as `into` has.
        ///
        /// # Errors
        #[doc = $errors]
        /// Nothing is copied then.
        pub fn copy_to(&$self, from: usize, into: &mut [T]) -> Result<(), ShareError> {
            $read.copy_to(from, into)
        }

        /// Replaces the elements from `at` on, as many as `from` has.
        ///
        /// # Errors
        #[doc = $errors]
        /// Nothing is copied then.
        pub fn copy_from(&$self, at: usize, from: &[T]) -> Result<(), ShareError> {
            $write.copy_from(at, from)
        }

        /// A copy of a range of elements.
        ///
        /// # Errors
        #[doc = $errors]
        pub fn slice(&$self, range: impl RangeBounds<usize>) -> Result<Vec<T>, ShareError> {
            $read.slice(range)
        }
    };
}

pub(super) use accessors;
