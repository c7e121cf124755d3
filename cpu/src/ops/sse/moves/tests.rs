//! Stores under a mask.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::state::Cr4;
use crate::test_kernel::{Code, Kernel, PAGE_TABLE};

/// Four bytes before the end of a page; what follows is not mapped.
const EDGE: u64 = 0x10_0ffc;

fn kernel(code: Code<'_>, mask: u128) -> Kernel {
    let mut kernel = Kernel::long(code);
    kernel.write(PAGE_TABLE + 8 * 0x101, 0);
    kernel.ram.write(EDGE, &[0x55; 16]).unwrap();
    let state = kernel.state();
    state.cr4 |= Cr4::OSFXSR;
    state.gpr[7] = EDGE;
    (state.fpu.xmm[1], state.fpu.xmm[2]) = (u128::from_le_bytes(std::array::from_fn(|i| i as u8)), mask);
    kernel
}

fn memory(kernel: &Kernel) -> [u8; 16] {
    let mut bytes = [0; 16];
    kernel.ram.read(EDGE, &mut bytes).unwrap();
    bytes
}

const STORE: Code<'static> = &|a| a.maskmovdqu(xmm1, xmm2);

#[test]
fn only_selected_bytes_are_stored() {
    let mut kernel = kernel(STORE, 0x80ff_7f80);
    kernel.run(1);
    assert_eq!(kernel.handler(), None);
    assert_eq!(memory(&kernel)[..5], [0, 0x55, 2, 3, 0x55]);
}

#[test]
fn a_page_of_which_no_byte_is_selected_is_not_needed() {
    let mut below = kernel(STORE, 0xff);
    below.run(1);
    assert_eq!(below.handler(), None);
    let mut beyond = kernel(STORE, 0xff_0000_0080);
    beyond.run(1);
    assert_eq!((beyond.handler(), beyond.state().cr2), (Some(vector::PF), EDGE + 4));
    assert_eq!(memory(&beyond), [0x55; 16]);
}

#[test]
fn the_address_size_counts() {
    let mut kernel = kernel(&|a| a.db(&[0x67, 0x66, 0x0f, 0xf7, 0xca]), 0x80);
    kernel.state().gpr[7] |= 0xffff_ffff_0000_0000;
    kernel.run(1);
    assert_eq!(kernel.handler(), None);
    assert_eq!(memory(&kernel)[..2], [0, 0x55]);
}
