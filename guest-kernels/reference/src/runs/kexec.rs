//! Ends without sleep: another kernel by kexec, a panic.

use agent_protocol::message::{ReadyWhy, Role};

use crate::error::RunError;
use crate::machine::Machine;

pub fn plain(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.plain_kexec()?;
    machine.take_up_disk()?;
    machine.finish()
}

pub fn crash(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.crash()?;
    machine.expect_clean_file_system()?;
    machine.power_on(Role::Primary, ReadyWhy::Boot)?;
    machine.take_up_disk()?;
    machine.finish()
}
