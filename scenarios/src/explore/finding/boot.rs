//! One boot, of one state.

use devices::disk::Media;
use vmm::Limit;

use super::{Context, FindingError};
use crate::explore::recovery::Outcome;
use crate::explore::tree::Ears;

/// Boots a machine from these disks, and says what came of it.
///
/// # Errors
/// [`FindingError`].
pub fn boot(context: &Context<'_>, disks: &[Media]) -> Result<Outcome, FindingError> {
    let mut machine = context.subject.machine(context.scenario, context.kernels, disks)?;
    let (mut recovery, mut ears) = (context.subject.recovery(), Ears::default());
    loop {
        recovery.speak(&mut machine, &mut ears);
        let stop = machine.run(Limit { time: Some(recovery.until()), instructions: None }, &mut ears);
        recovery.hear(stop, machine.now(), &mut ears);
        if let Some(outcome) = recovery.outcome() {
            return Ok(outcome.clone());
        }
    }
}
