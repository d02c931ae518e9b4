//! What a start does not need to know: whether modules are there, and what a reload cannot change.
//!
//! A start goes on without looking: it refuses what must not be missing once it has tried to load
//! it, and a supervisor then tries again. A check and a reload can say so at once, with the place
//! in the file.

use super::finding::{Finding, Findings};
use super::{Config, elf, modules};
use mpserverd_proto::template::OnPreloadError;
use std::path::Path;

impl Config {
    /// What is wrong with the files of modules, whatever the policy says about it.
    pub fn module_findings(&self) -> Vec<Finding> {
        let file = self.file();
        let preload = &self.draft.preload;
        let mut findings = Vec::new();
        for name in &self.preload {
            let found = modules::resolve(name, &self.module_path);
            if let Err(fault) = found.and_then(|path| elf::kind(&path)) {
                findings.push(preload.finding(file, format!("`{name}` {fault}")));
            }
        }
        if findings.is_empty() {
            return findings;
        }
        for folder in &self.module_path {
            if let Some(why) = is_no_folder(folder) {
                let reason = format!("`{}` {why}", folder.display());
                findings.push(self.draft.module_path.finding(file, reason));
            }
        }
        findings
    }

    /// Whether modules can be found and loaded, as far as their files tell, where the policy is
    /// that they must.
    ///
    /// # Errors
    ///
    /// Every module that cannot.
    pub fn check_modules(&self) -> Result<(), Findings> {
        let findings = self.module_findings();
        if findings.is_empty() || self.on_preload_error != OnPreloadError::Fail {
            return Ok(());
        }
        Err(Findings(findings))
    }

    /// Keys whose values differ, but take effect when the daemon is started only.
    pub fn kept_by_reload(&self, next: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (&self.draft, &next.draft);
        [
            (ours.socket.key, ours.socket.value != theirs.socket.value),
            (ours.log_level.key, self.log.level != next.log.level),
            (ours.log_format.key, self.log.format != next.log.format),
            (ours.log_file.key, self.log.file != next.log.file),
            (ours.daemonize.key, self.daemonize != next.daemonize),
            (ours.pid_file.key, self.pid_file != next.pid_file),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

fn is_no_folder(folder: &Path) -> Option<String> {
    match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some("is not a folder".to_owned()),
        Err(error) => Some(format!("cannot be searched: {error}")),
    }
}
