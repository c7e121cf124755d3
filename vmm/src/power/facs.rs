//! What firmware finds in the FACS when the machine wakes (ACPI 6.5, 5.2.10): the guest may have written anything there.

use firmware::layout::{FACS, LOW_END};
use ram::GuestRam;

use crate::power::WakeError;

/// Where what is, and its length.
const SIGNATURE: &[u8; 4] = b"FACS";
const LENGTH: usize = 4;
const WAKING_VECTOR: usize = 12;
const EXTENDED_VECTOR: usize = 24;
const BYTES: usize = 64;

/// The address that firmware enters in real mode.
///
/// # Errors
/// [`WakeError`]: why it enters nothing.
pub(super) fn waking_vector(ram: &GuestRam) -> Result<u32, WakeError> {
    let mut facs = [0; BYTES];
    ram.read(FACS, &mut facs).map_err(|_| WakeError::NoFacs)?;
    let word = |at: usize| {
        let bytes = facs.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    if !facs.starts_with(SIGNATURE) || word(LENGTH) as usize != BYTES {
        return Err(WakeError::NoFacs);
    }
    let extended = u64::from(word(EXTENDED_VECTOR)) | u64::from(word(EXTENDED_VECTOR + 4)) << 32;
    match word(WAKING_VECTOR) {
        _ if extended != 0 => Err(WakeError::ExtendedVector(extended)),
        0 => Err(WakeError::NoVector),
        vector if vector >= 1 << 20 => Err(WakeError::BeyondRealMode(vector)),
        vector if u64::from(vector) >= LOW_END.min(ram.bytes()) => Err(WakeError::NotMemory(vector)),
        vector => Ok(vector),
    }
}
