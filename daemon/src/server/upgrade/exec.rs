//! The step itself: everything is written down, descriptors are kept open, and the new program is
//! executed in this process. If the system refuses, nothing has happened.

use super::image::{Carrier, Configured, Image, PidFileRow, now_ns};
use super::{Upgrade, binary, command_line};
use crate::core::Origin;
use crate::server::Server;
use crate::server::listener::Listener;
use crate::state::{self, StateError};
use mp::sys::fd;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Tells the next image the number of the descriptor that its state is behind.
pub(in crate::server) const HANDOVER: &str = "MPSERVERD_HANDOVER";

impl Server<'_> {
    /// A copy of the state, for a program that only looks whether it can read it, and what it says if
    /// it can.
    pub(super) fn dry_state(&self) -> Result<(OwnedFd, String), StateError> {
        let program = self.program.clone();
        let (image, _) = self.image(program, None, Vec::new(), None)?;
        let bytes = state::encode(&image)?;
        Ok((file(&bytes)?, state::proof(&bytes)))
    }

    /// Everything that the next image must know, with the descriptors that it names.
    fn image<'a>(
        &'a self,
        program: PathBuf,
        asker: Origin,
        caught: Vec<u64>,
        former: Option<BorrowedFd<'a>>,
    ) -> Result<(Image, Vec<BorrowedFd<'a>>), StateError> {
        let mut to = Carrier::new(self.started);
        let listener = self.listener.as_ref().map(|listener: &Listener| listener.carry(&mut to));
        let nobody = || StateError::Senseless("nobody listens any more".to_owned());
        let sessions = self.sessions.iter().map(|(id, session)| session.carry(*id, &mut to));
        let sessions = sessions.collect();
        let ours = self.templates.iter().filter(|(_, process)| process.offer.is_none());
        let templates = ours.map(|(id, process)| process.carry(*id, &mut to));
        let templates = templates.collect();
        let pid_file = self
            .pid_file
            .as_ref()
            .map(|file| PidFileRow { file: to.fd(file.fd()), path: file.path().to_owned() });
        let mut image = Image {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            environment: self.config.environment().clone(),
            program,
            clock_ns: now_ns(),
            elapsed: self.started.elapsed(),
            core: Some(self.core.export()),
            configured: Configured::by(&self.config),
            listener: listener.ok_or_else(nobody)?,
            sessions,
            next_session: self.next_session,
            templates,
            workers: self.workers.carry(&mut to),
            catchers: self.catchers.carry(&mut to),
            recipes: self.recipes.carry(&mut to),
            groups: self.limiter.carry(),
            metrics: self.scrapes.carry(&mut to),
            command: self.command.as_ref().map(|command| command.carry(&mut to)),
            pid_file,
            ready: self.supervisor.readiness(),
            caught,
            asker,
            former: former.map(|file| to.fd(file)),
            descriptors: Vec::new(),
        };
        image.descriptors = to.numbers();
        Ok((image, to.fds))
    }

    /// Becomes the new program. Comes back only if that cannot be.
    pub(super) fn step(&mut self, upgrade: &Upgrade) -> Result<Infallible, String> {
        upgrade.binary.is_unchanged()?;
        self.withdraw_offers();
        // Their records are not carried over; who follows asks again.
        self.release_followers();
        if !self.events.is_empty() {
            return Err("a client left at the last moment: ask again".to_owned());
        }
        self.supervisor.reloading();
        let caught = self.signals.hold();
        let why = self.execute(upgrade, caught.iter().map(|signal| *signal as u64).collect());
        self.signals.let_go();
        self.supervisor.reloaded();
        for signal in caught {
            self.heard(signal);
        }
        why
    }

    fn execute(&self, upgrade: &Upgrade, caught: Vec<u64>) -> Result<Infallible, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let program = match upgrade.named {
            true => upgrade.binary.path().to_owned(),
            false => self.program.clone(),
        };
        let former = super::former::open();
        let former = former.as_ref().map(AsFd::as_fd);
        let (image, fds) =
            self.image(program, upgrade.asker, caught, former).map_err(|error| text(&error))?;
        let state = state::encode(&image).and_then(|bytes| file(&bytes));
        let state = state.map_err(|error| text(&error))?;
        let words = binary::words(&upgrade.binary, upgrade.named, command_line());
        let words = words.into_iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
        let number = state.as_raw_fd().to_string();
        let variables = std::env::vars_os().filter(|(name, _)| name != HANDOVER);
        let variables = variables.chain([(HANDOVER.into(), number.into())]);
        let variables = variables.map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            c_string(entry)
        });
        let variables = variables.collect::<Result<Vec<_>, _>>()?;
        let path = upgrade.binary.c_path()?;
        let all = || fds.iter().copied().chain([state.as_fd()]);
        all().try_for_each(|fd| keep(fd, true)).map_err(|error| text(&error))?;
        let Err(errno) = nix::unistd::execve(&path, &words, &variables);
        for fd in all() {
            // It could be changed a moment ago.
            let _ = keep(fd, false);
        }
        Err(format!("cannot execute {}: {errno}", upgrade.binary.path().display()))
    }
}

/// Whether a descriptor survives an exec.
fn keep(fd: BorrowedFd<'_>, keep: bool) -> nix::Result<()> {
    let flags = if keep { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(fd, FcntlArg::F_SETFD(flags)).map(drop)
}

fn c_string(text: OsString) -> Result<CString, String> {
    CString::new(text.as_bytes()).map_err(|error| error.to_string())
}

/// Bytes that nobody can change any more.
fn file(bytes: &[u8]) -> Result<OwnedFd, StateError> {
    fd::sealed_memfd(&[bytes]).map_err(StateError::system("memfd_create"))
}
