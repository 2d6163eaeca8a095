//! Buffers for reads and background writes, kept for reuse by size: 1, 2, 4 … 256 pages.

use base::Page;

/// log₂ of the largest buffer that is kept, in pages.
const LARGEST: usize = 8;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct PagePool {
    by_size: [Vec<Box<[Page]>>; LARGEST + 1],
    /// Buffers kept of each size.
    keep: usize,
}

impl PagePool {
    pub(crate) fn new(keep: usize) -> Self {
        Self { by_size: Default::default(), keep }
    }

    /// A buffer of at least `pages`, the next power of two if that is one of the kept sizes. Its
    /// content is whatever it was.
    pub(crate) fn take(&mut self, pages: usize) -> Box<[Page]> {
        let size = pages.next_power_of_two();
        let Some(kept) = self.by_size.get_mut(size.ilog2() as usize) else {
            return Page::boxed(pages);
        };
        kept.pop().unwrap_or_else(|| Page::boxed(size))
    }

    /// Gives a buffer back.
    pub(crate) fn give(&mut self, pages: Box<[Page]>) {
        if pages.len().is_power_of_two()
            && let Some(kept) = self.by_size.get_mut(pages.len().ilog2() as usize)
            && kept.len() < self.keep
        {
            kept.push(pages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_by_size() {
        let mut pool = PagePool::new(1);
        let mut buffer = pool.take(3);
        assert_eq!(buffer.len(), 4);
        buffer[0].0[0] = 7;
        pool.give(buffer);
        pool.give(Page::boxed(4));
        let first = pool.take(4);
        assert_eq!(first[0].0[0], 7, "it is the one that was given back");
        assert!(pool.by_size[2].is_empty(), "the second was not kept");
        assert_eq!(pool.take(300).len(), 300, "too large to be kept, so not rounded");
        pool.give(Page::boxed(300));
    }
}
