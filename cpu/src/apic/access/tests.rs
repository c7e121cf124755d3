//! The APIC as a program meets it.

use iced_x86::code_asm::*;

use crate::Leave;
use crate::msr::index;
use crate::test_kernel::{HANDLERS, Kernel, PAGE_TABLE};

/// Page 0x120 of linear memory is the page of registers.
const PAGE: i32 = 0x12_0000;

fn kernel(code: &dyn Fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>) -> Kernel {
    let kernel = Kernel::long(code);
    kernel.write(PAGE_TABLE + 8 * 0x120, super::super::DEFAULT_BASE | 3);
    kernel
}

/// Runs until this many instructions are done, however often it leaves, at the time they take.
fn run(kernel: &mut Kernel, now: &mut u64, mut instructions: u64) -> Vec<Leave> {
    let mut left = Vec::new();
    while instructions > 0 {
        let exit = kernel.run_at(*now, instructions);
        *now += crate::NS_PER_INSTRUCTION * exit.retired + exit.spent;
        instructions -= exit.retired.min(instructions);
        left.push(exit.leave);
        if exit.leave == Leave::Halted {
            break;
        }
    }
    left
}

#[test]
fn registers_are_in_memory() {
    let mut kernel = kernel(&|a| {
        a.mov(dword_ptr(PAGE + 0xf0), 0x1ff)?;
        a.mov(eax, dword_ptr(PAGE + 0x30))?;
        a.movzx(ebx, byte_ptr(PAGE + 0xf1))?;
        a.mov(ecx, dword_ptr(PAGE + 0xf4))?;
        a.mov(word_ptr(PAGE + 0x80), 0x50)?;
        a.mov(dword_ptr(PAGE + 0x84), 0x50)?;
        a.mov(edx, dword_ptr(PAGE + 0x80))?;
        a.mov(dword_ptr(PAGE + 0x80), 0x50)?;
        a.mov(rsi, qword_ptr(PAGE + 0x80))
    });
    assert_eq!(run(&mut kernel, &mut 0, 9), [Leave::Bus, Leave::Budget], "enabling it changes deadlines");
    let gpr = kernel.state().gpr;
    assert_eq!((gpr[0], gpr[3], gpr[1]), (0x0005_0014, 1, 0));
    assert_eq!((gpr[2], gpr[6]), (0, 0x50), "only whole registers are written");
}

#[test]
fn the_timer_interrupts_when_its_time_has_come() {
    let mut kernel = kernel(&|a| {
        a.mov(dword_ptr(PAGE + 0xf0), 0x1ff)?;
        a.mov(dword_ptr(PAGE + 0x3e0), 0xb)?;
        a.mov(dword_ptr(PAGE + 0x320), 0x2_0040)?;
        a.mov(dword_ptr(PAGE + 0x380), 1000)?;
        a.sti()?;
        a.hlt()
    })
    .at(HANDLERS + 16 * 0x40, &[0xf4]);
    let mut now = 0;
    run(&mut kernel, &mut now, 99);
    assert_eq!(now, 6 * 4, "it waits");
    let deadline = kernel.state().deadline(now).unwrap();
    assert_eq!(deadline, 4 * 4 + 1000);
    assert!(!kernel.state().can_run());
    kernel.run_at(deadline, 1);
    assert_eq!(kernel.handler(), Some(0x40));
    assert_eq!(kernel.state().deadline(deadline), Some(deadline + 1000));
}

#[test]
fn a_deadline_of_the_time_stamp_counter() {
    let mut kernel = kernel(&|a| {
        a.mov(dword_ptr(PAGE + 0xf0), 0x1ff)?;
        a.mov(dword_ptr(PAGE + 0x320), 0x4_0041)?;
        a.rdtsc()?;
        a.add(eax, 2000)?;
        a.mov(ecx, index::TSC_DEADLINE)?;
        a.wrmsr()?;
        a.rdmsr()?;
        a.sti()?;
        a.hlt()
    });
    let mut now = 1 << 20;
    run(&mut kernel, &mut now, 99);
    let deadline = kernel.state().deadline(now).unwrap();
    assert_eq!(deadline, (1 << 20) + 3 * 4 + 1000);
    assert_eq!(kernel.state().gpr[0], 2 * deadline);
    kernel.run_at(deadline, 1);
    assert_eq!(kernel.handler(), Some(0x41));
    assert_eq!((kernel.state().apic.tsc_deadline(), kernel.state().deadline(deadline)), (0, None));
}

#[test]
fn a_lower_task_priority_lets_an_interrupt_through_at_once() {
    let mut kernel = kernel(&|a| {
        a.sti()?;
        a.nop()?;
        a.mov(cr8, rax)?;
        a.nop()
    });
    let state = kernel.state();
    state.apic.set_virtual_wire();
    state.apic.set_task_priority(0xf0);
    state.apic.accept(0x55, false);
    kernel.run(4);
    assert_eq!(kernel.handler(), Some(0x55));
    assert_eq!(kernel.stack::<1>(), [crate::test_kernel::CODE + 6]);
}

#[test]
fn the_8259_pair_is_asked_once_for_each_interrupt() {
    let mut kernel = kernel(&|a| {
        a.sti()?;
        a.nop()?;
        a.nop()
    });
    let state = kernel.state();
    state.apic.set_virtual_wire();
    state.set_intr(true);
    let exit = kernel.run(9);
    assert_eq!((exit.leave, exit.retired, kernel.handler()), (Leave::Bus, 3, Some(0x31)));
}

#[test]
fn the_page_moves_away() {
    let mut kernel = kernel(&|a| {
        a.mov(eax, dword_ptr(PAGE + 0x30))?;
        a.mov(ecx, index::APIC_BASE)?;
        a.mov(eax, 0xd000_0900u32)?;
        a.xor(edx, edx)?;
        a.wrmsr()?;
        a.mov(eax, dword_ptr(PAGE + 0x30))
    });
    run(&mut kernel, &mut 0, 6);
    assert_eq!(kernel.state().gpr[0], 0xffff_ffff, "nobody answers there now");
}

/// Increments, port accesses and pauses under a periodic timer, whose handler counts and ends its interrupt.
fn ticking() -> Kernel {
    let kernel = kernel(&|a| {
        let mut again = a.create_label();
        a.mov(dword_ptr(PAGE + 0xf0), 0x1ff)?;
        a.mov(dword_ptr(PAGE + 0x3e0), 0xb)?;
        a.mov(dword_ptr(PAGE + 0x320), 0x2_0040)?;
        a.mov(dword_ptr(PAGE + 0x380), 333)?;
        a.sti()?;
        a.set_label(&mut again)?;
        a.inc(rbx)?;
        a.test(ebx, 7)?;
        a.jnz(again)?;
        a.in_(al, 0x80)?;
        a.rdtsc()?;
        a.pause()?;
        a.xor(rsi, rax)?;
        a.rol(rsi, 7)?;
        a.mov(ecx, 5)?;
        a.mov(edi, 0x14_0000)?;
        a.rep().stosb()?;
        a.jmp(again)
    });
    // inc rbp ; mov dword [PAGE + 0xb0], 0 ; iretq
    let handler = [0x48, 0xff, 0xc5, 0xc7, 0x04, 0x25, 0xb0, 0x00, 0x12, 0x00, 0, 0, 0, 0];
    // It is too long for its slot and runs on into the next one.
    kernel.at(HANDLERS + 16 * 0x40, &handler).at(HANDLERS + 16 * 0x40 + 14, &[0x48, 0xcf])
}

/// Where so many instructions lead in slices of these lengths, each of which ends at the timer's deadline as well.
fn chopped(instructions: u64, lengths: &[u64]) -> (u64, crate::CpuState) {
    let mut kernel = ticking();
    let mut lengths = lengths.iter().cycle();
    let (mut now, mut left) = (0, instructions);
    while left > 0 {
        kernel.state().tick(now);
        let most = lengths.next().copied().unwrap_or(left).min(left);
        let until = kernel.state().deadline(now).map_or(u64::MAX, |deadline| deadline - now);
        let budget = most.min(until.div_ceil(crate::NS_PER_INSTRUCTION).max(1));
        let exit = kernel.run_at(now, budget);
        now += crate::NS_PER_INSTRUCTION * exit.retired + exit.spent;
        left -= exit.retired;
    }
    (now, kernel.state().clone())
}

proptest::proptest! {
    #[test]
    fn it_does_not_matter_how_a_run_is_cut(
        instructions in 100u64..4000, lengths in proptest::collection::vec(1u64..300, 1..20),
    ) {
        let whole = chopped(instructions, &[]);
        proptest::prop_assert!(whole.1.gpr[5] > 0, "the timer has ticked");
        proptest::prop_assert_eq!(chopped(instructions, &lengths), whole);
    }
}
