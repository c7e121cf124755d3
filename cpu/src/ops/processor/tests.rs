//! CPUID, waiting, and access to user pages.

use iced_x86::code_asm::*;

use crate::exec::PAUSE_NS;
use crate::fault::vector;
use crate::state::{Activity, Cr4};
use crate::test_kernel::{Kernel, PAGE_TABLE};
use crate::{Leave, NS_PER_INSTRUCTION};

#[test]
fn cpuid_clears_the_upper_halves() {
    let mut kernel = Kernel::long(&|a| a.cpuid());
    let state = kernel.state();
    state.gpr[..4].copy_from_slice(&[u64::MAX << 32, u64::MAX << 32, u64::MAX, u64::MAX]);
    kernel.run(1);
    let expected = kernel.state().cpuid(0, 0);
    let expected = [expected.eax, expected.ecx, expected.edx, expected.ebx].map(u64::from);
    assert_eq!(kernel.state().gpr[..4], expected);
}

#[test]
fn a_halt_waits_and_goes_on_behind_itself() {
    let mut kernel = Kernel::long(&|a| {
        a.hlt()?;
        a.inc(eax)
    });
    let exit = kernel.run(99);
    assert_eq!((exit.leave, exit.retired, kernel.state().activity), (Leave::Halted, 1, Activity::Halted));
    assert_eq!(kernel.run(99).retired, 0);
    kernel.state().nmi_pending = true;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::NMI), [crate::test_kernel::CODE + 1]));
}

#[test]
fn a_pause_takes_time_and_lets_others_run() {
    let mut kernel = Kernel::long(&|a| {
        a.inc(eax)?;
        a.pause()?;
        a.inc(eax)
    });
    let exit = kernel.run(99);
    assert_eq!((exit.leave, exit.retired, exit.spent), (Leave::Pause, 2, PAUSE_NS));
    assert_eq!(NS_PER_INSTRUCTION, 4, "the price of the two is not in it");
}

#[test]
fn a_kernel_opens_and_closes_user_pages() {
    let mut kernel = Kernel::long(&|a| {
        a.stac()?;
        a.mov(eax, dword_ptr(0x11_0000))?;
        a.clac()?;
        a.mov(eax, dword_ptr(0x11_0000))
    });
    // What the test runs on belongs to the kernel.
    for page in (0..512).filter(|page| *page != 0x110) {
        kernel.write(PAGE_TABLE + 8 * page, page << 12 | 3);
    }
    kernel.state().cr4 |= Cr4::SMAP;
    kernel.run(4);
    assert_eq!((kernel.handler(), kernel.state().cr2), (Some(vector::PF), 0x11_0000));
    assert_eq!(kernel.stack::<2>(), [1, crate::test_kernel::CODE + 15], "the second load");
}

#[test]
fn elsewhere_there_is_no_such_instruction() {
    let mut kernel = Kernel::user(&|a| a.stac());
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::UD));
    for bytes in [
        &[0x0f, 0x01, 0xc8][..],         // monitor
        &[0x0f, 0x01, 0xc9],             // mwait
        &[0x0f, 0x01, 0xc1],             // vmcall
        &[0x0f, 0x01, 0xd9],             // vmmcall
        &[0x0f, 0xaa],                   // rsm
        &[0xc5, 0xf4, 0x58, 0xc1],       // vaddps
        &[0x66, 0x0f, 0x38, 0xdc, 0xc1], // aesenc
        &[0xf3, 0x0f, 0xc7, 0xf8],       // rdpid
        &[0x0f, 0x37],                   // getsec
    ] {
        let mut kernel = Kernel::long(&|a| a.nop()).at(crate::test_kernel::CODE, bytes);
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(vector::UD), "{bytes:x?}");
    }
}
