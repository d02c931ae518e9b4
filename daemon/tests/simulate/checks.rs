//! What every run must come to: rest when nothing happens any more, an end when it is stopped.

use crate::templates::Owner;
use crate::world::{Odds, World};
use mpserverd::core::{Ask, Event};
use mpserverd_proto::client::StopPolicy;
use std::time::Duration;

/// Deadlines that may pass between the last event and rest.
const TICKS_TO_REST_MAX: u64 = 3000;

impl World {
    /// Nothing new happens and nothing fails: in the end no deadline is left.
    pub(crate) fn come_to_rest(&mut self) {
        self.odds = Odds::NONE;
        let keep_sessions = self.rng.bool();
        let sessions: Vec<_> = self.clients.keys().copied().collect();
        for session in sessions {
            if !keep_sessions {
                self.close(session);
            }
        }
        let before = self.ticks;
        loop {
            // Those too that were deaf when they were let go or killed: a probe may wait for one.
            let ending = self.workers.iter().filter(|(_, w)| w.owner != Owner::Pool);
            let ending: Vec<_> = ending.map(|(id, _)| *id).collect();
            for worker in ending {
                let at = self.some_ms(20);
                self.end_worker(worker, at, 0);
            }
            if !self.advance_until(None) {
                break;
            }
            assert!(self.ticks - before < TICKS_TO_REST_MAX, "it does not come to rest");
        }
        assert!(self.is_quiet());
        self.prove();
        assert_eq!(self.core.next_deadline(), None, "an idle daemon wakes up");
        let waiting: usize = self.clients.values().map(|client| client.asked.len()).sum();
        assert_eq!(waiting, 0, "requests that were never answered");
    }

    /// At rest, a probe gets its proof.
    fn prove(&mut self) {
        let before = self.proven;
        // The first one may have been waiting for a fork that failed.
        for _ in 0..2 {
            self.tell(Event::ProbeDue);
            while self.advance_until(None) {}
            assert!(!self.core.is_probing());
        }
        assert_eq!(self.proven, before + 2, "a probe without its proof");
    }

    /// Stopped, the daemon finishes within the time that the policy allows.
    pub(crate) fn come_to_an_end(&mut self) {
        let grace = self.some_ms(500);
        let policies = [StopPolicy::Wait, StopPolicy::Term, StopPolicy::Kill];
        let policy = self.rng.choice(policies).unwrap_or_default();
        let began = self.now;
        self.tell(Event::StopAsked { origin: None, policy, grace });
        assert!(!self.listening);
        let again = self.chance(20);
        let margin = 3 * Duration::from_millis(300) + 2 * Duration::from_secs(5);
        let limit = began + grace + margin + Duration::from_secs(1);
        let mut steps = 0;
        while self.finished_at.is_none() {
            if steps == 5 && again {
                self.tell(Event::StopAsked { origin: None, policy, grace });
            }
            if !self.stop_step() {
                break;
            }
            assert!(self.now <= limit, "the stop takes too long");
            steps += 1;
        }
        assert!(self.finished_at.is_some(), "the stop hangs");
        assert!(self.core.is_drained());
        assert_eq!(self.core.next_deadline(), None);
        let waiting: usize = self.clients.values().map(|client| client.asked.len()).sum();
        assert_eq!(waiting, 0, "requests that were never answered");
    }

    /// One step of a stop, with clients that go on asking.
    fn stop_step(&mut self) -> bool {
        let session = self.clients.keys().next().copied();
        if let Some(session) = session.filter(|_| self.chance(10)) {
            let spec = self.any_spec();
            self.known_keys.insert(spec.key.clone());
            let asked = crate::clients::Asked::Open(spec.key.clone());
            self.ask(session, asked, Ask::Open(spec));
        }
        self.advance_until(None)
    }
}
