use proptest::prelude::*;

use super::*;
use crate::bench::{Bench, abuses};

fn write(bench: &mut Bench, ioapic: &mut IoApic, register: u8, value: u32) {
    ioapic.write(ADDRESS, 4, register.into(), &mut bench.cx());
    ioapic.write(ADDRESS + 0x10, 4, value.into(), &mut bench.cx());
}

fn read(bench: &mut Bench, ioapic: &mut IoApic, register: u8) -> u32 {
    ioapic.write(ADDRESS, 4, register.into(), &mut bench.cx());
    ioapic.read(ADDRESS + 0x10, 4, &mut bench.cx()) as u32
}

fn sent(bench: &mut Bench) -> Vec<Delivery> {
    bench.messages.drain(..).filter_map(|message| message.delivery()).collect()
}

/// Pin 9 as Linux sets it for the SCI: level, active high, vector 0x21, to APIC 1.
fn with_sci() -> (Bench, IoApic) {
    let (mut bench, mut ioapic) = (Bench::new(), IoApic::new());
    write(&mut bench, &mut ioapic, 0x23, 1 << 24);
    write(&mut bench, &mut ioapic, 0x22, 0x8021);
    (bench, ioapic)
}

/// The order of Linux: what is it, mask everything, then one entry, high half first.
#[test]
fn linux_sets_it_up() {
    let (mut bench, mut ioapic) = (Bench::new(), IoApic::new());
    assert_eq!(read(&mut bench, &mut ioapic, 0), 0);
    assert_eq!(read(&mut bench, &mut ioapic, 1), 0x0017_0020);
    for pin in 0..24 {
        assert_eq!(read(&mut bench, &mut ioapic, 0x10 + 2 * pin), 0x1_0000, "masked");
        write(&mut bench, &mut ioapic, 0x10 + 2 * pin, 0x1_0000);
        write(&mut bench, &mut ioapic, 0x11 + 2 * pin, 0);
    }
    write(&mut bench, &mut ioapic, 0x15, 0x0300_0000);
    write(&mut bench, &mut ioapic, 0x14, 0x0000_0830);
    assert_eq!(read(&mut bench, &mut ioapic, 0x14), 0x830);
    assert_eq!(read(&mut bench, &mut ioapic, 0x15), 0x0300_0000);
    ioapic.drive(1 << 2, 0, &mut bench.messages);
    assert_eq!(
        sent(&mut bench),
        [Delivery {
            destination: 3,
            logical: true,
            mode: DeliveryMode::Fixed,
            vector: 0x30,
            level_triggered: false,
            assert: true,
        }]
    );
    // Nothing answers past the table.
    assert_eq!(read(&mut bench, &mut ioapic, 0x40), 0);
}

#[test]
fn an_edge_is_sent_once_and_not_kept_while_masked() {
    let (mut bench, mut ioapic) = (Bench::new(), IoApic::new());
    ioapic.drive(1 << 4, 0, &mut bench.messages);
    write(&mut bench, &mut ioapic, 0x18, 0x31);
    assert_eq!(sent(&mut bench), []);
    ioapic.drive(1 << 4, 0, &mut bench.messages);
    assert_eq!(sent(&mut bench), [], "no edge");
    ioapic.drive(0, 1 << 4, &mut bench.messages);
    assert_eq!(sent(&mut bench).len(), 1, "up and down is one");
}

#[test]
fn a_level_is_sent_again_after_each_end_while_it_lasts() {
    let (mut bench, mut ioapic) = with_sci();
    ioapic.drive(1 << 9, 0, &mut bench.messages);
    assert_eq!(
        sent(&mut bench).iter().map(|sent| (sent.vector, sent.destination)).collect::<Vec<_>>(),
        [(0x21, 1)]
    );
    ioapic.drive(1 << 9, 1 << 9, &mut bench.messages);
    assert_eq!(sent(&mut bench), [], "the first has not ended");
    assert_eq!(read(&mut bench, &mut ioapic, 0x22), 0xC021);
    ioapic.end_of_interrupt(0x22, &mut bench.messages);
    assert_eq!(sent(&mut bench), [], "another vector");
    ioapic.end_of_interrupt(0x21, &mut bench.messages);
    assert_eq!(sent(&mut bench).len(), 1);
    ioapic.drive(0, 0, &mut bench.messages);
    ioapic.end_of_interrupt(0x21, &mut bench.messages);
    assert_eq!(sent(&mut bench), []);
    assert_eq!(read(&mut bench, &mut ioapic, 0x22), 0x8021);
}

#[test]
fn the_guest_can_end_an_interrupt_itself() {
    let (mut bench, mut ioapic) = with_sci();
    ioapic.drive(1 << 9, 0, &mut bench.messages);
    ioapic.write(ADDRESS + 0x40, 4, 0x21, &mut bench.cx());
    assert_eq!(sent(&mut bench).len(), 2);
    // Without the register: mask, edge, level again.
    write(&mut bench, &mut ioapic, 0x22, 0x1_0021);
    assert!(!ioapic.redirections()[9].awaits_end());
    write(&mut bench, &mut ioapic, 0x22, 0x0_8021);
    assert_eq!(sent(&mut bench).len(), 1);
}

#[test]
fn a_masked_level_is_sent_when_unmasked() {
    let (mut bench, mut ioapic) = with_sci();
    write(&mut bench, &mut ioapic, 0x22, 0x1_8021);
    ioapic.drive(1 << 9, 0, &mut bench.messages);
    assert_eq!(sent(&mut bench), []);
    write(&mut bench, &mut ioapic, 0x22, 0x0_8021);
    assert_eq!(sent(&mut bench).len(), 1);
}

/// An ExtINT or NMI has no end at this controller: it would be stuck for ever.
#[test]
fn what_has_no_end_is_sent_as_an_edge() {
    let (mut bench, mut ioapic) = (Bench::new(), IoApic::new());
    write(&mut bench, &mut ioapic, 0x10, 0x8700);
    for _ in 0..2 {
        ioapic.drive(1, 0, &mut bench.messages);
        ioapic.drive(0, 0, &mut bench.messages);
    }
    assert_eq!(sent(&mut bench).iter().map(|sent| sent.mode).collect::<Vec<_>>(), [DeliveryMode::ExtInt; 2]);
}

#[test]
fn a_reset_masks_everything() {
    let (mut bench, mut ioapic) = with_sci();
    ioapic.drive(1 << 9, 0, &mut bench.messages);
    ioapic.reset(Reset::Wake, &mut bench.cx());
    assert!(ioapic.redirections().iter().all(|redirection| redirection.bits() == 0x1_0000));
    bench.messages.clear();
    write(&mut bench, &mut ioapic, 0x22, 0x8021);
    assert_eq!(sent(&mut bench).len(), 1, "the line never fell");
}

proptest! {
    #[test]
    fn no_guest_breaks_it(abuses in abuses(), lines: [u32; 8]) {
        let (mut bench, mut ioapic) = (Bench::new(), IoApic::new());
        for (n, abuses) in abuses.chunks(4).enumerate() {
            bench.abuse(&mut ioapic, &[ADDRESS, ADDRESS + 0x10, ADDRESS + 0x40, ADDRESS + 0x13, ADDRESS + 0xFFC], abuses);
            ioapic.drive(lines[n % 8], lines[(n + 1) % 8], &mut bench.messages);
            ioapic.end_of_interrupt(lines[n % 8] as u8, &mut bench.messages);
            // Whatever is active and lets through has been sent.
            for (pin, entry) in ioapic.redirections().iter().enumerate() {
                let active = lines[n % 8] & 1 << pin != 0;
                prop_assert!(!(active && entry.is_level() && !entry.is_masked()) || entry.awaits_end());
                prop_assert!(entry.is_level() || !entry.awaits_end());
            }
        }
    }
}
