//! Metrics over HTTP, for whoever collects them: served by the loop like everything else.
//!
//! | file | holds |
//! |---|---|
//! | `place.rs` | where readers connect |
//! | `connection.rs` | one connection: a request, its answer, perhaps the next |
//! | `http.rs` | a request out of bytes, and the bytes of an answer |
//! | `process.rs` | what the kernel says about this process |
//!
//! Readers are strangers: a few connections at a time, a few kilobytes each, a deadline for each
//! step, and a text that is made anew only so often, so that nobody who reads as fast as he can
//! takes the loop from clients. What must never be in here: a page that changes something.

mod connection;
mod http;
pub(super) mod place;
mod process;

pub(super) use place::{PlaceRow, Socket};

use super::poller::{Poller, Readiness, Source};
use super::upgrade::image::{Carrier, Luggage};
use super::{ServeError, Server};
use crate::config::Config;
use crate::metrics;
use crate::state::StateError;
use connection::{Connection, Next};
use http::{Page, Status};
use mpserverd_proto::error::Refusal;
use place::{Place, ScrapeError};
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};
use tracing::warn;

/// Readers at once.
const READERS_MAX: usize = 16;
/// Readers beyond them that are being told that there are too many.
const SURPLUS_MAX: usize = 16;
/// Connections accepted at one wake-up at most.
const ACCEPTS: usize = 32;
/// The text is not made again before this.
const FRESH: Duration = Duration::from_millis(50);
/// How long no connection is accepted after descriptors ran out.
const PAUSE: Duration = Duration::from_millis(100);

/// Readers, and where they connect.
#[derive(Debug, Default)]
pub(super) struct Scrapes {
    place: Option<Place>,
    /// What takes its place if the reload in progress succeeds.
    prepared: Option<Option<Place>>,
    connections: HashMap<u64, Connection>,
    next: u64,
    /// The text as it was last told, and when that was.
    text: Option<(Instant, String)>,
    /// Until when the place is not watched.
    paused: Option<Instant>,
}

impl Scrapes {
    /// Listens where the configuration, or a supervisor, wants it.
    pub(super) fn open(config: &Config, poller: &Poller) -> Result<Self, ServeError> {
        let place = Place::first(config)?;
        if let Some(place) = &place {
            let watched = poller.add(place.fd(), Source::Scrapes, false);
            watched.map_err(ServeError::system("epoll_ctl"))?;
        }
        Ok(Self { place, ..Self::default() })
    }

    /// The place, for the next image of the daemon. Readers come again.
    pub(super) fn carry<'a>(&'a self, to: &mut Carrier<'a>) -> Option<PlaceRow> {
        self.place.as_ref().map(|place| place.carry(to))
    }

    /// Listens where the image before has listened.
    pub(super) fn from_row(
        row: Option<PlaceRow>,
        from: &mut Luggage,
        poller: &Poller,
    ) -> Result<Self, StateError> {
        let place = row.map(|row| Place::from_row(row, from)).transpose()?;
        if let Some(place) = &place {
            let watched = poller.add(place.fd(), Source::Scrapes, false);
            watched.map_err(StateError::system("epoll_ctl"))?;
        }
        Ok(Self { place, ..Self::default() })
    }

    /// Gets ready for another configuration, beside what there is.
    pub(super) fn prepare(&mut self, config: &Config) -> Result<(), ScrapeError> {
        self.prepared = Place::next(self.place.as_ref(), config)?;
        Ok(())
    }

    /// The reload is over: takes the prepared place, or forgets it.
    pub(super) fn settle(&mut self, switched: bool, poller: &Poller) {
        let Some(place) = self.prepared.take().filter(|_| switched) else { return };
        if let Some(place) = &place
            && let Err(error) = poller.add(place.fd(), Source::Scrapes, false)
        {
            warn!(%error, "cannot watch the address of metrics");
        }
        self.place = place;
        self.paused = None;
        self.connections.clear();
    }

    /// When somebody's time is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.connections.values().map(Connection::deadline).chain(self.paused).min()
    }

    fn pause(&mut self, poller: &Poller) {
        if let Some(place) = &self.place {
            poller.remove(place.fd());
            self.paused = Some(Instant::now() + PAUSE);
        }
    }

    fn resume(&mut self, poller: &Poller, now: Instant) {
        if self.paused.take_if(|until| *until <= now).is_some()
            && let Some(place) = &self.place
            && let Err(error) = poller.add(place.fd(), Source::Scrapes, false)
        {
            warn!(%error, "cannot watch the address of metrics");
        }
    }

    /// Makes room for one more reader: whoever has been idle the longest goes.
    fn has_room(&mut self) -> bool {
        let served = self.connections.values().filter(|reader| !reader.is_surplus()).count();
        if served < READERS_MAX {
            return true;
        }
        let idle = self.connections.iter();
        let longest = idle.filter_map(|(id, reader)| Some((reader.idle_since()?, *id))).min();
        longest.is_some_and(|(_, id)| self.connections.remove(&id).is_some())
    }
}

impl Server<'_> {
    /// The daemon's numbers as text.
    pub(super) fn metrics_text(&self) -> String {
        metrics::render(&self.core.snapshot(), &process::of_this())
    }

    /// The text for readers, who share it for a moment.
    fn shared_text(&mut self) -> String {
        let now = Instant::now();
        if let Some((made, text)) = &self.scrapes.text
            && now.saturating_duration_since(*made) < FRESH
        {
            return text.clone();
        }
        let text = self.metrics_text();
        self.scrapes.text = Some((now, text.clone()));
        text
    }

    /// A page with its status and type.
    fn page(&mut self, page: Page) -> (Status, &'static str, String) {
        const PLAIN: &str = "text/plain; charset=utf-8";
        match page {
            Page::Metrics => (Status::Ok, metrics::CONTENT_TYPE, self.shared_text()),
            Page::OlderMetrics => {
                let text = metrics::older(&self.shared_text());
                (Status::Ok, metrics::OLDER_CONTENT_TYPE, text)
            }
            Page::Health => {
                let snapshot = self.core.snapshot();
                match (snapshot.settled, snapshot.stopping) {
                    (_, true) => (Status::Unavailable, PLAIN, "stopping\n".to_owned()),
                    (false, _) => (Status::Unavailable, PLAIN, "starting\n".to_owned()),
                    (true, false) => (Status::Ok, PLAIN, "ok\n".to_owned()),
                }
            }
        }
    }

    /// Somebody wants to read.
    pub(super) fn accept_readers(&mut self) {
        for _ in 0..ACCEPTS {
            let Some(place) = &self.scrapes.place else { return };
            let socket = match place.accept() {
                Ok(socket) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    warn!(%error, "cannot accept a reader of metrics; trying again shortly");
                    return self.scrapes.pause(&self.poller);
                }
            };
            let surplus = !self.scrapes.has_room();
            if self.scrapes.connections.len() >= READERS_MAX + SURPLUS_MAX {
                continue;
            }
            if surplus {
                let limit = READERS_MAX as u64;
                self.core.note_refusal(&Refusal::TooManyClients { limit });
            }
            let (id, patience) = (self.scrapes.next, self.config.frame_deadline);
            let connection = Connection::new(socket, patience, surplus);
            if self.poller.add(connection.fd(), Source::Scrape(id), false).is_ok() {
                self.scrapes.next += 1;
                self.scrapes.connections.insert(id, connection);
            }
        }
    }

    /// A reader has said something, or can take more.
    pub(super) fn on_reader(&mut self, id: u64, readiness: Readiness) {
        let Some(mut connection) = self.scrapes.connections.remove(&id) else { return };
        if !readiness.readable && !readiness.writable {
            self.scrapes.connections.insert(id, connection);
            return;
        }
        let mut next = connection.turn(&mut |page| self.page(page));
        // What was read along with the last request brings no readiness of its own. There are no
        // more of them than fit the buffer of one.
        while next == Next::ToRead && connection.has_more() {
            next = connection.next_turn(&mut |page| self.page(page));
        }
        self.keep_reader(id, connection, next);
    }

    fn keep_reader(&mut self, id: u64, connection: Connection, next: Next) {
        let watched = match next {
            Next::End => return,
            Next::ToRead => self.poller.change(connection.fd(), Source::Scrape(id), false),
            Next::ToWrite => self.poller.only_writes(connection.fd(), Source::Scrape(id)),
        };
        if watched.is_ok() {
            self.scrapes.connections.insert(id, connection);
        }
    }

    /// Hangs up on readers whose time is over.
    pub(super) fn expire_readers(&mut self) {
        if self.scrapes.deadline().is_none_or(|deadline| deadline > Instant::now()) {
            return;
        }
        let now = Instant::now();
        self.scrapes.resume(&self.poller, now);
        let late = self.scrapes.connections.iter().filter(|(_, reader)| reader.deadline() <= now);
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(mut connection) = self.scrapes.connections.remove(&id) else { continue };
            let next = connection.expire();
            self.keep_reader(id, connection, next);
        }
    }
}
