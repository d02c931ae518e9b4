//! Reloads and upgrades: whether one is under way, how the last one ended, and what is left of
//! earlier generations. How they are done stands elsewhere.

use super::Core;
use super::action::Action;
use super::event::{Origin, SessionId, Time};
use super::reload::Reload;
use super::report::millis;
use super::sight::Sight;
use super::story;
use super::workers::Owner;
use mpserverd_proto::ids::TemplateId;
use mpserverd_proto::job::END_IF_IDLE;
use mpserverd_proto::text::beginning;
use mpserverd_proto::upkeep::{Change, GenerationRow, Upkeep};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes that are kept of why nothing was changed.
const WHY_BYTES_MAX: usize = 1024;

/// One that is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Past {
    at: Time,
    took: Duration,
    pause: Option<Duration>,
    error: Option<String>,
}

/// Another program that is being tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trial {
    since: Time,
    origin: Origin,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Changes {
    reload: Option<Past>,
    upgrade: Option<Past>,
    trial: Option<Trial>,
}

impl Changes {
    /// Whether they can have come about, for the check of a book from elsewhere.
    pub(super) fn are_sound(&self, latest: Time) -> bool {
        let past = [&self.reload, &self.upgrade].into_iter().flatten();
        let short = |why: &String| why.len() <= WHY_BYTES_MAX;
        let mut sound = past.map(|it| it.at <= latest && it.error.as_ref().is_none_or(short));
        sound.all(|sound| sound) && self.trial.as_ref().is_none_or(|it| it.since <= latest)
    }
}

fn short(why: &str) -> String {
    beginning(why, WHY_BYTES_MAX).to_owned()
}

impl Core {
    /// A reload that was begun at this time is over.
    pub(super) fn note_reload(&mut self, since: Time, error: Option<&str>) {
        let took = self.now.since(since);
        let error = error.map(short);
        self.count_reload(error.is_none());
        self.changes.reload = Some(Past { at: self.now, took, pause: None, error });
    }

    /// A reload that could not even be begun.
    pub(super) fn reload_refused(&mut self, why: &str) {
        if self.reload.is_none() {
            self.note_reload(self.now, Some(why));
        }
    }

    pub(super) fn upgrade_began(&mut self, origin: Origin) {
        self.changes.trial = Some(Trial { since: self.now, origin });
    }

    pub(super) fn upgrade_ended(&mut self, pause: Duration, error: Option<&str>) {
        let trial = self.changes.trial.take();
        let took = trial.map_or(Duration::ZERO, |trial| self.now.since(trial.since));
        let error = error.map(short);
        self.count_upgrade(error.is_none());
        let pause = error.is_none().then_some(pause);
        self.changes.upgrade = Some(Past { at: self.now, took, pause, error });
    }

    /// Workers of this template are confined in another way than the configuration now wants, or it
    /// was retired a while ago: those that clients hold without having given them a job end, so
    /// that no start comes after the change and is confined as before it, and a client that has
    /// nothing more to start does not keep the template. One that has its job ignores the signal.
    pub(super) fn call_off_leases(&mut self, template: TemplateId) {
        let of = self.workers.iter_mut().filter(|(_, worker)| worker.template == template);
        let leased = of.filter(|(_, worker)| matches!(worker.owner, Owner::Client { .. }));
        for (id, worker) in leased {
            worker.outdated = true;
            self.out.push(Action::Signal { worker: *id, signal: END_IF_IDLE });
        }
    }

    fn past(&self, past: Option<&Past>, sight: Sight) -> Option<Change> {
        let Past { at, took, pause, error } = past?;
        let told = |error: &String| match sight {
            Sight::All => error.clone(),
            // It may quote the configuration.
            Sight::Of(_) => "operators are told why".to_owned(),
        };
        Some(Change {
            ago_ms: millis(self.now.since(*at)),
            took_ms: millis(*took),
            pause_us: pause.map(|pause| u64::try_from(pause.as_micros()).unwrap_or(u64::MAX)),
            error: error.as_ref().map(told),
        })
    }

    /// Reloads.
    pub(super) fn reloads(&self, sight: Sight) -> Upkeep {
        let running_ms = self.reload.as_ref().map(|it| millis(self.now.since(it.since())));
        Upkeep { running_ms, last: self.past(self.changes.reload.as_ref(), sight) }
    }

    /// Upgrades.
    pub(super) fn upgrades(&self, sight: Sight) -> Upkeep {
        let trial = self.changes.trial.as_ref();
        let running_ms = trial.map(|it| millis(self.now.since(it.since)));
        Upkeep { running_ms, last: self.past(self.changes.upgrade.as_ref(), sight) }
    }

    /// What is left of earlier generations. Walks templates; workers only if some have none.
    pub(super) fn generations(&self, sight: Sight) -> Vec<GenerationRow> {
        let mut rows = BTreeMap::<u32, GenerationRow>::new();
        let mut row = |generation, templates, workers| {
            let fresh = GenerationRow { generation, ..GenerationRow::default() };
            let row = rows.entry(generation).or_insert(fresh);
            row.templates += templates;
            row.workers += workers;
        };
        let mut with_template = 0;
        for template in self.templates.values() {
            with_template += u64::from(template.leased);
            if template.generation < self.generation && self.sees(sight, template) {
                row(template.generation, 1, u64::from(template.leased));
            }
        }
        if with_template < self.totals.leased {
            let orphans = self.workers.values().filter(|worker| {
                matches!(worker.owner, Owner::Client { .. })
                    && worker.generation < self.generation
                    && !self.templates.contains_key(&worker.template)
                    && sight.has_worker(worker)
            });
            orphans.for_each(|worker| row(worker.generation, 0, 1));
        }
        rows.into_values().filter(|row| row.templates + row.workers > 0).collect()
    }

    /// Reloads and upgrades in sentences, for whoever asks about the daemon itself.
    pub(super) fn tell_changes(&self, sight: Sight) -> Vec<String> {
        let mut told = Vec::new();
        let (reloads, upgrades) = (self.reloads(sight), self.upgrades(sight));
        if let Some(reload) = &self.reload {
            told.push(story::reloading(
                millis(self.now.since(reload.since())),
                &self.missing(reload),
            ));
        }
        told.extend(upgrades.running_ms.map(story::upgrading));
        told.extend(reloads.last.map(|last| story::changed("reload", &last)));
        told.extend(upgrades.last.map(|last| story::changed("upgrade", &last)));
        told.extend(self.generations(sight).iter().map(story::left_over));
        told
    }

    /// Names of templates that a reload still waits for.
    pub(super) fn missing(&self, reload: &Reload) -> Vec<String> {
        let missing = reload.not_ready().filter_map(|id| self.templates.get(&id));
        missing.map(|template| template.name.to_string()).collect()
    }

    /// What this client waits for that is no request for a worker.
    pub(super) fn awaited_change(&self, session: SessionId) -> Option<String> {
        let trial = self.changes.trial.as_ref()?;
        trial.origin.filter(|(asker, _)| *asker == session)?;
        Some(story::awaits_upgrade(millis(self.now.since(trial.since))))
    }
}
