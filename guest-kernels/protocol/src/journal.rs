//! The numbered records that the ext4 workload appends, each followed by fsync before the next is written.
//!
//! A record is one line of [`RECORD_LEN`] bytes: `record 0000000000000042 crc 1f2e3d4c seed 000000000000002a ` + filler
//! and a newline. The host replays a journal found on disk after a power cut and compares it with the last number the
//! workload reported as synced.

use thiserror::Error;

/// Bytes of a record, newline included.
pub const RECORD_LEN: usize = 128;

/// What is wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JournalError {
    /// A record differs from what was written under its number.
    #[error("record {number} is damaged")]
    Damaged {
        /// Counted from 1.
        number: u64,
    },
    /// Fewer records than were acknowledged by fsync.
    #[error("{found} records, {synced} were synced")]
    Lost {
        /// Whole records found.
        found: u64,
        /// Records known to be synced.
        synced: u64,
    },
}

/// The record `number` (from 1) of the journal with this seed.
pub fn record(seed: u64, number: u64) -> [u8; RECORD_LEN] {
    let mut line = format!("record {number:016x} seed {seed:016x} crc ").into_bytes();
    let mut hash = crc32fast::Hasher::new();
    hash.update(&line);
    line.extend_from_slice(format!("{:08x} ", hash.finalize()).as_bytes());
    let mut bytes = [b'.'; RECORD_LEN];
    for (to, from) in bytes.iter_mut().zip(line) {
        *to = from;
    }
    bytes[RECORD_LEN - 1] = b'\n';
    bytes
}

/// Checks a journal as found on disk; returns the number of whole records.
///
/// A last record that is incomplete is legal: it was never synced.
///
/// # Errors
/// [`JournalError`] for the first damage, or if fewer than `synced` records are there.
pub fn replay(bytes: &[u8], seed: u64, synced: u64) -> Result<u64, JournalError> {
    let mut found = 0u64;
    for chunk in bytes.chunks(RECORD_LEN) {
        let number = found + 1;
        let expected = record(seed, number);
        if chunk == expected {
            found = number;
        } else if chunk.len() < RECORD_LEN || number > synced {
            break;
        } else {
            return Err(JournalError::Damaged { number });
        }
    }
    if found < synced { Err(JournalError::Lost { found, synced }) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(records: u64) -> Vec<u8> {
        (1..=records).flat_map(|number| record(9, number)).collect()
    }

    #[test]
    fn a_whole_journal_is_counted() {
        assert_eq!(replay(&journal(5), 9, 5), Ok(5));
        assert_eq!(replay(&journal(5), 9, 3), Ok(5));
    }

    #[test]
    fn an_incomplete_or_unsynced_tail_is_legal() {
        let mut bytes = journal(5);
        bytes.truncate(4 * RECORD_LEN + 17);
        assert_eq!(replay(&bytes, 9, 4), Ok(4));
        let mut bytes = journal(4);
        bytes.extend([0; RECORD_LEN]);
        assert_eq!(replay(&bytes, 9, 4), Ok(4));
    }

    #[test]
    fn a_lost_record_is_reported() {
        assert_eq!(replay(&journal(5), 9, 6), Err(JournalError::Lost { found: 5, synced: 6 }));
        assert_eq!(replay(&[], 9, 1), Err(JournalError::Lost { found: 0, synced: 1 }));
    }

    #[test]
    fn a_flipped_bit_is_reported() {
        let mut bytes = journal(5);
        bytes[2 * RECORD_LEN + 40] ^= 1;
        assert_eq!(replay(&bytes, 9, 5), Err(JournalError::Damaged { number: 3 }));
    }
}
