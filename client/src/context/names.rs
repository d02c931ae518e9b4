//! What `multiprocessing`'s contexts can do besides making things: the start method by a context,
//! and names that mean the same in each.

use super::{
    Context, OnPreloadError, StartMethod, fixed_start_method, force_start_method, set_executable,
    set_forkserver_preload, set_start_method,
};
use crate::current::{CurrentProcess, ParentProcess};
use crate::error::ContextError;
use crate::process::ActiveChild;
use std::path::Path;

/// Does nothing: connections travel inside arguments, results, messages and items without being
/// allowed to. It is here because it is there in `multiprocessing`, where it does nothing either.
pub const fn allow_connection_pickling() {}

/// The start method, seen from a context.
impl Context {
    /// The context of this start method, with the other options of this context. `None` gives the
    /// context itself; of the default context, that of the default method, which this fixes.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// let spawn = mp::Context::default().get_context(mp::StartMethod::Spawn);
    /// assert_eq!(spawn.get_context(None).method(), mp::StartMethod::Spawn);
    /// ```
    #[must_use]
    pub fn get_context(&self, method: impl Into<Option<StartMethod>>) -> Self {
        let method = method.into().unwrap_or_else(|| self.method());
        Self { method: Some(method), ..self.clone() }
    }

    /// Its start method if that is decided (`get_start_method(allow_none=True)`): a concrete
    /// context's always is.
    #[must_use]
    pub fn fixed_start_method(&self) -> Option<StartMethod> {
        self.method.or_else(fixed_start_method)
    }

    /// Fixes the default start method, through the default context: a concrete one has its own,
    /// for ever.
    ///
    /// # Errors
    /// [`ContextError::Fixed`], or as the function [`set_start_method`].
    pub fn set_start_method(&self, method: StartMethod) -> Result<(), ContextError> {
        self.default_only()?;
        set_start_method(method)
    }

    /// Fixes the default start method even if it was fixed, or makes it undecided again, through
    /// the default context (`set_start_method(…, force=True)`).
    ///
    /// # Errors
    /// [`ContextError::Fixed`].
    pub fn force_start_method(&self, method: Option<StartMethod>) -> Result<(), ContextError> {
        self.default_only()?;
        force_start_method(method);
        Ok(())
    }

    fn default_only(&self) -> Result<(), ContextError> {
        if self.method.is_some() { Err(ContextError::Fixed) } else { Ok(()) }
    }
}

/// The same in every context: each is the function of this name.
impl Context {
    /// See [`cpu_count`](crate::cpu_count).
    #[must_use]
    pub fn cpu_count(&self) -> usize {
        crate::cpu_count()
    }

    /// See [`current_process`](crate::current_process).
    #[must_use]
    pub fn current_process(&self) -> CurrentProcess {
        crate::current_process()
    }

    /// See [`parent_process`](crate::parent_process).
    #[must_use]
    pub fn parent_process(&self) -> Option<ParentProcess> {
        crate::parent_process()
    }

    /// See [`active_children`](crate::active_children): those of all contexts.
    #[must_use]
    pub fn active_children(&self) -> Vec<ActiveChild> {
        crate::active_children()
    }

    /// See [`freeze_support`](crate::freeze_support).
    pub fn freeze_support(&self) {
        crate::freeze_support();
    }

    /// See [`set_executable`]: it holds for all contexts.
    pub fn set_executable(&self, path: impl AsRef<Path>) {
        set_executable(path);
    }

    /// See [`set_forkserver_preload`]: it holds for all contexts.
    ///
    /// # Errors
    /// As there.
    pub fn set_forkserver_preload<S: Into<String>>(
        &self,
        modules: impl IntoIterator<Item = S>,
        on_error: OnPreloadError,
    ) -> Result<(), ContextError> {
        set_forkserver_preload(modules, on_error)
    }

    /// See [`allow_connection_pickling`].
    pub const fn allow_connection_pickling(&self) {}
}
