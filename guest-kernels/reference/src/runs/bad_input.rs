//! Too little room, too little memory, noise.

use agent_protocol::layout::{MIB, Region, SAVER_REGION};
use agent_protocol::message::{Ask, Role};

use crate::machine::{Machine, RunError};

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

/// The kernel takes no more than half of its memory for a kernel to be executed, and here that much would be needed to swap
/// the region out.
pub fn no_memory(machine: &mut Machine) -> Result<(), RunError> {
    machine.start_primary()?;
    let mut ask = machine.preload_ask()?;
    if let Ask::Preload { region, .. } = &mut ask {
        *region = Region { start: SAVER_REGION.start, len: 126 * MIB };
    }
    let failure = machine.refused(&ask)?;
    if failure.errno.is_none() {
        return Err(RunError::Check(format!("refused, but not by the kernel: {failure}")));
    }
    if machine.consoles().contains("Freezing user space") {
        return Err(RunError::Check("A was frozen for a saver that could not be loaded".into()));
    }
    machine.check_workloads()?;
    // And nothing is left that could be jumped to.
    machine.refused(&Ask::Jump { image: None })?;
    machine.finish()
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
