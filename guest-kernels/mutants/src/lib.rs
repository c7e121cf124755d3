//! The agent as its mutants: for tests that show that a missing step of its durability is found.
//!
//! The list, and what each mutant leaves out, is in [`agent_protocol::mutant`].

use agent_protocol::mutant::{FILE, Mutant};
use guest_kernels::initramfs::{Initramfs, InitramfsError};

/// The agent's binary with all mutants in it; without [`FILE`] it is none of them.
pub const BINARY: &[u8] = include_bytes!(env!("KJVM_AGENT"));

/// An initramfs with the agent as this mutant in the place of the agent; `None`: this build of the agent, but no mutant.
///
/// # Errors
/// Those of the archive.
pub fn initrd(initrd: &[u8], mutant: Option<Mutant>) -> Result<Vec<u8>, InitramfsError> {
    // A second archive behind the first: its files replace those of the same name.
    let mut second = Initramfs::new().file("/init", BINARY, 0o755);
    if let Some(mutant) = mutant {
        second = second.file(FILE, mutant.name(), 0o644);
    }
    let mut both = initrd.to_vec();
    both.extend(second.finish()?);
    Ok(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(binary: &[u8], text: &str) -> bool {
        binary.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }

    #[test]
    fn the_mutants_are_in_this_agent_and_in_no_other() {
        for mutant in Mutant::ALL {
            assert!(has(BINARY, mutant.name()), "{}", mutant.name());
            assert!(!has(guest_kernels::agent::BINARY, mutant.name()), "{}", mutant.name());
        }
        assert!(!has(guest_kernels::agent::BINARY, FILE));
    }
}
