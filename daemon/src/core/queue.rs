//! Requests of one pool that wait: first come first served within a session, round robin between
//! sessions. Every operation is logarithmic, whatever stands in the queue. No deadlines here.

use super::event::SessionId;
use mpserverd_proto::ids::RequestId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Numbers of places above this are not believed: the next ones would not fit any more.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// Place of a request in its session's lane; grows, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Ticket(u64);

/// Requests of one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Lane {
    /// When it is this session's turn: the lowest is next.
    turn: u64,
    waiting: BTreeMap<Ticket, RequestId>,
}

/// What of a queue is written down; the rest follows from it.
#[derive(Serialize, Deserialize)]
struct Written {
    lanes: BTreeMap<SessionId, Lane>,
    next: u64,
}

/// The queue.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct FairQueue {
    lanes: BTreeMap<SessionId, Lane>,
    turns: BTreeMap<u64, SessionId>,
    len: usize,
    next: u64,
}

impl From<FairQueue> for Written {
    fn from(queue: FairQueue) -> Self {
        Self { lanes: queue.lanes, next: queue.next }
    }
}

impl TryFrom<Written> for FairQueue {
    type Error = &'static str;

    fn try_from(Written { lanes, next }: Written) -> Result<Self, Self::Error> {
        let turns: BTreeMap<_, _> = lanes.iter().map(|(id, lane)| (lane.turn, *id)).collect();
        let later = |number: u64| number >= next || next > NUMBER_MAX;
        let is_wrong = |lane: &Lane| {
            let last = lane.waiting.last_key_value();
            later(lane.turn) || last.is_none_or(|(ticket, _)| later(ticket.0))
        };
        if turns.len() != lanes.len() || lanes.values().any(is_wrong) {
            return Err("a queue whose turns contradict each other");
        }
        let len = lanes.values().map(|lane| lane.waiting.len()).sum();
        Ok(Self { lanes, turns, len, next })
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

    /// Lets a request wait. A session that had none gets the last turn.
    pub(super) fn push(&mut self, session: SessionId, request: RequestId) -> Ticket {
        visit();
        let number = self.next;
        self.next += 1;
        let lane = self.lanes.entry(session).or_insert_with(|| {
            self.turns.insert(number, session);
            Lane { turn: number, waiting: BTreeMap::new() }
        });
        lane.waiting.insert(Ticket(number), request);
        self.len += 1;
        Ticket(number)
    }

    /// Takes the request whose turn it is; its session goes to the end of the round.
    pub(super) fn pop(&mut self) -> Option<(SessionId, RequestId)> {
        visit();
        let (_, session) = self.turns.pop_first()?;
        let lane = self.lanes.get_mut(&session)?;
        let (_, request) = lane.waiting.pop_first()?;
        self.len -= 1;
        if lane.waiting.is_empty() {
            self.lanes.remove(&session);
        } else {
            lane.turn = self.next;
            self.turns.insert(self.next, session);
            self.next += 1;
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
        if lane.waiting.is_empty() {
            self.turns.remove(&lane.turn);
            self.lanes.remove(&session);
        }
        true
    }

    /// How many are served before this one, if nobody comes or goes; `None` if it does not wait.
    pub(super) fn ahead(&self, session: SessionId, ticket: Ticket) -> Option<usize> {
        let lane = self.lanes.get(&session)?;
        lane.waiting.get(&ticket)?;
        let own = lane.waiting.range(..ticket).count();
        let others = self.lanes.iter().filter(|(other, _)| **other != session);
        let before = others.map(|(_, other)| {
            // One turn in every round before ours, and one in ours if it comes first in that.
            let turns = own + usize::from(other.turn < lane.turn);
            turns.min(other.waiting.len())
        });
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
            queue.push(A, RequestId(id));
        }
        queue.push(B, RequestId(0));
        queue.push(B, RequestId(1));
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
                let (session, request) = (SessionId(*session), RequestId(number as u64));
                tickets.push((session, queue.push(session, request), request));
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
    fn what_was_taken_back_is_not_served() {
        let mut queue = FairQueue::default();
        let first = queue.push(A, RequestId(1));
        queue.push(A, RequestId(2));
        let other = queue.push(B, RequestId(3));
        assert!(queue.remove(A, first));
        assert!(!queue.remove(A, first));
        assert!(queue.remove(B, other));
        assert_eq!(queue.pop(), Some((A, RequestId(2))));
        assert_eq!(queue.pop(), None);
        assert!(queue.is_empty());
    }
}
