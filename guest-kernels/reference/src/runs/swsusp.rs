//! Hibernation by the kernel's own means, in each of its modes.

use agent_protocol::message::{HibernateMode, ReadyWhy, Role};

use crate::error::RunError;
use crate::machine::Machine;

fn through_a_cold_boot(machine: &mut Machine, mode: HibernateMode) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.hibernate(mode)?;
    machine.expect_image_in_swap()?;
    machine.resume_from_swap()?;
    machine.expect_no_image_in_swap()?;
    machine.finish()
}

pub fn platform(machine: &mut Machine) -> Result<(), RunError> {
    through_a_cold_boot(machine, HibernateMode::Platform)
}

pub fn shutdown(machine: &mut Machine) -> Result<(), RunError> {
    through_a_cold_boot(machine, HibernateMode::Shutdown)
}

pub fn reboot(machine: &mut Machine) -> Result<(), RunError> {
    through_a_cold_boot(machine, HibernateMode::Reboot)
}

pub fn suspend(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.hibernate(HibernateMode::Suspend)?;
    machine.expect_image_in_swap()?;
    machine.qemu()?.wake()?;
    machine.arrive(Role::Primary, ReadyWhy::Return)?;
    machine.expect_no_image_in_swap()?;
    machine.finish()
}

pub fn suspend_power_cut(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.hibernate(HibernateMode::Suspend)?;
    machine.power_cut();
    machine.note_power("power lost in S3");
    machine.expect_image_in_swap()?;
    machine.resume_from_swap()?;
    machine.expect_no_image_in_swap()?;
    machine.finish()
}

pub fn test_resume(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.hibernate(HibernateMode::TestResume)?;
    machine.expect_no_image_in_swap()?;
    machine.finish()
}
