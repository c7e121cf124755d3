//! From addresses to devices.

use devices::{
    Device, Moment, Traffic, VirtualTime, acpi_pm, debug_port, hpet, ioapic, pic, pit, post, reset_port, rtc,
    uart,
};

use crate::board::{Board, Signals, World, with};

/// What answers an access.
enum Target<'a> {
    Device(&'a mut dyn Device),
    /// As a device, but what it lets through may change.
    Controller(&'a mut dyn Device),
    Nothing,
}

impl Board {
    fn port(&mut self, port: u16) -> (Target<'_>, &mut Signals) {
        let Self { pic, ioapic: _, pit, hpet: _, rtc, pm, com1, com2, debug, reset, post, pci, signals } =
            self;
        let target = match port {
            0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1 => Target::Controller(pic),
            0x40..=0x43 | 0x61 => Target::Device(pit),
            0x70 | 0x71 => Target::Device(rtc),
            post::PORT => Target::Device(post),
            debug_port::LOG | debug_port::EXIT => Target::Device(debug),
            0x3f8..=0x3ff => Target::Device(com1),
            0x2f8..=0x2ff => Target::Device(com2),
            0x600..=0x623 => Target::Device(pm),
            // CF9 lies among the configuration ports and is none of them.
            reset_port::RESET_CONTROL | reset_port::PORT_A | reset_port::KEYBOARD_COMMAND => {
                Target::Device(reset)
            }
            0xcf8..=0xcff => Target::Device(pci),
            _ => Target::Nothing,
        };
        (target, signals)
    }

    fn memory(&mut self, address: u64) -> (Target<'_>, &mut Signals) {
        let Self { ioapic, hpet, pci, signals, .. } = self;
        let target = match address {
            0xfec0_0000..=0xfec0_0fff => Target::Controller(ioapic),
            // It may take lines of others, or give them back.
            0xfed0_0000..=0xfed0_03ff => Target::Controller(hpet),
            _ => Target::Device(pci),
        };
        (target, signals)
    }

    /// Reads 1, 2 or 4 bytes from a port.
    pub fn port_read(&mut self, now: VirtualTime, port: u16, size: u8, world: &mut World<'_>) -> u32 {
        if matches!(port, pic::FIRST | pic::SECOND) {
            self.requests_are_read(now, world);
        }
        let (target, signals) = self.port(port);
        let value = with(signals, now, world, |cx| match target {
            Target::Device(device) | Target::Controller(device) => device.read(u64::from(port), size, cx),
            Target::Nothing => u64::MAX,
        });
        self.end_access(now, port.into(), is_pci_port(port), world);
        show(now, world, true, port.into(), size, false, value);
        value as u32
    }

    /// Writes 1, 2 or 4 bytes to a port.
    pub fn port_write(&mut self, now: VirtualTime, port: u16, size: u8, value: u32, world: &mut World<'_>) {
        show(now, world, true, port.into(), size, true, value.into());
        let (target, signals) = self.port(port);
        let controller = matches!(target, Target::Controller(_));
        with(signals, now, world, |cx| match target {
            Target::Device(device) | Target::Controller(device) => {
                device.write(u64::from(port), size, u64::from(value), cx);
            }
            Target::Nothing => {}
        });
        if controller {
            self.controllers_changed(now, world);
        } else {
            self.end_access(now, port.into(), is_pci_port(port), world);
        }
    }

    /// Reads 1, 2, 4 or 8 bytes at an address that is no memory.
    pub fn memory_read(&mut self, now: VirtualTime, address: u64, size: u8, world: &mut World<'_>) -> u64 {
        let (target, signals) = self.memory(address);
        let value = with(signals, now, world, |cx| match target {
            Target::Device(device) | Target::Controller(device) => device.read(address, size, cx),
            Target::Nothing => u64::MAX,
        });
        self.end_access(now, address, true, world);
        show(now, world, false, address, size, false, value);
        value
    }

    /// Writes 1, 2, 4 or 8 bytes at an address that is no memory.
    pub fn memory_write(
        &mut self,
        now: VirtualTime,
        address: u64,
        size: u8,
        value: u64,
        world: &mut World<'_>,
    ) {
        show(now, world, false, address, size, true, value);
        let (target, signals) = self.memory(address);
        let controller = matches!(target, Target::Controller(_));
        with(signals, now, world, |cx| match target {
            Target::Device(device) | Target::Controller(device) => device.write(address, size, value, cx),
            Target::Nothing => {}
        });
        if controller {
            self.controllers_changed(now, world);
        } else {
            self.end_access(now, address, true, world);
        }
    }
}

/// Shows an access to whoever asked for it.
fn show(
    now: VirtualTime,
    world: &mut World<'_>,
    port: bool,
    address: u64,
    size: u8,
    write: bool,
    value: u64,
) {
    if world.observer.wants_traffic() {
        let at = Moment { time: now, instructions: world.instructions, processor: world.processor };
        let bits = 8 * u32::from(size.min(8));
        let value = value & u64::MAX.checked_shr(64 - bits).unwrap_or(0);
        world.observer.traffic(at, Traffic::Access { port, address, size, write, value });
    }
}

fn is_pci_port(port: u16) -> bool {
    matches!(port, 0xcf8..=0xcff)
}

// The table above is written in numbers to be read in one look; the devices say the same.
const _: () = {
    assert!(pic::FIRST == 0x20 && pic::SECOND == 0xa0 && pit::PORT == 0x40 && rtc::PORT == 0x70);
    assert!(uart::Config::COM1.port == 0x3f8 && uart::Config::COM2.port == 0x2f8);
    assert!(acpi_pm::PM1_EVENT == 0x600 && ioapic::ADDRESS == 0xfec0_0000);
    assert!(hpet::ADDRESS == 0xfed0_0000 && hpet::SIZE == 0x400);
};
