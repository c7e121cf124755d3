//! Whether this agent is a mutant. In the product's build it never is, and no trace of the question is left in the binary.

use std::borrow::Cow;

use agent_protocol::image::{HEADER_LEN, Header};
use agent_protocol::mutant::Mutant;

#[cfg(feature = "mutants")]
pub use chosen::{announce, is};

#[cfg(not(feature = "mutants"))]
pub use never::{announce, is};

/// A header as it is read: with a checksum that fits if nobody is to look at it.
pub fn believed_header(mut sector: [u8; HEADER_LEN]) -> [u8; HEADER_LEN] {
    if is(Mutant::HeaderUnchecked) {
        let (fields, checksum) = sector.split_at_mut(HEADER_LEN - 4);
        checksum.copy_from_slice(&crc32fast::hash(fields).to_le_bytes());
    }
    sector
}

/// The header that an index is held against: with a checksum that fits if nobody is to look at it.
pub fn believed_index<'a>(header: &'a Header, index: &[u8]) -> Cow<'a, Header> {
    if is(Mutant::IndexUnchecked) {
        Cow::Owned(Header { index_crc: crc32fast::hash(index), ..header.clone() })
    } else {
        Cow::Borrowed(header)
    }
}

/// Whether a disk is left out where all are to be flushed before an image on `device` becomes valid.
pub fn leaves_unflushed(disk: &str, device: &str) -> bool {
    let holds_image = device.strip_prefix("/dev/").is_some_and(|name| name.starts_with(disk));
    is(if holds_image { Mutant::ImageNotFlushed } else { Mutant::DisksNotFlushed })
}

#[cfg(not(feature = "mutants"))]
mod never {
    use agent_protocol::mutant::Mutant;

    /// No.
    pub const fn is(_: Mutant) -> bool {
        false
    }

    /// Says nothing.
    pub const fn announce() {}
}

#[cfg(feature = "mutants")]
mod chosen {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use agent_protocol::mutant::{ANNOUNCED, APPLIED, FILE, Mutant};

    /// The mutant this initramfs asks for.
    fn chosen() -> Option<Mutant> {
        static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let name = std::fs::read_to_string(FILE).ok()?;
            // A name that nobody knows must not pass for the agent as it should be.
            Some(Mutant::named(name.trim()).unwrap_or_else(|| panic!("{FILE}: no mutant is named {name:?}")))
        })
    }

    /// Whether we are that mutant. Where it is first asked about, it is applied.
    pub fn is(mutant: Mutant) -> bool {
        static APPLIED_ONCE: AtomicBool = AtomicBool::new(false);
        let yes = chosen() == Some(mutant);
        if yes && !APPLIED_ONCE.swap(true, Ordering::Relaxed) {
            println!("{ANNOUNCED}{}{APPLIED}", mutant.name());
        }
        yes
    }

    /// Says on the console which mutant serves.
    pub fn announce() {
        if let Some(mutant) = chosen() {
            println!("{ANNOUNCED}{}: {}", mutant.name(), mutant.what());
        }
    }
}
