//! Upgrades, configurations that cannot be read, and such that confine workers otherwise.

use crate::templates::Owner;
use crate::world::World;
use mpserverd::core::Event;
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::job::END_IF_IDLE;

impl World {
    /// One of those.
    pub(crate) fn change_something(&mut self) {
        match self.rng.u8(..4) {
            0 => {
                self.tell(Event::UpgradeBegan { origin: None });
                let (after, pause) = (self.some_ms(200), self.some_ms(9));
                let error = self.rng.bool().then(|| "it says no".to_owned());
                self.schedule(after, Event::UpgradeEnded { pause, error });
            }
            1 => self.tell(Event::ReloadRefused { why: "no such key".to_owned() }),
            _ => {
                let templates: Vec<_> = self.templates.keys().copied().collect();
                if let Some(template) = self.rng.choice(templates) {
                    self.tell(Event::TemplateOutdated { template });
                }
            }
        }
    }

    /// A worker that has no job yet is to end.
    pub(crate) fn end_if_idle(&mut self, id: WorkerId) {
        // An operator may send it, too, and to spares.
        let leased = self.workers.get(&id).is_some_and(|worker| worker.owner == Owner::Client);
        if leased && self.rng.bool() {
            let at = self.some_ms(5);
            self.end_worker(id, at, -END_IF_IDLE);
        }
    }
}
