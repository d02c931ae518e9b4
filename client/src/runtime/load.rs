//! Modules and hooks, in order, with who failed and how.

use super::HOOKS;
use super::panics;
use super::verdict::Census;
use crate::registry::Registry;
use crate::sys::object::{Hook, Module};
use mpserverd_proto::error::{Fault, PreloadError, Stage};
use mpserverd_proto::job::Panic;
use mpserverd_proto::template::{ModulePath, ModuleReport};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// Everything that was loaded into this process.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) registry: Registry,
    pub(crate) reports: Vec<ModuleReport>,
    modules: Vec<(String, Module)>,
    /// Why nothing here can run, if a spawned worker had to load something that failed.
    pub(crate) broken: Option<PreloadError>,
}

/// Name of the program, for people.
pub(crate) fn program_name() -> String {
    std::env::args_os()
        .next()
        .map(|path| {
            let name = Path::new(&path).file_name().unwrap_or(&path).to_owned();
            name.to_string_lossy().into_owned()
        })
        .unwrap_or_else(|| "program".to_owned())
}

impl Loaded {
    /// The program alone: what a fork of it has.
    pub(crate) fn program() -> Self {
        Self { registry: Registry::of_program(), ..Self::default() }
    }

    /// Nothing: what there is when a spawned worker could not load what it had to.
    pub(crate) fn broken(error: PreloadError) -> Self {
        Self { broken: Some(error), ..Self::default() }
    }

    /// Runs the program's own hooks and loads modules: every `init`, then every `warm`.
    ///
    /// `progress` is told before each step. The first failure ends it.
    pub(crate) fn load(
        modules: &[ModulePath],
        progress: &mut dyn FnMut(&str, Stage),
    ) -> Result<Self, PreloadError> {
        let mut loaded = Self::program();
        let program = program_name();
        loaded.step(&program, Stage::Init, progress, |_| own_hooks(Hook::Init))?;
        loaded.report_program(&program);
        for module in modules {
            loaded.load_module(module, progress)?;
        }
        loaded.step(&program, Stage::Warm, progress, |_| own_hooks(Hook::Warm))?;
        for at in 0..loaded.modules.len() {
            let name = loaded.modules[at].0.clone();
            loaded.step(&name, Stage::Warm, progress, |this| {
                this.modules[at].1.run_hook(Hook::Warm).map_err(|fault| (Stage::Warm, fault))
            })?;
        }
        Ok(loaded)
    }

    fn report_program(&mut self, program: &str) {
        let tasks = self.registry.infos("");
        if !tasks.is_empty() {
            self.reports.push(ModuleReport {
                name: program.to_owned(),
                title: program.to_owned(),
                version: String::new(),
                path: std::fs::read_link("/proc/self/exe")
                    .map(|path| path.to_string_lossy().into_owned())
                    .unwrap_or_default(),
                tasks,
                load_us: 0,
                added_kib: 0,
                error: None,
            });
        }
    }

    fn load_module(
        &mut self,
        wanted: &ModulePath,
        progress: &mut dyn FnMut(&str, Stage),
    ) -> Result<(), PreloadError> {
        let (before, resident) = (Instant::now(), resident_kib());
        let path = Path::new(std::ffi::OsStr::from_bytes(&wanted.path));
        self.step(&wanted.name, Stage::Load, progress, |this| {
            check_right(path).map_err(|fault| (Stage::Load, fault))?;
            let module = Module::open(path)?;
            this.modules.push((wanted.name.clone(), module));
            Ok(())
        })?;
        self.step(&wanted.name, Stage::Init, progress, |this| {
            let (_, module) = this.modules.last().expect("pushed by the step before");
            module.run_hook(Hook::Init).map_err(|fault| (Stage::Init, fault))
        })?;
        let (_, module) = self.modules.last().expect("pushed above");
        self.registry.add_module(module);
        self.reports.push(ModuleReport {
            name: wanted.name.clone(),
            title: module.title.clone(),
            version: module.version.clone(),
            path: path.to_string_lossy().into_owned(),
            tasks: module.tasks.iter().map(|(info, _)| info.clone()).collect(),
            load_us: before.elapsed().as_micros() as u64,
            added_kib: resident_kib().saturating_sub(resident),
            error: None,
        });
        Ok(())
    }

    /// One step of one module: tells who works, runs it, and blames it for what it left behind.
    fn step(
        &mut self,
        module: &str,
        stage: Stage,
        progress: &mut dyn FnMut(&str, Stage),
        work: impl FnOnce(&mut Self) -> Result<(), (Stage, Fault)>,
    ) -> Result<(), PreloadError> {
        let error = |(stage, fault)| PreloadError { module: module.to_owned(), stage, fault };
        progress(module, stage);
        let census = Census::take();
        work(self).map_err(error)?;
        match census.fault_since() {
            Some(fault) => Err(error((Stage::Verdict, fault))),
            None => Ok(()),
        }
    }

    /// Runs every `before_exit` hook, in a worker.
    pub(crate) fn before_exit(&self) {
        for (name, module) in &self.modules {
            if let Err(fault) = module.run_hook(Hook::BeforeExit) {
                eprintln!("mpserverd: {name}: {fault}");
            }
        }
    }

    /// Paths of the loaded modules.
    pub(crate) fn paths(&self) -> Vec<String> {
        let loaded = |name: &str| self.modules.iter().any(|(module, _)| module == name);
        let reports = self.reports.iter().filter(|report| loaded(&report.name));
        reports.map(|report| report.path.clone()).collect()
    }

    /// Runs every `after_fork` hook, in a worker.
    pub(crate) fn after_fork(&self) -> Result<(), String> {
        own_hooks(Hook::AfterFork).map_err(|(_, fault)| fault.to_string())?;
        for (name, module) in &self.modules {
            module.run_hook(Hook::AfterFork).map_err(|fault| format!("{name}: {fault}"))?;
        }
        Ok(())
    }
}

fn own_hooks(which: Hook) -> Result<(), (Stage, Fault)> {
    for hooks in HOOKS {
        let (stage, hook) = match which {
            Hook::Init => (Stage::Init, hooks.init),
            Hook::Warm => (Stage::Warm, hooks.warm),
            Hook::AfterFork => (Stage::Serving, hooks.after_fork),
            Hook::BeforeExit => return Ok(()),
        };
        let Some(hook) = hook else { continue };
        match panics::catch(hook) {
            Ok(Ok(())) => {}
            Ok(Err(message)) => return Err((stage, Fault::HookFailed(message))),
            Err(Panic { message, location, .. }) => {
                let place = location.map(|at| format!(" at {at}")).unwrap_or_default();
                return Err((stage, Fault::HookPanicked(message + &place)));
            }
        }
    }
    Ok(())
}

/// Whether this process may read a module: the loader would say so in words only.
fn check_right(path: &Path) -> Result<(), Fault> {
    match nix::unistd::access(path, nix::unistd::AccessFlags::R_OK) {
        Err(nix::errno::Errno::EACCES) => Err(Fault::NotPermitted {
            uid: nix::unistd::geteuid().as_raw(),
            what: format!("read {}", path.display()),
        }),
        // Whatever else is wrong the loader says best.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Resident memory of this process, KiB.
fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4
}
