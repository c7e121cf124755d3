//! A kernel and its user, for what the ways between them do together.

use iced_x86::code_asm::*;

use crate::test_kernel::*;
use crate::{Exit, Leave};

const USER: u64 = 0x6_0000;
const USER_STACK: u64 = 0x7_0000;
const SYSTEM_CALL: u64 = 0x9000;
/// Pages that are mapped when they are touched.
const FRESH: u64 = 0x10_0000;
const COUNT: u64 = 5;

/// The kernel starts the user, who calls it, touches a page that is not there, and tries what it may not, again and again.
fn kernel_with_user() -> Kernel {
    let mut kernel = Kernel::long(&|a| {
        a.mov(eax, u32::from(TASK))?;
        a.ltr(ax)?;
        for pushed in [DATA_3.into(), USER_STACK as i32, 2, CODE_64_USER.into(), USER as i32] {
            a.push(pushed)?;
        }
        a.iretq()
    })
    .with(USER, &|a| {
        let mut again = a.create_label();
        a.mov(r12, FRESH)?;
        a.set_label(&mut again)?;
        a.syscall()?;
        a.inc(byte_ptr(r12))?;
        a.cli()?;
        a.add(r12, 0x1000)?;
        a.cmp(r12, (FRESH + 0x1000 * COUNT) as i32)?;
        a.jne(again)?;
        a.int(0x80)
    })
    .with(SYSTEM_CALL, &|a| {
        a.swapgs()?;
        a.inc(r14)?;
        a.swapgs()?;
        a.sysretq()
    })
    .with(HANDLERS + 16 * 13, &|a| {
        // Skips CLI, which has one byte.
        a.inc(r13)?;
        a.add(rsp, 8)?;
        a.inc(qword_ptr(rsp))?;
        a.iretq()
    })
    .with(HANDLERS + 16 * 14, &|a| a.jmp(0xa000))
    .with(0xa000, &|a| {
        a.inc(r15)?;
        a.push(rax)?;
        a.push(rbx)?;
        a.mov(rax, cr2)?;
        a.and(rax, -0x1000)?;
        a.mov(rbx, rax)?;
        a.shr(rbx, 12)?;
        a.or(rax, 7)?;
        a.mov(qword_ptr(rbx * 8 + PAGE_TABLE as i32), rax)?;
        a.pop(rbx)?;
        a.pop(rax)?;
        a.add(rsp, 8)?;
        a.iretq()
    })
    .with(HANDLERS + 16 * 0x80, &|a| a.hlt());
    kernel.gate(0x80, CODE_64, HANDLERS + 16 * 0x80, 0xee00);
    for page in 0..COUNT {
        kernel.write(PAGE_TABLE + 8 * ((FRESH >> 12) + page), 0);
    }
    let state = kernel.state();
    state.msrs.star = 0x0018_0008 << 32;
    state.msrs.lstar = SYSTEM_CALL;
    kernel
}

/// Runs in slices until the processor halts; how much that took.
fn run_to_halt(kernel: &mut Kernel, slice: u64) -> u64 {
    let mut retired = 0;
    for _ in 0..10_000 {
        let Exit { leave, retired: more, .. } = kernel.run(slice);
        retired += more;
        match leave {
            Leave::Halted => return retired,
            Leave::Budget => {}
            other => panic!("{other:?} {:x?}", kernel.state()),
        }
    }
    panic!("still running at {:x}", kernel.state().rip);
}

#[test]
fn a_kernel_serves_its_user() {
    let mut kernel = kernel_with_user();
    run_to_halt(&mut kernel, u64::MAX);
    let state = kernel.state();
    assert_eq!((state.gpr[13], state.gpr[14], state.gpr[15]), (COUNT, COUNT, COUNT));
    assert_eq!((state.cpl(), state.gpr[4]), (0, KERNEL_STACK - 40));
    let touched = FRESH..FRESH + 0x1000 * COUNT;
    assert!(touched.step_by(0x1000).all(|page| kernel.read(page) == 1));
    // Accessed and dirty bits are set.
    assert_eq!(kernel.read(PAGE_TABLE + 8 * (FRESH >> 12)), FRESH | 0x67);
}

#[test]
fn slices_make_no_difference() {
    let mut whole = kernel_with_user();
    let retired = run_to_halt(&mut whole, u64::MAX);
    for slice in [1, 2, 3, 5, 64] {
        let mut kernel = kernel_with_user();
        assert_eq!(run_to_halt(&mut kernel, slice), retired, "{slice}");
        assert_eq!(kernel.state(), whole.state(), "{slice}");
    }
}

#[test]
fn watching_makes_no_difference_but_in_the_debug_registers() {
    let mut plain = kernel_with_user();
    let retired = run_to_halt(&mut plain, u64::MAX);
    let mut watched = kernel_with_user();
    // A write to a place nobody writes to.
    watched.state().debug = [0x20_0000, 0, 0, 0, 0xffff_0ff0, 0x1_0401];
    assert_eq!(run_to_halt(&mut watched, u64::MAX), retired);
    watched.state().debug = plain.state().debug;
    assert_eq!(watched.state(), plain.state());
}
