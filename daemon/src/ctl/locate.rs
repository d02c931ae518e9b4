//! Which template has the task: the modules that were asked for, or whatever the operator
//! preloaded; if those have it not, any other template.

use super::error::CtlError;
use super::{arguments, connect};
use crate::tasks::bench;
use mp::Task;
use mp::daemon::Connection;
use mp::registry::names;
use mp::{Context, Fallback, OnPreloadError, Refusal, StartMethod};
use mpserverd_proto::client::{Reply, Request, Target, TemplateSpec};
use mpserverd_proto::report::{ModulesReport, TemplateModules, TemplateState};
use mpserverd_proto::template::ModuleReport;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a template that loads is waited for.
const LOADING: Duration = Duration::from_secs(60);

/// Where a task can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its full name, where that is known.
    pub(super) task: String,
    /// The program that has it; none: the host of modules.
    program: Option<PathBuf>,
    /// The modules loaded there; none in the host: whatever the operator preloaded.
    modules: Vec<String>,
}

impl Place {
    /// The host with these modules.
    pub(super) fn host(task: &str, modules: Vec<String>) -> Self {
        Self { task: task.to_owned(), program: None, modules }
    }

    /// A context whose workers have the task.
    pub(super) fn context(&self, socket: &Path) -> Result<Context, CtlError> {
        let context = mp::get_context(StartMethod::ForkServer)
            .with_socket(socket)
            .with_fallback(Fallback::Fail);
        let Some(program) = &self.program else {
            return Ok(context.with_modules(self.modules.clone()));
        };
        // For the whole process, which runs one command.
        mp::set_executable(program);
        mp::set_forkserver_preload(self.modules.clone(), OnPreloadError::default())
            .map_err(|error| CtlError::usage(error.to_string()))?;
        Ok(context)
    }
}

/// Where the daemon has the task: a context for it, and its full name.
pub(super) fn open(
    socket: Option<&Path>,
    task: &str,
    modules: &[String],
) -> Result<(Context, String), CtlError> {
    let modules = arguments::modules(modules)?;
    let mut connection = connect::open(socket)?;
    let place = find(&mut connection, task, modules)?;
    Ok((place.context(connection.path())?, place.task))
}

/// Finds the task.
fn find(connection: &mut Connection, task: &str, modules: Vec<String>) -> Result<Place, CtlError> {
    let chosen = chosen(connection, &modules)?;
    let only = !modules.is_empty();
    let first = match &chosen {
        // Nobody knows: the worker will tell.
        Ok(None) => return Ok(Place::host(task, modules)),
        Ok(Some(report)) => match search(report, task)? {
            Some((name, _)) => return Ok(Place::host(&name, modules)),
            None => report.clone(),
        },
        Err(error) if only => return Err(error.clone()),
        Err(_) => ModulesReport::default(),
    };
    if only {
        return Err(unknown(task, &first));
    }
    let all = match connect::ask(connection, &Request::Modules)? {
        Reply::Modules(all) => all,
        other => return Err(CtlError::unexpected(&other)),
    };
    match (search(&all, task)?, chosen) {
        (Some((name, template)), _) => place(&name, template),
        // Perhaps it would be there, had it not failed.
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(unknown(task, &all)),
    }
}

/// The modules of the template that the modules ask for, once it is ready. The inner error is its
/// failure; nothing means that the daemon would not say.
#[allow(clippy::type_complexity, reason = "three answers, used once")]
fn chosen(
    connection: &mut Connection,
    modules: &[String],
) -> Result<Result<Option<ModulesReport>, CtlError>, CtlError> {
    let request = Request::OpenTemplate(TemplateSpec {
        target: Target::Modules,
        modules: modules.to_vec(),
        on_error: OnPreloadError::default(),
        environment: environment(),
    });
    let deadline = Some(Instant::now() + LOADING + Duration::from_secs(5));
    let pool = match connection.call(&request, &[], deadline) {
        Ok((Reply::Opened(pool), _)) => pool,
        Ok((other, _)) => return Err(CtlError::unexpected(&other)),
        Err(mp::DaemonError::Refused(refusal)) => return judge(refusal),
        Err(error) => return Err(error.into()),
    };
    let wait_ms = LOADING.as_millis() as u32;
    match connection.call(&Request::TemplateModules { pool, wait_ms }, &[], deadline) {
        Ok((Reply::Modules(report), _)) => Ok(Ok(Some(report))),
        Ok((other, _)) => Err(CtlError::unexpected(&other)),
        Err(mp::DaemonError::Refused(refusal)) => judge(refusal),
        Err(error) => Err(error.into()),
    }
}

#[allow(clippy::type_complexity, reason = "as its caller")]
fn judge(refusal: Refusal) -> Result<Result<Option<ModulesReport>, CtlError>, CtlError> {
    match refusal {
        Refusal::Deadline { .. } | Refusal::UnknownPool => Ok(Ok(None)),
        Refusal::NotPermitted { .. } | Refusal::ShuttingDown => {
            Err(mp::DaemonError::Refused(refusal).into())
        }
        failed => Ok(Err(mp::DaemonError::Refused(failed).into())),
    }
}

/// This process's environment, as a template that must be built would get it.
fn environment() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in std::env::vars_os() {
        bytes.extend_from_slice(key.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// The full name of the task, and the template that has it; the first one that is ready.
fn search<'a>(
    report: &'a ModulesReport,
    asked: &str,
) -> Result<Option<(String, &'a TemplateModules)>, CtlError> {
    let usable = |state| matches!(state, TemplateState::Ready | TemplateState::Loading);
    let tasks = || {
        let templates = report.templates.iter().filter(|template| usable(template.state));
        templates.flat_map(|template| {
            let modules = template.modules.iter();
            modules.flat_map(move |module| {
                module.tasks.iter().map(move |task| (template, module, task))
            })
        })
    };
    if let Some((template, ..)) = tasks().find(|(.., task)| task.name == asked) {
        return Ok(Some((asked.to_owned(), template)));
    }
    let matching =
        tasks().filter(|(_, module, task)| names::matches(asked, &task.name, &module.title));
    let matching: Vec<_> = matching.collect();
    let distinct: BTreeSet<&str> = matching.iter().map(|(.., task)| task.name.as_str()).collect();
    match (matching.first(), distinct.len()) {
        (Some((template, _, task)), 1) => Ok(Some((task.name.clone(), template))),
        (None, _) => Ok(None),
        (Some(_), _) => {
            let candidates = distinct.into_iter().collect::<Vec<_>>().join(", ");
            Err(CtlError::usage(format!(
                "`{asked}` is ambiguous, give more of the name: {candidates}"
            )))
        }
    }
}

/// How to get a worker of a template that some other client, or the operator, has built.
fn place(task: &str, template: &TemplateModules) -> Result<Place, CtlError> {
    let is_host = |module: &&ModuleReport| {
        module.tasks.iter().any(|task| task.name == <bench::now as Task>::NAME)
    };
    let task = task.to_owned();
    let names =
        |modules: &[ModuleReport]| modules.iter().map(|module| module.name.clone()).collect();
    match template.modules.split_first() {
        Some((host, modules)) if is_host(&host) => {
            Ok(Place { task, program: None, modules: names(modules) })
        }
        // A program reports itself first, and without a version.
        Some((program, modules)) if program.version.is_empty() && !program.path.is_empty() => {
            let path = Some(PathBuf::from(&program.path));
            Ok(Place { task, program: path, modules: names(modules) })
        }
        _ => Err(CtlError::usage(format!(
            "`{task}` is in the template `{}` only: name its modules with --module",
            template.name
        ))),
    }
}

fn unknown(task: &str, report: &ModulesReport) -> CtlError {
    let modules = report.templates.iter().flat_map(|template| &template.modules);
    let tasks = modules.flat_map(|module| &module.tasks).map(|task| task.name.as_str());
    let tasks: BTreeSet<&str> = tasks.collect();
    let near = names::near(task, tasks.into_iter());
    let hint = if near.is_empty() {
        "`mpctl modules` lists all".to_owned()
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    CtlError::usage(format!("unknown task `{task}`; {hint}"))
}

#[cfg(test)]
#[path = "locate_tests.rs"]
mod tests;
