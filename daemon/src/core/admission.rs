//! Who is let in: early refusals and penalties, by user.
//!
//! *Early refusal*: past a mark of requests that wait, more and more of a user's further ones are
//! refused by chance, up to all of them at a second mark (as OpenSSH's `MaxStartups`): the queue
//! of others stays short, and some of the greedy user's requests get through all the time.
//!
//! *Penalties*: what a user's clients do wrong costs him a time that doubles each time, and halves
//! whenever he has done nothing wrong for a while (as OpenSSH's `PerSourcePenalties`). A short one
//! is only noted. From a minimum on it bites: requests that cost something are refused until it is
//! over, while looking and controlling stay possible.
//!
//! Chance comes from a seed that the loop gives; time is what the loop says. What counts as wrong
//! the loop and `build.rs` decide.

use super::Core;
use super::event::{SessionId, Time};
use super::sight::Sight;
use super::story;
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::PoolId;
use mpserverd_proto::report::PenaltyRow;
use mpserverd_proto::text::beginning;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Rows of a report: whoever asks wants to know who is to blame, not everybody.
const ROWS: usize = 16;
/// Bytes that are kept of what somebody did.
const WHY_BYTES_MAX: usize = 160;
/// The first advice when to come again after an early refusal, and the last.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// When requests are refused early: from the first mark on this part of them (in percent), growing
/// to all of them at the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyRefusal {
    /// Requests of a user that may wait before any is refused.
    pub begin: u32,
    /// Percentage that is refused then.
    pub rate: u32,
    /// From so many on all are refused.
    pub full: u32,
}

impl EarlyRefusal {
    /// Of a thousand requests how many are refused while so many wait.
    #[must_use]
    pub fn per_mille(self, waiting: u64) -> u64 {
        let (begin, full) = (u64::from(self.begin), u64::from(self.full));
        let rate = 10 * u64::from(self.rate.min(100));
        if waiting < begin {
            return 0;
        }
        if waiting >= full {
            return 1000;
        }
        rate + (1000 - rate) * (waiting - begin) / (full - begin)
    }
}

/// The rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// When requests are refused early; `None`: never.
    pub early_refusal: Option<EarlyRefusal>,
    /// The first penalty; zero: there are none.
    pub penalty: Duration,
    /// From so long on a penalty bites.
    pub penalty_min: Duration,
    /// The longest.
    pub penalty_max: Duration,
    /// A user who does nothing wrong for so long has his penalty halved.
    pub good_conduct: Duration,
    /// Users with penalties that are remembered at most.
    pub penalised_max: usize,
    /// Users to whom nothing of this applies.
    pub exempt: BTreeSet<u32>,
}

impl Admission {
    /// What a daemon has that nobody configures otherwise; the default of this type is that
    /// everybody is let in.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            early_refusal: Some(EarlyRefusal { begin: 1024, rate: 30, full: 8192 }),
            penalty: Duration::from_secs(1),
            penalty_min: Duration::from_secs(4),
            penalty_max: Duration::from_secs(600),
            good_conduct: Duration::from_secs(60),
            penalised_max: 1024,
            exempt: BTreeSet::new(),
        }
    }
}

/// What a user has done wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    times: u64,
    why: String,
    penalty: Duration,
    /// Since when he has been good; a penalty that bites is sat out first.
    good_since: Time,
    /// Until when it bites.
    until: Time,
}

impl Record {
    /// Halves the penalty for each stretch of good conduct; false once it is gone.
    fn settle(&mut self, now: Time, rules: &Admission) -> bool {
        if rules.penalty.is_zero() {
            return false;
        }
        let stretch = rules.good_conduct.max(Duration::from_millis(1));
        while self.penalty >= rules.penalty && now.since(self.good_since) >= stretch {
            self.penalty /= 2;
            // Never beyond all time: it is not after `now`.
            self.good_since = self.good_since.after(stretch).unwrap_or(now);
        }
        self.penalty >= rules.penalty
    }
}

/// The book of users.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Users {
    records: BTreeMap<u32, Record>,
    /// Requests for workers that wait, by user.
    waiting: BTreeMap<u32, usize>,
    chance: u64,
    /// The highest limit of remembered users so far.
    most: usize,
}

impl Users {
    /// What is left to chance begins here.
    pub(super) fn seed(&mut self, seed: u64) {
        self.chance = seed;
    }

    /// An even number out of all there are (SplitMix64).
    fn draw(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn forget_the_least(&mut self, now: Time) {
        let least = self.records.iter().min_by_key(|(uid, record)| {
            (record.until.since(now), record.penalty, std::cmp::Reverse(**uid))
        });
        if let Some(uid) = least.map(|(uid, _)| *uid) {
            self.records.remove(&uid);
        }
    }

    fn punish(&mut self, uid: u32, why: &str, now: Time, rules: &Admission) {
        self.most = self.most.max(rules.penalised_max.max(1));
        if !self.records.contains_key(&uid) {
            self.records.retain(|_, record| record.settle(now, rules));
            while self.records.len() >= rules.penalised_max.max(1) {
                self.forget_the_least(now);
            }
        }
        let fresh = || Record {
            times: 0,
            why: String::new(),
            penalty: Duration::ZERO,
            good_since: now,
            until: now,
        };
        let record = self.records.entry(uid).or_insert_with(fresh);
        record.settle(now, rules);
        record.times += 1;
        record.why = short(why);
        let doubled = record.penalty.saturating_mul(2);
        record.penalty = doubled.max(rules.penalty).min(rules.penalty_max);
        record.good_since = now;
        if record.penalty >= rules.penalty_min {
            let until = now.after(record.penalty).unwrap_or(now).max(record.until);
            (record.until, record.good_since) = (until, until);
        }
    }

    /// Whether it can be counted on, for the check of a book from elsewhere.
    pub(super) fn is_sound(&self, most: u64, latest: Time) -> bool {
        self.records.values().all(|record| {
            let in_time = record.until.max(record.good_since) <= latest;
            record.times <= most && in_time && record.why.len() <= WHY_BYTES_MAX
        })
    }

    /// How long a user is refused yet.
    fn left(&self, uid: u32, now: Time) -> Option<(Duration, &Record)> {
        let record = self.records.get(&uid)?;
        let left = record.until.since(now);
        (!left.is_zero()).then_some((left, record))
    }
}

fn short(why: &str) -> String {
    beginning(why, WHY_BYTES_MAX).to_owned()
}

impl Core {
    /// The same, but with this seed for what is left to chance.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.users.seed(seed);
        self
    }

    fn is_exempt(&self, uid: u32) -> bool {
        self.settings.admission.exempt.contains(&uid)
    }

    /// A client of this user did something wrong.
    pub(super) fn misbehaved(&mut self, uid: u32, why: &str) {
        let rules = &self.settings.admission;
        if rules.penalty.is_zero() || self.is_exempt(uid) {
            return;
        }
        self.users.punish(uid, why, self.now, rules);
        self.count_misdeed();
        if let Some((left, record)) = self.users.left(uid, self.now) {
            tracing::warn!(uid, why, times = record.times, ?left, "user is penalised");
        }
    }

    /// Users whose requests are refused now.
    pub(super) fn penalised(&self) -> u64 {
        if self.settings.admission.penalty.is_zero() {
            return 0;
        }
        let records = self.users.records.values();
        records.filter(|record| record.until > self.now).count() as u64
    }

    /// Everybody who wants workers of this pool made its template fail.
    pub(super) fn blame_openers(&mut self, pool: PoolId, why: &str) {
        let openers = self.sessions.values().filter(|session| session.opened.contains(&pool));
        let uids = openers.map(|session| session.peer.uid).collect::<BTreeSet<_>>();
        uids.into_iter().for_each(|uid| self.misbehaved(uid, why));
    }

    /// Whether this session may ask for something that costs.
    pub(super) fn admit(&self, session: SessionId) -> Result<(), Refusal> {
        let Some(uid) = self.sessions.get(&session).map(|s| s.peer.uid) else { return Ok(()) };
        if self.is_exempt(uid) || self.settings.admission.penalty.is_zero() {
            return Ok(());
        }
        self.users.left(uid, self.now).map_or(Ok(()), |(left, record)| {
            let retry_after_ms = super::report::millis(left).max(1);
            Err(Refusal::Penalised { uid, why: record.why.clone(), retry_after_ms })
        })
    }

    /// Whether one more request of this session for a worker may wait; that is left to chance.
    pub(super) fn admit_to_queue(&mut self, session: SessionId) -> Result<(), Refusal> {
        let Some(rule) = self.settings.admission.early_refusal else { return Ok(()) };
        let Some(uid) = self.sessions.get(&session).map(|s| s.peer.uid) else { return Ok(()) };
        let waiting = self.users.waiting.get(&uid).map_or(0, |waiting| *waiting as u64);
        let refused = rule.per_mille(waiting);
        if refused == 0 || self.is_exempt(uid) || self.users.draw() % 1000 >= refused {
            return Ok(());
        }
        // The more wait the later, and not all at the same time.
        let times = u32::try_from(1 + waiting / u64::from(rule.begin.max(1))).unwrap_or(u32::MAX);
        let longest = RETRY_MIN.saturating_mul(times).min(RETRY_MAX);
        let longest = super::report::millis(longest).max(2);
        let retry_after_ms = longest / 2 + self.users.draw() % longest;
        Err(Refusal::TooBusy { uid, waiting, retry_after_ms })
    }

    /// Counts a request for a worker that waits from now on, or no more.
    pub(super) fn count_waiting(&mut self, session: SessionId, waits: bool) {
        let Some(uid) = self.sessions.get(&session).map(|s| s.peer.uid) else { return };
        let waiting = self.users.waiting.entry(uid).or_insert(0);
        *waiting = if waits { *waiting + 1 } else { waiting.saturating_sub(1) };
        if *waiting == 0 {
            self.users.waiting.remove(&uid);
        }
    }

    /// What stands between this user and his next worker.
    pub(super) fn hindrances(&self, uid: u32) -> Vec<String> {
        let rules = &self.settings.admission;
        if self.is_exempt(uid) {
            return Vec::new();
        }
        let left = self.users.left(uid, self.now).filter(|_| !rules.penalty.is_zero());
        let penalty = left.map(|(left, record)| story::penalised(left, &record.why));
        let waiting = self.users.waiting.get(&uid).map_or(0, |waiting| *waiting as u64);
        let refused = rules.early_refusal.map_or(0, |rule| rule.per_mille(waiting));
        let early = (refused > 0).then(|| story::refused_early(waiting, refused));
        penalty.into_iter().chain(early).collect()
    }

    /// Users with penalties as far as they are seen, the longest first.
    pub(super) fn penalties(&self, sight: Sight) -> Vec<PenaltyRow> {
        let rules = &self.settings.admission;
        let seen = self.users.records.iter().filter(|(uid, _)| sight.has_client(**uid));
        let settled = seen.filter_map(|(uid, record)| {
            let mut record = record.clone();
            record.settle(self.now, rules).then_some((*uid, record))
        });
        let mut rows = settled
            .map(|(uid, record)| PenaltyRow {
                uid,
                times: record.times,
                penalty_ms: super::report::millis(record.penalty),
                left_ms: super::report::millis(record.until.since(self.now)),
                why: record.why,
            })
            .collect::<Vec<_>>();
        rows.sort_by_key(|row| std::cmp::Reverse((row.left_ms, row.penalty_ms)));
        rows.truncate(ROWS);
        rows
    }

    /// What must be true of users after every event.
    pub(super) fn audit_users(&self) -> Result<(), String> {
        let mut counted = BTreeMap::<u32, usize>::new();
        for session in self.sessions.values() {
            let waits = session.waiting.values();
            let leases =
                waits.filter(|w| matches!(w, super::sessions::Waiting::Lease { .. })).count();
            if leases > 0 {
                *counted.entry(session.peer.uid).or_default() += leases;
            }
        }
        if counted != self.users.waiting {
            return Err(format!("waiting by user: {:?} is {counted:?}", self.users.waiting));
        }
        // A reload may lower the limit; then the next who is punished makes room.
        let remembered = self.users.records.len();
        let before = self.users.most;
        if remembered > before {
            return Err(format!("{remembered} users are remembered, not {before}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    #[test]
    fn refusals_grow_from_the_first_mark_to_the_second() {
        let rule = EarlyRefusal { begin: 10, rate: 30, full: 100 };
        let shares = [0, 9, 10, 55, 99, 100, u64::MAX].map(|waiting| rule.per_mille(waiting));
        assert_eq!(shares, [0, 0, 300, 650, 992, 1000, 1000]);
        let all = EarlyRefusal { begin: 5, rate: 999, full: 5 };
        assert_eq!([4, 5].map(|waiting| all.per_mille(waiting)), [0, 1000]);
    }

    #[test]
    fn chance_is_even_and_repeats() {
        let mut users = Users { chance: 7, ..Users::default() };
        let drawn = (0..10_000).filter(|_| users.draw() % 1000 < 300).count();
        assert!((2800..3200).contains(&drawn), "{drawn}");
        let of = |seed| {
            let mut users = Users { chance: seed, ..Users::default() };
            (0..4).map(|_| users.draw()).collect::<Vec<_>>()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn penalties_double_bite_from_a_minimum_and_have_an_end() {
        let rules = Admission { penalty_max: 20 * SECOND, ..Admission::usual() };
        let mut users = Users::default();
        let mut seen = Vec::new();
        for _ in 0..6 {
            users.punish(5, "why", at(0), &rules);
            let left = users.left(5, at(0)).map_or(0, |(left, _)| left.as_secs());
            seen.push((users.records[&5].penalty.as_secs(), left));
        }
        assert_eq!(seen, [(1, 0), (2, 0), (4, 4), (8, 8), (16, 16), (20, 20)]);
        assert!(users.left(5, at(19)).is_some());
        assert!(users.left(5, at(20)).is_none());
        assert!(users.left(6, at(0)).is_none());
    }

    #[test]
    fn good_conduct_halves_until_nothing_is_left() {
        let rules = Admission::usual();
        let mut users = Users::default();
        (0..4).for_each(|_| users.punish(5, "why", at(0), &rules));
        let settled = |users: &Users, seconds| {
            let mut record = users.records[&5].clone();
            record.settle(at(seconds), &rules).then_some(record.penalty.as_secs())
        };
        // Eight seconds are sat out, then each minute counts.
        let after = [67, 68, 128, 187, 188, 248].map(|seconds| settled(&users, seconds));
        assert_eq!(after, [Some(8), Some(4), Some(2), Some(2), Some(1), None]);
        users.punish(5, "again", at(130), &rules);
        assert_eq!(users.records[&5].penalty, 4 * SECOND);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_is_worst() {
        let rules = Admission { penalised_max: 3, ..Admission::usual() };
        let mut users = Users::default();
        (0..5).for_each(|_| users.punish(1, "worst", at(0), &rules));
        (2..100).for_each(|uid| users.punish(uid, "once", at(0), &rules));
        assert_eq!(users.records.len(), 3);
        assert!(users.left(1, at(0)).is_some());
    }

    #[test]
    fn reasons_are_cut() {
        assert_eq!(short(&"ä".repeat(200)).len(), WHY_BYTES_MAX);
        assert_eq!(short("ab"), "ab");
    }
}
