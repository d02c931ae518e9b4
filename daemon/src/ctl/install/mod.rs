//! `install-units`: puts the units of systemd where they belong, or takes them away.
//!
//! | file | holds |
//! |---|---|
//! | `texts` | the units, as they lie in `systemd/` |
//! | `plan` | which file goes where |
//!
//! What must never be in here: a talk with a running systemd. What to run next is printed.

mod plan;
mod texts;

use super::error::CtlError;
use super::screen::Screen;
use crate::cli::mpctl::InstallUnits;
use plan::{Kind, Place, Plan, Unit};
use serde_json::json;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Written,
    Same,
    Kept,
    Removed,
    Absent,
    /// Other hosts of the machine need it.
    Needed,
    /// What was never there and must not be: not worth a line.
    Nothing,
}

impl Done {
    fn word(self, dry: bool) -> &'static str {
        match (self, dry) {
            (Self::Written, false) => "written",
            (Self::Written, true) => "would be written",
            (Self::Same, _) => "up to date",
            (Self::Kept, _) => "kept",
            (Self::Needed, _) => "kept for others of this machine",
            (Self::Removed, false) => "removed",
            (Self::Removed, true) => "would be removed",
            (Self::Absent | Self::Nothing, _) => "not there",
        }
    }
}

/// `mpctl install-units`.
pub(super) fn main(screen: &Screen, options: &InstallUnits) -> Result<u8, CtlError> {
    let place = Place::of(options)?;
    let plan = Plan::of(&place, options)?;
    let mut report = Vec::new();
    if !options.uninstall {
        // All or nothing: what stands in the way is said before anything is written.
        let changed = plan.units.iter().filter(|unit| unit.is_changed()).collect::<Vec<_>>();
        if let (Some(first), false) = (changed.first(), options.force) {
            return Err(CtlError::usage(format!(
                "{} was changed by somebody ({} file(s) in all): keep your changes in a drop-in, \
                 or give --force to overwrite it",
                first.path.display(),
                changed.len()
            )));
        }
    }
    for unit in &plan.units {
        let done = if options.uninstall {
            remove(unit, options.dry_run)
        } else {
            write(unit, options.dry_run)
        };
        let done =
            done.map_err(|error| CtlError::system(format!("{}: {error}", unit.path.display())))?;
        if done != Done::Nothing {
            report.push((unit, done));
        }
    }
    let next = plan.next_steps(options.uninstall);
    let document = json!({
        "files": report.iter().map(|(unit, done)| json!({
            "path": unit.path, "done": done.word(options.dry_run),
        })).collect::<Vec<_>>(),
        "next": next,
    });
    screen.show(&document, || {
        let mut text = String::new();
        for (unit, done) in &report {
            text += &format!("{}: {}\n", unit.path.display(), done.word(options.dry_run));
        }
        if !options.dry_run && !next.is_empty() {
            text += "\nNext:\n";
            next.iter().for_each(|step| text += &format!("  {step}\n"));
        }
        text
    })
}

fn write(unit: &Unit, dry: bool) -> io::Result<Done> {
    if unit.kind == Kind::Unwanted {
        let done = remove(unit, dry)?;
        return Ok(if done == Done::Absent { Done::Nothing } else { done });
    }
    match fs::read(&unit.path) {
        Ok(now) if now == unit.text.as_bytes() => return Ok(Done::Same),
        Ok(_) if unit.kind == Kind::Users => return Ok(Done::Kept),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if dry {
        return Ok(Done::Written);
    }
    let folder = unit.path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    // Whole or not at all, also when the disk is full.
    let fresh = folder.join(format!(".mpserverd-{}.new", std::process::id()));
    let written = fs::File::create(&fresh).and_then(|mut file| {
        file.write_all(unit.text.as_bytes())?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&fresh, &unit.path));
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done.map(|()| Done::Written)
}

fn remove(unit: &Unit, dry: bool) -> io::Result<Done> {
    match unit.kind {
        Kind::Users if unit.path.exists() => return Ok(Done::Kept),
        Kind::Shared if unit.path.exists() => return Ok(Done::Needed),
        _ => {}
    }
    if dry {
        return Ok(if unit.path.exists() { Done::Removed } else { Done::Absent });
    }
    match fs::remove_file(&unit.path) {
        Ok(()) => {
            // The folder of drop-ins goes with the last of them.
            if let Some(folder) = unit.path.parent().filter(|f| f.extension().is_some()) {
                let _ = fs::remove_dir(folder);
            }
            Ok(Done::Removed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Done::Absent),
        Err(error) => Err(error),
    }
}
