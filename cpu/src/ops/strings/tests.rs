//! Repetition: overlaps, directions, budgets and faults in the middle.

use iced_x86::code_asm::*;
use proptest::prelude::*;

use crate::Leave;
use crate::testing::{BYTES, DATA, Guest};

/// `rep movs` of this element size, from and to these offsets in the data, in this direction.
fn copy(size: u64, from: u64, to: u64, count: u64, backward: bool) -> Guest {
    let mut guest = Guest::long(|a| {
        if backward {
            a.std()?
        } else {
            a.cld()?
        }
        match size {
            1 => a.rep().movsb(),
            2 => a.rep().movsw(),
            4 => a.rep().movsd(),
            _ => a.rep().movsq(),
        }
    });
    let data: Vec<u8> = (0..0x4000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    guest.ram.write(DATA, &data).unwrap();
    let gpr = &mut guest.cpu.state.gpr;
    (gpr[6], gpr[7], gpr[1]) = (DATA + from, DATA + to, count);
    guest
}

/// What it must do, byte by byte.
fn copied(guest: &Guest, size: u64, mut from: u64, mut to: u64, count: u64, backward: bool) -> Vec<u8> {
    let mut data = guest.bytes::<0x4000>(DATA).to_vec();
    for _ in 0..count {
        let element = data[from as usize..(from + size) as usize].to_vec();
        data[to as usize..(to + size) as usize].copy_from_slice(&element);
        let step = if backward { size.wrapping_neg() } else { size };
        (from, to) = (from.wrapping_add(step), to.wrapping_add(step));
    }
    data
}

proptest! {
    #[test]
    fn a_copy_is_made_element_by_element(
        size in prop::sample::select(vec![1u64, 2, 4, 8]),
        from in 0x1000u64..0x2f00,
        distance in prop_oneof![-16i64..16, -3000i64..3000],
        count in 0u64..150,
        backward: bool,
        stop in 0u64..150,
    ) {
        let to = from.wrapping_add_signed(distance).clamp(0x1000, 0x2f00);
        let mut guest = copy(size, from, to, count, backward);
        let expected = copied(&guest, size, from, to, count, backward);
        let all = 1 + count.max(1);
        let first = guest.run(stop.min(all));
        prop_assert_eq!(first.retired, stop.min(all));
        let second = guest.run(all - stop.min(all));
        prop_assert_eq!(second.retired, all - stop.min(all));
        let moved = if backward { (count * size).wrapping_neg() } else { count * size };
        let ends = (DATA.wrapping_add(from).wrapping_add(moved), DATA.wrapping_add(to).wrapping_add(moved));
        prop_assert_eq!((guest.reg(6), guest.reg(7), guest.reg(1)), (ends.0, ends.1, 0));
        prop_assert_eq!(guest.bytes::<0x4000>(DATA).to_vec(), expected);
        prop_assert_eq!(guest.cpu.state.rip, crate::testing::CODE + guest.code_bytes);
    }
}

#[test]
fn a_fault_leaves_the_registers_where_it_happened() {
    // The last bytes that are mapped, and then none.
    let mut guest = Guest::long(|a| a.rep().stosw());
    let gpr = &mut guest.cpu.state.gpr;
    (gpr[0], gpr[1], gpr[7]) = (0x1234, 100, BYTES - 7);
    let exit = guest.run(1000);
    // Nobody handles the page fault. Three go through, the fourth crosses the border: not a byte of it is written.
    assert_eq!(exit.leave, Leave::Shutdown);
    assert_eq!((guest.reg(1), guest.reg(7)), (97, BYTES - 1));
    assert_eq!(guest.bytes(BYTES - 8), [0, 0x34, 0x12, 0x34, 0x12, 0x34, 0x12, 0]);
}

#[test]
fn a_search_ends_behind_what_it_found() {
    let mut guest = Guest::long(|a| {
        a.repne().scasb()?;
        a.mov(edx, ecx)?;
        a.mov(ecx, 5)?;
        a.mov(rsi, DATA)?;
        a.mov(rdi, DATA + 0x10)?;
        a.repe().cmpsb()
    });
    guest.ram.write(DATA, b"powerfail\0......powerslip").unwrap();
    let gpr = &mut guest.cpu.state.gpr;
    (gpr[0], gpr[1], gpr[7]) = (0, u64::MAX, DATA);
    // Ten, four, and five.
    assert_eq!(guest.run(19).retired, 19);
    assert_eq!((guest.reg(2), guest.reg(1)), (0xffff_fff5, 0));
    assert_eq!((guest.reg(6), guest.reg(7)), (DATA + 5, DATA + 0x15));
    assert_ne!(guest.cpu.state.rflags & 0x40, 0);
}

#[test]
fn addresses_of_16_bits_wrap_around() {
    let mut guest = Guest::real(|a| {
        a.rep().lodsb()?;
        a.cld()
    });
    guest.ram.write(0, &[7, 8, 9]).unwrap();
    let gpr = &mut guest.cpu.state.gpr;
    (gpr[1], gpr[6]) = (0x1234_0003, 0xabcd_fffe);
    assert_eq!(guest.run(3).retired, 3);
    assert_eq!((guest.reg(0), guest.reg(1), guest.reg(6)), (7, 0x1234_0000, 0xabcd_0001));
}

#[test]
fn nothing_to_do_costs_one_instruction() {
    let mut guest = Guest::long(|a| {
        a.rep().movsb()?;
        a.rep().movsb()?;
        a.mov(eax, 5)
    });
    guest.cpu.state.gpr[0] = 1;
    guest.run_through();
    assert_eq!(guest.reg(0), 5);
}
