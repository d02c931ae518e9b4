//! The attributes `#[mp::task]` and `#[mp::remote]`. See `mpserverd_client::task` and
//! `mpserverd_client::manager` for how to use them.
//!
//! | file | holds |
//! |---|---|
//! | `task` | the attribute on a function |
//! | `runnable` | the attribute on an `impl Runnable` |
//! | `remote` | the attribute on an `impl` whose objects live in a manager |
//! | `registration` | what tasks and states come to |
//!
//! Nothing else belongs here: hooks and module descriptors are plain `macro_rules` of the client.
#![forbid(unsafe_code)]

mod registration;
mod remote;
mod runnable;
mod task;

use proc_macro::TokenStream;
use syn::{Error, Item};

/// Makes a function, or the `run` of a state, a task: callable by name in a worker process.
///
/// # Functions
///
/// The function stays what it is. Beside it stands a *type* of the same name, which is what
/// `ctx.process::<name>(args)` takes.
///
/// ```
/// # use mpserverd_client as mp;
/// #[mp::task]
/// fn area(width: u32, height: u32) -> u64 {
///     u64::from(width) * u64::from(height)
/// }
/// assert_eq!(area(3, 4), 12);
/// assert!(<area as mp::Task>::SIGNATURE.contains("width: u32"));
/// ```
///
/// Arguments are owned values that serde can write and read; `&str`, `&Path`, `&[T]` and `&T` are
/// accepted too and travel as the owned type. The result is such a value, or a `Result` of two,
/// or an `io::Result`. Not possible: `self`, generics, `async`, `unsafe`, patterns.
///
/// # States
///
/// Before an `impl mp::Runnable for TYPE` it makes the type itself a task with one argument, the
/// state. That is what `ctx.process_of(state)` and `ctx.start(state)` take.
///
/// ```
/// # use mpserverd_client as mp;
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Area {
///     width: u32,
///     height: u32,
/// }
///
/// /// Computes an area.
/// #[mp::task]
/// impl mp::Runnable for Area {
///     type Output = u64;
///
///     fn run(self) -> u64 {
///         u64::from(self.width) * u64::from(self.height)
///     }
/// }
/// assert_eq!(<Area as mp::Task>::DOC, "Computes an area.");
/// ```
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(attribute.into(), item.into()).unwrap_or_else(|e| e.into_compile_error()).into()
}

fn expand(
    attribute: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(attribute, "`#[task]` takes no arguments"));
    }
    match syn::parse2(item)? {
        Item::Fn(function) => task::expand(&function),
        Item::Impl(item) => runnable::expand(&item),
        other => {
            let what = "`#[task]` goes before a function or an `impl mp::Runnable for TYPE`";
            Err(Error::new_spanned(other, what))
        }
    }
}

/// Makes objects of a type live in a manager's server: writes a proxy with its public methods.
///
/// It stands on an `impl` block of the type. Beside the type `Counter` there is a `CounterProxy`
/// then. Its methods are those with `&self` or `&mut self` that are `pub`; functions that are `pub`
/// and give a `Self`, or a `Result` of one, take a manager first and make an object. A method that
/// is not `pub` does not exist in the proxy. Each call can fail, so each gives a
/// `Result<_, mp::ManagerError>`.
///
/// ```no_run
/// # use mpserverd_client as mp;
/// struct Counter {
///     count: i64,
/// }
///
/// #[mp::remote]
/// impl Counter {
///     pub fn new(start: i64) -> Self {
///         Self { count: start }
///     }
///
///     /// Adds to it, and gives what it is now.
///     pub fn add(&mut self, n: i64) -> i64 {
///         self.count += n;
///         self.count
///     }
/// }
///
/// fn main() -> Result<(), mp::ManagerError> {
///     mp::freeze_support();
///     let manager = mp::get_context(None).manager()?;
///     let counter = CounterProxy::new(&manager, 5)?;
///     assert_eq!(counter.add(2)?, 7);
///     Ok(())
/// }
/// ```
///
/// Arguments and results travel as those of a task do, descriptors excepted. Methods run in the
/// server, on threads of their own: those with `&self` at the same time as each other, one with
/// `&mut self` alone. So the type is `Send` and `Sync`, and a method may wait. A panic is a
/// `RemoteError` with its place; one in a method with `&mut self` poisons the object as it does a
/// mutex, until `make_consistent` is called.
///
/// The server must be a process of this program. Hosts of modules do not know the type.
#[proc_macro_attribute]
pub fn remote(attribute: TokenStream, item: TokenStream) -> TokenStream {
    remote::expand(attribute.into(), item.into()).unwrap_or_else(|e| e.into_compile_error()).into()
}

#[cfg(test)]
mod tests {
    use quote::quote;

    /// What the compiler is told.
    fn error(item: proc_macro2::TokenStream) -> String {
        match super::expand(quote!(), item) {
            Ok(tokens) => panic!("accepted: {tokens}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_a_task_is_told_why() {
        let place = "`#[task]` goes before a function or an `impl mp::Runnable for TYPE`";
        assert_eq!(
            error(quote!(
                struct State;
            )),
            place
        );
        assert_eq!(error(quote!(impl State {})), place);
        assert_eq!(error(quote!(impl Iterator for State {})), place);
        assert!(
            error(quote!(
                fn work(&self) {}
            ))
            .contains("`self`")
        );
        assert!(
            error(quote!(
                async fn work() {}
            ))
            .contains("async")
        );
        assert!(
            error(quote!(
                fn work<T>() {}
            ))
            .contains("generic")
        );
        assert!(
            super::expand(
                quote!(name = 1),
                quote!(
                    fn work() {}
                )
            )
            .is_err()
        );
    }

    #[test]
    fn a_state_without_something_is_told_what() {
        let run = quote!(
            fn run(self) {}
        );
        let output = quote!(
            type Output = ();
        );
        let state = |items: &[_]| error(quote!(impl mp::Runnable for State { #(#items)* }));
        assert!(state(std::slice::from_ref(&run)).contains("`type Output = …;` is missing"));
        assert!(
            state(std::slice::from_ref(&output))
                .contains("`fn run(self) -> Self::Output` is missing")
        );
        let borrowing = quote!(
            fn run(&self) {}
        );
        assert!(state(&[output.clone(), borrowing]).contains("`run` takes `self`"));
        let waiting = quote!(
            async fn run(self) {}
        );
        assert!(state(&[output.clone(), waiting]).contains("async"));
        let generic = quote!(impl<T> Runnable for State<T> { #output #run });
        assert!(error(generic).contains("generic"));
        let tuple = quote!(impl Runnable for (u8, u8) { #output #run });
        assert!(error(tuple).contains("a type with a name"));
        assert!(
            super::expand(quote!(), quote!(impl mp::Runnable for State { #output #run })).is_ok()
        );
    }
}
