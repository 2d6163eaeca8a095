//! Collections that cannot grow past a limit given at birth.

use std::collections::VecDeque;

/// A FIFO queue that gives an item back instead of growing past its limit.
#[derive(Debug)]
pub struct Bounded<T> {
    items: VecDeque<T>,
    limit: usize,
}

impl<T> Bounded<T> {
    /// An empty queue for at most `limit` items, all of its memory taken now.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { items: VecDeque::with_capacity(limit), limit }
    }

    /// Appends `item`, or returns it if the queue is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.items.len() == self.limit {
            return Err(item);
        }
        self.items.push_back(item);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.items.len() == self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_returns_the_item() {
        let mut queue = Bounded::new(1);
        assert_eq!(queue.push(1), Ok(()));
        assert_eq!(queue.push(2), Err(2));
        assert_eq!(queue.pop(), Some(1));
        assert!(queue.is_empty());
    }
}
