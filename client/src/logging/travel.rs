//! How a worker comes by the memory and the level: with its job.

use super::memory::Hub;
use super::sender::Sender;
use super::{central, collector, level, sink, tee};
use crate::handles::SharedFd;
use crate::parcel::Parcel;
use crate::{Codec, current};
use mpserverd_proto::job::Log;
use std::os::fd::OwnedFd;

/// What names a memory for other processes: the bytes, and a descriptor.
pub(super) fn pack(hub: &Hub) -> Option<Parcel> {
    Parcel::pack(Codec::Bincode, &hub.state).ok().filter(|parcel| parcel.fds.len() == 1)
}

/// What a process of this one gets with its job. Without memory or descriptors for it, that is the
/// level only: a process that is not heard is better than none.
pub(crate) fn outgoing() -> (Log, Option<OwnedFd>) {
    let level = sink::level().map(level::number);
    let parcel = collector::parcel().or_else(|| sink::sender().map(|sender| sender.parcel.clone()));
    let Some(mut parcel) = parcel else { return (Log { level, memory: Vec::new() }, None) };
    match parcel.fds.pop().map(SharedFd::into_owned) {
        Some(Ok(fd)) => (Log { level, memory: parcel.bytes }, Some(fd)),
        _ => (Log { level, memory: Vec::new() }, None),
    }
}

/// What a module's copy of this crate is told: the same, if this process sends.
pub(crate) fn within() -> (Log, Option<SharedFd>) {
    let level = sink::level().map(level::number);
    let parcel = sink::sender().map(|sender| sender.parcel.clone()).unwrap_or_default();
    (Log { level, memory: parcel.bytes }, parcel.fds.into_iter().next())
}

/// Whether [`join`] would change anything.
pub(crate) fn is_news(log: &Log) -> bool {
    sink::sender().is_none_or(|sender| sender.parcel.bytes != log.memory)
        || sink::level().map(level::number) != log.level
}

/// This process, or copy of the crate, logs as its job says.
pub(crate) fn join(log: Log, fd: Option<OwnedFd>) {
    let filter = log.level.map(level::filter);
    let Some(fd) = fd else {
        if filter.is_some() {
            sink::set_inherited(filter);
        }
        if log.memory.is_empty() && current::is_fork() {
            // The starter writes its own log somewhere; this process is another one.
            collector::forget();
            sink::become_collector(false);
        }
        tracing_core::callsite::rebuild_interest_cache();
        return;
    };
    let parcel = Parcel { bytes: log.memory, fds: vec![fd.into()] };
    let hub = parcel.clone().unpack(Codec::Bincode).ok().and_then(|state| Hub::of(state).ok());
    // Nobody is left who could be told; the task runs all the same.
    let Some(hub) = hub else { return };
    collector::forget();
    if sink::sender().is_some_and(|sender| sender.is_to(&hub)) {
        sink::set_inherited(filter);
    } else {
        sink::become_sender(Sender::new(hub, parcel), filter);
    }
    if central::install() {
        return;
    }
    if current::is_fork() && !tee::is_global() {
        // The program's own subscriber came along: its output is not the collector's.
        central::install_here();
    } else {
        tracing_core::callsite::rebuild_interest_cache();
    }
}
