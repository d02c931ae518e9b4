//! Requests of one pool that wait: first come first served within a session, round robin between
//! the sessions of a user, and between users. Every operation is logarithmic, whatever stands in
//! the queue. No deadlines and no limits here.

use super::event::SessionId;
use mpserverd_proto::ids::RequestId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Numbers of places above this are not believed: the next ones would not fit any more.
const NUMBER_MAX: u64 = u64::MAX / 2;
/// What is wrong with a queue that none of ours has written.
const CONTRADICTION: &str = "a queue whose turns contradict each other";

/// Place of a request in its session's lane; grows, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Ticket(u64);

/// Requests of one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Lane {
    uid: u32,
    /// When it is this session's turn among those of its user: the lowest is next.
    turn: u64,
    waiting: BTreeMap<Ticket, RequestId>,
}

/// Sessions of one user.
#[derive(Clone, Debug)]
struct User {
    /// When it is this user's turn: the lowest is next.
    turn: u64,
    turns: BTreeMap<u64, SessionId>,
    len: usize,
}

/// What of a queue is written down; the rest follows from it.
#[derive(Serialize, Deserialize)]
struct Written {
    lanes: BTreeMap<SessionId, Lane>,
    /// The turn of each user.
    #[serde(default)]
    turns_of: BTreeMap<u32, u64>,
    next: u64,
}

/// The queue.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct FairQueue {
    lanes: BTreeMap<SessionId, Lane>,
    users: BTreeMap<u32, User>,
    turns: BTreeMap<u64, u32>,
    len: usize,
    next: u64,
}

impl From<FairQueue> for Written {
    fn from(queue: FairQueue) -> Self {
        let turns_of = queue.turns.into_iter().map(|(turn, uid)| (uid, turn)).collect();
        Self { lanes: queue.lanes, turns_of, next: queue.next }
    }
}

impl TryFrom<Written> for FairQueue {
    type Error = &'static str;

    fn try_from(Written { lanes, turns_of, next }: Written) -> Result<Self, Self::Error> {
        let mut users: BTreeMap<u32, User> = BTreeMap::new();
        for (uid, turn) in turns_of {
            users.insert(uid, User { turn, turns: BTreeMap::new(), len: 0 });
        }
        let later = |number: u64| number >= next || next > NUMBER_MAX;
        for (id, lane) in &lanes {
            let last = lane.waiting.last_key_value();
            let user = users.get_mut(&lane.uid).ok_or(CONTRADICTION)?;
            let twice = user.turns.insert(lane.turn, *id).is_some();
            user.len += lane.waiting.len();
            if twice || later(lane.turn) || last.is_none_or(|(ticket, _)| later(ticket.0)) {
                return Err(CONTRADICTION);
            }
        }
        let turns: BTreeMap<_, _> = users.iter().map(|(uid, user)| (user.turn, *uid)).collect();
        let is_wrong = |user: &User| later(user.turn) || user.len == 0;
        if turns.len() != users.len() || users.values().any(is_wrong) {
            return Err(CONTRADICTION);
        }
        let len = users.values().map(|user| user.len).sum();
        Ok(Self { lanes, users, turns, len, next })
    }
}

impl FairQueue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Users of whom requests wait, with how many, in the order of their turns.
    pub(super) fn uids(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        self.turns.values().filter_map(|uid| Some((*uid, self.users.get(uid)?.len)))
    }

    /// Lets a request wait. A session or user that had none gets the last turn.
    pub(super) fn push(&mut self, uid: u32, session: SessionId, request: RequestId) -> Ticket {
        visit();
        let number = self.next;
        self.next += 1;
        let lane = self.lanes.entry(session).or_insert_with(|| {
            let user = self.users.entry(uid).or_insert_with(|| {
                self.turns.insert(number, uid);
                User { turn: number, turns: BTreeMap::new(), len: 0 }
            });
            user.turns.insert(number, session);
            Lane { uid, turn: number, waiting: BTreeMap::new() }
        });
        lane.waiting.insert(Ticket(number), request);
        if let Some(user) = self.users.get_mut(&lane.uid) {
            user.len += 1;
        }
        self.len += 1;
        Ticket(number)
    }

    /// Takes the request whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(SessionId, RequestId)> {
        let (_, uid) = self.turns.first_key_value()?;
        self.pop_of(*uid)
    }

    /// Takes the request of this user whose turn it is; its session and its user go to the end of
    /// their rounds.
    pub(super) fn pop_of(&mut self, uid: u32) -> Option<(SessionId, RequestId)> {
        visit();
        let user = self.users.get_mut(&uid)?;
        let (_, session) = user.turns.pop_first()?;
        let lane = self.lanes.get_mut(&session)?;
        let (_, request) = lane.waiting.pop_first()?;
        self.len -= 1;
        user.len -= 1;
        let turn = self.next;
        self.next += 1;
        if lane.waiting.is_empty() {
            self.lanes.remove(&session);
        } else {
            lane.turn = turn;
            user.turns.insert(turn, session);
        }
        self.turns.remove(&user.turn);
        if user.len == 0 {
            self.users.remove(&uid);
        } else {
            user.turn = turn;
            self.turns.insert(turn, uid);
        }
        Some((session, request))
    }

    /// Takes a request back; false if it does not wait.
    pub(super) fn remove(&mut self, session: SessionId, ticket: Ticket) -> bool {
        visit();
        let Some(lane) = self.lanes.get_mut(&session) else { return false };
        if lane.waiting.remove(&ticket).is_none() {
            return false;
        }
        self.len -= 1;
        let Some(user) = self.users.get_mut(&lane.uid) else { return false };
        user.len -= 1;
        if user.len == 0 {
            self.turns.remove(&user.turn);
            self.users.remove(&lane.uid);
        } else if lane.waiting.is_empty() {
            user.turns.remove(&lane.turn);
        }
        if lane.waiting.is_empty() {
            self.lanes.remove(&session);
        }
        true
    }

    /// How many are served before this one, if nobody comes or goes; `None` if it does not wait.
    pub(super) fn ahead(&self, session: SessionId, ticket: Ticket) -> Option<usize> {
        let lane = self.lanes.get(&session)?;
        lane.waiting.get(&ticket)?;
        let own = lane.waiting.range(..ticket).count();
        let user = self.users.get(&lane.uid)?;
        let sessions = user.turns.values().filter(|other| **other != session);
        let others = sessions.filter_map(|other| self.lanes.get_key_value(other));
        let before = others.map(|(_, other)| {
            // One turn in every round before ours, and one in ours if it comes first in that.
            let turns = own + usize::from(other.turn < lane.turn);
            turns.min(other.waiting.len())
        });
        let own = own + before.sum::<usize>();
        let others = self.users.iter().filter(|(uid, _)| **uid != lane.uid);
        // The same between users.
        let before =
            others.map(|(_, other)| (own + usize::from(other.turn < user.turn)).min(other.len));
        Some(own + before.sum::<usize>())
    }

    /// Counts again, for the audit.
    pub(super) fn recount(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }
}

/// Counts operations in tests, which prove with it that reports do not walk the queue.
#[cfg(test)]
pub(super) mod visits {
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }

    /// One more.
    pub(in crate::core) fn add() {
        COUNT.set(COUNT.get() + 1);
    }

    /// Operations so far on this thread.
    pub(in crate::core) fn count() -> u64 {
        COUNT.get()
    }
}

#[cfg(test)]
fn visit() {
    visits::add();
}

#[cfg(not(test))]
fn visit() {}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    #[test]
    fn a_greedy_session_does_not_starve_another() {
        let mut queue = FairQueue::default();
        for id in 0..100 {
            queue.push(7, A, RequestId(id));
        }
        queue.push(7, B, RequestId(0));
        queue.push(7, B, RequestId(1));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).take(5).collect();
        let want = [(A, 0), (B, 0), (A, 1), (B, 1), (A, 2)];
        assert_eq!(order, want.map(|(session, id)| (session, RequestId(id))));
        assert_eq!(queue.len(), queue.recount());
    }

    proptest::proptest! {
        #[test]
        fn who_is_ahead_is_served_before(sessions in proptest::collection::vec(0u64..5, 1..40)) {
            let mut queue = FairQueue::default();
            let mut tickets = Vec::new();
            for (number, session) in sessions.iter().enumerate() {
                if number % 3 == 2 {
                    queue.pop();
                }
                let uid = u32::from(*session > 1);
                let (session, request) = (SessionId(*session), RequestId(number as u64));
                tickets.push((session, queue.push(uid, session, request), request));
            }
            let ahead = |(session, ticket, request): &(SessionId, Ticket, RequestId)| {
                queue.ahead(*session, *ticket).map(|ahead| (ahead, *session, *request))
            };
            let mut told: Vec<_> = tickets.iter().filter_map(ahead).collect();
            told.sort_unstable();
            for (at, (ahead, session, request)) in told.into_iter().enumerate() {
                assert_eq!((ahead, queue.pop()), (at, Some((session, request))));
            }
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn a_user_with_many_sessions_does_not_starve_another() {
        let mut queue = FairQueue::default();
        for id in 0..9 {
            queue.push(7, SessionId(id), RequestId(id));
        }
        queue.push(8, SessionId(20), RequestId(20));
        queue.push(8, SessionId(20), RequestId(21));
        assert_eq!(queue.uids().collect::<Vec<_>>(), [(7, 9), (8, 2)]);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, id)| id.0).collect();
        assert_eq!(order, [0, 20, 1, 21, 2, 3, 4, 5, 6, 7, 8]);
        queue.push(7, A, RequestId(1));
        queue.push(8, B, RequestId(2));
        assert_eq!(queue.pop_of(8), Some((B, RequestId(2))));
        assert_eq!(queue.pop_of(8), None);
        assert_eq!(queue.uids().collect::<Vec<_>>(), [(7, 1)]);
    }

    #[test]
    fn what_was_taken_back_is_not_served() {
        let mut queue = FairQueue::default();
        let first = queue.push(7, A, RequestId(1));
        queue.push(7, A, RequestId(2));
        let other = queue.push(7, B, RequestId(3));
        assert!(queue.remove(A, first));
        assert!(!queue.remove(A, first));
        assert!(queue.remove(B, other));
        assert_eq!(queue.pop(), Some((A, RequestId(2))));
        assert_eq!(queue.pop(), None);
        assert!(queue.is_empty());
    }
}
