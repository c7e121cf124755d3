//! The kexec-jump sequence in all its endings.

use agent_protocol::message::Role;

use crate::error::RunError;
use crate::machine::Machine;
use crate::sleeps::Wake;

fn save_in_saver(machine: &mut Machine) -> Result<(), RunError> {
    machine.preload()?;
    machine.jump()?;
    machine.save()
}

pub fn save_return(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    save_in_saver(machine)?;
    machine.jump_back()?;
    machine.finish_consumed()
}

pub fn save_s3_return(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    save_in_saver(machine)?;
    machine.suspend_to_ram(Role::Saver, Wake::Alarm)?;
    machine.jump_back()?;
    machine.finish_consumed()
}

pub fn save_off_restore(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    save_in_saver(machine)?;
    machine.power_off(Role::Saver)?;
    machine.cold_restore()?;
    machine.finish_consumed()
}

pub fn save_s3_power_cut_restore(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    save_in_saver(machine)?;
    lose_power_in_s3(machine)?;
    machine.cold_restore()?;
    machine.finish_consumed()
}

fn lose_power_in_s3(machine: &mut Machine) -> Result<(), RunError> {
    machine.fall_asleep()?;
    machine.power_cut();
    machine.note_power("power lost in S3");
    Ok(())
}

pub fn save_s4_restore(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    save_in_saver(machine)?;
    machine.enter_s4()?;
    machine.cold_restore()?;
    machine.finish_consumed()
}

pub fn twice_resident(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    save_in_saver(machine)?;
    machine.jump_back()?;
    machine.check_workloads()?;
    machine.jump_to_resident(Role::Saver)?;
    machine.suspend_to_ram(Role::Saver, Wake::Alarm)?;
    machine.jump_back()?;
    machine.finish_consumed()
}

pub fn twice_cold(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    for _ in 0..2 {
        save_in_saver(machine)?;
        lose_power_in_s3(machine)?;
        machine.cold_restore()?;
        machine.check_workloads()?;
    }
    machine.finish_consumed()
}
