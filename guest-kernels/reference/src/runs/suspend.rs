//! S3, s2idle, and the levels at which a transition can turn back.

use agent_protocol::message::{PmTest, Role};

use crate::error::RunError;
use crate::machine::Machine;
use crate::sleeps::Wake;

pub fn s3(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.suspend_to_ram(Role::Primary, Wake::Alarm)?;
    machine.check_workloads()?;
    machine.suspend_to_ram(Role::Primary, Wake::Host)?;
    machine.finish()
}

pub fn s2idle(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.suspend_to_idle()?;
    machine.finish()
}

fn every_level(machine: &mut Machine, disk: bool) -> Result<(), RunError> {
    machine.start_primary()?;
    for level in PmTest::ALL {
        machine.test_level(level, disk)?;
    }
    machine.finish()
}

pub fn pm_test_mem(machine: &mut Machine) -> Result<(), RunError> {
    every_level(machine, false)
}

pub fn pm_test_disk(machine: &mut Machine) -> Result<(), RunError> {
    every_level(machine, true)
}
