//! Configurations that no machine has.

use firmware::config::Date;
use ram::{HOLE_END, HOLE_START, MAX_BYTES, PAGE_SIZE};
use thiserror::Error;

use super::Config;

/// The most processors a machine can have: xAPIC ids have 8 bits, and one of them means everyone.
const MOST_PROCESSORS: u32 = 255;
/// The least RAM: what firmware needs, and a mebibyte to put something into.
const LEAST: u64 = 2 << 20;

/// A field of [`Config`] with a value that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidConfig {
    /// None, or more than there are APIC ids.
    #[error("processors = {0}: give the machine 1 to {MOST_PROCESSORS}")]
    Processors(u32),
    /// Too little, too much, or not whole pages.
    #[error("memory = {0} bytes: give the machine a multiple of {PAGE_SIZE}, from {least} MiB to {most} GiB", least = LEAST >> 20, most = MAX_BYTES >> 30)]
    Memory(u64),
    /// None.
    #[error("quantum = 0: a turn has at least one instruction; 10000 is usual")]
    Quantum,
    /// More than there is, or not whole pages.
    #[error("withheld = {withheld} bytes: give a multiple of {PAGE_SIZE} of at most {most}, or more memory")]
    Withheld {
        /// What was asked for.
        withheld: u64,
        /// The most there is.
        most: u64,
    },
    /// Not the address of a page, or of one that the memory map does not call usable.
    #[error(
        "reserved_page = {0:#x}: give the address of a page of usable RAM, a multiple of {PAGE_SIZE:#x} from {LEAST:#x} on"
    )]
    ReservedPage(u64),
    /// A date that no calendar has.
    #[error("bios_date = {:04}-{:02}-{:02}: give a day of the calendar up to 9999, or year 0 for a machine without SMBIOS", .0.year, .0.month, .0.day)]
    BiosDate(Date),
}

impl Config {
    /// Refuses what no machine has.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if !(1..=MOST_PROCESSORS).contains(&self.processors) {
            return Err(InvalidConfig::Processors(self.processors));
        }
        if !(LEAST..=MAX_BYTES).contains(&self.memory) || !self.memory.is_multiple_of(PAGE_SIZE) {
            return Err(InvalidConfig::Memory(self.memory));
        }
        if self.quantum == 0 {
            return Err(InvalidConfig::Quantum);
        }
        let low_end = self.memory.min(HOLE_START);
        let most = low_end - LEAST;
        if self.withheld > most || !self.withheld.is_multiple_of(PAGE_SIZE) {
            return Err(InvalidConfig::Withheld { withheld: self.withheld, most });
        }
        if let Some(page) = self.reserved_page {
            let usable = (LEAST..low_end - self.withheld).contains(&page)
                || (HOLE_END..HOLE_END + (self.memory - low_end)).contains(&page);
            if !usable || !page.is_multiple_of(PAGE_SIZE) {
                return Err(InvalidConfig::ReservedPage(page));
            }
        }
        if self.bios_date.year != 0 && !self.bios_date.exists() {
            return Err(InvalidConfig::BiosDate(self.bios_date));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Board, Clock};
    use devices::WorldTime;

    #[test]
    fn what_cannot_be_is_named_with_its_cure() {
        let refused = |config: Config| config.check().unwrap_err().to_string();
        let usual = Config::default;
        assert_eq!(usual().check(), Ok(()));
        insta::assert_snapshot!(
            [
                refused(Config { processors: 0, ..usual() }),
                refused(Config { memory: 4097, ..usual() }),
                refused(Config { quantum: 0, ..usual() }),
                refused(Config { withheld: 255 << 20, ..usual() }),
                refused(Config { reserved_page: Some(0x1000), ..usual() }),
                refused(Config { reserved_page: Some(0x0fff_f000), withheld: 0x1000, ..usual() }),
                refused(Config { bios_date: Date { year: 2023, month: 2, day: 29 }, ..usual() }),
            ]
            .join("\n"),
            @r"
        processors = 0: give the machine 1 to 255
        memory = 4097 bytes: give the machine a multiple of 4096, from 2 MiB to 64 GiB
        quantum = 0: a turn has at least one instruction; 10000 is usual
        withheld = 267386880 bytes: give a multiple of 4096 of at most 266338304, or more memory
        reserved_page = 0x1000: give the address of a page of usable RAM, a multiple of 0x1000 from 0x200000 on
        reserved_page = 0xffff000: give the address of a page of usable RAM, a multiple of 0x1000 from 0x200000 on
        bios_date = 2023-02-29: give a day of the calendar up to 9999, or year 0 for a machine without SMBIOS
        "
        );
        assert_eq!(Config { bios_date: Date { year: 0, month: 0, day: 0 }, ..usual() }.check(), Ok(()));
    }

    #[test]
    fn a_file_gives_what_is_not_usual_and_nothing_else() {
        let config: Config =
            serde_json::from_str(r#"{"vendor": "amd", "tsc_on_s3": {"jump": -7}, "rtc_alarm": "irq8"}"#)
                .unwrap();
        let expected = Config {
            vendor: super::super::Vendor::Amd,
            tsc_on_s3: super::super::TscOnS3::Jump(-7),
            rtc_alarm: super::super::AlarmDelivery::Interrupt,
            ..Config::default()
        };
        assert_eq!(config, expected);
        let error = serde_json::from_str::<Config>(r#"{"hpte": "on"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `hpte`"), "{error}");
    }

    proptest! {
        /// What is accepted here, firmware can describe.
        #[test]
        fn firmware_agrees(
            memory in prop_oneof![Just(256u64 << 20), Just(LEAST), Just(8 << 30), 0u64..1 << 34],
            withheld in prop_oneof![Just(0u64), Just(PAGE_SIZE), 0u64..1 << 29],
            page in proptest::option::of(prop_oneof![0u64..1 << 34, (0u64..1 << 22).prop_map(|page| page * PAGE_SIZE)]),
            (year, month, day) in (0u16..=2100, 0u8..14, 0u8..33),
            processors in 0u32..300,
        ) {
            let bios_date = Date { year, month, day };
            let config = Config { memory, withheld, reserved_page: page, bios_date, processors, ..Config::default() };
            let board = Board::of(&config, Clock::new(WorldTime(0)));
            let described = firmware::tables(&board.describe(&config), &board.aml());
            match config.check() {
                // Firmware has room for more processors than there are ids.
                Err(InvalidConfig::Processors(1..)) => {}
                checked => prop_assert_eq!(checked.is_ok(), described.is_ok(), "{:?} {:?}", checked, described.err()),
            }
        }
    }
}
