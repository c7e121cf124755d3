//! The loop: find a block, run it, look around.

use iced_x86::Code;
use ram::GuestRam;

use crate::block_cache::BlockCache;
use crate::bus::{Bus, Here};
use crate::exec::{Exec, Missing};
use crate::fault::Stop;
use crate::memory::{PAGE_OFFSET, Tlb};
use crate::mode::Mode;
use crate::state::{Activity, CpuState, Cr0, Cr4, Efer};

impl AsMut<CpuState> for Cpu {
    fn as_mut(&mut self) -> &mut CpuState {
        &mut self.state
    }
}

/// A processor and what it remembers for speed. Everything but the state can be forgotten at any time.
pub struct Cpu {
    /// The processor.
    pub state: CpuState,
    tlb: Tlb,
    jumps: Box<[Jump; JUMPS]>,
    seen_code_epoch: u32,
    seen_paging: Paging,
    /// As in [`Exec`]: between two slices.
    announced: Option<u64>,
}

/// What decides how linear addresses are translated: CR0, CR3, CR4, EFER, IA32_APIC_BASE.
type Paging = (Cr0, u64, Cr4, Efer, u64);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// Virtual run time at the start, in nanoseconds.
    pub now: u64,
    /// Instructions at most.
    pub instructions: u64,
}

/// Why a slice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// All its instructions are done.
    Budget,
    /// A device was accessed, a message sent, or time spent: look at deadlines and interrupts, then go on.
    Bus,
    /// PAUSE: another processor may be waited for.
    Pause,
    /// HLT, or it waits for a start-up IPI.
    Halted,
    /// Triple fault.
    Shutdown,
    /// It cannot do this.
    Missing(Missing),
}

/// How a slice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub leave: Leave,
    /// Instructions retired. Each iteration of a repeated string instruction and each delivery of an interrupt counts as one.
    pub retired: u64,
    /// Virtual nanoseconds spent beyond those of instructions.
    pub spent: u64,
}

const JUMPS: usize = 4096;

/// Where a linear instruction pointer led last time.
#[derive(Clone, Copy)]
struct Jump {
    rip: u64,
    cs_base: u64,
    mode: Mode,
    epochs: (u32, u32),
    block: u32,
}

impl Cpu {
    /// A processor in this state.
    pub fn new(state: CpuState) -> Self {
        let none = Jump {
            rip: u64::MAX,
            cs_base: u64::MAX,
            mode: state.mode(),
            epochs: (u32::MAX, u32::MAX),
            block: u32::MAX,
        };
        let seen_paging = paging(&state);
        Self {
            state,
            tlb: Tlb::default(),
            jumps: Box::new([none; JUMPS]),
            seen_code_epoch: 0,
            seen_paging,
            announced: None,
        }
    }

    /// Forgets translations: to be called after memory or the state was changed from outside.
    pub fn flush(&mut self) {
        self.tlb.flush(false);
    }

    /// Forgets which watched instruction was told of and not executed: to be called after another state was put here.
    pub fn announce_again(&mut self) {
        self.announced = None;
    }

    /// Forgets which pages may be written to without asking: to be called after memory's marks of written pages were taken.
    pub fn ask_before_writes(&mut self) {
        self.tlb.forbid_all_writes();
    }

    /// Runs until something wants attention.
    pub fn run(&mut self, cache: &mut BlockCache, ram: &GuestRam, bus: &mut dyn Bus, slice: Slice) -> Exit {
        if self.seen_code_epoch != cache.code_epoch() {
            self.tlb.forbid_all_writes();
        }
        self.state.tick(slice.now);
        if self.seen_paging != paging(&self.state) {
            // INIT, or whoever else put another state here.
            self.tlb.flush(false);
        }
        let budget = i64::try_from(slice.instructions).unwrap_or(i64::MAX);
        let mut exec = Exec::new(&mut self.state, &mut self.tlb, ram, bus, slice.now, budget);
        exec.announced = self.announced;
        let leave = exec.run(cache, &mut self.jumps);
        self.announced = exec.announced;
        let exit = Exit { leave, retired: exec.retired(), spent: exec.spent() };
        exec.put_together();
        self.seen_code_epoch = cache.code_epoch();
        self.seen_paging = paging(&self.state);
        exit
    }
}

fn paging(state: &CpuState) -> Paging {
    (state.cr0, state.cr3, state.cr4, state.msrs.efer, state.apic.base())
}

/// How it goes on after what had to be done between two instructions.
enum Next {
    /// With a block.
    Block,
    /// With one instruction, after which there is something to be done again.
    Step,
    /// Not here.
    Leave(Leave),
}

impl Exec<'_> {
    fn run(&mut self, cache: &mut BlockCache, jumps: &mut [Jump; JUMPS]) -> Leave {
        loop {
            if self.attention {
                match self.attend(cache) {
                    Next::Leave(leave) => return leave,
                    Next::Step => {
                        self.run_alone(cache);
                        continue;
                    }
                    Next::Block => {}
                }
            }
            if self.budget <= 0 {
                return Leave::Budget;
            }
            let stopped = match self.next_block(cache, jumps, self.mode) {
                Ok(block) => self.run_block(cache, block),
                Err(stop) => Err(stop),
            };
            match stopped {
                Ok(()) | Err(Stop::Again) => {}
                Err(Stop::Alone) => self.run_alone(cache),
                Err(Stop::Fault) => self.fault_taken(),
                Err(Stop::Unimplemented) => {
                    return Leave::Missing(self.missing.unwrap_or(Missing::Instruction(Code::INVALID)));
                }
            }
        }
    }

    /// What has to be done between two instructions, if anything.
    fn attend(&mut self, cache: &mut BlockCache) -> Next {
        // Again after each event that was delivered: the next one may interrupt its handler's first instruction.
        while self.attention {
            self.attention = false;
            if self.ram.any_rewritten() {
                for frame in self.ram.take_rewritten() {
                    cache.drop_frame(frame);
                    self.ram.forget_code(frame);
                }
            }
            if self.leave.is_none() {
                self.take_interrupts();
            }
            if let Some(leave) = self.leave.take() {
                self.attention = true;
                // A triple fault is the end, even one at a table that is on the bus.
                let ends = leave == Leave::Bus && self.state.activity == Activity::Shutdown;
                return Next::Leave(if ends { Leave::Shutdown } else { leave });
            }
            match self.state.activity {
                Activity::Running => {}
                Activity::Halted | Activity::WaitForSipi => return Next::Leave(Leave::Halted),
                Activity::Shutdown => return Next::Leave(Leave::Shutdown),
            }
        }
        if self.budget > 0 && self.is_stepped() {
            self.attention = true;
            return Next::Step;
        }
        Next::Block
    }

    #[inline(always)]
    fn next_block(
        &mut self,
        cache: &mut BlockCache,
        jumps: &mut [Jump; JUMPS],
        mode: Mode,
    ) -> Result<u32, Stop> {
        let rip = self.rip;
        let cs_base = self.state.segments[1].base;
        let epochs = (self.tlb.epoch(), cache.epoch());
        let jump = &jumps[(rip ^ rip >> 12) as usize % JUMPS];
        if jump.rip == rip && jump.mode == mode && jump.epochs == epochs && jump.cs_base == cs_base {
            return Ok(jump.block);
        }
        let block = self.find_block(cache, mode)?;
        if self.watching {
            let bytes = cache.get(block).map_or(0, |block| block.bytes);
            let linear = self.code_address()?;
            if self.bus.next_watched(linear, u64::from(bytes)).is_some() {
                // One by one up to the one that is watched, and this one too. Not remembered, so that the next time is seen as well.
                return Err(Stop::Alone);
            }
        }
        let epochs = (self.tlb.epoch(), cache.epoch());
        jumps[(rip ^ rip >> 12) as usize % JUMPS] = Jump { rip, cs_base, mode, epochs, block };
        Ok(block)
    }

    #[inline(always)]
    fn run_block(&mut self, cache: &BlockCache, block: u32) -> Result<(), Stop> {
        let Some(block) = cache.get(block) else { return Ok(()) };
        let start = self.rip;
        self.regs[crate::registers::BLOCK_IP as usize] = start;
        let count = i64::from(block.count);
        if self.budget < count {
            return self.run_part(block, start);
        }
        self.budget -= count;
        self.rip = self.wrap_ip(start.wrapping_add(u64::from(block.bytes)));
        for op in &block.ops {
            if let Err(stop) = (op.run)(self, op) {
                self.budget += count - block.done_before(op);
                return Err(self.stopped(stop, op, start));
            }
        }
        Ok(())
    }

    /// The instructions of a block that the budget still allows. A fused pair is left to a block of its own.
    #[cold]
    fn run_part(&mut self, block: &crate::block_cache::Block, start: u64) -> Result<(), Stop> {
        let whole = block.ops.len() - usize::from(block.count as usize > block.ops.len());
        let most = usize::try_from(self.budget).unwrap_or(0).min(whole);
        if most == 0 {
            return Err(Stop::Alone);
        }
        for op in block.ops.iter().take(most) {
            self.rip = self.wrap_ip(start.wrapping_add(u64::from(op.next)));
            self.budget -= 1;
            if let Err(stop) = (op.run)(self, op) {
                self.budget += 1;
                return Err(self.stopped(stop, op, start));
            }
        }
        Ok(())
    }

    /// The instruction at the instruction pointer in a block of its own.
    #[cold]
    pub(crate) fn run_alone(&mut self, cache: &mut BlockCache) {
        let watched = if self.watching { self.watched_address() } else { None };
        if watched.is_some_and(|linear| self.stops_at(linear)) {
            self.announced = watched;
            return self.request_leave(Leave::Bus);
        }
        if self.begin_step().is_err() {
            return self.fault_taken();
        }
        let start = self.rip;
        let found = self.find_block(cache, self.mode.alone());
        let bytes = found.ok().and_then(|block| cache.get(block)).map_or(0, |block| block.bytes);
        self.alone = true;
        let stopped = match found {
            Ok(block) => self.run_block(cache, block),
            Err(stop) => Err(stop),
        };
        self.alone = false;
        // A device may have written to memory, and this instruction to code.
        self.attention |= self.ram.any_rewritten();
        match stopped {
            // A branch to the instruction behind it is taken for none.
            Ok(()) => self.end_step(self.rip != self.wrap_ip(start.wrapping_add(u64::from(bytes)))),
            Err(Stop::Fault) => self.fault_taken(),
            Err(Stop::Again) => {
                // Not a new one when it continues.
                self.announced = watched;
                self.end_step(false);
            }
            Err(Stop::Alone | Stop::Unimplemented) => {
                let missing = self.missing.unwrap_or(Missing::Instruction(Code::INVALID));
                self.missing = Some(missing);
                self.request_leave(Leave::Missing(missing));
            }
        }
    }

    /// The address of the next instruction, if it is watched.
    fn watched_address(&mut self) -> Option<u64> {
        // An address that cannot be executed is a matter of who executes it.
        let linear = self.code_address().ok()?;
        self.bus.next_watched(linear, 1)
    }

    /// Tells of the watched instruction that is next, if that was not done before. True: it is not executed now.
    fn stops_at(&mut self, linear: u64) -> bool {
        if self.announced.take() == Some(linear) {
            return false;
        }
        let Ok((frame, _)) = self.code(linear) else { return false };
        let mut registers = [0; 16];
        registers.copy_from_slice(&self.regs[..16]);
        let (now, retired) = (self.now(), self.retired());
        let physical = frame << 12 | linear & PAGE_OFFSET;
        let Self { state, ram, bus, .. } = self;
        bus.about_to_execute(&Here { linear, physical, now, retired, registers: &registers, state, ram })
    }

    #[cold]
    fn stopped(&mut self, stop: Stop, op: &crate::op::Op, start: u64) -> Stop {
        self.rip = self.wrap_ip(start.wrapping_add(u64::from(op.start)));
        if op.segment.segment() == crate::state::SegmentName::Ss { self.as_stack_fault(stop) } else { stop }
    }

    /// Delivers the exception in `fault`. It costs as much as an instruction, so that time passes even if no handler ever gets to
    /// execute one.
    fn fault_taken(&mut self) {
        self.noncanonical = false;
        self.budget -= 1;
        self.deliver_fault(self.fault);
        self.attention = true;
    }

    #[inline(always)]
    fn wrap_ip(&self, ip: u64) -> u64 {
        if self.mode.is_64() { ip } else { ip & self.mode.ip_mask() }
    }
}

#[cfg(test)]
mod tests;
