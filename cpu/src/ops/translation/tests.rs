//! What INVPCID refuses. What it drops is tested with the control registers.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::state::Cr4;
use crate::test_kernel::Kernel;

/// The exception of INVPCID with this type and descriptor.
fn invpcid(kind: u64, pcid: u64, linear: u64, extensions: Cr4) -> Option<u8> {
    let mut kernel = Kernel::long(&|a| a.invpcid(rax, xmmword_ptr(rbx)));
    kernel.write(0x11_0000, pcid);
    kernel.write(0x11_0008, linear);
    let state = kernel.state();
    (state.gpr[0], state.gpr[3]) = (kind, 0x11_0000);
    state.cr4 |= extensions;
    kernel.run(1);
    kernel.handler()
}

#[test]
fn wrong_types_and_descriptors_fault() {
    const NOT_CANONICAL: u64 = 1 << 47;
    let gp = Some(vector::GP);
    for kind in 0..4 {
        assert_eq!(invpcid(kind, 0, 0, Cr4::empty()), None);
        assert_eq!(invpcid(kind, 0xfff, 0, Cr4::PCIDE), None);
        assert_eq!(invpcid(kind, 0x1000, 0, Cr4::PCIDE), gp);
    }
    assert_eq!(invpcid(4, 0, 0, Cr4::PCIDE), gp);
    assert_eq!(invpcid(1 << 32, 0, 0, Cr4::PCIDE), gp, "all of the register counts");
    assert_eq!(invpcid(0, 0, NOT_CANONICAL, Cr4::PCIDE), gp);
    assert_eq!(invpcid(1, 0, NOT_CANONICAL, Cr4::PCIDE), None);
    assert_eq!((invpcid(0, 1, 0, Cr4::empty()), invpcid(1, 1, 0, Cr4::empty())), (gp, gp));
    assert_eq!(invpcid(3, 1, 0, Cr4::empty()), None);
}

#[test]
fn a_descriptor_that_is_not_there_is_a_page_fault() {
    let mut kernel = Kernel::long(&|a| a.invpcid(rax, xmmword_ptr(rbx)));
    kernel.state().gpr[3] = 1 << 40;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().cr2), (Some(vector::PF), 1 << 40));
}

#[test]
fn invlpg_accesses_nothing() {
    let mut kernel = Kernel::long(&|a| {
        a.invlpg(byte_ptr(rax))?;
        a.invlpg(byte_ptr(rbx))
    });
    (kernel.state().gpr[0], kernel.state().gpr[3]) = (1 << 40, 1 << 47);
    kernel.run(2);
    assert_eq!(kernel.handler(), None);
}
