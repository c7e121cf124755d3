//! The software engine: our own processors, one after the other, in virtual time.

use cpu::apic::{self, Destination};
use cpu::cpuid::Identity;
use cpu::state::Activity;
use cpu::{BlockCache, Cpu, CpuState, Exit, Leave, NS_PER_INSTRUCTION, Slice};
use devices::{Observer, VirtualTime};
use firmware::{Mtrrs, Registers};
use ram::GuestRam;

use crate::board::{Board, World};
use crate::clock::Clock;
use crate::code_watch::CodeWatch;
use crate::config::{Config, TscOnS3};
use crate::engine::pins::Pins;
use crate::engine::scheduler::Scheduler;
use crate::engine::{Limit, Stop};

/// Processors and their translated code.
pub struct Software {
    processors: Vec<Cpu>,
    cache: BlockCache,
}

impl Software {
    /// Processors after power-on: the first one runs, the others wait for a start-up IPI.
    pub fn new(config: &Config) -> Self {
        let mut engine = Self { processors: Vec::new(), cache: BlockCache::new() };
        engine.power_on(config);
        engine
    }

    /// The processors lose everything, as in [`Software::new`]. Translated code stays: it belongs to memory.
    pub fn power_on(&mut self, config: &Config) {
        let states: Vec<CpuState> = (0..config.processors)
            .map(|apic_id| {
                let mut state = CpuState::power_on(Identity {
                    processors: config.processors,
                    apic_id,
                    vendor: config.vendor,
                    hypervisor: config.hypervisor,
                    mitigations: config.mitigations,
                });
                state.start_ups_missed = config.ap_start.missed();
                state.random = config.seed.wrapping_add(u64::from(apic_id) << 32);
                if apic_id == 0 {
                    state.apic.set_virtual_wire();
                }
                state
            })
            .collect();
        self.load(&states);
    }

    /// Puts these processors into the place of those there are.
    pub fn load(&mut self, states: &[CpuState]) {
        self.processors.truncate(states.len());
        for (cpu, state) in self.processors.iter_mut().zip(states) {
            cpu.state.clone_from(state);
            cpu.flush();
            cpu.announce_again();
        }
        let more = states.iter().skip(self.processors.len()).cloned().map(Cpu::new);
        self.processors.extend(more.collect::<Vec<_>>());
    }

    /// Memory was replaced: the code translated from it is no more.
    pub fn forget_code(&mut self) {
        self.cache.clear();
        self.processors.iter_mut().for_each(Cpu::flush);
    }

    /// RESET at this run time: time-stamp counters begin at 0.
    pub fn restart_tsc(&mut self, now: VirtualTime) {
        self.processors.iter_mut().for_each(|cpu| cpu.state.restart_tsc(now.0));
    }

    /// Time-stamp counters after S3. `before`: processors as they fell asleep.
    pub fn wake_tsc(&mut self, how: TscOnS3, before: &[CpuState], now: VirtualTime) {
        let ticks = match how {
            TscOnS3::Reset => return self.restart_tsc(now),
            TscOnS3::Keep => 0,
            TscOnS3::Jump(ticks) => ticks,
        };
        for (cpu, before) in self.processors.iter_mut().zip(before) {
            cpu.state.resume_tsc(before, ticks);
        }
    }

    /// The processors.
    pub fn processors(&self) -> impl Iterator<Item = &CpuState> {
        self.processors.iter().map(|cpu| &cpu.state)
    }

    /// The processors, for whoever changes them from outside.
    pub fn processors_mut(&mut self) -> impl Iterator<Item = &mut CpuState> {
        self.processors.iter_mut().map(|cpu| &mut cpu.state)
    }

    /// What CPUID says of family, model and stepping.
    pub fn signature(&self) -> u32 {
        self.processors.first().map_or(0, |cpu| cpu.state.identity.signature())
    }

    /// Puts every processor where firmware leaves it: the first one enters a kernel.
    pub fn enter(&mut self, registers: &Registers, mtrrs: &Mtrrs) {
        for cpu in &mut self.processors {
            super::entry::set_mtrrs(&mut cpu.state, mtrrs);
        }
        if let Some(first) = self.processors.first_mut() {
            super::entry::enter(&mut first.state, registers);
            first.flush();
        }
    }

    /// Processors forget where jumps led: what is watched is another.
    pub fn forget_jumps(&mut self) {
        self.processors.iter_mut().for_each(Cpu::flush);
    }

    /// Memory's marks of written pages were taken: from now on, every page is marked again before it is written to.
    pub fn ask_before_writes(&mut self) {
        self.processors.iter_mut().for_each(Cpu::ask_before_writes);
    }
}

/// What a run changes, beside the processors.
pub struct Around<'a> {
    /// Devices.
    pub board: &'a mut Board,
    /// Memory.
    pub ram: &'a GuestRam,
    /// Run and world time.
    pub clock: &'a mut Clock,
    /// Whose turn it is.
    pub scheduler: &'a mut Scheduler,
    /// Instructions retired by all processors.
    pub instructions: &'a mut u64,
    /// Sees events.
    pub observer: &'a mut dyn Observer,
    /// Code that is watched.
    pub code_watch: &'a mut CodeWatch,
}

impl Software {
    /// Runs until something stops it. Where it stops does not change what happens: two runs that are cut into different pieces are
    /// the same run.
    pub fn run(&mut self, around: &mut Around<'_>, limit: Limit) -> Stop {
        if let Some(processor) =
            self.processors.iter().position(|cpu| cpu.state.activity == Activity::Shutdown)
        {
            return Stop::TripleFault { processor };
        }
        let mut progress = Progress::default();
        loop {
            if !progress.is_made(around) {
                return Stop::Idle;
            }
            if !self.settle(around) {
                return Stop::Triggered;
            }
            if let Some(stop) = due(around, limit) {
                return stop;
            }
            let Some(current) = self.choose(around.scheduler) else {
                match self.deadline(around.board, around.clock.now()) {
                    Some(deadline) => {
                        let end = limit.time.map_or(deadline, |end| end.min(deadline));
                        around.clock.advance_to(end);
                        continue;
                    }
                    None => return Stop::Idle,
                }
            };
            let stop = self.slice(current, around, limit);
            if std::mem::take(&mut around.board.signals.triggered) {
                // Nothing of what comes after the event is done, however soon. A processor that shut down or cannot go on in the same
                // instruction says so when the machine goes on.
                return Stop::Triggered;
            }
            if let Some(stop) = stop {
                return stop;
            }
        }
    }

    /// Does what time brought, and delivers interrupts until none is on its way. False if a trigger ended it before that.
    fn settle(&mut self, around: &mut Around<'_>) -> bool {
        let now = around.clock.now();
        let mut world = World::of_host(around.ram, *around.clock, *around.instructions, around.observer);
        around.board.tick(now, &mut world);
        if std::mem::take(&mut around.board.signals.triggered) {
            return false;
        }
        for cpu in &mut self.processors {
            if cpu.state.deadline(now.0).is_some_and(|deadline| deadline <= now.0) {
                cpu.state.tick(now.0);
            }
        }
        self.deliver(around.board);
        let intr = around.board.pic.output();
        if let Some(first) = self.processors.first_mut() {
            first.state.set_intr(intr);
        }
        true
    }

    /// Hands messages of IOAPIC and PCI functions to the local APICs.
    fn deliver(&mut self, board: &mut Board) {
        while !board.signals.messages.is_empty() {
            for message in std::mem::take(&mut board.signals.messages) {
                if let Some(delivery) = message.delivery() {
                    apic::deliver(&mut self.processors, translate(delivery));
                }
            }
        }
    }

    /// Whose turn it is now, if anybody can run.
    fn choose(&self, scheduler: &mut Scheduler) -> Option<usize> {
        let can_run = |at: usize| self.processors.get(at).is_some_and(|cpu| cpu.state.can_run());
        if scheduler.left > 0 && can_run(scheduler.current) {
            return Some(scheduler.current);
        }
        scheduler.next(self.processors.len(), can_run)
    }

    /// The next time a device or a local APIC's timer has to be looked at.
    fn deadline(&self, board: &Board, now: VirtualTime) -> Option<VirtualTime> {
        let timer = |cpu: &Cpu| cpu.state.deadline(now.0).map(VirtualTime);
        let timers = self.processors.iter().filter_map(timer);
        timers.chain(board.deadline()).min()
    }

    /// Runs one processor until its turn, the limit, or the next deadline ends it.
    fn slice(&mut self, current: usize, around: &mut Around<'_>, limit: Limit) -> Option<Stop> {
        let now = around.clock.now();
        let until = self.deadline(around.board, around.clock.now()).into_iter().chain(limit.time).min();
        let mut budget = around.scheduler.left;
        if let Some(until) = until {
            // At least one instruction: a deadline that has passed was just looked at.
            budget = budget.min(until.since(now).div_ceil(NS_PER_INSTRUCTION).max(1));
        }
        if let Some(last) = limit.instructions {
            budget = budget.min(last.saturating_sub(*around.instructions));
        }
        let Self { processors, cache } = self;
        let cpu = processors.get_mut(current)?;
        let world = World {
            ram: around.ram,
            clock: *around.clock,
            instructions: *around.instructions,
            processor: u32::try_from(current).ok(),
            observer: around.observer,
        };
        let mut pins = Pins::new(around.board, world, around.code_watch);
        let Exit { leave, retired, spent } =
            cpu.run(cache, around.ram, &mut pins, Slice { now: now.0, instructions: budget });
        let sent = pins.into_sent();
        around.clock.advance(retired.saturating_mul(NS_PER_INSTRUCTION).saturating_add(spent));
        *around.instructions = around.instructions.saturating_add(retired);
        around.scheduler.used(retired);
        for message in sent {
            apic::deliver(processors, message);
        }
        match leave {
            Leave::Budget | Leave::Bus | Leave::Halted => None,
            Leave::Pause => {
                around.scheduler.yielded();
                None
            }
            Leave::Shutdown => Some(Stop::TripleFault { processor: current }),
            Leave::Missing(what) => Some(Stop::Missing { processor: current, what }),
        }
    }
}

/// Whether anything happens at all. A state out of a file may be one that no run leads to, in which a device is forever due or a
/// processor can forever run and does not.
#[derive(Default)]
struct Progress {
    at: (u64, VirtualTime),
    rounds: u32,
}

impl Progress {
    /// Far more than what is due at one instant.
    const MOST: u32 = 10_000;

    fn is_made(&mut self, around: &Around<'_>) -> bool {
        let at = (*around.instructions, around.clock.now());
        self.rounds = if at == self.at { self.rounds + 1 } else { 0 };
        self.at = at;
        self.rounds < Self::MOST
    }
}

/// Why the run ends here, if it does.
fn due(around: &mut Around<'_>, limit: Limit) -> Option<Stop> {
    if let Some(request) = around.board.signals.power.take() {
        return Some(Stop::Power(request));
    }
    if limit.instructions.is_some_and(|last| *around.instructions >= last) {
        return Some(Stop::Instructions);
    }
    limit.time.is_some_and(|end| around.clock.now() >= end).then_some(Stop::Time)
}

/// A message of the board as the local APICs know it.
fn translate(delivery: devices::Delivery) -> apic::Message {
    use apic::DeliveryMode as Local;
    use devices::DeliveryMode as Remote;
    let devices::Delivery { destination, logical, mode, vector, level_triggered, assert: _ } = delivery;
    let mode = match mode {
        Remote::Fixed => Local::Fixed,
        Remote::LowestPriority => Local::LowestPriority,
        Remote::Smi => Local::Smi,
        Remote::Nmi => Local::Nmi,
        Remote::Init => Local::Init,
        Remote::ExtInt => Local::ExtInt,
        Remote::Reserved => Local::Reserved,
    };
    apic::Message { destination: Destination::of_8_bits(destination, logical), mode, vector, level_triggered }
}
