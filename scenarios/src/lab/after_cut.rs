//! The boot after a power cut, alone: a function of scenario, kernels and what is on the disks, and of nothing that was before.

use agent_protocol::message::Role;
use devices::disk::Media;
use vmm::Machine;

use super::{Lab, Trouble};
use crate::kernels::Kernels;
use crate::language::{BootSpec, Scenario};
use crate::run::Found;

/// Sessions that were before a boot after a cut, as far as that boot is told, in thousands: more than a scenario has.
pub const EPOCH_AFTER_CUT: u32 = 1000;

/// What boots after a cut.
#[derive(Debug, Clone, PartialEq)]
pub struct AfterCut {
    /// A, or C, which brings A back.
    pub role: Role,
    /// Where the boot differs from the scenario's.
    pub boot: BootSpec,
    /// What the run that is cut found of its machine.
    pub found: Found,
}

impl Lab<'_> {
    /// A machine that was off and is about to boot from these disks. Its disks have no faults.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn after_cut(
        scenario: &Scenario,
        kernels: &Kernels,
        after: &AfterCut,
        contents: &[Media],
    ) -> Result<Machine, Trouble> {
        let mut scenario = scenario.clone();
        if let Some(machine) = &after.boot.machine {
            scenario.machine = machine.clone();
        }
        let mut lab = Lab::new(&scenario, kernels)?;
        for (number, spec) in scenario.disks.iter().enumerate() {
            (0..spec.faults.len()).for_each(|place| lab.guest.set_fault(number, place, None));
        }
        for (disk, media) in lab.guest.machine.board_mut().pci.disks_mut().zip(contents) {
            disk.power_on(media.clone());
        }
        lab.know(after);
        lab.boot(after.role)?;
        Ok(lab.guest.machine)
    }

    /// The command line of an A that boots after `after` in the same machine, because nobody brought it back.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn cold_line(scenario: &Scenario, kernels: &Kernels, after: &AfterCut) -> Result<String, Trouble> {
        let mut lab = Lab::new(scenario, kernels)?;
        lab.know(after);
        lab.next_boot = BootSpec::default();
        Ok(format!("{} kjvm.epoch={}", lab.primary_line(), (EPOCH_AFTER_CUT + 2) * 1000))
    }

    fn know(&mut self, after: &AfterCut) {
        self.epochs = EPOCH_AFTER_CUT;
        self.next_boot = after.boot.clone();
        self.firmware.clone_from(&after.found.firmware);
        self.swap_file = after.found.swap_file;
    }
}
