//! A terminal that a test looks at, with a program on it.

use mpserverd_tests::build;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

fn some(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a terminal has rows and columns")
}

/// A terminal, and `mpctl` on it.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Runs `mpctl` on a terminal of this size.
    #[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
    pub(crate) fn mpctl(daemon: &Daemon, arguments: &[&str], rows: u16, columns: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a terminal");
        let stream = || Stdio::from(pair.slave.try_clone().expect("descriptor"));
        let child = Command::new(&build::artifacts().mpctl)
            .arg("--socket")
            .arg(daemon.socket())
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .expect("mpctl runs");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(some(rows), some(columns), 0)));
        let master = File::from(pair.master);
        let (mut output, parser) = (master.try_clone().expect("descriptor"), Arc::clone(&screen));
        let reader = std::thread::Builder::new().name("terminal".into());
        let read = move || {
            let mut bytes = [0; 4096];
            while let Ok(got @ 1..) = output.read(&mut bytes) {
                parser.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..got]);
            }
        };
        reader.spawn(read).expect("thread");
        Self { child, master, slave: pair.slave, screen }
    }

    fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen())
    }

    /// What stands on it.
    pub(crate) fn contents(&self) -> String {
        self.look(vt100::Screen::contents)
    }

    /// Waits until all of this stands on it.
    pub(crate) fn wait_for(&self, parts: &[&str]) -> String {
        let mut seen = String::new();
        let there = eventually(PATIENCE, || {
            seen = self.contents();
            parts.iter().all(|part| seen.contains(part))
        });
        assert!(there, "{parts:?} never came:\n{seen}");
        seen
    }

    /// Waits until this does not stand on it any more.
    pub(crate) fn wait_without(&self, part: &str) {
        let gone = eventually(PATIENCE, || !self.contents().contains(part));
        assert!(gone, "{part:?} stays:\n{}", self.contents());
    }

    /// Whether a cell has a colour.
    pub(crate) fn has_colours(&self) -> bool {
        self.look(|screen| {
            let (rows, columns) = screen.size();
            let mut cells =
                (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
            cells.any(|(row, column)| {
                let cell = screen.cell(row, column);
                cell.is_some_and(|cell| cell.fgcolor() != vt100::Color::Default)
            })
        })
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Makes it another size.
    #[allow(clippy::disallowed_methods, reason = "stty knows the call")]
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.screen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .screen_mut()
            .set_size(some(rows), some(columns));
        let resized = Command::new("stty")
            .args(["rows", &rows.to_string(), "cols", &columns.to_string()])
            .stdin(Stdio::from(self.slave.try_clone().expect("descriptor")))
            .status();
        assert!(resized.expect("stty runs").success());
        // The kernel tells the foreground of a session, which this terminal has none of.
        self.signal(Signal::SIGWINCH);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("mpctl runs");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is as a shell wants it: lines, echo, the first screen, a cursor.
    pub(crate) fn is_given_back(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("modes").local_flags;
        let lines = modes.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        lines && self.look(|screen| !screen.alternate_screen() && !screen.hide_cursor())
    }

    /// Whether it belongs to the program.
    pub(crate) fn is_taken(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("modes").local_flags;
        let lines = modes.intersects(LocalFlags::ICANON | LocalFlags::ECHO);
        !lines && self.look(vt100::Screen::alternate_screen)
    }

    /// Waits for the end of the program.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut ended = None;
        let in_time = eventually(PATIENCE, || {
            ended = self.child.try_wait().expect("it is a child of this process");
            ended.is_some()
        });
        assert!(in_time, "mpctl does not end:\n{}", self.contents());
        ended.expect("it has ended")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
