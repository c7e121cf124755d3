//! What the board calls a device with.

use serde::{Deserialize, Serialize};

use crate::{Context, VirtualTime};

/// What restarts a device: they differ in what keeps its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reset {
    /// Power comes on: only what a battery feeds is kept (CMOS memory, the clock).
    PowerOn,
    /// Wake from S3: what standby power feeds is kept as well (wake sources and their status).
    Wake,
    /// The reset line (port 0xCF9 and the like): nothing lost its power.
    Line,
}

/// A device that sits at fixed addresses, in port or memory space.
///
/// Its module names the addresses as constants; the board gives it the accesses whose first byte lies there. An access may reach
/// past them: what nothing decodes reads as ones and ignores writes.
pub trait Device {
    /// Reads `size` bytes (1, 2, 4 or 8) at a port number or physical address, little-endian; higher bytes of the result are 0.
    fn read(&mut self, address: u64, size: u8, cx: &mut Context) -> u64;

    /// Writes the lowest `size` bytes (1, 2, 4 or 8) of `value`, little-endian; its higher bytes mean nothing.
    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context);

    /// When [`Device::tick`] must be called, if nothing else calls the device before. May have passed already. The board asks again
    /// after every call.
    fn deadline(&self) -> Option<VirtualTime> {
        None
    }

    /// Does what time brought if the deadline has passed, else nothing: a call too many changes nothing. The board calls it after a
    /// jump of world time as well.
    fn tick(&mut self, _cx: &mut Context) {}

    /// Goes to the state it has after a reset, and drives its interrupt lines accordingly.
    fn reset(&mut self, kind: Reset, cx: &mut Context);
}

/// A device that the board may lack: then nothing is there.
impl<D: Device> Device for Option<D> {
    fn read(&mut self, address: u64, size: u8, cx: &mut Context) -> u64 {
        let nothing = u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)));
        self.as_mut().map_or(nothing, |device| device.read(address, size, cx))
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context) {
        if let Some(device) = self {
            device.write(address, size, value, cx);
        }
    }

    fn deadline(&self) -> Option<VirtualTime> {
        self.as_ref()?.deadline()
    }

    fn tick(&mut self, cx: &mut Context) {
        if let Some(device) = self {
            device.tick(cx);
        }
    }

    fn reset(&mut self, kind: Reset, cx: &mut Context) {
        if let Some(device) = self {
            device.reset(kind, cx);
        }
    }
}
