//! The attribute `#[mp::task]`. See `mpserverd_client::task` for how to use it.
//!
//! Nothing else belongs here: hooks and module descriptors are plain `macro_rules` of the client.
#![forbid(unsafe_code)]

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
