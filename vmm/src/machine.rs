//! A whole PC.

use cpu::CpuState;
use devices::disk::BaseError;
use devices::{Observer, VirtualTime, WorldTime};
use firmware::boot::{self, BootError, Payload};
use firmware::{Blob, Boot, ConfigError, MemoryMap};
use ram::{ForeignWrite, GuestRam, RamError, Writer};
use thiserror::Error;

use crate::board::{Board, World};
use crate::clock::Clock;
use crate::code_watch::CodeWatch;
use crate::config::{Config, InvalidConfig};
use crate::digest::Digest;
use crate::drive::Drive;
use crate::engine::scheduler::Scheduler;
use crate::engine::software::{Around, Software};
use crate::engine::{Limit, Stop};
use crate::power::PowerState;
use crate::power_on_ram;
use crate::snapshot::tracker::Tracker;

/// A machine that cannot be built, or a kernel that cannot be loaded into it.
#[derive(Debug, Error)]
pub enum MachineError {
    /// A field of the configuration.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
    /// Memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// The board cannot be described.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The kernel, its initramfs or its command line.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Too many disks.
    #[error("{0} disks: there is room for {MOST_DISKS}")]
    Disks(usize),
    /// A state of the machine in which this cannot be done.
    #[error("cannot {what} a machine that is {state}")]
    Power {
        /// What was to be done.
        what: &'static str,
        /// Where it stands.
        state: PowerState,
    },
    /// What a power cut leaves on a disk cannot be said.
    #[error(transparent)]
    Disk(#[from] BaseError),
    /// Firmware's blobs do not fit: our own fault.
    #[error("{what} at {address:#x} does not fit into memory")]
    Blob {
        /// Which.
        what: &'static str,
        /// Where.
        address: u64,
    },
}

/// Slot 0 is the host bridge.
const MOST_DISKS: usize = 31;

/// How a kernel is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// An unpacked kernel (ELF) at its PVH entry.
    Pvh,
    /// A bzImage at its 64-bit entry: the kernel unpacks itself.
    BzImage,
    /// A bare-metal guest (32-bit ELF with a Multiboot 1 header) in protected mode.
    Multiboot,
}

/// A machine: everything that happens in it follows from its configuration, its disks and what it is sent.
pub struct Machine {
    pub(crate) config: Config,
    pub(crate) ram: GuestRam,
    pub(crate) board: Board,
    pub(crate) clock: Clock,
    pub(crate) scheduler: Scheduler,
    pub(crate) instructions: u64,
    pub(crate) power: PowerState,
    pub(crate) engine: Software,
    pub(crate) tracker: Tracker,
    /// Looks on, and is no part of the machine.
    pub(crate) code_watch: CodeWatch,
}

impl Machine {
    /// A machine whose power just came on, with these disks on its PCI bus, in this order.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn new(config: Config, drives: Vec<Drive>) -> Result<Self, MachineError> {
        config.check()?;
        let ram = power_on_ram::ram(&config)?;
        let clock = Clock::new(WorldTime(config.power_on));
        let mut board = Board::of(&config, clock);
        let count = drives.len();
        if count > MOST_DISKS {
            return Err(MachineError::Disks(count));
        }
        for (slot, drive) in (1u8..).zip(drives) {
            let function = drive.into_function(slot, config.processors);
            board.pci.insert(slot, function).map_err(|_| MachineError::Disks(count))?;
        }
        let engine = Software::new(&config);
        let scheduler = Scheduler::new(config.quantum, config.seed.wrapping_sub(1));
        Ok(Self {
            tracker: Tracker::new(&ram),
            ram,
            board,
            clock,
            scheduler,
            instructions: 0,
            power: PowerState::S0,
            engine,
            code_watch: CodeWatch::default(),
            config,
        })
    }

    /// Firmware's work: tables and a kernel into memory, the first processor at its entry.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn boot(&mut self, entry: Entry, payload: &Payload<'_>) -> Result<(), MachineError> {
        if self.power != PowerState::S0 {
            return Err(MachineError::Power { what: "boot", state: self.power });
        }
        let tables = firmware::tables(&self.board.describe(&self.config), &self.board.aml())?;
        let Boot { blobs, registers, mtrrs } = match entry {
            Entry::Pvh => boot::pvh(&tables, payload)?,
            Entry::BzImage => boot::bzimage(&tables, payload)?,
            Entry::Multiboot => boot::multiboot(&tables, payload)?,
        };
        for blob in &blobs {
            self.place(blob)?;
        }
        self.engine.enter(&registers, &mtrrs);
        Ok(())
    }

    fn place(&self, blob: &Blob<'_>) -> Result<(), MachineError> {
        for (address, bytes) in blob.pieces() {
            self.ram
                .write(address, bytes)
                .map_err(|_| MachineError::Blob { what: blob.what, address: blob.address })?;
        }
        Ok(())
    }

    /// Runs until something stops it. If that is a request to sleep or to switch off, the machine has followed it: see [`crate::power`].
    pub fn run(&mut self, limit: Limit, observer: &mut dyn Observer) -> Stop {
        if self.power != PowerState::S0 {
            return Stop::NotRunning(self.power);
        }
        let mut around = Around {
            board: &mut self.board,
            ram: &self.ram,
            clock: &mut self.clock,
            scheduler: &mut self.scheduler,
            instructions: &mut self.instructions,
            observer: &mut *observer,
            code_watch: &mut self.code_watch,
        };
        self.ram.set_writer(Writer::Device);
        let stop = self.engine.run(&mut around, limit);
        self.ram.set_writer(Writer::Host);
        self.follow(stop, observer);
        stop
    }

    /// Bytes for a serial port (0 is COM1), which enter this many nanoseconds from now.
    pub fn receive(&mut self, port: u8, bytes: &[u8], after: u64, observer: &mut dyn Observer) {
        let now = self.clock.now();
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.receive(port, now.after(after), bytes, now, &mut world);
    }

    /// Run time.
    pub fn now(&self) -> VirtualTime {
        self.clock.now()
    }

    /// World time.
    pub fn world(&self) -> WorldTime {
        self.clock.world_at(self.clock.now())
    }

    /// Instructions retired by all processors.
    pub fn instructions(&self) -> u64 {
        self.instructions
    }

    /// Memory.
    pub fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// Remembers from now on which pages are written by anybody who is no processor, or forgets it all. Memory that loses its power
    /// loses what was remembered of it.
    pub fn watch_foreign_writes(&mut self, watch: bool) {
        self.ram.watch_foreign_writes(watch);
    }

    /// Pages written by devices or the host since the last call, in ascending order, and who was first.
    pub fn take_foreign_writes(&mut self) -> Vec<ForeignWrite> {
        self.ram.take_foreign_writes()
    }

    /// The board.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The board, for whoever changes the machine from outside.
    pub fn board_mut(&mut self) -> &mut Board {
        &mut self.board
    }

    /// Memory as firmware describes it to a kernel that boots.
    ///
    /// # Errors
    /// [`MachineError::Config`] of a board that cannot be described.
    pub fn memory_map(&self) -> Result<MemoryMap, MachineError> {
        Ok(firmware::tables(&self.board.describe(&self.config), &self.board.aml())?.map)
    }

    /// The processors.
    pub fn processors(&self) -> impl Iterator<Item = &CpuState> {
        self.engine.processors()
    }

    /// Changes a processor from outside: a fault that no instruction made. Nothing, if there is none of this number.
    pub fn change_processor(&mut self, processor: usize, change: impl FnOnce(&mut CpuState)) {
        if let Some(state) = self.engine.processors_mut().nth(processor) {
            change(state);
        }
        self.engine.forget_jumps();
    }

    /// What it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One hash over everything the machine is.
    pub fn digest(&mut self) -> Digest {
        let ram = self.tracker.digest();
        self.engine.ask_before_writes();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&ram);
        let processors: Vec<&CpuState> = self.engine.processors().collect();
        let state = (
            &self.config,
            &processors,
            &self.board,
            self.clock,
            self.scheduler,
            self.instructions,
            self.power,
        );
        // Every part is plain data, for which this cannot fail; a failure would still change the digest.
        match devices::disk::with_hashes(|| postcard::to_stdvec(&state)) {
            Ok(bytes) => hasher.update(&bytes),
            Err(error) => hasher.update(error.to_string().as_bytes()),
        };
        Digest(*hasher.finalize().as_bytes())
    }
}
