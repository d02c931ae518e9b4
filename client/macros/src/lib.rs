//! The attributes `#[mp::task]` and `#[mp::remote]`. See `mpserverd_client::task` and
//! `mpserverd_client::manager` for how to use them.
//!
//! Nothing else belongs here: hooks and module descriptors are plain `macro_rules` of the client.
#![forbid(unsafe_code)]

mod remote;
mod task;

use proc_macro::TokenStream;

/// Makes a function a task: callable by name in a worker process.
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
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(attribute.into(), item.into()).unwrap_or_else(|e| e.into_compile_error()).into()
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
