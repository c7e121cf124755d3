//! What entries serve, and what drops them.

use super::*;
use proptest::prelude::*;

const ALL: Allowed = Allowed { read: true, write: true };

#[test]
fn an_entry_serves_its_page_until_it_is_flushed() {
    let mut tlb = Tlb::default();
    let host = 0x7000_0000 as *mut u8;
    tlb.fill(Set::User, 0x1234, Page { frame: 5, host, global: false, shift: 12 }, ALL);
    tlb.fill(Set::User, 0x2000, Page { frame: 6, host, global: true, shift: 12 }, ALL);
    assert_eq!(tlb.entry(Set::User, 0x1fff).read, 0x1000);
    assert_eq!(tlb.entry(Set::User, 0x1fff).addend.wrapping_add(0x1fff), 0x7000_0fff);
    assert_eq!(tlb.entry(Set::Supervisor, 0x1fff).read, NO_PAGE);
    tlb.flush(true);
    assert_eq!((tlb.entry(Set::User, 0x1000).read, tlb.entry(Set::User, 0x2000).read), (NO_PAGE, 0x2000));
    tlb.invalidate(0x2010);
    assert_eq!(tlb.entry(Set::User, 0x2000).read, NO_PAGE);
}

#[test]
fn writes_are_forbidden_alone() {
    let mut tlb = Tlb::default();
    tlb.fill(Set::User, 0x1000, Page { frame: 5, host: std::ptr::null_mut(), global: false, shift: 12 }, ALL);
    tlb.forbid_writes(5);
    let entry = tlb.entry(Set::User, 0x1000);
    assert_eq!((entry.read, entry.write), (0x1000, NO_PAGE));
    let write = Allowed { write: true, ..Allowed::default() };
    tlb.fill(
        Set::User,
        0x1000,
        Page { frame: 5, host: std::ptr::null_mut(), global: false, shift: 12 },
        write,
    );
    let entry = tlb.entry(Set::User, 0x1000);
    assert_eq!((entry.read, entry.write), (0x1000, 0x1000));
}

#[test]
fn any_address_of_a_large_page_drops_all_of_it_and_nothing_else() {
    let mut tlb = Tlb::default();
    let page = |frame, shift| Page { frame, host: std::ptr::null_mut(), global: true, shift };
    tlb.fill(Set::User, 0x20_1000, page(5, 21), ALL);
    tlb.fill(Set::SupervisorCode, 0x20_2000, page(6, 21), ALL);
    tlb.fill(Set::User, 0x4000_3000, page(7, 30), ALL);
    tlb.fill(Set::User, 0x40_4000, page(8, 21), ALL);
    tlb.fill(Set::User, 0x5000, page(9, 12), ALL);
    let epoch = tlb.epoch();
    tlb.invalidate(0x1_0000_0000);
    assert_eq!(tlb.epoch(), epoch, "nothing was there");
    tlb.invalidate(0x3f_ffff);
    assert_ne!(tlb.epoch(), epoch);
    let read = |set, linear| tlb.entry(set, linear).read != NO_PAGE;
    assert_eq!((read(Set::User, 0x20_1000), read(Set::SupervisorCode, 0x20_2000)), (false, false));
    assert!(read(Set::User, 0x4000_3000) && read(Set::User, 0x40_4000) && read(Set::User, 0x5000));
    tlb.invalidate(0x7fff_ffff);
    assert_eq!(tlb.entry(Set::User, 0x4000_3000).read, NO_PAGE);
}

proptest! {
    /// Against a list of what was put in: whatever is found must be there, and what was flushed must be gone.
    #[test]
    fn nothing_survives_what_should_drop_it(
        steps in prop::collection::vec((0u64..64, 0u8..4, any::<bool>()), 1..200),
    ) {
        let mut tlb = Tlb::default();
        let mut there: Vec<(u64, bool)> = Vec::new();
        let linear = |number: u64| (number & 7) << 12 | (number >> 3) << 24;
        for (number, step, global) in steps {
            match step {
                0 | 1 => {
                    let page = Page { frame: number, host: std::ptr::null_mut(), global, shift: 12 };
                    tlb.fill(Set::User, linear(number), page, ALL);
                    there.retain(|(other, _)| *other != number);
                    there.push((number, global));
                }
                2 => {
                    tlb.invalidate(linear(number));
                    there.retain(|(other, _)| *other != number);
                }
                _ => {
                    tlb.flush(global);
                    there.retain(|(_, kept)| global && *kept);
                }
            }
            for other in 0..64 {
                let found = tlb.entry(Set::User, linear(other)).read == linear(other);
                prop_assert!(!found || there.iter().any(|(number, _)| *number == other));
            }
            prop_assert!(tlb.used.len() <= 64);
        }
    }
}

#[test]
fn data_does_not_push_out_code() {
    let mut tlb = Tlb::default();
    let page = |frame| Page { frame, host: std::ptr::null_mut(), global: false, shift: 12 };
    tlb.fill(Set::UserCode, 0x1000, page(1), ALL);
    let epoch = tlb.epoch();
    tlb.fill(Set::User, 0x1000 + ((ENTRIES as u64) << 12), page(2), ALL);
    assert_eq!((tlb.entry(Set::UserCode, 0x1000).read, tlb.epoch()), (0x1000, epoch));
    tlb.fill(Set::UserCode, 0x1000 + ((ENTRIES as u64) << 12), page(2), ALL);
    assert_ne!(tlb.epoch(), epoch);
}
