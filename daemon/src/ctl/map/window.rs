//! The window of inputs that are under way: bounded, whatever the order in which they end.
//!
//! Pure bookkeeping; no clock, no descriptor.

use std::collections::VecDeque;

/// Inputs under way, and results that wait for their turn.
///
/// In order, an input that takes long holds the results behind it back; once as many as the
/// window holds have been taken since, no further input is, so memory stays bounded.
#[derive(Debug)]
pub struct Window<T> {
    ordered: bool,
    capacity: usize,
    /// Index of the next input to be taken.
    next: u64,
    /// In order: a slot for each input from the first that was not given out.
    slots: VecDeque<Option<T>>,
    /// Not in order: results that can be given out.
    ready: VecDeque<T>,
    /// Inputs taken whose results were not given out.
    outstanding: usize,
}

impl<T> Window<T> {
    /// A window of so many inputs.
    #[must_use]
    pub fn new(capacity: usize, ordered: bool) -> Self {
        let capacity = capacity.max(1);
        let (slots, ready) = (VecDeque::new(), VecDeque::new());
        Self { ordered, capacity, next: 0, slots, ready, outstanding: 0 }
    }

    /// Whether no further input may be taken now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.outstanding >= self.capacity
    }

    /// Whether every input that was taken has been given out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outstanding == 0
    }

    /// Takes an input and gives it its index; `None` if the window is full.
    pub fn take(&mut self) -> Option<u64> {
        if self.is_full() {
            return None;
        }
        let index = self.next;
        self.next += 1;
        self.outstanding += 1;
        if self.ordered {
            self.slots.push_back(None);
        }
        Some(index)
    }

    /// The result of an input. Each input has one; a second would be a bug and is dropped.
    pub fn put(&mut self, index: u64, result: T) {
        if !self.ordered {
            self.ready.push_back(result);
            return;
        }
        let first = self.next - self.slots.len() as u64;
        let at = index.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        let slot = at.and_then(|at| self.slots.get_mut(at));
        debug_assert!(
            slot.as_ref().is_some_and(|slot| slot.is_none()),
            "input {index} ended twice"
        );
        if let Some(slot) = slot {
            slot.get_or_insert(result);
        }
    }

    /// The next result whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let result = if self.ordered {
            self.slots.front_mut()?.take().inspect(|_| {
                self.slots.pop_front();
            })
        } else {
            self.ready.pop_front()
        };
        self.outstanding -= usize::from(result.is_some());
        result
    }

    /// All results that are there, in order, when nothing more will come.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.outstanding = 0;
        let held = std::mem::take(&mut self.slots).into_iter().flatten();
        held.chain(std::mem::take(&mut self.ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs `total` inputs through a window; `choices` say which of those under way ends next.
    fn run(window: &mut Window<u64>, total: u64, choices: &[usize]) -> Vec<u64> {
        let (mut under_way, mut given, mut taken) = (Vec::new(), Vec::new(), 0);
        let mut choices = choices.iter().cycle();
        while given.len() < total as usize {
            while taken < total
                && let Some(index) = window.take()
            {
                assert_eq!(index, taken);
                under_way.push(index);
                taken += 1;
            }
            assert!(window.is_full() || taken == total);
            let at = choices.next().copied().unwrap_or(0) % under_way.len();
            let index = under_way.swap_remove(at);
            window.put(index, index);
            assert!(window.slots.len() + window.ready.len() <= window.capacity);
            given.extend(std::iter::from_fn(|| window.pop()));
        }
        given
    }

    proptest! {
        #[test]
        fn in_order_whatever_ends_first(
            total in 1u64..200,
            capacity in 0usize..20,
            choices in prop::collection::vec(any::<usize>(), 1..50),
        ) {
            let mut window = Window::new(capacity, true);
            let given = run(&mut window, total, &choices);
            prop_assert_eq!(given, (0..total).collect::<Vec<_>>());
            prop_assert!(window.is_empty());
        }

        #[test]
        fn each_once_without_an_order(
            total in 1u64..200,
            capacity in 0usize..20,
            choices in prop::collection::vec(any::<usize>(), 1..50),
        ) {
            let mut window = Window::new(capacity, false);
            let mut given = run(&mut window, total, &choices);
            given.sort_unstable();
            prop_assert_eq!(given, (0..total).collect::<Vec<_>>());
            prop_assert!(window.is_empty());
        }
    }

    #[test]
    fn a_slow_input_holds_back_no_more_than_the_window() {
        let mut window = Window::new(3, true);
        assert_eq!([(); 4].map(|()| window.take()), [Some(0), Some(1), Some(2), None]);
        window.put(2, "c");
        window.put(1, "b");
        assert_eq!((window.pop(), window.take()), (None, None));
        window.put(0, "a");
        assert_eq!([(); 4].map(|()| window.pop()), [Some("a"), Some("b"), Some("c"), None]);
        assert_eq!(window.take(), Some(3));
    }

    #[test]
    fn what_is_there_when_all_ends() {
        let mut window = Window::new(4, true);
        for _ in 0..4 {
            window.take();
        }
        window.put(3, 'd');
        window.put(1, 'b');
        assert_eq!(window.drain().collect::<String>(), "bd");
        assert!(window.is_empty());
    }
}
