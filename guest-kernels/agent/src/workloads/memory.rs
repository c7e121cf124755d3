//! Checksummed anonymous memory, and registers of the floating-point unit.

use agent_protocol::message::Failure;

use super::differences::{Differences, SharedDifferences};
use super::fpu::FpuThread;
use super::pages::Pages;
use super::work::{Pulse, Work};

/// The workload.
pub struct Memory {
    pages: Pages,
    next: usize,
    renewed: u64,
    fpu: FpuThread,
    found: SharedDifferences,
}

impl Memory {
    /// `kib` KiB of pages.
    ///
    /// # Errors
    /// If there is no memory or no thread.
    pub fn new(kib: u32, seed: u64) -> Result<Memory, Failure> {
        let found = SharedDifferences::default();
        let fpu = FpuThread::start(seed, found.clone())?;
        Ok(Memory { pages: Pages::new(kib, seed)?, next: 0, renewed: 0, fpu, found })
    }
}

impl Work for Memory {
    fn step(&mut self, found: &mut Differences) {
        self.pages.renew(self.next, found);
        self.next = (self.next + 1) % self.pages.count();
        self.renewed = self.renewed.wrapping_add(1);
    }

    fn check(&mut self, found: &mut Differences) {
        self.pages.verify_all(found);
        self.found.move_to(found);
    }

    fn pulses(&self) -> Vec<Pulse> {
        vec![Pulse::new("pages", self.renewed), Pulse::new("fpu", self.fpu.rounds())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::work::Worker;

    #[test]
    fn silent_when_right_and_loud_when_not() {
        let mut worker = Worker::new(Memory::new(256, 5).unwrap());
        (0..100).for_each(|_| worker.step());
        assert_eq!(worker.check(), Vec::<String>::new());
        worker.work.pages.bytes()[9 * 4096 + 100] ^= 1;
        let differences = worker.check();
        assert_eq!(differences.len(), 1);
        assert!(differences[0].starts_with("page 9, offset 0x64: expected "), "{differences:?}");
    }
}
