//! What every workload does: a little all the time, and a full verification when asked.

use std::time::Duration;

use super::differences::Differences;

/// A counter that grows while a part of a workload is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// Which part.
    pub name: String,
    /// Units of work done.
    pub count: u64,
}

impl Pulse {
    /// A pulse.
    pub fn new(name: impl Into<String>, count: u64) -> Pulse {
        Pulse { name: name.into(), count }
    }
}

/// Real work that notices damage. The machine may sleep, jump or be restored between any two instructions of it.
pub trait Work {
    /// A little work, a few thousand instructions; called every [`PAUSE`].
    fn step(&mut self, found: &mut Differences);

    /// Verifies everything.
    fn check(&mut self, found: &mut Differences);

    /// The parts that must stay alive.
    fn pulses(&self) -> Vec<Pulse>;

    /// Units of work done, as reported.
    fn progress(&self) -> u64 {
        self.pulses().iter().map(|pulse| pulse.count).fold(0, u64::wrapping_add)
    }
}

impl Work for Box<dyn Work> {
    fn step(&mut self, found: &mut Differences) {
        (**self).step(found);
    }

    fn check(&mut self, found: &mut Differences) {
        (**self).check(found);
    }

    fn pulses(&self) -> Vec<Pulse> {
        (**self).pulses()
    }

    fn progress(&self) -> u64 {
        (**self).progress()
    }
}

/// Between two steps.
pub const PAUSE: Duration = Duration::from_millis(80);

/// A check waits for each pulse this many times [`TURN`]. Counted in turns, not by a clock: every clock also runs while the
/// kernel holds its tasks frozen to write an image, and that must not look like a workload that stands still.
const TURNS: u32 = 200;
const TURN: Duration = Duration::from_millis(20);

/// A workload at work.
pub struct Worker<W> {
    /// The work.
    pub work: W,
    found: Differences,
    /// As of the last check.
    pulses: Vec<Pulse>,
}

impl<W: Work> Worker<W> {
    /// Takes up work.
    pub fn new(work: W) -> Worker<W> {
        let pulses = work.pulses();
        Worker { work, found: Differences::default(), pulses }
    }

    /// Works a little.
    pub fn step(&mut self) {
        self.work.step(&mut self.found);
    }

    /// Verifies everything and returns what differs, including what was found at work since the last check.
    pub fn check(&mut self) -> Vec<String> {
        self.work.check(&mut self.found);
        let mut standing = self.standing();
        for _ in 0..TURNS {
            if standing.is_empty() {
                break;
            }
            std::thread::sleep(TURN);
            self.step();
            standing = self.standing();
        }
        for Pulse { name, count } in standing {
            self.found.add(format!("{name}: stands still at {count}"));
        }
        self.pulses = self.work.pulses();
        self.found.take()
    }

    /// Parts that have not moved since the last check.
    fn standing(&self) -> Vec<Pulse> {
        self.work.pulses().into_iter().filter(|pulse| self.pulses.contains(pulse)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct HalfDead(u64);

    impl Work for HalfDead {
        fn step(&mut self, found: &mut Differences) {
            self.0 += 1;
            if self.0 == 2 {
                found.add("seen at work");
            }
        }
        fn check(&mut self, found: &mut Differences) {
            if self.0 == 4 {
                found.add("seen by check");
            }
        }
        fn pulses(&self) -> Vec<Pulse> {
            vec![Pulse::new("alive", self.0), Pulse::new("dead", 9)]
        }
    }

    #[test]
    fn a_check_tells_what_it_and_the_work_found_and_what_stands_still() {
        let mut worker = Worker::new(HalfDead(0));
        (0..4).for_each(|_| worker.step());
        assert_eq!(worker.check(), ["seen at work", "seen by check", "dead: stands still at 9"]);
        assert_eq!(worker.check(), ["dead: stands still at 9"]);
    }
}
