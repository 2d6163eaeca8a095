//! Ways to give the elements of an array that is to be written.
//!
//! ```
//! use net::api::metadata::Partition;
//! use net::{Empty, Null, each, many};
//!
//! let partition = Partition {
//!     replica_nodes: [1, 2, 3],
//!     isr_nodes: each([1, 2].iter().map(|node| node + 1000)),
//!     offline_replicas: many(2, |list| (1..=2).for_each(|node: i32| list.push(node))),
//!     error_code: net::ErrorCode::None,
//!     partition_index: 0,
//!     leader_id: 1,
//!     leader_epoch: 7,
//! };
//! # let (_, _, _) = (partition, Empty, Null);
//! ```
//! A Rust array, a slice and a decoded [`Array`](crate::Array) are lists as well, and so is an
//! `Option` of a list, for where null is allowed.

use core::fmt;
use core::marker::PhantomData;

use crate::Writer;
use crate::message::Encode;

/// Elements of kind `K` in order, their number known before the first.
pub trait List<K: ?Sized>: Sized {
    /// How many; `None` for null.
    fn count(&self) -> Option<usize>;

    /// Writes every element, and nothing else.
    fn write(self, writer: &mut Writer<'_>);
}

/// No elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Empty;

/// Null. Where null is not allowed it is written as no elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Null;

/// The elements of an iterator.
#[derive(Clone, Debug)]
pub struct Each<I>(I);

/// Elements pushed by a function.
pub struct Many<F> {
    count: usize,
    fill: F,
}

/// Where the elements of a [`many`] go.
#[derive(Debug)]
pub struct Items<'w, 'o, K: ?Sized> {
    writer: &'w mut Writer<'o>,
    left: usize,
    kind: PhantomData<K>,
}

/// A list of what `iter` yields.
pub fn each<I>(iter: impl IntoIterator<IntoIter = I>) -> Each<I> {
    Each(iter.into_iter())
}

/// A list of exactly `count` elements, which `fill` pushes one by one when the list is written.
pub fn many<K: ?Sized, F: FnOnce(&mut Items<'_, '_, K>)>(count: usize, fill: F) -> Many<F> {
    Many { count, fill }
}

impl<K: ?Sized> Items<'_, '_, K> {
    /// Writes the next element. Panics if more come than were announced.
    #[inline]
    pub fn push<T: Encode<Kind = K>>(&mut self, element: T) {
        self.left = self.left.checked_sub(1).expect("no more elements than announced");
        self.writer.put(element);
    }
}

impl<K: ?Sized> List<K> for Empty {
    fn count(&self) -> Option<usize> {
        Some(0)
    }

    fn write(self, _: &mut Writer<'_>) {}
}

impl<K: ?Sized> List<K> for Null {
    fn count(&self) -> Option<usize> {
        None
    }

    fn write(self, _: &mut Writer<'_>) {}
}

impl<K: ?Sized, L: List<K>> List<K> for Option<L> {
    fn count(&self) -> Option<usize> {
        self.as_ref()?.count()
    }

    fn write(self, writer: &mut Writer<'_>) {
        if let Some(list) = self {
            list.write(writer);
        }
    }
}

impl<T: Encode + Copy> List<T::Kind> for &[T] {
    fn count(&self) -> Option<usize> {
        Some(self.len())
    }

    fn write(self, writer: &mut Writer<'_>) {
        self.iter().for_each(|element| writer.put(*element));
    }
}

impl<T: Encode, const N: usize> List<T::Kind> for [T; N] {
    fn count(&self) -> Option<usize> {
        Some(N)
    }

    fn write(self, writer: &mut Writer<'_>) {
        self.into_iter().for_each(|element| writer.put(element));
    }
}

impl<I: ExactSizeIterator<Item: Encode>> List<<I::Item as Encode>::Kind> for Each<I> {
    fn count(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn write(self, writer: &mut Writer<'_>) {
        let announced = self.0.len();
        let written = self.0.fold(0, |written, element| {
            writer.put(element);
            written + 1
        });
        assert_eq!(written, announced, "an iterator yields as many elements as it announced");
    }
}

impl<K: ?Sized, F: FnOnce(&mut Items<'_, '_, K>)> List<K> for Many<F> {
    fn count(&self) -> Option<usize> {
        Some(self.count)
    }

    fn write(self, writer: &mut Writer<'_>) {
        let mut items = Items { writer, left: self.count, kind: PhantomData };
        (self.fill)(&mut items);
        assert_eq!(items.left, 0, "as many elements as announced");
    }
}

impl<F> fmt::Debug for Many<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Many({})", self.count)
    }
}
