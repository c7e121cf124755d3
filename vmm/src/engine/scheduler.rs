//! Whose turn it is.

use serde::{Deserialize, Serialize};

/// Round robin: each processor that has something to do runs for a quantum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// Whose turn it is.
    pub current: usize,
    /// Instructions left of the turn.
    pub left: u64,
    quantum: u64,
    /// State of the generator that varies the turns; 0 if they are all equal.
    random: u64,
}

impl Scheduler {
    /// The first processor is about to take its first turn.
    pub fn new(quantum: u64, seed: u64) -> Self {
        let mut scheduler = Self { current: 0, left: 0, quantum: quantum.max(1), random: seed };
        scheduler.left = scheduler.turn();
        scheduler
    }

    /// Length of a turn.
    fn turn(&mut self) -> u64 {
        if self.random == 0 {
            return self.quantum;
        }
        // xorshift64 (Marsaglia 2003): never 0 if it was not.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.quantum - self.quantum / 2 + self.random % self.quantum
    }

    /// The turn is over, or its owner waits: the next that can run, if any can.
    pub fn next(&mut self, processors: usize, can_run: impl Fn(usize) -> bool) -> Option<usize> {
        let next = (1..=processors).map(|step| (self.current + step) % processors).find(|at| can_run(*at))?;
        self.current = next;
        self.left = self.turn();
        Some(next)
    }

    /// The current one did this many instructions of its turn.
    pub fn used(&mut self, instructions: u64) {
        self.left = self.left.saturating_sub(instructions);
    }

    /// The current one gives the rest of its turn away.
    pub fn yielded(&mut self) {
        self.left = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn turns_go_around_and_pass_over_those_who_wait() {
        let mut scheduler = Scheduler::new(100, 0);
        assert_eq!(scheduler.next(3, |_| true), Some(1));
        assert_eq!(scheduler.next(3, |at| at != 2), Some(0));
        assert_eq!(scheduler.next(3, |at| at == 0), Some(0));
        assert_eq!(scheduler.next(3, |_| false), None);
    }

    proptest! {
        #[test]
        fn turns_vary_by_half_and_are_never_empty(quantum in 1u64..100_000, seed: u64) {
            let mut scheduler = Scheduler::new(quantum, seed);
            for _ in 0..50 {
                prop_assert!(scheduler.left >= quantum - quantum / 2);
                prop_assert!(scheduler.left < quantum - quantum / 2 + quantum || seed == 0);
                scheduler.next(2, |_| true);
            }
        }
    }
}
