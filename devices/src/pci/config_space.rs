//! Configuration space of a function with a type 0 header (PCI 3.0 6.1): what can be written is data beside what is there.

use serde::{Deserialize, Serialize};

use crate::register::{self, Lanes};

/// Offsets of the registers the rest of the crate names.
pub(super) mod offset {
    pub const VENDOR: u8 = 0x00;
    pub const COMMAND: u8 = 0x04;
    pub const REVISION: u8 = 0x08;
    pub const CACHE_LINE: u8 = 0x0c;
    pub const BARS: u8 = 0x10;
    pub const SUBSYSTEM: u8 = 0x2c;
    pub const CAPABILITIES: u8 = 0x34;
    pub const INTERRUPT: u8 = 0x3c;
    /// Where capabilities start.
    pub const DEVICE_SPECIFIC: u8 = 0x40;
}

/// Bits of the doubleword of command (low half) and status (high half).
mod command_status {
    pub const MEMORY: u32 = 1 << 1;
    pub const BUS_MASTER: u32 = 1 << 2;
    pub const PARITY_RESPONSE: u32 = 1 << 6;
    pub const SERR: u32 = 1 << 8;
    pub const INTERRUPT_DISABLE: u32 = 1 << 10;
    pub const INTERRUPT: u32 = 1 << 19;
    pub const HAS_CAPABILITIES: u32 = 1 << 20;
    /// Parity and abort errors: none ever happens, but they clear like any.
    pub const ERRORS: u32 = 0xf900_0000;
}

/// Offset, bits that can be written, bits that a 1 clears. What is not here is read-only.
const HEADER: [(u8, u32, u32); 3] = [
    (
        offset::COMMAND,
        command_status::MEMORY
            | command_status::BUS_MASTER
            | command_status::PARITY_RESPONSE
            | command_status::SERR
            | command_status::INTERRUPT_DISABLE,
        command_status::ERRORS,
    ),
    // Cache line size and latency timer.
    (offset::CACHE_LINE, 0x0000_ffff, 0),
    // Interrupt line.
    (offset::INTERRUPT, 0x0000_00ff, 0),
];

const BYTES: u16 = 256;
/// Low bits of a BAR that say what it is: 64 bits wide.
const BAR_IS_64_BITS: u32 = 0b100;

/// Who a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Base class, sub-class and programming interface: 24 bits.
    pub class: u32,
    /// Revision.
    pub revision: u8,
    /// Subsystem vendor.
    pub subsystem_vendor: u16,
    /// Subsystem.
    pub subsystem: u16,
    /// Whether it can drive INTA#.
    pub interrupt: bool,
}

/// How wide a base address register is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BarWidth {
    /// One register.
    Bits32,
    /// Two registers.
    Bits64,
}

/// A base address register of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// Which of the six registers, the first if there are two.
    pub index: u8,
    /// How wide.
    pub width: BarWidth,
    /// Bytes: a power of two, at least 16.
    pub size: u32,
    /// What it is at reset: a multiple of the size.
    pub address: u64,
}

impl Bar {
    fn offset(&self) -> u8 {
        // A snapshot may say anything of the index: what lies beyond the registers decodes nothing that matters.
        self.index.saturating_mul(4).saturating_add(offset::BARS)
    }

    /// The upper half of one that is 64 bits wide.
    fn upper_offset(&self) -> u8 {
        self.offset().saturating_add(4)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Word {
    value: u32,
    writable: u32,
    cleared_by_one: u32,
}

impl Word {
    fn write(&mut self, lanes: Lanes) {
        let (value, mask) = (lanes.value as u32, lanes.mask as u32);
        let writable = self.writable & mask;
        self.value = self.value & !writable | value & writable;
        self.value &= !(value & self.cleared_by_one);
    }
}

/// 256 bytes of configuration space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSpace {
    words: Vec<Word>,
    bars: Vec<Bar>,
    /// Offset of the next capability.
    free: u8,
    /// Offset of the byte that will point to it.
    link: u8,
}

impl ConfigSpace {
    /// At reset: memory and bus mastering are on, as if firmware had assigned the addresses.
    pub fn new(identity: &Identity, bars: &[Bar]) -> Self {
        let mut space = Self {
            words: vec![Word::default(); usize::from(BYTES) / 4],
            bars: bars.to_vec(),
            free: offset::DEVICE_SPECIFIC,
            link: offset::CAPABILITIES,
        };
        let pair = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        for (offset, writable, cleared_by_one) in HEADER {
            space.set_masks(offset, writable, cleared_by_one);
        }
        space.set(offset::VENDOR, pair(identity.vendor, identity.device));
        space.set(offset::COMMAND, command_status::MEMORY | command_status::BUS_MASTER);
        space.set(offset::REVISION, u32::from(identity.revision) | identity.class << 8);
        space.set(offset::SUBSYSTEM, pair(identity.subsystem_vendor, identity.subsystem));
        space.set(offset::INTERRUPT, u32::from(identity.interrupt) << 8);
        for bar in bars {
            let kind = if bar.width == BarWidth::Bits64 { BAR_IS_64_BITS } else { 0 };
            // What a write of all ones leaves tells the size (6.2.5.1).
            space.set(bar.offset(), bar.address as u32 | kind);
            space.set_masks(bar.offset(), !(bar.size.wrapping_sub(1)), 0);
            if bar.width == BarWidth::Bits64 {
                space.set(bar.upper_offset(), (bar.address >> 32) as u32);
                space.set_masks(bar.upper_offset(), u32::MAX, 0);
            }
        }
        space
    }

    /// Adds a capability: its identifier, and what follows the pointer to the next one. Returns its offset, at which configuration
    /// space has to have room. `writable` says which bits of what follows can be written, those beyond its end cannot.
    pub(super) fn add_capability(&mut self, identifier: u8, body: &[u8], writable: &[u8]) -> u8 {
        let at = self.free;
        self.set(offset::COMMAND, self.word(offset::COMMAND) | command_status::HAS_CAPABILITIES);
        self.set_byte(self.link, at, 0);
        self.set_byte(at, identifier, 0);
        let writable = writable.iter().chain(std::iter::repeat(&0));
        for (to, (byte, writable)) in (at.saturating_add(2)..).zip(body.iter().zip(writable)) {
            self.set_byte(to, *byte, *writable);
        }
        self.link = at.saturating_add(1);
        // Capabilities start at doublewords.
        self.free = at.saturating_add(body.len().saturating_add(2).next_multiple_of(4) as u8);
        at
    }

    fn set_byte(&mut self, offset: u8, value: u8, writable: u8) {
        if let Some(word) = self.words.get_mut(usize::from(offset / 4)) {
            let shift = 8 * u32::from(offset % 4);
            word.value = word.value & !(0xff << shift) | u32::from(value) << shift;
            word.writable = word.writable & !(0xff << shift) | u32::from(writable) << shift;
        }
    }

    fn set_masks(&mut self, offset: u8, writable: u32, cleared_by_one: u32) {
        if let Some(word) = self.words.get_mut(usize::from(offset / 4)) {
            (word.writable, word.cleared_by_one) = (writable, cleared_by_one);
        }
    }

    fn set(&mut self, offset: u8, value: u32) {
        if let Some(word) = self.words.get_mut(usize::from(offset / 4)) {
            word.value = value;
        }
    }

    /// The doubleword that contains this offset.
    pub(super) fn word(&self, offset: u8) -> u32 {
        self.words.get(usize::from(offset / 4)).map_or(0, |word| word.value)
    }

    /// As the guest reads it. A function of conventional PCI has nothing beyond 256 bytes, not even zeros.
    pub fn read(&self, offset: u16, size: u8) -> u64 {
        register::read(4, u64::from(offset), size, |word| {
            u8::try_from(word).map_or(u64::MAX, |word| self.word(word).into())
        })
    }

    /// As the guest writes it.
    pub fn write(&mut self, offset: u16, size: u8, value: u64) {
        register::write(4, u64::from(offset), size, value, |offset, lanes| {
            if let Some(word) = self.words.get_mut((offset / 4) as usize) {
                word.write(lanes);
            }
        });
    }

    /// The BAR that decodes all of an access to memory, and the offset in it.
    pub fn decode(&self, address: u64, size: u8) -> Option<(u8, u64)> {
        if self.word(offset::COMMAND) & command_status::MEMORY == 0 {
            return None;
        }
        self.bars.iter().find_map(|bar| {
            let high = match bar.width {
                BarWidth::Bits32 => 0,
                BarWidth::Bits64 => self.word(bar.upper_offset()),
            };
            let low = self.word(bar.offset()) & !0xf;
            let within = address.wrapping_sub(u64::from(high) << 32 | u64::from(low));
            let end = within.checked_add(u64::from(size))?;
            (end <= u64::from(bar.size)).then_some((bar.index, within))
        })
    }

    /// Whether the function may access memory and send messages.
    pub fn is_bus_master(&self) -> bool {
        self.word(offset::COMMAND) & command_status::BUS_MASTER != 0
    }

    /// The function wants INTA# or does not: shows it in the status register, and says whether the line is driven.
    pub(super) fn drive_interrupt(&mut self, wanted: bool) -> bool {
        let before = self.word(offset::COMMAND);
        let bit = if wanted { command_status::INTERRUPT } else { 0 };
        self.set(offset::COMMAND, before & !command_status::INTERRUPT | bit);
        wanted && before & command_status::INTERRUPT_DISABLE == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn space() -> ConfigSpace {
        let identity = Identity {
            vendor: 0x1234,
            device: 0x5678,
            class: 0x01_08_02,
            revision: 3,
            subsystem_vendor: 0x9abc,
            subsystem: 0xdef0,
            interrupt: true,
        };
        let bars = [
            Bar { index: 0, width: BarWidth::Bits64, size: 0x4000, address: 0x1_c000_0000 },
            Bar { index: 2, width: BarWidth::Bits32, size: 0x1000, address: 0xc001_0000 },
        ];
        let mut space = ConfigSpace::new(&identity, &bars);
        assert_eq!(space.add_capability(0x09, &[6, 1, 2, 3], &[]), 0x40);
        assert_eq!(space.add_capability(0x11, &[1, 0, 0, 0], &[0, 0xc0]), 0x48);
        space
    }

    fn read32(space: &ConfigSpace, offset: u16) -> u32 {
        space.read(offset, 4) as u32
    }

    #[test]
    fn header_and_capabilities_at_reset() {
        let space = space();
        let words: Vec<String> =
            (0..0x50).step_by(4).map(|at| format!("{at:02x}: {:08x}", read32(&space, at))).collect();
        insta::assert_snapshot!(words.join("\n"), @"
        00: 56781234
        04: 00100006
        08: 01080203
        0c: 00000000
        10: c0000004
        14: 00000001
        18: c0010000
        1c: 00000000
        20: 00000000
        24: 00000000
        28: 00000000
        2c: def09abc
        30: 00000000
        34: 00000040
        38: 00000000
        3c: 00000100
        40: 01064809
        44: 00000302
        48: 00010011
        4c: 00000000
        ");
    }

    #[test]
    fn sizing_a_bar() {
        let mut space = space();
        for offset in [0x10, 0x14, 0x18, 0x1c] {
            let before = read32(&space, offset);
            space.write(offset, 4, u64::MAX);
            let expected = match offset {
                0x10 => 0xffff_c004,
                0x14 => 0xffff_ffff,
                0x18 => 0xffff_f000,
                _ => 0,
            };
            assert_eq!(read32(&space, offset), expected, "register {offset:x}");
            space.write(offset, 4, before.into());
            assert_eq!(read32(&space, offset), before);
        }
    }

    #[test]
    fn decodes_whole_accesses_while_memory_is_on() {
        let mut space = space();
        assert_eq!(space.decode(0x1_c000_0010, 4), Some((0, 0x10)));
        assert_eq!(space.decode(0xc001_0ffc, 4), Some((2, 0xffc)));
        assert_eq!(space.decode(0xc001_0ffd, 4), None);
        assert_eq!(space.decode(0xc000_0010, 4), None);
        assert_eq!(space.decode(u64::MAX, 8), None);
        space.write(4, 1, 4);
        assert_eq!(space.decode(0x1_c000_0010, 4), None);
    }

    #[test]
    fn the_interrupt_bit_shows_what_the_disable_bit_hides() {
        let mut space = space();
        assert!(space.drive_interrupt(true));
        space.write(5, 1, 4);
        assert!(!space.drive_interrupt(true));
        assert_eq!(read32(&space, 4) >> 16, 0x18);
        assert!(!space.drive_interrupt(false));
        assert_eq!(read32(&space, 4) >> 16, 0x10);
    }

    proptest! {
        /// Whatever is written in whatever pieces: what is read-only stays, what can be written is what was written last.
        #[test]
        fn garbage_changes_only_what_can_be_written(
            writes in prop::collection::vec((any::<u16>(), 0u8..9, any::<u64>()), 0..200),
        ) {
            let fresh = space();
            let mut space = fresh.clone();
            let mut bytes: Vec<u8> = (0..256).map(|at| fresh.read(at, 1) as u8).collect();
            for (offset, size, value) in writes {
                // Half of them where there is something.
                let offset = if offset % 2 == 0 { offset } else { offset % 256 };
                space.write(offset, size, value);
                for (at, byte) in (usize::from(offset)..256).zip(&value.to_le_bytes()[..usize::from(size)]) {
                    bytes[at] = *byte;
                }
            }
            for (number, (word, before)) in space.words.iter().zip(&fresh.words).enumerate() {
                let written = u32::from_le_bytes(bytes[number * 4..number * 4 + 4].try_into().unwrap());
                prop_assert_eq!(word.value & word.writable, written & word.writable);
                prop_assert_eq!(word.value & !word.writable, before.value & !word.writable);
            }
        }

        #[test]
        fn any_read_is_answered(offset: u16, size in 0u8..9) {
            let data = space().read(offset, size).to_le_bytes();
            for (byte, at) in data[..usize::from(size)].iter().zip(u32::from(offset)..) {
                prop_assert!(at < 256 || *byte == 0xff);
            }
        }
    }
}
