//! What of the limits is used, and who holds them: for `status`, and for whoever asks why he waits.

use super::Core;
use super::event::SessionId;
use super::quota::{Obstacle, Scope};
use super::report::millis;
use super::sessions::Waiting;
use super::sight::Sight;
use super::story;
use mpserverd_proto::bounds::Bound;
use mpserverd_proto::explain::WaitReason;
use mpserverd_proto::quota::{HeldRow, QuotaRow};

/// Rows of a report: whoever asks wants to know what is used up, not everybody.
const ROWS: usize = 32;

impl Sight {
    fn has_scope(self, scope: &Scope) -> bool {
        match scope {
            Scope::Host => true,
            Scope::Uid(uid) => self.has_client(*uid),
            Scope::Module(_) => self == Self::All,
        }
    }
}

impl Core {
    /// Who holds the limits of single workers.
    pub(super) fn held_limits(&self) -> Vec<HeldRow> {
        let row = |bound: &Bound| HeldRow {
            limit: bound.to_string(),
            by: self.held.holder(*bound),
            configured: self.settings.limits.mention(*bound),
        };
        Bound::of_worker().iter().map(row).collect()
    }

    /// What of the limits for many workers together is used, the most first. A limit of whom nothing
    /// is known yet is not told: it is not used.
    pub(super) fn quotas(&self, sight: Sight) -> Vec<QuotaRow> {
        if self.settings.limits.is_empty() {
            return Vec::new();
        }
        let seen = self.quota.uses.keys().filter(|scope| sight.has_scope(scope));
        let all = seen.flat_map(|scope| {
            let bounds = [Bound::Workers, Bound::Starts, Bound::Queue];
            bounds.into_iter().filter_map(move |bound| self.quota_row(scope, bound))
        });
        let mut rows: Vec<_> = all.collect();
        // The fuller, the higher: compared without division, and by order of names where equal.
        rows.sort_by(|a, b| {
            let of = |used: u64, max: u64| u128::from(used) * u128::from(max.max(1));
            of(b.used, a.max).cmp(&of(a.used, b.max))
        });
        rows.truncate(ROWS);
        rows
    }

    fn quota_row(&self, scope: &Scope, bound: Bound) -> Option<QuotaRow> {
        let (rule, held) = (self.rule(scope, bound)?, self.quota.uses.get(scope)?);
        Some(QuotaRow {
            limit: bound.to_string(),
            scope: scope.to_string(),
            used: match bound {
                Bound::Workers => held.workers,
                Bound::Queue => held.queued,
                _ => held.starts(rule.value, self.now),
            },
            max: u64::try_from(rule.value).unwrap_or(0),
            set_in: rule.set_in.to_string(),
        })
    }

    /// The limit that keeps a request waiting, if one does.
    pub(super) fn limit_reason(&self, scopes: &[Scope]) -> Option<WaitReason> {
        if self.settings.limits.is_empty() {
            return None;
        }
        let Obstacle { scope, bound, rule, until } = self.obstacle(scopes)?;
        Some(WaitReason::Limit {
            limit: bound.to_string(),
            scope: scope.to_string(),
            max: u64::try_from(rule.value).unwrap_or(0),
            set_in: rule.set_in.to_string(),
            retry_ms: until.map(|until| millis(until.since(self.now))),
        })
    }

    /// Limits of waiting requests that this client has reached: its next ones are refused at once.
    pub(super) fn full_queues(&self, session: SessionId) -> Vec<String> {
        let waiting = self.sessions.get(&session).into_iter().flat_map(|it| it.waiting.values());
        let scopes = waiting.filter_map(|waiting| match waiting {
            Waiting::Lease { wish, .. } => Some(&wish.scopes),
            Waiting::Modules { .. } | Waiting::Reload => None,
        });
        let mut scopes: Vec<_> = scopes.flat_map(|scopes| scopes.iter()).collect();
        scopes.sort();
        scopes.dedup();
        let rows = scopes.into_iter().filter_map(|scope| self.quota_row(scope, Bound::Queue));
        rows.filter(|row| row.used >= row.max).map(|row| story::queue_full(&row)).collect()
    }
}
