//! The state of version 1 as it was written once, and images that were damaged.
//!
//! `tests/fixtures/state-1.bin` is what a daemon gave to `--check-state`: two generations of a
//! template, two workers that clients have, spares, three connections. A change that cannot read it
//! any more has to raise the version and to keep reading this one.

use super::image::{Image, Luggage};
use super::resume::image_of;
use crate::core::{Ask, Core, Event, SessionId, Time};
use crate::server::listener::Listener;
use crate::server::recipes::Recipes;
use crate::server::session::Session;
use crate::server::templates::TemplateProcess;
use crate::server::workers::Workers;
use crate::state::{self, StateError};
use mpserverd_proto::client::StopPolicy;
use mpserverd_proto::ids::{PoolId, RequestId, WorkerId};
use proptest::prelude::*;
use std::time::Duration;

const FIRST: &[u8] = include_bytes!("../../../tests/fixtures/state-1.bin");
const HEADER_BYTES: usize = 32;

#[test]
fn the_first_version_is_still_read() {
    assert_eq!(FIRST.get(8..12), Some(&1u32.to_le_bytes()[..]));
    let (image, core) = image_of(FIRST).expect("a state of version 1");
    assert_eq!((image.version.as_str(), image.pid), ("0.1.0", 10326));
    assert_eq!((image.sessions.len(), image.templates.len()), (3, 2));
    assert_eq!((image.workers.len(), image.ready), (4, Some(0)));
    assert_eq!(image.environment.directory.as_os_str(), "/");
    assert!(image.pid_file.is_some() && image.command.is_none());
    assert_eq!(core.summary(), (2, 2, 0));
    assert!(!core.is_stopping());
}

#[test]
fn a_state_that_ends_early_is_refused() {
    for length in 0..FIRST.len() {
        let error = image_of(&FIRST[..length]).expect_err("half a state");
        assert!(
            matches!(error, StateError::Foreign | StateError::Length { .. }),
            "{length}: {error}"
        );
    }
}

/// Uses whatever an image that passed the checks says.
fn use_image(image: Image, mut core: Core) {
    let mut from = Luggage::of_nothing(&image);
    for row in image.sessions {
        if let Ok(mut session) = Session::from_row(row, &mut from) {
            let _ = session.next_frame();
            let _ = session.read(Duration::ZERO);
            let _ = session.write();
        }
    }
    let mut workers = Workers::default();
    for row in image.workers {
        let _ = workers.add_row(row, &mut from);
    }
    for row in image.templates {
        let _ = TemplateProcess::from_row(row, &mut from);
    }
    let _ = Recipes::from_row(0, image.recipes, &mut from);
    // Its path may be anybody's, so it is not dropped as a listener is.
    let _ = Listener::from_row(image.listener, &mut from).map(std::mem::forget);
    drive(&mut core, image.elapsed);
}

/// Lets all kinds of things happen to a book.
fn drive(core: &mut Core, from: Duration) {
    let mut actions = Vec::new();
    let mut now = from;
    let mut tell = |core: &mut Core, now: Duration, event| {
        core.handle(Time(now), event, &mut actions);
        actions.clear();
    };
    let ids = (0..8).map(|n| WorkerId(32_542_574_592 + n));
    for worker in ids {
        let record = mpserverd_proto::status::ExitRecord {
            code: 0,
            core: false,
            usage: mpserverd_proto::status::Usage::default(),
            reporter: mpserverd_proto::status::Reporter::Template,
            out_of_cpu: false,
        };
        let ended = Event::WorkerEnded { worker, record, last: None, stderr: Vec::new() };
        tell(core, now, ended);
        now = now.saturating_add(Duration::from_millis(100));
        tell(core, now, Event::Tick);
    }
    for session in 1..8 {
        for pool in 1..4 {
            let (session, id) = (SessionId(session), RequestId(9000 + pool));
            let (pool, wait) = (PoolId(pool), Duration::from_secs(1));
            let ask = Ask::PoolModules { pool, wait };
            tell(core, now, Event::Asked { session, id, ask });
        }
        tell(core, now, Event::SessionClosed { session: SessionId(session) });
    }
    tell(core, now, Event::ProbeDue);
    let (policy, grace) = (StopPolicy::Term, Duration::from_millis(5));
    tell(core, now, Event::StopAsked { origin: None, policy, grace });
    for _ in 0..20 {
        now = now.saturating_add(Duration::from_secs(1));
        tell(core, now, Event::Tick);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Bytes are changed behind a checksum that fits, so that all that is left are the checks.
    #[test]
    fn no_damage_panics(
        changes in proptest::collection::vec((HEADER_BYTES..FIRST.len(), any::<u8>()), 1..4),
    ) {
        let mut bytes = FIRST.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        state::put_header(1, &mut bytes);
        if let Ok((image, core)) = image_of(&bytes) {
            use_image(image, core);
        }
    }
}
