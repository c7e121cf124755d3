//! A board to describe, and what every boot has to satisfy, for tests.

use crate::config::{
    Config, Date, FacsRegion, Interrupts, Memory, Pci, PowerBlock, RealTimeClock, SleepStates,
};

use crate::boot::BootError;
use crate::{Boot, Tables};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

pub fn config(ram: u64, processors: u32) -> Config {
    Config {
        physical_bits: 39,
        memory: Memory {
            ram,
            hole: 0xb000_0000..0x1_0000_0000,
            withheld: 0,
            reserved_page: None,
            facs: FacsRegion::Reserved,
        },
        processors,
        sleep: SleepStates { s0: 5, s3: Some(1), s4: Some(2), s5: 0 },
        hardware_signature: 0x6b6a_766d,
        bios_date: Some(Date { year: 2024, month: 6, day: 1 }),
        power: PowerBlock {
            sci: 9,
            event: 0x600,
            control: 0x604,
            timer: 0x608,
            timer_is_32_bits: true,
            gpe0: 0x620,
            gpe0_len: 4,
            reset: 0xcf9,
            reset_value: 6,
            ports: 0x600..0x640,
        },
        interrupts: Interrupts { local_apic: 0xfee0_0000, io_apic: 0xfec0_0000, io_apic_id: 0, timer_gsi: 2 },
        pci: Pci {
            ecam: 0xb000_0000,
            ecam_len: 256 * MIB,
            buses: 1,
            window: 0xc000_0000..0xfec0_0000,
            slots: 32,
            intx: 16,
            intx_count: 8,
        },
        clock: RealTimeClock { ports: 0x70, irq: 8, day_alarm: 0x7d, month_alarm: 0x7e, century: 0x32 },
        hpet: None,
    }
}

/// What holds of every boot, however hostile its files are: blobs are in RAM, in order and beside each other, and the entry is in one.
pub fn assert_sound(board: &Tables, boot: Result<Boot<'_>, BootError>) {
    let Ok(boot) = boot else { return };
    for pair in boot.blobs.windows(2) {
        assert!(pair[0].range().end <= pair[1].range().start, "{} over {}", pair[0].what, pair[1].what);
    }
    for blob in &boot.blobs {
        let range = blob.range();
        assert!(!range.is_empty() && board.map.is_ram(&range), "{} at {range:x?}", blob.what);
        let mut next = range.start;
        for (address, bytes) in blob.pieces() {
            assert_eq!(address, next);
            next += bytes.len() as u64;
        }
        assert_eq!(next, range.end);
    }
    assert!(boot.blobs.iter().any(|blob| blob.range().contains(&boot.registers.rip)));
}
