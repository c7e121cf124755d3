//! One boot, of one state.

use devices::disk::Media;
use vmm::Limit;

use super::FindingError;
use crate::explore::recovery::{Outcome, Plan, Recovery};
use crate::explore::tree::Ears;
use crate::kernels::Kernels;
use crate::lab::Lab;
use crate::language::Scenario;

/// Boots a machine from these disks, and says what came of it.
///
/// # Errors
/// [`FindingError`].
pub fn boot(
    scenario: &Scenario,
    kernels: &Kernels,
    plan: &Plan,
    disks: &[Media],
) -> Result<Outcome, FindingError> {
    let mut machine = Lab::after_cut(scenario, kernels, disks)?;
    let (mut recovery, mut ears) = (Recovery::new(plan.clone()), Ears::default());
    loop {
        recovery.speak(&mut machine, &mut ears);
        let stop = machine.run(Limit { time: Some(recovery.until()), instructions: None }, &mut ears);
        recovery.hear(stop, machine.now(), &mut ears);
        if let Some(outcome) = recovery.outcome() {
            return Ok(outcome.clone());
        }
    }
}
