//! A decoded array: bytes that were checked once and are decoded again as they are looked at.

use core::fmt;
use core::marker::PhantomData;

use crate::message::{Decode, Encode};
use crate::reader::Reader;
use crate::{List, Writer};

/// A lazy array that borrows from the frame. Iterating cannot fail and never allocates.
pub struct Array<'a, T> {
    first: Reader<'a>,
    count: u32,
    element: PhantomData<T>,
}

/// The elements of an [`Array`], in order.
#[derive(Clone, Debug)]
pub struct ArrayIter<'a, T> {
    reader: Reader<'a>,
    left: u32,
    element: PhantomData<T>,
}

impl<'a, T> Array<'a, T> {
    /// `reader` stands before `count` elements that all decode.
    pub(crate) fn new(reader: Reader<'a>, count: u32) -> Self {
        Self { first: reader, count, element: PhantomData }
    }

    /// How many elements; they were all seen, so this is safe to size memory by.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[must_use]
    pub fn iter(&self) -> ArrayIter<'a, T> {
        ArrayIter { reader: self.first, left: self.count, element: PhantomData }
    }
}

impl<T> Array<'_, T> {
    /// No element.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Reader::new(&[], 0, false), 0)
    }
}

impl<'a, T: Decode<'a>> Array<'a, T> {
    /// The first element, often the only one.
    #[must_use]
    pub fn first(&self) -> Option<T> {
        self.iter().next()
    }
}

impl<'a, T: Decode<'a>> Iterator for ArrayIter<'a, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        Some(T::decode(&mut self.reader).expect("elements were checked when the array was decoded"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl<'a, T: Decode<'a>> ExactSizeIterator for ArrayIter<'a, T> {}

impl<'a, T: Decode<'a>> IntoIterator for Array<'a, T> {
    type Item = T;
    type IntoIter = ArrayIter<'a, T>;

    fn into_iter(self) -> ArrayIter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Decode<'a>> IntoIterator for &Array<'a, T> {
    type Item = T;
    type IntoIter = ArrayIter<'a, T>;

    fn into_iter(self) -> ArrayIter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Decode<'a> + Encode> List<T::Kind> for Array<'a, T> {
    fn count(&self) -> Option<usize> {
        Some(self.len())
    }

    fn write(self, writer: &mut Writer<'_>) {
        self.iter().for_each(|element| writer.put(element));
    }
}

impl<T> Clone for Array<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Array<'_, T> {}

impl<'a, T: Decode<'a> + PartialEq> PartialEq for Array<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Decode<'a> + fmt::Debug> fmt::Debug for Array<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
