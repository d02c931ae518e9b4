//! Processes in tight loops on a shared object, of which one after the other is killed.
//!
//! The members are workers of a private daemon, so ten thousand of them start in seconds. A test
//! kills one at a random instant, looks what the others and the object say, and goes on with a
//! replacement.

use crate::seeds::Moments;
use crate::suite::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

/// Workers on one object.
pub struct Crew<'a, R> {
    start: Box<dyn FnMut(usize) -> mp::ProcessBuilder<R> + 'a>,
    members: Vec<mp::Process<R>>,
}

impl<R> std::fmt::Debug for Crew<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.members).finish()
    }
}

impl<'a, R> Crew<'a, R> {
    /// So many members; `start` describes the one for a place, at first and when it is replaced.
    ///
    /// # Panics
    /// When one does not start.
    pub fn new(size: usize, start: impl FnMut(usize) -> mp::ProcessBuilder<R> + 'a) -> Self {
        let mut crew = Self { start: Box::new(start), members: Vec::new() };
        for place in 0..size {
            let member = (crew.start)(place).daemon(true).start().unwrap();
            crew.members.push(member);
        }
        crew
    }

    /// The members, by place.
    #[must_use]
    pub fn members(&self) -> &[mp::Process<R>] {
        &self.members
    }

    /// Lets them work for a random time below `within`, kills one of them, waits for its end and
    /// gives its place. It is not replaced: see [`replace`](Self::replace).
    ///
    /// # Panics
    /// When it was dead already: nobody but this may end a member.
    pub fn kill_one(&mut self, moments: &mut Moments, within: Duration) -> usize {
        std::thread::sleep(Duration::from_nanos(moments.below(within.as_nanos() as u64)));
        let place = moments.below(self.members.len() as u64) as usize;
        self.kill(place);
        place
    }

    /// Kills a member and waits for its end.
    ///
    /// # Panics
    /// When it was dead already.
    pub fn kill(&mut self, place: usize) {
        let member = &self.members[place];
        assert!(member.is_alive(), "{member:?} ended by itself: {:?}", member.exitcode());
        kill(Pid::from_raw(member.pid() as i32), Signal::SIGKILL).unwrap();
        assert_eq!(member.join_timeout(PATIENCE), Some(-9), "{member:?}");
    }

    /// Puts a new member in the place of a dead one.
    ///
    /// # Panics
    /// When it does not start.
    pub fn replace(&mut self, place: usize) {
        self.members[place] = (self.start)(place).daemon(true).start().unwrap();
    }

    /// Waits for every member to end by itself and gives the results, by place.
    ///
    /// # Panics
    /// When one does not end, or has no result.
    #[must_use]
    pub fn finish(mut self) -> Vec<R> {
        let members = std::mem::take(&mut self.members);
        let results = members.into_iter().map(|member| {
            let result = crate::suite::outcome(&member);
            assert_eq!(crate::suite::end(&member), 0, "{member:?}");
            result.unwrap_or_else(|error| panic!("{error}"))
        });
        results.collect()
    }
}

impl<R> Drop for Crew<'_, R> {
    fn drop(&mut self) {
        for member in &self.members {
            let _ = member.kill();
        }
    }
}
