//! Hibernation through /dev/snapshot, with the image on a raw partition.

use agent_protocol::message::{AfterSnapshot, ReadyWhy, Role};

use crate::error::RunError;
use crate::machine::Machine;

pub fn off_restore(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.snapshot_save(AfterSnapshot::PowerOff)?;
    machine.snapshot_restore()?;
    machine.finish()?;
    machine.refuse_snapshot_restore()
}

pub fn ram(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.snapshot_save(AfterSnapshot::SuspendToRam)?;
    machine.qemu()?.wake()?;
    machine.arrive(Role::Primary, ReadyWhy::Return)?;
    machine.finish()?;
    machine.refuse_snapshot_restore()
}

pub fn ram_power_cut(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.snapshot_save(AfterSnapshot::SuspendToRam)?;
    machine.power_cut();
    machine.note_power("power lost in S3");
    machine.snapshot_restore()?;
    machine.finish()?;
    machine.refuse_snapshot_restore()
}
