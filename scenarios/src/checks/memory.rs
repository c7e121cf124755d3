//! Memory, looked at from outside at exact instructions.

mod copy;
mod hibernation;
mod jump;
mod quiet;

pub use copy::{Copy, Difference};
pub use hibernation::{Images, compare_with_snapshot};
pub use jump::Departure;
pub use quiet::{Away, foreign};

/// Differences that evidence shows.
const SHOWN: usize = 8;

/// The first of many lines, and how many more there are.
fn shown(lines: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let rest = lines.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = lines.take(SHOWN).collect();
    if rest > 0 {
        shown.push(format!("and {rest} more"));
    }
    shown
}
