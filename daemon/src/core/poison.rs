//! Tasks of which workers die again and again, and nobody knows why: they are refused for a while.
//!
//! Only unexplained deaths blame a task: its worker ended before it was over, by itself or by a
//! signal that nobody here sent. Operators, limits, the kernel's want of memory and a client's own
//! signals do not. A worker of a pool is known by the task of the user that it ran last, so no pool
//! is refused as a whole.
//!
//! Nothing here has a timer: what is over is noticed by the next one who asks.

use super::event::{PoolKey, Time};
use super::settings::PoisonRule;
use mpserverd_proto::death::{Cause, LastWords};
use mpserverd_proto::error::Refusal;
use mpserverd_proto::status::ExitRecord;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Tasks that may be under suspicion at once; beyond, the one that has been quiet longest is let go.
pub(super) const SUSPECTS_MAX: usize = 1024;

/// The library's own tasks, which run those of users.
const OWN: &str = "mp.";

/// A task that workers died of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Suspect {
    /// When the last ones died: as many as the rule counts.
    deaths: VecDeque<Time>,
    refused_until: Option<Time>,
}

/// All of them, by what they belong to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Poison {
    suspects: BTreeMap<PoolKey, BTreeMap<String, Suspect>>,
    count: usize,
}

/// Whether a death is to be blamed on the task.
pub(super) fn is_unexplained(cause: Cause, record: &ExitRecord, last: &LastWords) -> bool {
    let is_strange = matches!(cause, Cause::Itself | Cause::Unknown) && record.code != 0;
    is_strange && !last.finished && !last.task.is_empty() && !last.task.starts_with(OWN)
}

impl Poison {
    /// A worker died of it. True if it is refused from now on.
    pub(super) fn blame(
        &mut self,
        key: &PoolKey,
        task: &str,
        now: Time,
        rule: &PoisonRule,
    ) -> bool {
        let most = usize::try_from(rule.deaths).unwrap_or(usize::MAX);
        if most == 0 {
            return false;
        }
        let is_known = self.suspects.get(key).is_some_and(|tasks| tasks.contains_key(task));
        if !is_known {
            if self.count >= SUSPECTS_MAX {
                self.let_one_go();
            }
            self.count += 1;
        }
        let tasks = self.suspects.entry(key.clone()).or_default();
        let suspect = tasks.entry(task.to_owned()).or_default();
        suspect.deaths.retain(|death| now.since(*death) < rule.window);
        suspect.deaths.push_back(now);
        if suspect.deaths.len() < most {
            return false;
        }
        suspect.deaths.drain(..suspect.deaths.len() - most);
        suspect.refused_until = now.after(rule.back_off);
        true
    }

    /// A death has been explained after all.
    pub(super) fn absolve(&mut self, key: &PoolKey, task: &str, rule: &PoisonRule) {
        let suspect = self.suspects.get_mut(key).and_then(|tasks| tasks.get_mut(task));
        let Some(suspect) = suspect else { return };
        suspect.deaths.pop_back();
        if suspect.deaths.len() < usize::try_from(rule.deaths).unwrap_or(usize::MAX) {
            suspect.refused_until = None;
        }
    }

    fn let_one_go(&mut self) {
        let all = self.suspects.iter().flat_map(|(key, tasks)| {
            tasks.iter().map(move |(task, suspect)| (suspect.deaths.back().copied(), key, task))
        });
        let quietest = all.min().map(|(_, key, task)| (key.clone(), task.clone()));
        let Some((key, task)) = quietest else { return };
        let Some(tasks) = self.suspects.get_mut(&key) else { return };
        tasks.remove(&task);
        self.count -= 1;
        if tasks.is_empty() {
            self.suspects.remove(&key);
        }
    }

    /// Whether a worker may be had for this task.
    pub(super) fn check(
        &self,
        key: &PoolKey,
        task: Option<&str>,
        now: Time,
        rule: &PoisonRule,
    ) -> Result<(), Refusal> {
        let Some(tasks) = self.suspects.get(key).filter(|_| rule.deaths > 0) else { return Ok(()) };
        let refused = |suspect: &Suspect| suspect.refused_until.filter(|until| *until > now);
        let Some(task) = task else {
            let is_any = tasks.values().any(|suspect| refused(suspect).is_some());
            return if is_any { Err(Refusal::TaskUnnamed) } else { Ok(()) };
        };
        let Some((suspect, until)) = tasks.get(task).and_then(|s| Some((s, refused(s)?))) else {
            return Ok(());
        };
        Err(Refusal::Poisoned {
            task: task.to_owned(),
            deaths: u32::try_from(suspect.deaths.len()).unwrap_or(u32::MAX),
            window_ms: super::report::millis(rule.window),
            retry_after_ms: super::report::millis(until.since(now)).max(1),
        })
    }

    /// What the audit must find true.
    pub(super) fn audit(&self) -> Result<(), String> {
        let count: usize = self.suspects.values().map(BTreeMap::len).sum();
        if count != self.count || count > SUSPECTS_MAX {
            return Err(format!("{count} suspects, the book says {}", self.count));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpserverd_proto::death::LimitKind;
    use mpserverd_proto::status::{Reporter, Usage};
    use std::time::Duration;

    const RULE: PoisonRule = PoisonRule {
        deaths: 3,
        window: Duration::from_secs(60),
        back_off: Duration::from_secs(10),
    };

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    fn key(number: u8) -> PoolKey {
        PoolKey(vec![number])
    }

    #[test]
    fn a_task_is_refused_after_so_many_deaths_and_tried_again_later() {
        let mut poison = Poison::default();
        for second in 0..2 {
            assert!(!poison.blame(&key(1), "bad", at(second), &RULE));
            assert_eq!(poison.check(&key(1), Some("bad"), at(second), &RULE), Ok(()));
        }
        assert!(poison.blame(&key(1), "bad", at(2), &RULE));
        let refusal = poison.check(&key(1), Some("bad"), at(3), &RULE).expect_err("refused");
        let expected = Refusal::Poisoned {
            task: "bad".into(),
            deaths: 3,
            window_ms: 60_000,
            retry_after_ms: 9_000,
        };
        assert_eq!(refusal, expected);
        assert!(refusal.to_string().contains("3 workers died of it within 60 s"), "{refusal}");
        assert_eq!(poison.check(&key(1), None, at(3), &RULE), Err(Refusal::TaskUnnamed));
        for (other, task) in [(1, "good"), (2, "bad")] {
            assert_eq!(poison.check(&key(other), Some(task), at(3), &RULE), Ok(()));
        }
        assert_eq!(poison.check(&key(2), None, at(3), &RULE), Ok(()));
        assert_eq!(poison.check(&key(1), Some("bad"), at(12), &RULE), Ok(()), "it may try");
        assert!(poison.blame(&key(1), "bad", at(13), &RULE), "and has but one try");
        assert_eq!(poison.check(&key(1), Some("bad"), at(100), &RULE), Ok(()));
        assert!(!poison.blame(&key(1), "bad", at(100), &RULE), "those are long past");
        poison.audit().expect("sound");
    }

    #[test]
    fn what_is_explained_later_does_not_count() {
        let mut poison = Poison::default();
        (0..3).for_each(|second| _ = poison.blame(&key(1), "bad", at(second), &RULE));
        poison.absolve(&key(1), "bad", &RULE);
        assert_eq!(poison.check(&key(1), Some("bad"), at(3), &RULE), Ok(()));
        poison.absolve(&key(9), "unknown", &RULE);
    }

    #[test]
    fn without_a_rule_nothing_is_refused() {
        let mut poison = Poison::default();
        let off = PoisonRule { deaths: 0, ..RULE };
        (0..9).for_each(|second| _ = poison.blame(&key(1), "bad", at(second), &off));
        assert_eq!(poison.count, 0);
        (0..9).for_each(|second| _ = poison.blame(&key(1), "bad", at(second), &RULE));
        assert_eq!(poison.check(&key(1), Some("bad"), at(9), &off), Ok(()), "it was switched off");
    }

    #[test]
    fn suspects_are_bounded_and_the_quietest_goes_first() {
        let mut poison = Poison::default();
        for number in 0..3 * SUSPECTS_MAX as u64 {
            poison.blame(&key((number % 7) as u8), &number.to_string(), at(number), &RULE);
            poison.audit().expect("sound");
        }
        assert_eq!(poison.count, SUSPECTS_MAX);
        let last = (3 * SUSPECTS_MAX as u64 - 1).to_string();
        assert!(poison.suspects.values().any(|tasks| tasks.contains_key(&last)));
    }

    #[test]
    fn only_unexplained_deaths_in_the_middle_of_a_task_blame_it() {
        let (usage, reporter) = (Usage::default(), Reporter::Template);
        let record = |code| ExitRecord { code, core: false, usage, reporter, out_of_cpu: false };
        let words = |task: &str, finished| LastWords {
            task: task.into(),
            finished,
            ..LastWords::default()
        };
        let running = words("resize", false);
        assert!(is_unexplained(Cause::Itself, &record(-11), &running));
        assert!(is_unexplained(Cause::Unknown, &record(-9), &running));
        assert!(is_unexplained(Cause::Itself, &record(3), &running));
        assert!(!is_unexplained(Cause::Itself, &record(0), &running));
        let limit = Cause::Limit(LimitKind::Memory);
        let operator = Cause::Operator { uid: 0, pid: 1 };
        for cause in [limit, Cause::Oom, operator, Cause::Client, Cause::ClientGone] {
            assert!(!is_unexplained(cause, &record(-9), &running), "{cause}");
        }
        for other in [words("resize", true), words("", false), words("mp.pool.worker", false)] {
            assert!(!is_unexplained(Cause::Itself, &record(-11), &other), "{other:?}");
        }
    }
}
