//! Too little room, too little memory, noise.

use agent_protocol::layout::{MIB, Region, SAVER_REGION};
use agent_protocol::message::{Ask, Role};

use crate::error::RunError;
use crate::machine::Machine;

const ENOMEM: i32 = 12;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;

pub fn image_full(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    machine.preload()?;
    machine.jump()?;
    let save = machine.save_ask();
    let failure = machine.refused(&save)?;
    if failure.errno != Some(ENOSPC) {
        return Err(RunError::Check(format!("expected ENOSPC in B, found {failure}")));
    }
    machine.expect_image("failed")?;
    machine.expect_only_image_written("B without room")?;
    machine.depart(&Ask::JumpBack { image: Some(machine.device(3)) })?;
    let failure = machine.arrive_failed(Role::Primary)?;
    if failure.errno != Some(ENOSPC) {
        return Err(RunError::Check(format!("expected ENOSPC in A, found {failure}")));
    }
    machine.finish()?;
    machine.refuse_restore("saving failed with errno 28")
}

/// Too little memory for the saver, in two ways: more than half of all memory, which the kernel refuses, and more than is
/// available, which the agent has to refuse because the kernel would kill every process first.
pub fn no_memory(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    let usual = machine.preload_ask()?;
    let mut large = usual.clone();
    if let Ask::Preload { region, .. } = &mut large {
        *region = Region { start: SAVER_REGION.start, len: 126 * MIB };
    }
    refused_before_freezing(machine, &large, EINVAL)?;
    machine.fill_memory(40 * MIB)?;
    refused_before_freezing(machine, &usual, ENOMEM)?;
    machine.finish()
}

fn refused_before_freezing(machine: &mut Machine, preload: &Ask, errno: i32) -> Result<(), RunError> {
    let failure = machine.refused(preload)?;
    if failure.errno != Some(errno) || !failure.text.contains("saver") {
        return Err(RunError::Check(format!("expected errno {errno} for the saver, found: {failure}")));
    }
    if machine.consoles().contains("Freezing user space") {
        return Err(RunError::Check("A was frozen for a saver that could not be loaded".into()));
    }
    // Nothing is left that could be jumped to.
    machine.refused(&Ask::Jump { image: None })?;
    machine.check_workloads()
}

pub fn garbage(machine: &mut Machine) -> Result<(), RunError> {
    machine.disturb();
    machine.start_primary()?;
    machine.preload()?;
    machine.jump()?;
    machine.save()?;
    machine.jump_back()?;
    machine.finish_consumed()
}
