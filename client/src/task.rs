//! Tasks: named functions that another process runs.
//!
//! ```
//! use mpserverd_client as mp;
//!
//! /// Counts the words of a text.
//! #[mp::task]
//! fn count_words(text: &str) -> usize {
//!     text.split_whitespace().count()
//! }
//!
//! assert_eq!(count_words("two words"), 2);
//! assert_eq!(<count_words as mp::Task>::DOC, "Counts the words of a text.");
//! ```

use crate::codec::{self, Codec, CodecError};
use crate::handles::SharedFd;
use crate::parcel::Parcel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::marker::PhantomData;

/// A function that a worker runs by name. Written by [`#[task]`](macro@crate::task) only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "not a task",
    note = "write `#[mp::task]` above the function, or above the `impl mp::Runnable for …`"
)]
pub trait Task: Sized + 'static {
    /// Full name: module path and function.
    const NAME: &'static str;
    /// Arguments and result, for people.
    const SIGNATURE: &'static str;
    /// First paragraph of its documentation.
    const DOC: &'static str;
    /// Hash of the signature.
    const SCHEMA: u64;
    /// Number of arguments.
    const ARITY: usize;
    /// The arguments, as a tuple of owned values.
    type Args: Serialize + DeserializeOwned + 'static;
    /// What it returns.
    type Output: 'static;

    /// Calls the function.
    fn call(args: Self::Args) -> Self::Output;
    /// Encodes what it returned.
    fn encode(codec: Codec, output: Self::Output) -> Encoded;
    /// Appends what it returned to a buffer: the same as [`encode`](Self::encode), for who has many
    /// to encode and does not ask for texts. Tells whether it is what was inside an `Err`.
    ///
    /// # Errors
    /// [`CodecError`] when the value cannot travel; nothing was appended then.
    fn append(
        codec: Codec,
        output: Self::Output,
        into: &mut Buffer,
    ) -> Result<bool, Box<CodecError>> {
        let Encoded { failed, payload } = Self::encode(codec, output);
        let Parcel { bytes, fds } = payload?;
        into.bytes.extend_from_slice(&bytes);
        into.fds = fds;
        Ok(failed.is_some())
    }
    /// Decodes what it returned.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not such a value.
    fn decode(failed: bool, payload: &[u8]) -> Result<Self::Output, CodecError>;
}

/// A state with work to do: what a subclass of `Process` with its own `run` is in Python.
///
/// The state is written where the process is started and read in the worker, which runs it. The
/// attribute [`#[task]`](macro@crate::task) on the `impl` makes the type a [`Task`] with the state
/// as its one argument. [`Context::process_of`](crate::Context::process_of) starts it, with all
/// options of a process; [`Context::start`](crate::Context::start) does so without any.
///
/// ```
/// use mpserverd_client as mp;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Sum {
///     numbers: Vec<u64>,
/// }
///
/// #[mp::task]
/// impl mp::Runnable for Sum {
///     type Output = u64;
///
///     fn run(self) -> u64 {
///         self.numbers.iter().sum()
///     }
/// }
///
/// assert!(<Sum as mp::Task>::NAME.ends_with("::Sum"));
/// assert_eq!(<Sum as mp::Task>::SIGNATURE, "(self: Sum) -> u64");
/// ```
///
/// Without the attribute the type cannot be started:
///
/// ```compile_fail,E0277
/// # use mpserverd_client as mp;
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Forgotten;
///
/// impl mp::Runnable for Forgotten {
///     type Output = ();
///     fn run(self) {}
/// }
///
/// let _ = mp::get_context(mp::StartMethod::Spawn).process_of(Forgotten);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has nothing to run",
    label = "this is not `Runnable`",
    note = "write `#[mp::task] impl mp::Runnable for {Self} {{ type Output = …; fn run(self) … }}`"
)]
pub trait Runnable: Serialize + DeserializeOwned + 'static {
    /// What it comes to: a value that serde can write and read, a `Result` of two, or an
    /// `io::Result`, as the result of any task.
    type Output;

    /// Does the work, in the worker.
    fn run(self) -> Self::Output;
}

/// What a task returned, ready to travel.
#[derive(Debug)]
pub struct Encoded {
    /// The text of the `Err`, if it returned one.
    pub failed: Option<String>,
    /// The encoded value with its handles: of the whole, or of what is inside the `Ok` or `Err`.
    pub(crate) payload: Result<Parcel, CodecError>,
}

/// Encoded values, one after the other.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Their bytes.
    pub(crate) bytes: Vec<u8>,
    /// Descriptors of the handles in the last one.
    pub(crate) fds: Vec<SharedFd>,
}

impl Buffer {
    #[inline]
    fn append<T: Serialize>(&mut self, codec: Codec, value: &T) -> Result<(), Box<CodecError>> {
        Parcel::append(codec, value, &mut self.bytes, &mut self.fds)
    }
}

/// An error for tasks whose own error type cannot travel.
///
/// Any error converts into it with `?`; its text and the texts of its causes survive.
///
/// ```
/// use mpserverd_client as mp;
///
/// #[mp::task]
/// fn parse(text: &str) -> Result<u32, mp::TaskError> {
///     Ok(text.parse()?)
/// }
/// assert!(parse("x").unwrap_err().to_string().contains("invalid digit"));
///
/// fn twice(text: &str) -> Result<u32, Box<dyn std::error::Error>> {
///     Ok(2 * parse(text)?) // and it converts into a boxed error
/// }
/// assert!(twice("x").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    /// The error and its causes, outermost first.
    pub chain: Vec<String>,
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

impl<E: std::error::Error> From<E> for TaskError {
    fn from(error: E) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push(cause.to_string());
            source = cause.source();
        }
        Self { chain }
    }
}

/// The form in which it is an error of the standard library: it cannot be one itself, or `?` could
/// not make one from every error.
#[derive(Debug)]
struct Boxed(TaskError);

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Boxed {}

impl From<TaskError> for Box<dyn std::error::Error + Send + Sync> {
    fn from(error: TaskError) -> Self {
        Box::new(Boxed(error))
    }
}

impl From<TaskError> for Box<dyn std::error::Error> {
    fn from(error: TaskError) -> Self {
        Box::new(Boxed(error))
    }
}

impl TaskError {
    /// An error that is only a text.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { chain: vec![message.into()] }
    }
}

/// An `io::Error` as it travels.
#[derive(Serialize, Deserialize)]
struct WireIoError {
    raw: Option<i32>,
    kind: String,
    message: String,
}

impl From<&io::Error> for WireIoError {
    fn from(error: &io::Error) -> Self {
        Self {
            raw: error.raw_os_error(),
            kind: format!("{:?}", error.kind()),
            message: error.to_string(),
        }
    }
}

/// Kinds that survive the way; others arrive as `Other`.
const KINDS: [io::ErrorKind; 22] = [
    io::ErrorKind::NotFound,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::NotConnected,
    io::ErrorKind::AddrInUse,
    io::ErrorKind::AddrNotAvailable,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::AlreadyExists,
    io::ErrorKind::WouldBlock,
    io::ErrorKind::NotADirectory,
    io::ErrorKind::IsADirectory,
    io::ErrorKind::DirectoryNotEmpty,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::InvalidData,
    io::ErrorKind::TimedOut,
    io::ErrorKind::WriteZero,
    io::ErrorKind::Interrupted,
    io::ErrorKind::Unsupported,
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::OutOfMemory,
];

impl From<WireIoError> for io::Error {
    fn from(wire: WireIoError) -> Self {
        if let Some(raw) = wire.raw {
            return Self::from_raw_os_error(raw);
        }
        let kind = KINDS.into_iter().find(|kind| format!("{kind:?}") == wire.kind);
        Self::new(kind.unwrap_or(io::ErrorKind::Other), wire.message)
    }
}

/// Chooses the encoding of a return type; the macro calls it on three references, so that the
/// most special of the three traits below wins.
#[derive(Debug, Default)]
pub struct Returns<T>(PhantomData<T>);

impl<T> Returns<T> {
    /// The chooser for `T`.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// A plain value.
pub trait ReturnsValue<T> {
    /// Encodes it.
    fn encode(&self, codec: Codec, output: T) -> Encoded;
    /// Appends it; tells whether it is what was inside an `Err`.
    ///
    /// # Errors
    /// [`CodecError`].
    fn append(&self, codec: Codec, output: T, into: &mut Buffer) -> Result<bool, Box<CodecError>>;
    /// Decodes it.
    ///
    /// # Errors
    /// [`CodecError`].
    fn decode(&self, failed: bool, payload: &[u8]) -> Result<T, CodecError>;
}

impl<T: Serialize + DeserializeOwned> ReturnsValue<T> for Returns<T> {
    fn encode(&self, codec: Codec, output: T) -> Encoded {
        Encoded { failed: None, payload: Parcel::pack(codec, &output) }
    }

    #[inline]
    fn append(&self, codec: Codec, output: T, into: &mut Buffer) -> Result<bool, Box<CodecError>> {
        into.append(codec, &output).map(|()| false)
    }

    fn decode(&self, _: bool, payload: &[u8]) -> Result<T, CodecError> {
        codec::decode(Codec::Bincode, payload)
    }
}

/// A `Result` of two values.
pub trait ReturnsResult<T> {
    /// Encodes it.
    fn encode(&self, codec: Codec, output: T) -> Encoded;
    /// Appends it; tells whether it is what was inside an `Err`.
    ///
    /// # Errors
    /// [`CodecError`].
    fn append(&self, codec: Codec, output: T, into: &mut Buffer) -> Result<bool, Box<CodecError>>;
    /// Decodes it.
    ///
    /// # Errors
    /// [`CodecError`].
    fn decode(&self, failed: bool, payload: &[u8]) -> Result<T, CodecError>;
}

impl<T, E> ReturnsResult<Result<T, E>> for &Returns<Result<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    fn encode(&self, codec: Codec, output: Result<T, E>) -> Encoded {
        match output {
            Ok(value) => Encoded { failed: None, payload: Parcel::pack(codec, &value) },
            Err(error) => {
                let text = match serde_json::to_value(&error) {
                    Ok(serde_json::Value::String(text)) => text,
                    Ok(value) => chain_text(&value).unwrap_or_else(|| value.to_string()),
                    Err(_) => std::any::type_name::<E>().to_owned(),
                };
                Encoded { failed: Some(text), payload: Parcel::pack(codec, &error) }
            }
        }
    }

    #[inline]
    fn append(
        &self,
        codec: Codec,
        output: Result<T, E>,
        into: &mut Buffer,
    ) -> Result<bool, Box<CodecError>> {
        match output {
            Ok(value) => into.append(codec, &value).map(|()| false),
            Err(error) => into.append(codec, &error).map(|()| true),
        }
    }

    fn decode(&self, failed: bool, payload: &[u8]) -> Result<Result<T, E>, CodecError> {
        Ok(if failed {
            Err(codec::decode(Codec::Bincode, payload)?)
        } else {
            Ok(codec::decode(Codec::Bincode, payload)?)
        })
    }
}

/// The text of a [`TaskError`], seen as JSON.
fn chain_text(value: &serde_json::Value) -> Option<String> {
    serde_json::from_value::<TaskError>(value.clone()).ok().map(|error| error.to_string())
}

/// An `io::Result`.
pub trait ReturnsIoResult<T> {
    /// Encodes it.
    fn encode(&self, codec: Codec, output: T) -> Encoded;
    /// Appends it; tells whether it is what was inside an `Err`.
    ///
    /// # Errors
    /// [`CodecError`].
    fn append(&self, codec: Codec, output: T, into: &mut Buffer) -> Result<bool, Box<CodecError>>;
    /// Decodes it.
    ///
    /// # Errors
    /// [`CodecError`].
    fn decode(&self, failed: bool, payload: &[u8]) -> Result<T, CodecError>;
}

impl<T: Serialize + DeserializeOwned> ReturnsIoResult<io::Result<T>> for &&Returns<io::Result<T>> {
    fn encode(&self, codec: Codec, output: io::Result<T>) -> Encoded {
        match output {
            Ok(value) => Encoded { failed: None, payload: Parcel::pack(codec, &value) },
            Err(error) => Encoded {
                failed: Some(error.to_string()),
                payload: Parcel::pack(codec, &WireIoError::from(&error)),
            },
        }
    }

    #[inline]
    fn append(
        &self,
        codec: Codec,
        output: io::Result<T>,
        into: &mut Buffer,
    ) -> Result<bool, Box<CodecError>> {
        match output {
            Ok(value) => into.append(codec, &value).map(|()| false),
            Err(error) => into.append(codec, &WireIoError::from(&error)).map(|()| true),
        }
    }

    fn decode(&self, failed: bool, payload: &[u8]) -> Result<io::Result<T>, CodecError> {
        Ok(if failed {
            Err(codec::decode::<WireIoError>(Codec::Bincode, payload)?.into())
        } else {
            Ok(codec::decode(Codec::Bincode, payload)?)
        })
    }
}
