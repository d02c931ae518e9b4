//! `mpctl logs`: records that are there at once, and clients that wait for the next.
//!
//! A client that follows asks again and again for what comes after the last record that it got.
//! So nobody has a queue of his own here: who reads too slowly misses records, and is told how
//! many.

use super::Server;
use crate::core::SessionId;
use crate::logging::RING;
use mpserverd_proto::client::Reply;
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::limits::LOG_FOLLOWERS_MAX;
use mpserverd_proto::record::LogLevel;
use std::time::{Duration, Instant};

/// A request that waits for records.
#[derive(Debug)]
struct Follower {
    session: SessionId,
    id: RequestId,
    after: u64,
    limit: u32,
    level: LogLevel,
    until: Instant,
}

/// Everybody who waits for records.
#[derive(Debug, Default)]
pub(super) struct Followers {
    waiting: Vec<Follower>,
    /// Number of the newest record when they were last told.
    told: u64,
}

impl Followers {
    /// When the first of them gives up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|follower| follower.until).min()
    }

    /// Forgets who is gone.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.waiting.retain(|follower| follower.session != session);
    }
}

/// What a client wants of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) after: Option<u64>,
    pub(super) limit: u32,
    pub(super) level: LogLevel,
    pub(super) wait: Duration,
}

impl Server<'_> {
    /// Answers with records, or lets the request wait for the next.
    pub(super) fn show_log(&mut self, session: SessionId, id: RequestId, wanted: Wanted) {
        let Wanted { after, limit, level, wait } = wanted;
        let report = RING.read(after, limit, level);
        if after.is_none() || wait.is_zero() || !report.records.is_empty() || report.lost > 0 {
            return self.answer(session, id, Reply::Logs(report));
        }
        let waiting = self.followers.waiting.len();
        if waiting >= LOG_FOLLOWERS_MAX {
            let (waiting, limit) = (waiting as u64, LOG_FOLLOWERS_MAX as u64);
            let refusal = Refusal::QueueFull { waiting, limit };
            return self.answer(session, id, Reply::Refused(refusal));
        }
        let until = Instant::now() + wait;
        let after = report.after;
        self.followers.waiting.push(Follower { session, id, after, limit, level, until });
    }

    /// A client takes a request back; true if it was one for records.
    pub(super) fn stop_following(&mut self, session: SessionId, id: RequestId) -> bool {
        let waiting = &mut self.followers.waiting;
        let Some(at) = waiting.iter().position(|f| (f.session, f.id) == (session, id)) else {
            return false;
        };
        waiting.swap_remove(at);
        self.answer(session, id, Reply::Refused(Refusal::Cancelled));
        true
    }

    /// Nobody waits for records any longer: each has what there is, and may ask again.
    pub(super) fn release_followers(&mut self) {
        let now = Instant::now();
        self.followers.waiting.iter_mut().for_each(|follower| follower.until = now);
        self.tell_followers();
    }

    /// Tells everybody who waits what has been written meanwhile, or that their time is over.
    pub(super) fn tell_followers(&mut self) {
        if self.followers.waiting.is_empty() {
            return;
        }
        let newest = RING.newest();
        let news = std::mem::replace(&mut self.followers.told, newest) != newest;
        let now = Instant::now();
        let mut answers = Vec::new();
        self.followers.waiting.retain_mut(|follower| {
            let late = follower.until <= now;
            if !news && !late {
                return true;
            }
            let report = RING.read(Some(follower.after), follower.limit, follower.level);
            follower.after = report.after;
            let stays = report.records.is_empty() && report.lost == 0 && !late;
            if !stays {
                answers.push((follower.session, follower.id, report));
            }
            stays
        });
        for (session, id, report) in answers {
            self.answer(session, id, Reply::Logs(report));
        }
    }
}
