//! Slices of bytes, seen through a type parameter.
//!
//! Contract: what comes out is the same slice. There is no safe way to ask this of a slice, whose
//! elements may be borrowed for less than `'static`, though their type is not.

use std::any::TypeId;

/// The slice itself, if its elements are bytes.
#[inline]
pub(crate) fn as_bytes<T: 'static>(slice: &[T]) -> Option<&[u8]> {
    if TypeId::of::<T>() != TypeId::of::<u8>() {
        return None;
    }
    // SAFETY: `T` is `u8`, so this is the same type.
    Some(unsafe { std::slice::from_raw_parts(slice.as_ptr().cast::<u8>(), slice.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_are_bytes() {
        assert_eq!(as_bytes(&[1u8, 2]), Some(&[1, 2][..]));
        assert_eq!(as_bytes(&[1i8, 2]), None);
        assert_eq!(as_bytes::<u64>(&[]), None);
    }
}
