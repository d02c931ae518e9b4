//! Types that serde knows nothing of, and what they travel as.

use mpserverd_proto::codec::RebuildError;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use std::cell::Cell;
use std::fmt;

/// What a type travels as: written by [`reduce!`](crate::reduce), or by hand where a type has
/// parameters.
///
/// It is implemented for a name, not for the type itself, which may be another crate's, and may
/// travel as this here and as that there.
pub trait Reduction: 'static {
    /// The type.
    type Value;
    /// What it travels as.
    type Form: Serialize + DeserializeOwned;

    /// Takes a value apart.
    fn reduce(value: &Self::Value) -> Self::Form;

    /// Puts it together again.
    ///
    /// # Errors
    /// [`RebuildError`] when this form is none of a value.
    fn rebuild(form: Self::Form) -> Result<Self::Value, RebuildError>;
}

/// A value of a foreign type that travels: a wrapper for where a field attribute does not reach,
/// such as an argument of a task or an element of a list. See [`reduce!`](crate::reduce).
pub struct Reduced<R: Reduction>(
    /// The value itself.
    pub R::Value,
);

impl<R: Reduction> std::ops::Deref for Reduced<R> {
    type Target = R::Value;

    fn deref(&self) -> &R::Value {
        &self.0
    }
}

impl<R: Reduction> std::ops::DerefMut for Reduced<R> {
    fn deref_mut(&mut self) -> &mut R::Value {
        &mut self.0
    }
}

impl<R: Reduction<Value: Clone>> Clone for Reduced<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Reduction<Value: PartialEq>> PartialEq for Reduced<R> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<R: Reduction<Value: Eq>> Eq for Reduced<R> {}

impl<R: Reduction<Value: fmt::Debug>> fmt::Debug for Reduced<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<R: Reduction> Serialize for Reduced<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        reduce_by::<R, S>(&self.0, serializer)
    }
}

impl<'de, R: Reduction> Deserialize<'de> for Reduced<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        rebuild_by::<R, D>(deserializer).map(Self)
    }
}

thread_local! {
    /// The last refusal, for errors that name the type.
    static REFUSAL: Cell<Option<RebuildError>> = const { Cell::new(None) };
}

/// Serialises what a value is reduced to.
#[doc(hidden)]
pub fn reduce_by<R: Reduction, S: Serializer>(
    value: &R::Value,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    R::reduce(value).serialize(serializer)
}

/// Deserialises that and rebuilds the value.
#[doc(hidden)]
pub fn rebuild_by<'de, R: Reduction, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<R::Value, D::Error> {
    R::rebuild(R::Form::deserialize(deserializer)?).map_err(|refusal| {
        let error = D::Error::custom(&refusal);
        REFUSAL.set(Some(refusal));
        error
    })
}

pub(super) fn forget_refusal() {
    REFUSAL.set(None);
}

/// The last refusal, if that is what an error says.
pub(super) fn refusal_with(said: &str) -> Option<RebuildError> {
    REFUSAL.take().filter(|refusal| refusal.to_string() == said)
}

/// Says what a foreign type travels as, once and for all: the counterpart of
/// `ForkingPickler.register`.
///
/// `mp::reduce! { pub Name: Type as Form, |value| form, |form| result; }` makes `Name`, by which a
/// field of that type is serialised (`#[serde(with = "Name")]`), and a value anywhere else
/// ([`Reduced<Name>`](crate::Reduced)). A type that has no reduction does not compile. The second
/// function may fail: then decoding is [`CodecError::Rebuild`](crate::CodecError), which names the
/// type.
///
/// ```
/// use mpserverd_client as mp;
/// use std::net::TcpListener;
/// # mod regex {
/// #     #[derive(Debug)]
/// #     pub struct Regex(String);
/// #     impl Regex {
/// #         pub fn new(text: &str) -> Result<Self, String> {
/// #             if text == "(" { Err("unclosed group".into()) } else { Ok(Self(text.into())) }
/// #         }
/// #         pub fn as_str(&self) -> &str { &self.0 }
/// #     }
/// # }
///
/// mp::reduce! {
///     /// Patterns travel as text, and are compiled where they arrive.
///     pub Pattern: regex::Regex as String, |regex| regex.as_str().into(), |s| regex::Regex::new(&s);
/// }
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Search {
///     #[serde(with = "Pattern")]
///     what: regex::Regex,
///     or: Vec<mp::Reduced<Pattern>>,
/// }
///
/// #[mp::task]
/// fn find(pattern: mp::Reduced<Pattern>, text: &str) -> bool {
///     text.contains(pattern.as_str())
/// }
///
/// let reducer = mp::Reducer::bincode();
/// let search = Search { what: regex::Regex::new("a+").unwrap(), or: vec![] };
/// let back: Search = reducer.decode(&reducer.encode(&search)?)?;
/// assert_eq!(back.what.as_str(), "a+");
///
/// let wrong = reducer.encode("(")?;
/// let error = reducer.decode::<mp::Reduced<Pattern>>(&wrong).unwrap_err();
/// assert!(matches!(error, mp::CodecError::Rebuild(_)));
/// assert!(error.to_string().ends_with("Regex` cannot be rebuilt: unclosed group"));
/// # Ok::<(), mp::CodecError>(())
/// ```
#[macro_export]
macro_rules! reduce {
    ($(
        $(#[$meta:meta])*
        $vis:vis $name:ident: $type:ty as $form:ty, $reduce:expr, $rebuild:expr
    );+ $(;)?) => {
        $($(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        $vis enum $name {}

        impl $crate::Reduction for $name {
            type Value = $type;
            type Form = $form;

            fn reduce(value: &$type) -> $form {
                fn by<T, F>(value: &T, reduce: impl FnOnce(&T) -> F) -> F {
                    reduce(value)
                }
                by::<$type, $form>(value, $reduce)
            }

            fn rebuild(form: $form) -> ::core::result::Result<$type, $crate::RebuildError> {
                fn by<T, F, E: ::core::fmt::Display>(
                    form: F,
                    rebuild: impl FnOnce(F) -> ::core::result::Result<T, E>,
                ) -> ::core::result::Result<T, $crate::RebuildError> {
                    rebuild(form).map_err($crate::RebuildError::of::<T>)
                }
                by::<$type, $form, _>(form, $rebuild)
            }
        }

        #[allow(dead_code, reason = "a field attribute or the wrapper: one is enough")]
        impl $name {
            /// For `#[serde(with)]`.
            ///
            /// # Errors
            /// As the form it is reduced to.
            $vis fn serialize<S: $crate::__private::serde::Serializer>(
                value: &$type,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                $crate::__private::reduce_by::<Self, S>(value, serializer)
            }

            /// For `#[serde(with)]`.
            ///
            /// # Errors
            /// As the form it is reduced to; also when it cannot be rebuilt.
            $vis fn deserialize<'de, D: $crate::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<$type, D::Error> {
                $crate::__private::rebuild_by::<Self, D>(deserializer)
            }
        })+
    };
}
