//! Objects of users' types.

use super::answer::{Answer, Stored};
use super::object::State;
use crate::manager::error::RemoteError;
use crate::manager::remote::{CallError, Instance, TYPES, TypeEntry};
use crate::manager::wire::Failure;
use crate::registry::names;
use crate::runtime::panics;
use std::sync::Arc;

/// An object of a user's type.
pub(super) struct User {
    entry: &'static TypeEntry,
    instance: Box<dyn Instance>,
}

fn find(name: &str) -> Result<&'static TypeEntry, Failure> {
    TYPES.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let near = names::near(name, TYPES.iter().map(|entry| entry.name));
        Failure::Unknown { name: format!("type `{name}`"), near }
    })
}

/// What makes one; it runs users' code.
pub(super) fn construction(
    name: &str,
    constructor: &str,
    args: Stored,
) -> Result<impl FnOnce() -> Result<(String, State), Failure> + Send + use<>, Failure> {
    let entry = find(name)?;
    let constructor = constructor.to_owned();
    Ok(move || {
        let made = caught(|| (entry.construct)(&constructor, &args.bytes));
        let instance = made.map_err(|error| failure(entry, &constructor, error))?;
        Ok((entry.name.to_owned(), State::User(Arc::new(User { entry, instance }))))
    })
}

impl User {
    /// What calls a method; it runs users' code.
    pub(super) fn call(
        self: &Arc<Self>,
        method: &str,
        args: Stored,
    ) -> impl FnOnce() -> Result<Answer, Failure> + Send + use<> {
        let (user, method) = (self.clone(), method.to_owned());
        move || {
            let returned = caught(|| user.instance.call(&method, &args.bytes));
            let bytes = returned.map_err(|error| failure(user.entry, &method, error))?;
            Ok(Answer::One(Stored { bytes: Arc::from(bytes), refs: None }))
        }
    }

    pub(super) fn make_consistent(&self) {
        self.instance.make_consistent();
    }
}

fn caught<T>(call: impl FnOnce() -> Result<T, CallError>) -> Result<T, CallError> {
    panics::catch(call).unwrap_or_else(|panic| {
        Err(CallError::Remote(RemoteError {
            kind: "panic".to_owned(),
            message: panic.message,
            location: panic.location,
            backtrace: panic.backtrace,
        }))
    })
}

fn failure(entry: &TypeEntry, called: &str, error: CallError) -> Failure {
    match error {
        CallError::Unknown => {
            let near = names::near(called, entry.methods.iter().copied());
            Failure::Unknown { name: format!("`{called}` of `{}`", entry.name), near }
        }
        CallError::Arguments(error) => {
            Failure::Malformed(format!("arguments of `{}::{called}`: {error}", entry.name))
        }
        CallError::Returned(error) => {
            Failure::Malformed(format!("result of `{}::{called}`: {error}", entry.name))
        }
        CallError::Poisoned => Failure::Poisoned,
        CallError::Remote(error) => Failure::Remote(error),
    }
}
