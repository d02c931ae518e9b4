//! Newtypes for everything that has a number, so that no two kinds can be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[cfg_attr(test, derive(arbitrary::Arbitrary))]
        pub struct $name(
            /// The number itself.
            pub u64,
        );

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

id!(
    /// A worker (or spare), for as long as anybody can ask about it. Never reused.
    WorkerId,
    "w"
);
id!(
    /// A template process. A rebuilt template gets a new id.
    TemplateId,
    "t"
);
id!(
    /// What a template is built *from*: executable or module set, with its options.
    ///
    /// It outlives the template processes that are built for it one after another.
    PoolId,
    "p"
);
id!(
    /// A request of one session, chosen by the client; the reply carries it back.
    RequestId,
    "r"
);
