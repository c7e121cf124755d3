//! Bases of FS and GS without an MSR.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::state::Cr4;
use crate::test_kernel::Kernel;

#[test]
fn bases_are_written_and_read() {
    let mut kernel = Kernel::user(&|a| {
        a.wrfsbase(rax)?;
        a.wrgsbase(ebx)?;
        a.rdfsbase(rcx)?;
        a.rdgsbase(rdx)?;
        a.rdfsbase(esi)
    });
    let state = kernel.state();
    state.cr4 |= Cr4::FSGSBASE;
    (state.gpr[0], state.gpr[3]) = (0xffff_8123_4567_89ab, 0xdead_0000_1234_5678);
    kernel.run(5);
    let state = kernel.state();
    assert_eq!((state.gpr[1], state.gpr[2], state.gpr[6]), (0xffff_8123_4567_89ab, 0x1234_5678, 0x4567_89ab));
    assert_eq!((state.segments[4].base, state.segments[5].base), (0xffff_8123_4567_89ab, 0x1234_5678));
}

#[test]
fn they_must_be_enabled_and_canonical() {
    for (extensions, value, handler) in [
        (Cr4::empty(), 0, Some(vector::UD)),
        (Cr4::FSGSBASE, 1 << 47, Some(vector::GP)),
        (Cr4::FSGSBASE, 0, None),
    ] {
        let mut kernel = Kernel::long(&|a| a.wrgsbase(rax));
        kernel.state().cr4 |= extensions;
        kernel.state().gpr[0] = value;
        kernel.run(1);
        assert_eq!(kernel.handler(), handler);
    }
}
