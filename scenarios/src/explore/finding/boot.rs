//! One boot, of one state.

use devices::disk::Media;

use super::FindingError;
use crate::explore::family::Family;
use crate::explore::recovery::{Outcome, Plan, Recovery};
use crate::explore::tree::Tree;
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
    let machine = Lab::after_cut(scenario, kernels, disks)?;
    let family = Family::alone(disks.to_vec());
    let leaf = Tree::new(&family, vec![0], machine, Recovery::new(plan.clone())).next_leaf()?;
    Ok(leaf.map_or_else(|| Outcome::Broken("nothing was booted".into()), |leaf| leaf.outcome))
}
