//! What firmware is told of the board, in the devices' own numbers.

use acpi_tables::Aml;
use devices::acpi_pm::{self, SleepState, TimerWidth};
use devices::{hpet, ioapic, pci, reset_port, rtc};
use firmware::config::{Hpet, Interrupts, Memory, Pci, PowerBlock, RealTimeClock, SleepStates};

use crate::board::Board;
use crate::board::interrupts::TIMER_PIN;
use crate::config::Config;

/// Where every local APIC is after power-on.
const LOCAL_APIC: u32 = 0xfee0_0000;
/// Bytes kept for memory-mapped configuration space, for 256 buses.
const ECAM_RESERVED: u64 = 256 << 20;

impl Board {
    /// For [`firmware::tables`].
    pub fn describe(&self, config: &Config) -> firmware::Config {
        let slp_typ = |state: SleepState| self.pm.config().has(state).then(|| state.slp_typ());
        firmware::Config {
            memory: Memory {
                ram: config.memory,
                hole: ram::HOLE_START..ram::HOLE_END,
                withheld: config.withheld,
                reserved_page: config.reserved_page,
                facs: config.facs,
            },
            physical_bits: cpu::memory::PHYSICAL_BITS as u8,
            processors: config.processors,
            sleep: SleepStates {
                s0: SleepState::WORKING,
                s3: slp_typ(SleepState::S3),
                s4: slp_typ(SleepState::S4),
                s5: SleepState::S5.slp_typ(),
            },
            hardware_signature: config.hardware_signature,
            bios_date: (config.bios_date.year != 0).then_some(config.bios_date),
            power: PowerBlock {
                sci: acpi_pm::SCI.0,
                event: acpi_pm::PM1_EVENT,
                control: acpi_pm::PM1_CONTROL,
                timer: acpi_pm::PM_TIMER,
                timer_is_32_bits: self.pm.config().timer == TimerWidth::Bits32,
                gpe0: acpi_pm::GPE0,
                gpe0_len: 4,
                reset: reset_port::RESET_CONTROL,
                reset_value: reset_port::RESET_VALUE,
                ports: acpi_pm::FIRST_PORT..acpi_pm::FIRST_PORT + u16::from(acpi_pm::PORTS),
            },
            interrupts: Interrupts {
                local_apic: LOCAL_APIC,
                io_apic: ioapic::ADDRESS as u32,
                io_apic_id: ioapic::ID,
                timer_gsi: u32::from(TIMER_PIN),
            },
            pci: Pci {
                ecam: pci::ECAM,
                ecam_len: ECAM_RESERVED,
                buses: 1,
                window: pci::WINDOW.start as u32..pci::WINDOW.end as u32,
                slots: pci::SLOTS,
                intx: u32::from(pci::slot_interrupt(0).0),
                intx_count: 8,
            },
            clock: RealTimeClock {
                ports: rtc::PORT,
                irq: rtc::INTERRUPT.0,
                day_alarm: rtc::DAY_ALARM,
                month_alarm: rtc::MONTH_ALARM,
                century: rtc::CENTURY,
            },
            hpet: self.hpet.as_ref().map(|hpet| Hpet {
                address: hpet::ADDRESS,
                id: hpet.id(),
                minimum_tick: hpet::MINIMUM_TICK,
            }),
        }
    }

    /// What devices say of themselves in AML.
    pub fn aml(&self) -> Vec<&dyn Aml> {
        let mut devices: Vec<&dyn Aml> = vec![&self.pic, &self.pit, &self.rtc, &self.com1, &self.com2];
        devices.extend(self.hpet.as_ref().map(|hpet| hpet as &dyn Aml));
        devices
    }
}
