//! What a boot costs: instructions, which say what no clock of a busy host can.

use agent_protocol::message::{ReadyWhy, Role};

use crate::error::RunError;
use crate::kernels::Kernels;
use crate::machine::Machine;
use crate::setup::Setup;

/// Instructions until the agent is `ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootCost {
    /// A, from the power switch on: firmware, decompression, kernel, agent.
    pub primary: u64,
    /// C, from the power switch on.
    pub restorer: u64,
    /// B, from the request to jump on: A's flush and quiescing are in it, firmware is not.
    pub saver: u64,
}

impl BootCost {
    /// Boots each on a machine with so many virtual processors.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn measure(kernels: &Kernels, cpus: u32) -> Result<BootCost, RunError> {
        let mut setup = Setup::new(kernels.clone(), cpus);
        setup.counted = true;
        let mut machine = Machine::new(setup)?;

        machine.power_on(Role::Primary, ReadyWhy::Boot)?;
        let primary = machine.qemu()?.instructions()?;

        machine.read_memory_map()?;
        machine.make_partitions()?;
        machine.preload()?;
        let before = machine.qemu()?.instructions()?;
        machine.jump()?;
        let saver = machine.qemu()?.instructions()? - before;
        machine.power_cut();

        machine.power_on(Role::Restorer, ReadyWhy::Boot)?;
        let restorer = machine.qemu()?.instructions()?;
        Ok(BootCost { primary, restorer, saver })
    }

    /// By how many percent `count` is less than what A needs, rounded down; negative if it is more.
    pub fn below_primary(&self, count: u64) -> i64 {
        let (primary, count) = (i128::from(self.primary), i128::from(count));
        let percent = ((primary - count) * 100).div_euclid(primary.max(1));
        i64::try_from(percent).unwrap_or(i64::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_a_part_of_the_primary() {
        let percent = |primary, count| BootCost { primary, restorer: 0, saver: 0 }.below_primary(count);
        assert_eq!([percent(400, 300), percent(300, 400), percent(3, 2), percent(0, 0)], [25, -34, 33, 0]);
    }
}
