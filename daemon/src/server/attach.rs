//! Templates of earlier daemons that offered themselves, until each has said its first word.
//!
//! A template gives up an attempt that takes too long, be it that the answer was on its way, and
//! comes again. So an offer alone is nothing to rely on: what hung up before its first word has not
//! ended, is not killed, and was never in the book.
//!
//! What must never be in here: whether a template may attach itself; the request is judged before.

use super::Server;
use super::owners::Owner;
use crate::core::{Event, PoolKey};
use mpserverd_proto::ids::TemplateId;
use mpserverd_proto::template::Attach;
use tracing::{debug, info};

/// What a template offers.
#[derive(Debug)]
pub(super) struct Offer {
    /// The pool that it is for.
    pub(super) key: PoolKey,
    pub(super) owner: Owner,
    /// What it said, but for the key.
    pub(super) attach: Attach,
}

impl Server<'_> {
    /// A template has said something: now it is one of ours, if it was not before.
    pub(super) fn take_offer(&mut self, template: TemplateId) {
        let Some(process) = self.templates.get_mut(&template) else { return };
        let Some(offer) = process.offer.take() else { return };
        let (pid, Offer { key, owner, attach }) = (process.pid, *offer);
        let modules = attach.boot.modules.into_iter().map(|module| module.name).collect();
        let pool = self.recipes.of_attached(key, attach.boot.name, modules, pid, owner);
        info!(%template, pid, pool = pool.name, "template of an earlier daemon attached");
        self.events.push_back(Event::TemplateAttached {
            template,
            pool,
            generation: attach.boot.generation,
            pid,
            modules: attach.modules,
            memory: attach.memory,
            retiring: attach.retiring,
        });
    }

    /// A template hung up before it said anything: true if it was only an offer, which is forgotten.
    pub(super) fn withdraw_offer(&mut self, template: TemplateId) -> bool {
        let offered = self.templates.get(&template).is_some_and(|process| process.offer.is_some());
        if offered {
            self.templates.remove(&template);
            self.core.forget_template_id(template);
            debug!(%template, "an offer has run out of time");
        }
        offered
    }

    /// The next image would know nothing of offers: their templates come again.
    pub(super) fn withdraw_offers(&mut self) {
        let all = self.templates.keys().copied().collect::<Vec<_>>();
        for template in all {
            self.withdraw_offer(template);
        }
    }
}
