//! Floating-point state to start from.

use crate::case::FpuImage;
use crate::random::Random;

/// Error summary and busy.
const SUMMARY: u16 = 1 << 15 | 1 << 7;

/// A control word: mostly with all exceptions masked.
pub fn control(random: &mut Random) -> u16 {
    if random.once_in(2) {
        return 0x37f;
    }
    let masks = if random.once_in(6) { random.bits() as u16 & 0x3f } else { 0x3f };
    0x40 | masks | (random.bits() as u16 & 0xf00)
}

/// MXCSR: any rounding, denormals as zero or flushed, mostly with all exceptions masked.
pub fn mxcsr(random: &mut Random) -> u32 {
    let masks = if random.once_in(6) { random.bits() as u32 & 0x1f80 } else { 0x1f80 };
    let modes = if random.once_in(2) { random.bits() as u32 & 0xe040 } else { 0 };
    let flags = if random.once_in(4) { random.bits() as u32 & 0x3f } else { 0 };
    masks | modes | flags
}

/// Everything.
pub fn image(random: &mut Random) -> FpuImage {
    let mut image = FpuImage([0; 512]);
    let control = control(random);
    let mut status =
        if random.once_in(2) { random.bits() as u16 & 0x7f7f } else { (random.bits() as u16 & 7) << 11 };
    if status & !control & 0x3f != 0 {
        // Every instruction that waits would only raise #MF: leave that to a few.
        if random.once_in(4) {
            status |= SUMMARY;
        } else {
            status &= !0x3f;
        }
    }
    let tags = match random.below(4) {
        0 => random.bits() as u8,
        1 => 0,
        _ => 0xff,
    };
    image.put(0, &control.to_le_bytes());
    image.put(2, &status.to_le_bytes());
    image.put(4, &[tags]);
    image.put(24, &mxcsr(random).to_le_bytes());
    for i in 0..8 {
        image.put(32 + 16 * i, &random.extended());
    }
    let alike = random.once_in(4);
    let common = random.vector();
    for i in 0..16 {
        let value = if alike && !random.once_in(4) { common } else { random.vector() };
        image.put(160 + 16 * i, &value.to_le_bytes());
    }
    image
}
