//! Paths, by Landlock. Every access that the third version of it knows is denied but where a list
//! allows it: before that version a file that may not be written could be truncated.

use super::{failed, lacking};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};
use mpserverd_proto::error::JobError;
use mpserverd_proto::sandbox::Files;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const STEP: &str = "landlock";
const NEEDS: &str = "Landlock of version 3 (Linux 6.2, `lsm=landlock`)";
const VERSION: ABI = ABI::V3;

/// What a list of that name allows.
fn access(list: &str) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match list {
        "read_only" => read,
        "read_write" => AccessFs::from_all(VERSION) & !BitFlags::from(AccessFs::Execute),
        _ => read | AccessFs::Execute,
    }
}

/// Confines this thread, and those that it starts, to these paths.
pub(super) fn restrict(files: &Files) -> Result<(), JobError> {
    let missing = |error: landlock::RulesetError| lacking(STEP, NEEDS, &error);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(VERSION))
        .map_err(missing)?
        .create()
        .map_err(missing)?;
    for (list, paths) in files.lists() {
        for path in paths {
            let path = Path::new(OsStr::from_bytes(path));
            let wrong = |error: &dyn std::fmt::Display| {
                failed(STEP, &format!("{list} {}: {error}", path.display()))
            };
            let beneath = PathFd::new(path).map_err(|error| wrong(&error))?;
            // Rights of directories make no sense for anything else.
            let may = if path.is_dir() {
                access(list)
            } else {
                access(list) & AccessFs::from_file(VERSION)
            };
            let rule = PathBeneath::new(beneath, may);
            rules = rules.add_rule(rule).map_err(|error| wrong(&error))?;
        }
    }
    let status = rules.restrict_self().map_err(|error| failed(STEP, &error))?;
    if status.ruleset == RulesetStatus::FullyEnforced {
        return Ok(());
    }
    Err(lacking(STEP, NEEDS, &format!("{:?}", status.ruleset)))
}
