//! The vendor capabilities that say where the structures are (4.1.4), and the one through which they can be reached without
//! memory access (4.1.4.9).

use serde::{Deserialize, Serialize};

use super::{PAGE, REGISTERS_BAR, Structure};
use crate::pci::ConfigSpace;

const IDENTIFIER: u8 = 0x09;
/// Type of the capability for access through configuration space.
const PCI_CFG: u8 = 5;
/// Each queue has its own doubleword in the notification structure.
pub(super) const NOTIFY_MULTIPLIER: u32 = 4;

/// Offsets in the access capability.
const BAR: u16 = 4;
const OFFSET: u16 = 8;
const LENGTH: u16 = 12;
const DATA: u16 = 16;

/// Adds them to a function at reset.
pub(super) fn add(space: &mut ConfigSpace, device_bytes: u32) -> Window {
    for structure in Structure::ALL {
        let (kind, length) = match structure {
            Structure::Common => (1, super::common::BYTES as u32),
            Structure::Notify => (2, PAGE),
            Structure::Isr => (3, 1),
            Structure::Device => (4, device_bytes),
        };
        let mut body = body(kind, structure as u32 * PAGE, length);
        if structure == Structure::Notify {
            append(&mut body, NOTIFY_MULTIPLIER);
        }
        space.add_capability(IDENTIFIER, &body, &[]);
    }
    let mut body = body(PCI_CFG, 0, 0);
    append(&mut body, 0);
    let mut writable = [0xff; 18];
    for read_only in [0, 1, 3, 4, 5] {
        writable[read_only] = 0;
    }
    Window { capability: space.add_capability(IDENTIFIER, &body, &writable) }
}

/// What follows the pointer to the next capability: length, type, BAR, identifier, padding, offset, length of the structure.
fn body(kind: u8, offset: u32, length: u32) -> Vec<u8> {
    let mut body = vec![16, kind, REGISTERS_BAR, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(length.to_le_bytes());
    body
}

fn append(body: &mut Vec<u8>, value: u32) {
    body.extend(value.to_le_bytes());
    body[0] += 4;
}

/// The access capability: four bytes of configuration space that show a piece of a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    capability: u8,
}

/// A piece of a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub bar: u8,
    pub offset: u64,
    pub size: u8,
}

impl Window {
    /// Where the four bytes are.
    pub(super) fn data(self) -> u16 {
        u16::from(self.capability) + DATA
    }

    /// What an access to configuration space reaches through it: nothing if it does not touch the four bytes, or if the driver
    /// asks for a piece it must not ask for.
    pub(super) fn reached(self, space: &ConfigSpace, offset: u16, size: u8) -> Option<Piece> {
        let data = self.data();
        let touches = offset < data + 4 && u32::from(offset) + u32::from(size) > u32::from(data);
        let field = |at, size| space.read(u16::from(self.capability) + at, size);
        let (length, offset) = (field(LENGTH, 4), field(OFFSET, 4));
        let allowed = matches!(length, 1 | 2 | 4) && offset.is_multiple_of(length);
        (touches && allowed).then(|| Piece { bar: field(BAR, 1) as u8, offset, size: length as u8 })
    }
}
