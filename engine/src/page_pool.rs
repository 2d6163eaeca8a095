//! Buffers for reads and background writes, kept for reuse by their exact size.

use base::{PAGE_BYTES, Page};

/// Larger buffers are not kept.
const LARGEST_PAGES: usize = 256;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct PagePool {
    /// By pages, one less than the index.
    by_size: Vec<Vec<Box<[Page]>>>,
    kept_bytes: usize,
    keep_bytes: usize,
}

impl PagePool {
    /// A pool that keeps at most `keep_bytes` for later.
    pub(crate) fn new(keep_bytes: usize) -> Self {
        let by_size = core::iter::repeat_with(Vec::new).take(LARGEST_PAGES).collect();
        Self { by_size, kept_bytes: 0, keep_bytes }
    }

    /// A buffer of `pages`, at least one. Its content is whatever it was.
    pub(crate) fn take(&mut self, pages: usize) -> Box<[Page]> {
        let kept = self.by_size.get_mut(pages - 1).and_then(Vec::pop);
        match kept {
            Some(buffer) => {
                self.kept_bytes -= pages * PAGE_BYTES;
                buffer
            }
            None => Page::boxed(pages),
        }
    }

    /// Gives a buffer back.
    pub(crate) fn give(&mut self, pages: Box<[Page]>) {
        let bytes = pages.len() * PAGE_BYTES;
        if pages.is_empty() || self.keep_bytes < self.kept_bytes + bytes {
            return;
        }
        if let Some(kept) = self.by_size.get_mut(pages.len() - 1) {
            kept.push(pages);
            self.kept_bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_by_size_up_to_the_limit() {
        let mut pool = PagePool::new(5 * PAGE_BYTES);
        let mut buffer = pool.take(4);
        buffer[0].0[0] = 7;
        pool.give(buffer);
        pool.give(Page::boxed(4));
        pool.give(Page::boxed(1));
        assert_eq!(pool.kept_bytes, 5 * PAGE_BYTES);
        assert_eq!(pool.take(4)[0].0[0], 7, "it is the one that was given back");
        assert_eq!(pool.take(4)[0].0[0], 0, "the second was not kept");
        assert_eq!(pool.kept_bytes, PAGE_BYTES);
        pool.give(Page::boxed(LARGEST_PAGES + 1));
        assert_eq!(pool.take(LARGEST_PAGES + 1).len(), LARGEST_PAGES + 1);
    }
}
