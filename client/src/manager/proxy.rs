//! What all proxies can do, and how they are declared.

use super::error::ManagerError;
use super::handle::Handle;
use super::wire::Op;
use crate::connection::Address;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A proxy: a value that stands for an object of a manager's server.
///
/// Clones are the same object. Proxies travel as values, in arguments and results of tasks, items
/// of queues, messages on connections and values of other proxies; whoever receives one refers to
/// the object until it drops it. The object lives for as long as anybody refers to it: a process, a
/// value of another object, a name, or a lease while a proxy travels.
pub trait Proxy: Clone + Serialize + DeserializeOwned {
    /// The type of the proxy, for errors.
    const TYPE: &'static str;

    /// The part of it that does not know its type.
    #[doc(hidden)]
    fn handle(&self) -> &Handle;

    /// Made of that part.
    #[doc(hidden)]
    fn from_handle(handle: Handle) -> Self;

    /// The type of the object, as the server has it.
    #[doc(hidden)]
    fn label() -> &'static str {
        Self::TYPE
    }

    /// Whether both stand for the same object.
    fn is_same(&self, other: &Self) -> bool {
        self.handle().is_same(other.handle())
    }

    /// Where the server is.
    fn manager_address(&self) -> &Address {
        self.handle().address()
    }

    /// The same object; but no call of this proxy waits for the server, or for what it waits for
    /// there, longer than this. `None` is for ever, as it is at first.
    ///
    /// A call whose time passes is [`ManagerError::Timeout`]: whether it was carried out cannot be
    /// known then.
    #[must_use]
    fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        Self::from_handle(self.handle().with_timeout(timeout.into()))
    }
}

/// A proxy of an object of a user's type: see [`remote`](macro@crate::remote).
pub trait RemoteObject: Proxy {
    /// Says that the object is in order, after a method with `&mut self` panicked. Until then its
    /// methods are [`ManagerError::Poisoned`].
    ///
    /// # Errors
    /// [`ManagerError`].
    fn make_consistent(&self) -> Result<(), ManagerError> {
        self.handle().ask(Self::TYPE, Op::MakeConsistent)?.done()
    }
}

/// Declares a proxy; also for the macro [`remote`](macro@crate::remote), which says what the
/// server calls the type.
#[doc(hidden)]
#[macro_export]
macro_rules! __proxy {
    ($(#[$doc:meta])* $name:ident $(<$($of:ident),+>)? $(, $label:expr)?) => {
        $(#[$doc])*
        pub struct $name $(<$($of),+>)? {
            handle: $crate::__private::ProxyHandle,
            of: std::marker::PhantomData<fn() -> ($($($of,)+)?)>,
        }

        impl $(<$($of),+>)? Clone for $name $(<$($of),+>)? {
            fn clone(&self) -> Self {
                Self { handle: self.handle.clone(), of: std::marker::PhantomData }
            }
        }

        impl $(<$($of),+>)? std::fmt::Debug for $name $(<$($of),+>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.handle)
            }
        }

        impl $(<$($of),+>)? $crate::__private::serde::Serialize for $name $(<$($of),+>)? {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                $crate::__private::serde::Serialize::serialize(&self.handle, serializer)
            }
        }

        impl<'de $($(, $of)+)?> $crate::__private::serde::Deserialize<'de> for $name $(<$($of),+>)? {
            fn deserialize<D: $crate::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                let handle = $crate::__private::serde::Deserialize::deserialize(deserializer)?;
                Ok(Self { handle, of: std::marker::PhantomData })
            }
        }

        impl $(<$($of),+>)? $crate::Proxy for $name $(<$($of),+>)? {
            const TYPE: &'static str = stringify!($name);

            fn handle(&self) -> &$crate::__private::ProxyHandle {
                &self.handle
            }

            fn from_handle(handle: $crate::__private::ProxyHandle) -> Self {
                Self { handle, of: std::marker::PhantomData }
            }

            $(fn label() -> &'static str {
                $label
            })?
        }

        impl $(<$($of),+>)? $name $(<$($of),+>)? {
            /// Its name, for errors.
            const NAME: &'static str = stringify!($name);
        }
    };
}

pub(super) use crate::__proxy as proxy;
