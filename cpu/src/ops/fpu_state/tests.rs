//! Images in memory: their layout, what of them is written and read, and what is refused.

use iced_x86::code_asm::*;
use proptest::prelude::*;

use crate::fault::vector;
use crate::state::{Cr0, Cr4, Fpu};
use crate::test_kernel::{Code, Kernel, PAGE_TABLE};

/// Where images are: 64 bytes before the end of a page.
const AREA: u64 = 0x10_0fc0;

/// A unit of which every field is different.
fn distinct() -> Fpu {
    Fpu {
        control: 0x27f,
        status: 0x2900,
        tags: 0b1010_0101,
        opcode: 0x123,
        instruction: 0x1111_2222_3333_4444,
        operand: 0x5555_6666_7777_8888,
        selectors: [0; 2],
        registers: std::array::from_fn(|i| [0x10 + i as u8; 10]),
        mxcsr: 0x9f81,
        xmm: std::array::from_fn(|i| u128::MAX / 255 * (0xa0 + i as u128)),
    }
}

fn with(mut kernel: Kernel, fpu: &Fpu) -> Kernel {
    let state = kernel.state();
    state.fpu = fpu.clone();
    state.cr4 |= Cr4::OSFXSR | Cr4::OSXSAVE;
    state.xcr0 = 3;
    // All components, at AREA.
    (state.gpr[0], state.gpr[2], state.gpr[3]) = (u64::MAX, u64::MAX, AREA);
    kernel.ram.write(AREA, &[0xee; 640]).unwrap();
    kernel
}

fn long(code: Code<'_>) -> Kernel {
    with(Kernel::long(code), &distinct())
}

fn bytes<const N: usize>(kernel: &Kernel, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    kernel.ram.read(AREA + offset, &mut bytes).unwrap();
    bytes
}

/// Runs one instruction that has to raise this, and nothing else.
#[track_caller]
fn raises(mut kernel: Kernel, expected: u8) {
    let (before, area) = (kernel.state().fpu.clone(), bytes::<640>(&kernel, 0));
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(expected));
    assert_eq!(kernel.state().fpu, before);
    assert_eq!(bytes::<640>(&kernel, 0), area);
}

#[test]
fn an_image_has_its_fields_where_the_manual_says() {
    let mut kernel = long(&|a| a.fxsave64(ptr(rbx)));
    kernel.run(1);
    assert_eq!(kernel.handler(), None);
    let head = "7f02 0029 a500 2301 4444333322221111 8888777766665555 819f0000 ffff0000".replace(' ', "");
    let hex: String = bytes::<32>(&kernel, 0).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, head);
    // The top is 5, so that ST(0) is R5.
    assert_eq!(
        bytes::<16>(&kernel, 32),
        [0x15, 0x15, 0x15, 0x15, 0x15, 0x15, 0x15, 0x15, 0x15, 0x15, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(bytes::<10>(&kernel, 32 + 3 * 16), [0x10; 10]);
    assert_eq!(bytes::<16>(&kernel, 160), [0xa0; 16]);
    assert_eq!(bytes::<16>(&kernel, 400), [0xaf; 16]);
    assert_eq!(bytes::<224>(&kernel, 416), [0xee; 224]);
}

#[test]
fn without_rex_w_pointers_are_short() {
    let mut kernel = long(&|a| a.fxsave(ptr(rbx)));
    kernel.run(1);
    assert_eq!(
        bytes::<16>(&kernel, 8),
        [0x44, 0x44, 0x33, 0x33, 0, 0, 0, 0, 0x88, 0x88, 0x77, 0x77, 0, 0, 0, 0]
    );
    assert_eq!(bytes::<16>(&kernel, 400), [0xaf; 16]);
}

#[test]
fn outside_64_bit_mode_there_are_eight_registers() {
    let mut kernel = with(Kernel::protected(&|a| a.fxsave(ptr(ebx))), &distinct());
    kernel.run(1);
    assert_eq!(bytes::<16>(&kernel, 160 + 7 * 16), [0xa7; 16]);
    assert_eq!(bytes::<16>(&kernel, 160 + 8 * 16), [0xee; 16]);
    let mut kernel = with(Kernel::protected(&|a| a.fxrstor(ptr(ebx))), &distinct());
    kernel.ram.write(AREA, &[0; 512]).unwrap();
    kernel.run(1);
    let fpu = &kernel.state().fpu;
    assert_eq!((fpu.xmm[7], fpu.xmm[8]), (0, distinct().xmm[8]));
}

#[test]
fn refusals() {
    let off = |mut kernel: Kernel, set: Cr0, cleared: Cr4| {
        kernel.state().cr0 |= set;
        kernel.state().cr4 -= cleared;
        kernel
    };
    let none = Cr4::empty();
    for code in
        [&|a: &mut CodeAssembler| a.fxsave64(ptr(rbx)), &|a: &mut CodeAssembler| a.fxrstor64(ptr(rbx))]
            as [Code<'_>; 2]
    {
        raises(off(long(code), Cr0::EM, none), vector::UD);
        raises(off(long(code), Cr0::TS, none), vector::NM);
        let mut kernel = long(code);
        kernel.state().gpr[3] += 8;
        raises(kernel, vector::GP);
        // The second page is not there; the first one is not written.
        let kernel = long(code);
        kernel.write(PAGE_TABLE + 8 * 0x101, 0);
        raises(kernel, vector::PF);
    }
    for code in [
        &|a: &mut CodeAssembler| a.xsave64(ptr(rbx)),
        &|a: &mut CodeAssembler| a.xsaveopt64(ptr(rbx)),
        &|a: &mut CodeAssembler| a.xrstor64(ptr(rbx)),
    ] as [Code<'_>; 3]
    {
        raises(off(long(code), Cr0::empty(), Cr4::OSXSAVE), vector::UD);
        raises(off(long(code), Cr0::TS, none), vector::NM);
        let mut kernel = long(code);
        kernel.state().gpr[3] += 16;
        raises(kernel, vector::GP);
        let kernel = long(code);
        kernel.write(PAGE_TABLE + 8 * 0x101, 0);
        raises(kernel, vector::PF);
    }
}

#[test]
fn images_that_are_no_images() {
    // Bits of MXCSR that do not exist.
    for code in
        [&|a: &mut CodeAssembler| a.fxrstor64(ptr(rbx)), &|a: &mut CodeAssembler| a.xrstor64(ptr(rbx))]
            as [Code<'_>; 2]
    {
        let kernel = long(code);
        kernel.ram.write(AREA, &[0; 576]).unwrap();
        kernel.ram.write(AREA + 24, &0x1_0000_u32.to_le_bytes()).unwrap();
        raises(kernel, vector::GP);
    }
    // A component that XCR0 does not have; the compacted format; a reserved bit of the header.
    for (offset, value) in [(512, 4), (520, 1 << 63), (528, 1)] {
        let kernel = long(&|a| a.xrstor64(ptr(rbx)));
        kernel.ram.write(AREA, &[0; 576]).unwrap();
        kernel.write(AREA + offset, value);
        raises(kernel, vector::GP);
    }
}

#[test]
fn saving_notes_what_is_in_use() {
    let saved = |fpu: &Fpu, requested: u64, optimized: bool| {
        let plain: Code<'_> = &|a| a.xsave64(ptr(rbx));
        let optimizing: Code<'_> = &|a| a.xsaveopt64(ptr(rbx));
        let mut kernel = with(Kernel::long(if optimized { optimizing } else { plain }), fpu);
        kernel.state().gpr[0] = requested;
        kernel.run(1);
        assert_eq!(kernel.handler(), None);
        let written = |offset| bytes::<4>(&kernel, offset) != [0xee; 4];
        (kernel.read(AREA + 512), [written(0), written(24), written(160)])
    };
    let mut idle = Fpu::default();
    idle.initialize_x87();
    // What was not asked for keeps its bit of XSTATE_BV.
    let others = 0xeeee_eeee_eeee_eeec;
    assert_eq!(saved(&distinct(), 3, false), (others | 3, [true, true, true]));
    assert_eq!(saved(&distinct(), 1, false), (others | 3, [true, false, false]));
    assert_eq!(saved(&distinct(), 2, true), (others | 2, [false, true, true]));
    assert_eq!(saved(&idle, 3, false), (others, [true, true, true]));
    // MXCSR is not left out.
    assert_eq!(saved(&idle, 3, true), (others, [false, true, false]));
    assert_eq!(saved(&distinct(), 4, false), (others | 2, [false, false, false]));
}

#[test]
fn restoring_initializes_what_is_absent() {
    let mut kernel = long(&|a| a.xrstor64(ptr(rbx)));
    kernel.ram.write(AREA, &[0; 576]).unwrap();
    kernel.ram.write(AREA + 24, &0x1fa0_u32.to_le_bytes()).unwrap();
    kernel.run(1);
    let mut expected = Fpu { mxcsr: 0x1fa0, xmm: [0; 16], registers: [[0; 10]; 8], ..distinct() };
    expected.initialize_x87();
    assert_eq!(kernel.state().fpu, expected);
    assert!(expected.is_x87_initial());
}

#[test]
fn an_unmasked_exception_in_an_image_is_pending() {
    let mut kernel = long(&|a| {
        a.fxrstor64(ptr(rbx))?;
        a.fnstsw(ax)?;
        a.wait()
    });
    kernel.state().cr0 |= Cr0::NE;
    kernel.ram.write(AREA, &[0; 576]).unwrap();
    // Division by zero, not masked, without the summary.
    kernel.ram.write(AREA, &[0x7b, 3, 4, 0]).unwrap();
    kernel.run(2);
    assert_eq!(kernel.state().gpr[0] & 0xffff, 0x8084);
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::MF));
}

proptest! {
    #[test]
    fn what_is_saved_is_restored(
        control: u16, status: u16, tags: u8, registers: [[u8; 10]; 8], xmm: [u128; 16], mxcsr in 0u32..0x1_0000, form in 0..4,
    ) {
        let mut fpu = Fpu { status, tags, registers, xmm, mxcsr, ..Fpu::default() };
        fpu.set_control(control);
        let code: Code<'_> = match form {
            0 => &|a| { a.fxsave64(ptr(rbx))?; a.fxrstor64(ptr(rbx)) },
            1 => &|a| { a.fxsave(ptr(rbx))?; a.fxrstor(ptr(rbx)) },
            2 => &|a| { a.xsave64(ptr(rbx))?; a.xrstor64(ptr(rbx)) },
            _ => &|a| { a.xsaveopt(ptr(rbx))?; a.xrstor(ptr(rbx)) },
        };
        let mut kernel = with(Kernel::long(code), &fpu);
        kernel.ram.write(AREA, &[0; 576]).unwrap();
        kernel.run(1);
        kernel.state().fpu = Fpu { mxcsr: 0x1f80, ..distinct() };
        kernel.run(1);
        prop_assert_eq!(kernel.handler(), None);
        prop_assert_eq!(&kernel.state().fpu, &fpu);
    }
}
