//! Images that were damaged.
