//! Which spans there are in this process, and which a thread is in.
//!
//! Locks are held for a look, and waited for a few milliseconds at most: whoever forks while
//! another thread has one leaves a child in which it is never released. Such a child has spans
//! without fields, and goes on.

use super::encode::Values;
use super::record::{self, CHAIN_BYTES_MAX, CHAIN_MAX};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;
use tracing::Metadata;
use tracing::span::Record;
use tracing_core::field::ValueSet;

const SHARDS: usize = 16;
/// Bytes of fields that a span keeps.
const FIELDS_BYTES_MAX: usize = 4 << 10;

/// A span.
#[derive(Debug)]
struct Span {
    metadata: &'static Metadata<'static>,
    /// 0 for none.
    parent: u64,
    /// Grows when fields do.
    revision: u32,
    fields: Vec<u8>,
    handles: usize,
}

/// All spans of a subscriber.
#[derive(Debug)]
pub(super) struct Spans {
    shards: [Mutex<BTreeMap<u64, Span>>; SHARDS],
    next: AtomicU64,
}

thread_local! {
    /// The spans that this thread has entered, each with the subscriber whose it is.
    static ENTERED: RefCell<Vec<(usize, u64)>> = const { RefCell::new(Vec::new()) };
}

/// Takes a lock that others hold for a moment; `None` if it seems that nobody will release it.
pub(super) fn soon<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for round in 0..200 {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if round < 100 => std::hint::spin_loop(),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(50)),
        }
    }
    None
}

impl Spans {
    pub(super) const fn new() -> Self {
        let shards = [const { Mutex::new(BTreeMap::new()) }; SHARDS];
        Self { shards, next: AtomicU64::new(1) }
    }

    fn shard(&self, id: u64) -> Option<MutexGuard<'_, BTreeMap<u64, Span>>> {
        soon(&self.shards[id as usize % SHARDS])
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// A number that no span has yet.
    pub(super) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new span with these values, which keeps its parent (0 for none).
    pub(super) fn add(
        &self,
        id: u64,
        metadata: &'static Metadata<'static>,
        parent: u64,
        values: &ValueSet<'_>,
    ) {
        let mut fields = Vec::new();
        values.record(&mut Values { bytes: &mut fields, limit: FIELDS_BYTES_MAX });
        if parent != 0 {
            self.keep(parent);
        }
        if let Some(mut shard) = self.shard(id) {
            shard.insert(id, Span { metadata, parent, revision: 0, fields, handles: 1 });
        }
    }

    /// Adds values to a span; what it is, if there is one.
    pub(super) fn update(
        &self,
        id: u64,
        values: &Record<'_>,
    ) -> Option<&'static Metadata<'static>> {
        let mut added = Vec::new();
        values.record(&mut Values { bytes: &mut added, limit: FIELDS_BYTES_MAX });
        let mut shard = self.shard(id)?;
        let span = shard.get_mut(&id)?;
        if span.fields.len() + added.len() <= FIELDS_BYTES_MAX {
            span.fields.append(&mut added);
            span.revision += 1;
        }
        Some(span.metadata)
    }

    /// One more handle.
    pub(super) fn keep(&self, id: u64) {
        if let Some(span) = self.shard(id).as_mut().and_then(|shard| shard.get_mut(&id)) {
            span.handles += 1;
        }
    }

    /// One handle less. Calls `closed` with the span if that was the last one, and with the
    /// parents that only it kept; returns whether it was.
    pub(super) fn drop_one(&self, id: u64, mut closed: impl FnMut(u64)) -> bool {
        let mut at = id;
        while at != 0 {
            let Some(mut shard) = self.shard(at) else { break };
            let Some(span) = shard.get_mut(&at) else { break };
            span.handles -= 1;
            if span.handles > 0 {
                break;
            }
            let parent = span.parent;
            shard.remove(&at);
            drop(shard);
            closed(at);
            at = parent;
        }
        at != id
    }

    /// This thread enters a span.
    pub(super) fn enter(&self, id: u64) {
        // A thread that is ending enters nothing more.
        let _ = ENTERED.try_with(|entered| {
            if let Ok(mut entered) = entered.try_borrow_mut() {
                entered.push((self.key(), id));
            }
        });
    }

    /// This thread leaves a span, in whatever order.
    pub(super) fn exit(&self, id: u64) {
        let _ = ENTERED.try_with(|entered| {
            let Ok(mut entered) = entered.try_borrow_mut() else { return };
            if let Some(at) = entered.iter().rposition(|known| *known == (self.key(), id)) {
                entered.remove(at);
            }
        });
    }

    /// The span that this thread is in; 0 for none.
    pub(super) fn current(&self) -> u64 {
        let current = ENTERED.try_with(|entered| {
            let entered = entered.try_borrow().ok()?;
            entered.iter().rev().find(|(key, _)| *key == self.key()).map(|(_, id)| *id)
        });
        current.ok().flatten().unwrap_or(0)
    }

    /// What a span is.
    pub(super) fn metadata(&self, id: u64) -> Option<&'static Metadata<'static>> {
        self.shard(id)?.get(&id).map(|span| span.metadata)
    }

    /// The nearest span for which something holds, from one on outwards.
    pub(super) fn nearest(&self, mut id: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
        for _ in 0..CHAIN_MAX {
            if id == 0 || holds(id) {
                return Some(id).filter(|id| *id != 0);
            }
            id = self.shard(id)?.get(&id)?.parent;
        }
        None
    }

    /// Appends a span and those around it, the innermost first: as many as there is room for.
    pub(super) fn chain(&self, mut id: u64, into: &mut Vec<u8>) {
        let begin = into.len();
        into.push(0);
        for count in 1..=CHAIN_MAX as u8 {
            if id == 0 {
                return;
            }
            let Some(shard) = self.shard(id) else { return };
            let Some(span) = shard.get(&id) else { return };
            let before = into.len();
            into.extend_from_slice(&id.to_le_bytes());
            into.extend_from_slice(&span.revision.to_le_bytes());
            let fits = record::put_callsite(into, span.metadata);
            record::put_block(into, |into| into.extend_from_slice(&span.fields));
            if !fits || into.len() - begin > CHAIN_BYTES_MAX {
                into.truncate(before);
                return;
            }
            into[begin] = count;
            id = span.parent;
        }
    }
}
