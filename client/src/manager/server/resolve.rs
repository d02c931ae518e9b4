//! Values of a request become values that the server keeps.

use super::answer::Stored;
use crate::manager::wire::{Failure, Item};

/// Who knows the objects that a value may refer to.
pub(super) trait Resolve {
    /// The value, with its objects.
    ///
    /// # Errors
    /// [`Failure::NoObject`] when whoever sent it has no reference to one of them.
    fn resolve(&self, item: Item<'_>) -> Result<Stored, Failure>;

    /// Several.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    fn all(&self, items: Vec<Item<'_>>) -> Result<Vec<Stored>, Failure> {
        items.into_iter().map(|item| self.resolve(item)).collect()
    }

    /// Several pairs.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    fn pairs(&self, pairs: Vec<(Item<'_>, Item<'_>)>) -> Result<Vec<(Stored, Stored)>, Failure> {
        pairs.into_iter().map(|(a, b)| Ok((self.resolve(a)?, self.resolve(b)?))).collect()
    }
}
