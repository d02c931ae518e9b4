//! Limits of all kinds, and workers that run into them.

use crate::templates::Owner;
use crate::world::World;
use fastrand::Rng;
use mpserverd::core::{Event, Limits, Rule, Sample, Section};
use mpserverd_proto::bounds::{Bound, Bounds};
use mpserverd_proto::death::Cause;
use mpserverd_proto::ids::WorkerId;
use std::time::Duration;

const SIGKILL: i32 = -9;

/// Some value of a limit that is soon met.
fn any_value(rng: &mut Rng, bound: Bound) -> i64 {
    match bound {
        Bound::Workers => rng.i64(1..6),
        Bound::Starts => rng.i64(1..60),
        Bound::Queue => rng.i64(0..20),
        Bound::WallTime | Bound::CpuTime | Bound::KillGrace => rng.i64(0..400),
        Bound::Memory => rng.i64(1..5) << 20,
        Bound::Nice => rng.i64(-5..5),
        _ => rng.i64(1..100),
    }
}

fn any_section(rng: &mut Rng) -> Section {
    let mut section = Section::new();
    for bound in Bound::ALL {
        if rng.u8(..8) == 0 {
            let value = any_value(rng, bound);
            section.insert(bound, Rule { value, set_in: "somewhere".into() });
        }
    }
    section
}

/// Some limits; none in half of all cases.
pub(crate) fn any_limits(rng: &mut Rng) -> Limits {
    let mut limits = Limits::default();
    if rng.bool() {
        return limits;
    }
    limits.sample_every = Duration::from_millis(rng.u64(10..100));
    limits.host = any_section(rng);
    for uid in [None, Some(1000), Some(1)] {
        if rng.u8(..3) == 0 {
            limits.uids.insert(uid, any_section(rng));
        }
    }
    for name in [None, Some("alpha".to_owned()), Some("pool-3".to_owned())] {
        if rng.u8(..3) == 0 {
            limits.modules.insert(name, any_section(rng));
        }
    }
    limits
}

/// What a client may ask for.
pub(crate) fn any_bounds(rng: &mut Rng) -> Bounds {
    let mut bounds = Bounds::default();
    for bound in Bound::of_worker() {
        if rng.u8(..6) == 0 {
            bounds.set(*bound, any_value(rng, *bound).max(*bound.range().start()));
        }
    }
    bounds
}

pub(crate) fn any_sample(rng: &mut Rng) -> Option<Sample> {
    let some = rng.u8(..4) > 0;
    some.then(|| Sample {
        cpu: Duration::from_millis(rng.u64(..500)),
        private: rng.bool().then(|| rng.u64(..8 << 20)),
        tasks: rng.u64(..120),
        took: Duration::from_micros(rng.u64(..5000)),
    })
}

impl World {
    /// A worker gets a group, or cannot have one.
    pub(crate) fn limit(&mut self, worker: WorkerId) {
        assert!(self.workers.contains_key(&worker), "{worker} is limited and is not there");
        if self.chance(10) {
            let after = self.some_ms(1);
            self.schedule(after, Event::NotHeld { worker });
        }
        self.groups.insert(worker);
    }

    pub(crate) fn measure(&mut self, worker: WorkerId) {
        let (after, sample) = (self.some_ms(5), any_sample(&mut self.rng));
        self.schedule(after, Event::Measured { worker, sample });
    }

    /// Killed with all its descendants; sometimes only at the second try.
    pub(crate) fn kill_tree(&mut self, worker: WorkerId) {
        let is_there = self.workers.get(&worker).is_some_and(|w| w.owner == Owner::Client);
        if is_there && !self.chance(10) {
            let after = self.some_ms(3);
            self.schedule(after, Event::Blamed { worker, cause: Cause::Oom });
            self.end_worker(worker, after, SIGKILL);
        }
    }

    pub(crate) fn unlimit(&mut self, worker: WorkerId) {
        self.groups.remove(&worker);
    }
}
