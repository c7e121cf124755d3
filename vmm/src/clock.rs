//! The two clocks of a machine.

use devices::{VirtualTime, WorldTime};
use serde::{Deserialize, Serialize};

/// *Run time* advances with the instructions retired and stands still outside S0. *World time* is run time and whatever passed
/// while the machine slept or was off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    run: u64,
    ahead: u64,
}

impl Clock {
    /// Run time 0 at this world time.
    pub fn new(world: WorldTime) -> Self {
        Self { run: 0, ahead: world.0 }
    }

    /// Run time.
    pub fn now(&self) -> VirtualTime {
        VirtualTime(self.run)
    }

    /// World time at an instant of run time.
    pub fn world_at(&self, now: VirtualTime) -> WorldTime {
        WorldTime(now.0.saturating_add(self.ahead))
    }

    /// Run time goes on by this many nanoseconds, and world time with it.
    pub fn advance(&mut self, nanoseconds: u64) {
        self.run = self.run.saturating_add(nanoseconds);
    }

    /// Run time goes on to this instant, if it is yet to come.
    pub fn advance_to(&mut self, then: VirtualTime) {
        self.run = self.run.max(then.0);
    }

    /// The machine sleeps or is off for this many nanoseconds.
    pub fn pass(&mut self, nanoseconds: u64) {
        self.ahead = self.ahead.saturating_add(nanoseconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_goes_on_while_the_machine_sleeps() {
        let mut clock = Clock::new(WorldTime(1_000));
        clock.advance(5);
        clock.pass(100);
        assert_eq!((clock.now(), clock.world_at(clock.now())), (VirtualTime(5), WorldTime(1_105)));
        clock.advance_to(VirtualTime(3));
        assert_eq!(clock.now(), VirtualTime(5));
    }
}
