//! Who sees what: operators everything, users their own workers, and the templates that serve them.
//! Who may open a pool at all the loop has decided before.

use super::event::SessionId;
use super::pool::Pool;
use super::workers::{Owner, Worker};
use super::{Core, Settings};

/// What a session sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Everything.
    All,
    /// What is this user's.
    Of(u32),
}

impl Settings {
    /// Whether this user sees and controls everything.
    fn is_operator(&self, uid: u32) -> bool {
        uid == 0 || self.operators.contains(&uid)
    }
}

impl Sight {
    /// Whether a pool, its template and their modules are seen.
    pub(super) fn has_pool(self, pool: &Pool) -> bool {
        match self {
            Self::All => true,
            Self::Of(uid) => pool.spec.uid.is_none_or(|owner| owner == uid),
        }
    }

    /// Whether a worker is seen, and may be signalled. A spare that may become anybody's is not.
    pub(super) fn has_worker(self, worker: &Worker) -> bool {
        match self {
            Self::All => true,
            Self::Of(uid) => worker.uid == Some(uid),
        }
    }

    /// Whether a client's connections are seen.
    pub(super) fn has_client(self, uid: u32) -> bool {
        self == Self::All || self == Self::Of(uid)
    }

    /// Whether the certificate of a worker that this user had is seen.
    pub(super) fn has_death(self, client_uid: Option<u32>) -> bool {
        match self {
            Self::All => true,
            Self::Of(uid) => client_uid == Some(uid),
        }
    }
}

impl Core {
    /// What this session sees.
    pub(super) fn sight(&self, session: SessionId) -> Sight {
        let uid = self.sessions.get(&session).map_or(u32::MAX, |session| session.peer.uid);
        self.sight_of(uid)
    }

    /// What this user sees.
    pub(super) fn sight_of(&self, uid: u32) -> Sight {
        if self.settings.is_operator(uid) { Sight::All } else { Sight::Of(uid) }
    }

    /// Whether a pool is of a user who is no operator: it must not keep operators from anything.
    pub(super) fn is_users(&self, pool: &Pool) -> bool {
        !pool.preloaded && pool.spec.uid.is_some_and(|uid| !self.settings.is_operator(uid))
    }

    /// How many workers a session may know of: those that clients have.
    pub(super) fn leased_in(&self, sight: Sight) -> u64 {
        match sight {
            Sight::All => self.totals.leased,
            Sight::Of(_) => {
                let leased = |worker: &&Worker| matches!(worker.owner, Owner::Client { .. });
                let seen = self.workers.values().filter(leased).filter(|w| sight.has_worker(w));
                seen.count() as u64
            }
        }
    }
}
