//! What can be asked of an object, by kind.

use super::Item;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::manager) enum SequenceOp<'a> {
    Len,
    Clear,
    Reverse,
    Repeat {
        times: u64,
    },
    /// All of it, with its version.
    Load,
    /// All of it, if the version still is this one.
    Store {
        version: u64,
        #[serde(borrow)]
        items: Vec<Item<'a>>,
    },
    Get {
        index: u64,
    },
    Set {
        index: u64,
        #[serde(borrow)]
        item: Item<'a>,
    },
    Insert {
        index: u64,
        #[serde(borrow)]
        item: Item<'a>,
    },
    Delete {
        index: u64,
    },
    Extend {
        #[serde(borrow)]
        items: Vec<Item<'a>>,
    },
    /// The one there, or the last.
    Pop {
        index: Option<u64>,
    },
    Slice {
        from: u64,
        to: u64,
    },
    SetSlice {
        from: u64,
        to: u64,
        #[serde(borrow)]
        items: Vec<Item<'a>>,
    },
    Count {
        #[serde(borrow)]
        item: Item<'a>,
    },
    Index {
        #[serde(borrow)]
        item: Item<'a>,
    },
    Remove {
        #[serde(borrow)]
        item: Item<'a>,
    },
    Iterate,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::manager) enum MapOp<'a> {
    Len,
    Clear,
    Get {
        #[serde(borrow)]
        key: Item<'a>,
    },
    Contains {
        #[serde(borrow)]
        key: Item<'a>,
    },
    /// The value of before is the answer.
    Insert {
        #[serde(borrow)]
        key: Item<'a>,
        #[serde(borrow)]
        value: Item<'a>,
    },
    /// What is there now is the answer.
    SetDefault {
        #[serde(borrow)]
        key: Item<'a>,
        #[serde(borrow)]
        value: Item<'a>,
    },
    Remove {
        #[serde(borrow)]
        key: Item<'a>,
    },
    PopItem,
    Keys,
    Values,
    Extend {
        #[serde(borrow)]
        pairs: Vec<(Item<'a>, Item<'a>)>,
    },
    /// One value, with its version.
    Load {
        #[serde(borrow)]
        key: Item<'a>,
    },
    /// One value (or none), if the version of what is there is this one.
    Store {
        #[serde(borrow)]
        key: Item<'a>,
        version: Option<u64>,
        #[serde(borrow)]
        value: Option<Item<'a>>,
    },
    /// All of it, with its version.
    LoadAll,
    /// All of it, if the version still is this one.
    StoreAll {
        version: u64,
        #[serde(borrow)]
        pairs: Vec<(Item<'a>, Item<'a>)>,
    },
    /// What a set and others make together; kept if `assign`.
    Combine {
        how: Combine,
        #[serde(borrow)]
        with: Vec<Item<'a>>,
        assign: bool,
    },
    /// How a set and others compare.
    Compare {
        how: Compare,
        #[serde(borrow)]
        with: Vec<Item<'a>>,
    },
    Iterate,
}

/// What two sets make together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::manager) enum Combine {
    Union,
    Intersection,
    Difference,
    SymmetricDifference,
}

/// How two sets compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::manager) enum Compare {
    Disjoint,
    Subset,
    Superset,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::manager) enum CellOp<'a> {
    Load,
    Set {
        #[serde(borrow)]
        item: Item<'a>,
    },
    Swap {
        #[serde(borrow)]
        item: Item<'a>,
    },
    Store {
        version: u64,
        #[serde(borrow)]
        item: Item<'a>,
    },
    CompareExchange {
        #[serde(borrow)]
        current: Item<'a>,
        #[serde(borrow)]
        new: Item<'a>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::manager) enum QueueOp<'a> {
    Put {
        #[serde(borrow)]
        item: Item<'a>,
        block: bool,
    },
    Get {
        block: bool,
    },
    /// An item that came too late for the one who asked.
    PutBack {
        #[serde(borrow)]
        item: Item<'a>,
    },
    Size,
    TaskDone {
        items: u64,
    },
    Join,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::manager) enum MutexOp {
    Acquire { block: bool },
    Release,
    Locked,
    MakeConsistent,
    Wait,
    Notify { count: u64 },
    Waiters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::manager) enum SemaphoreOp {
    Acquire { block: bool },
    Release { count: u32 },
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::manager) enum EventOp {
    Set,
    Clear,
    IsSet,
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::manager) enum BarrierOp {
    /// Whether the last to come is to run an action before the others go on.
    Wait {
        action: bool,
    },
    /// The action is done, or has failed.
    Acted {
        well: bool,
    },
    Abort,
    Reset,
    Status,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::manager) enum PoolOp<'a> {
    /// Applies a task to each input. The answer is all outcomes, or an object that will have them
    /// if `detached`.
    Run {
        name: &'a str,
        schema: u64,
        #[serde(borrow)]
        inputs: Vec<Item<'a>>,
        detached: bool,
    },
    Close,
    Terminate,
    Join {
        timeout_ms: Option<u64>,
    },
}

/// The initializer of a pool's workers.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::manager) struct Start<'a> {
    pub(in crate::manager) name: &'a str,
    pub(in crate::manager) schema: u64,
    #[serde(borrow)]
    pub(in crate::manager) args: Item<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::manager) enum PendingOp {
    Get,
    Ready,
}
