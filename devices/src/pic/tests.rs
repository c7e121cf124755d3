use proptest::prelude::*;

use super::*;
use crate::bench::{Bench, abuses};

/// What Linux does: vectors 0x30 to 0x3F, all masked but the given ones.
fn initialized(unmasked: u16) -> (Bench, PicPair) {
    let (mut bench, mut pic) = (Bench::new(), PicPair::new());
    let [first, second] = (!unmasked).to_le_bytes();
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x30),
        (0x21, 0x04),
        (0x21, 0x01),
        (0xA0, 0x11),
        (0xA1, 0x38),
        (0xA1, 0x02),
        (0xA1, 0x01),
        (0x21, first & !4),
        (0xA1, second),
    ] {
        bench.outb(&mut pic, port, value);
    }
    (bench, pic)
}

#[test]
fn it_is_as_firmware_left_it() {
    let (mut bench, mut pic) = (Bench::new(), PicPair::new());
    pic.drive(0xFFFF, 0);
    assert!(!pic.output());
    assert_eq!((bench.inb(&mut pic, 0x21), bench.inb(&mut pic, 0xA1)), (0xFF, 0xFF));
    // The probe of Linux: is there a register behind the port?
    bench.outb(&mut pic, 0x21, 0xFB);
    assert_eq!(bench.inb(&mut pic, 0x21), 0xFB);
}

#[test]
fn an_edge_interrupts_once() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    pic.drive(1 << 4, 0);
    assert_eq!(pic.pending_vector(), Some(0x34));
    assert_eq!(pic.acknowledge(), 0x34);
    bench.outb(&mut pic, 0x20, 0x64);
    assert!(!pic.output(), "the line is still active, but that is no edge");
    pic.drive(1 << 4, 1 << 4);
    assert_eq!(pic.pending_vector(), Some(0x34), "it fell and rose in between");
}

#[test]
fn an_edge_stays_after_its_line_fell() {
    let (_, mut pic) = initialized(0xFFFF);
    pic.drive(0, 1 << 3);
    assert_eq!(pic.acknowledge(), 0x33);
    assert!(!pic.output());
}

#[test]
fn the_more_important_comes_first_and_is_not_interrupted_by_the_less() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    pic.drive(1 << 5 | 1 << 3, 0);
    assert_eq!(pic.acknowledge(), 0x33);
    assert!(!pic.output(), "5 waits for the end of 3");
    pic.drive(1 << 5 | 1 << 3 | 1, 0);
    assert_eq!(pic.acknowledge(), 0x30, "0 does not");
    bench.outb(&mut pic, 0x20, 0x0B);
    assert_eq!(bench.inb(&mut pic, 0x20), 0x09, "in service");
    bench.outb(&mut pic, 0x20, 0x20);
    bench.outb(&mut pic, 0x20, 0x20);
    assert_eq!(pic.acknowledge(), 0x35);
}

#[test]
fn the_second_interrupts_through_the_first() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    pic.drive(1 << 8, 0);
    assert_eq!(pic.pending_vector(), Some(0x38));
    assert_eq!(pic.acknowledge(), 0x38);
    // 9 is less important than 8, and waits for it at the second controller; 14 waits as well.
    pic.drive(1 << 8 | 1 << 14 | 1 << 9, 0);
    assert!(!pic.output());
    bench.outb(&mut pic, 0xA0, 0x60);
    bench.outb(&mut pic, 0x20, 0x62);
    assert_eq!(pic.acknowledge(), 0x39);
    bench.outb(&mut pic, 0xA0, 0x61);
    bench.outb(&mut pic, 0x20, 0x62);
    assert_eq!(pic.acknowledge(), 0x3E);
}

#[test]
fn a_level_interrupts_while_it_lasts() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    bench.outb(&mut pic, 0x4D1, 0x02);
    assert_eq!(bench.inb(&mut pic, 0x4D1), 0x02);
    pic.drive(1 << 9, 0);
    assert_eq!(pic.acknowledge(), 0x39);
    bench.outb(&mut pic, 0xA0, 0x61);
    bench.outb(&mut pic, 0x20, 0x62);
    assert_eq!(pic.pending_vector(), Some(0x39));
    pic.drive(0, 0);
    // The request of the second is gone, the edge at the first is not: the vector of its input 7.
    assert_eq!(pic.acknowledge(), 0x3F);
    bench.outb(&mut pic, 0xA0, 0x0B);
    assert_eq!(bench.inb(&mut pic, 0xA0), 0, "nothing is in service at the second");
}

#[test]
fn a_level_that_is_gone_gives_the_spurious_vector() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    bench.outb(&mut pic, 0x4D0, 0xFF);
    assert_eq!(bench.inb(&mut pic, 0x4D0), 0xF8, "0, 1 and 2 are always edges");
    pic.drive(1 << 5, 0);
    assert!(pic.output());
    pic.drive(0, 0);
    assert!(!pic.output());
    assert_eq!(pic.acknowledge(), 0x37);
    bench.outb(&mut pic, 0x20, 0x0B);
    assert_eq!(bench.inb(&mut pic, 0x20), 0, "nothing is in service");
}

#[test]
fn an_automatic_end_may_rotate() {
    let (mut bench, mut pic) = (Bench::new(), PicPair::new());
    for (port, value) in [(0x20, 0x11), (0x21, 0x20), (0x21, 0x04), (0x21, 0x03), (0x20, 0x80)] {
        bench.outb(&mut pic, port, value);
    }
    pic.drive(1 << 1 | 1 << 3, 0);
    assert_eq!(pic.acknowledge(), 0x21);
    pic.drive(1 << 3 | 1 << 1, 1 << 1);
    assert_eq!(pic.acknowledge(), 0x23, "1 has become the least important");
    assert_eq!(pic.acknowledge(), 0x21);
    assert!(!pic.output());
}

#[test]
fn priorities_can_be_set() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    bench.outb(&mut pic, 0x20, 0xC0 | 4);
    pic.drive(1 << 4 | 1 << 5, 0);
    assert_eq!(pic.acknowledge(), 0x35);
    bench.outb(&mut pic, 0x20, 0xA0);
    assert_eq!(pic.acknowledge(), 0x34);
    // The end rotated: 5 is the least important, so 6 is the most.
    pic.drive(1 << 7 | 1 << 5, 1 << 7 | 1 << 5);
    bench.outb(&mut pic, 0x20, 0x64);
    assert_eq!(pic.acknowledge(), 0x37);
}

#[test]
fn special_mask_lets_the_less_important_pass() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    pic.drive(1 << 3, 0);
    assert_eq!(pic.acknowledge(), 0x33);
    pic.drive(1 << 3 | 1 << 6, 0);
    assert!(!pic.output());
    bench.outb(&mut pic, 0x20, 0x68);
    bench.outb(&mut pic, 0x21, 1 << 3);
    assert_eq!(pic.acknowledge(), 0x36);
    bench.outb(&mut pic, 0x20, 0x48);
    assert_eq!(pic.pending_vector(), None);
}

#[test]
fn a_poll_acknowledges() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    bench.outb(&mut pic, 0x20, 0x0C);
    assert_eq!(bench.inb(&mut pic, 0x20), 0x00, "nothing asks");
    pic.drive(1 << 6, 0);
    bench.outb(&mut pic, 0x20, 0x0C);
    assert_eq!(bench.inb(&mut pic, 0x20), 0x86);
    assert!(!pic.output());
    bench.outb(&mut pic, 0x20, 0x0B);
    assert_eq!(bench.inb(&mut pic, 0x20), 1 << 6);
}

#[test]
fn special_fully_nested_lets_the_second_interrupt_itself() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 0x04), (0x21, 0x11)] {
        bench.outb(&mut pic, port, value);
    }
    pic.drive(1 << 14, 0);
    assert_eq!(pic.acknowledge(), 0x3E);
    pic.drive(1 << 14 | 1 << 8, 0);
    assert_eq!(pic.acknowledge(), 0x38);
}

#[test]
fn a_reset_keeps_the_lines() {
    let (mut bench, mut pic) = initialized(0xFFFF);
    pic.drive(1 << 12, 0);
    pic.reset(Reset::Line, &mut bench.cx());
    assert!(!pic.output());
    let mut expected = PicPair::new();
    expected.drive(1 << 12, 0);
    assert_eq!(pic, expected);
}

proptest! {
    #[test]
    fn no_guest_breaks_it(abuses in abuses(), lines: [u16; 8]) {
        let (mut bench, mut pic) = (Bench::new(), PicPair::new());
        for (n, abuses) in abuses.chunks(8).enumerate() {
            bench.abuse(&mut pic, &[0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1], abuses);
            pic.drive(lines[n % 8], lines[(n + 1) % 8]);
            let pending = pic.pending_vector();
            prop_assert_eq!(pending.is_some(), pic.output());
            if let Some(vector) = pending {
                prop_assert_eq!(pic.acknowledge(), vector);
            }
        }
    }

    /// With fully nested priorities, what is in service is never interrupted by something less important.
    #[test]
    fn only_the_more_important_interrupts(steps in proptest::collection::vec((any::<u8>(), any::<bool>()), 0..40)) {
        let (mut bench, mut pic) = initialized(0x00FF);
        let mut in_service: Vec<u8> = Vec::new();
        for (lines, end) in steps {
            let lines = u16::from(lines) & !4;
            pic.drive(lines, lines);
            if pic.output() {
                let input = pic.acknowledge() - 0x30;
                prop_assert!(in_service.last().is_none_or(|current| input < *current));
                in_service.push(input);
            } else if end {
                bench.outb(&mut pic, 0x20, 0x20);
                in_service.pop();
            }
        }
    }
}
