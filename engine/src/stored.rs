//! The part of a partition that stands in bins: extents by offset.

use std::collections::VecDeque;

use base::Offset;

use crate::extent::Extent;

/// See the module's description. Offsets rise; between two extents nothing is missing but what was
/// lost.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    extents: VecDeque<Extent>,
    bytes: u64,
}

impl Stored {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn extents(&self) -> impl DoubleEndedIterator<Item = &Extent> {
        self.extents.iter()
    }

    pub(crate) fn end(&self) -> Option<Offset> {
        self.extents.back().map(|extent| extent.end)
    }

    /// The first extent that ends behind `offset`: it holds the offset, or lies behind it.
    pub(crate) fn at_or_behind(&self, offset: Offset) -> Option<&Extent> {
        self.extents.get(self.extents.partition_point(|extent| extent.end <= offset))
    }

    /// Adds an extent at the end.
    pub(crate) fn push(&mut self, extent: Extent) {
        assert!(self.end().is_none_or(|end| end <= extent.base), "extents come in order");
        self.bytes += u64::from(extent.len);
        self.extents.push_back(extent);
    }

    /// Takes the first extent if it ends at or before `to`.
    pub(crate) fn pop_front_before(&mut self, to: Offset) -> Option<Extent> {
        if to < self.extents.front()?.end {
            return None;
        }
        let extent = self.extents.pop_front()?;
        self.bytes -= u64::from(extent.len);
        Some(extent)
    }

    /// Puts `extent` in the place of its copy that stands at `from`, a bin and a page. Returns that
    /// copy, or `None` if it is gone.
    pub(crate) fn replace(&mut self, from: (u32, u32), extent: Extent) -> Option<Extent> {
        let index = self.extents.binary_search_by_key(&extent.base, |old| old.base).ok()?;
        let old = &mut self.extents[index];
        if (old.bin, old.page) != from {
            return None;
        }
        Some(core::mem::replace(old, extent))
    }
}

#[cfg(test)]
mod tests {
    use base::Seq;

    use super::*;

    fn extent(base: u64, bin: u32) -> Extent {
        Extent {
            base: Offset(base),
            end: Offset(base + 10),
            stamp: Seq(1),
            max_timestamp: 0,
            written_ms: 0,
            len: 100,
            page: base as u32,
            bin,
            headers_crc: 0,
        }
    }

    #[test]
    fn extents_are_found_by_offset() {
        let mut stored = Stored::default();
        stored.push(extent(0, 1));
        stored.push(extent(20, 1));
        let base_at = |offset| stored.at_or_behind(Offset(offset)).map(|extent| extent.base.0);
        assert_eq!([9, 10, 20, 29, 30].map(base_at), [Some(0), Some(20), Some(20), Some(20), None]);
        assert_eq!(stored.bytes(), 200);
    }

    #[test]
    fn whole_extents_go_from_the_front() {
        let mut stored = Stored::default();
        stored.push(extent(0, 1));
        stored.push(extent(10, 1));
        assert_eq!(stored.pop_front_before(Offset(9)), None);
        assert_eq!(stored.pop_front_before(Offset(10)), Some(extent(0, 1)));
        assert_eq!((stored.extents().next(), stored.bytes()), (Some(&extent(10, 1)), 100));
    }

    #[test]
    fn an_extent_moves_only_from_where_it_stands() {
        let mut stored = Stored::default();
        stored.push(extent(0, 1));
        assert_eq!(stored.replace((2, 0), extent(0, 3)), None);
        assert_eq!(stored.replace((1, 0), extent(0, 3)), Some(extent(0, 1)));
        assert_eq!(stored.replace((1, 0), extent(0, 4)), None, "it moved before");
    }
}
