//! The machine a run works with: power, the agent's line, and a timeline of what happened.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_link::{Conversation, Departure, Link, LinkError, Patience};
use agent_protocol::layout::{
    MemoryRange, QUICK_BOOT_ARGUMENTS, SAVER_REGION, primary_arguments, restorer_arguments,
};
use agent_protocol::message::{Answer, Ask, Failure, Ready, ReadyWhy, Role, Workload};
use tempfile::TempDir;

use crate::disk::{Contents, Disk};
use crate::error::RunError;
use crate::kernels::{Kernel, Scratch};
use crate::qemu::{Config, Qemu};
use crate::setup::Setup;

/// The longest a boot, a wake or a jump may take. Software emulation on a busy machine is slow.
pub const ARRIVAL: Duration = Duration::from_secs(90);
/// The longest an answer may take.
pub const ANSWER: Duration = Duration::from_secs(90);

/// A step of a run and how long it took.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Which power-on, from 1.
    pub boot: u32,
    /// The kernel it belongs to.
    pub role: Option<Role>,
    /// What was done.
    pub text: String,
    /// On the host's clock.
    pub took: Duration,
}

struct Powered {
    qemu: Qemu,
    link: Link<UnixStream>,
}

/// Sees every step as it is done.
pub type Observer = Box<dyn FnMut(&Phase)>;

/// The machine.
pub struct Machine {
    pub(crate) setup: Setup,
    pub(crate) disk: Disk,
    scratch: Scratch,
    powered: Option<Powered>,
    conversation: Option<Conversation>,
    boots: u32,
    /// Command lines given out.
    kernels_named: u32,
    /// Consoles of earlier boots.
    consoles: Vec<String>,
    /// What the main disk was told, boot by boot.
    pub(crate) write_logs: Vec<PathBuf>,
    pub(crate) timeline: Vec<Phase>,
    observer: Observer,
    pub(crate) firmware: Vec<MemoryRange>,
    /// Last seen progress of each workload.
    pub(crate) progress: BTreeMap<Workload, u64>,
    /// What stood outside the image partition when the saver took over.
    pub(crate) before_saver: Option<Contents>,
    /// Milliseconds from the start of the kernel to `ready`, of the last boot in each role.
    pub boot_ms: BTreeMap<Role, u64>,
    /// State of the noise on the agent's line, if there is any.
    noise: Option<u64>,
    directory: TempDir,
}

impl Machine {
    /// A machine with blank disks, switched off.
    ///
    /// # Errors
    /// Those of the host's files.
    pub fn new(setup: Setup) -> Result<Machine, RunError> {
        let host = |what| move |error| RunError::Host { what, error };
        let directory = TempDir::with_prefix("kjvm-machine-").map_err(host("temporary directory"))?;
        let disk = Disk::blank(&directory.path().join("disk"), setup.layout)?;
        let scratch = Scratch::new(&directory.path().join("scratch"), &setup.kernels);
        Ok(Machine {
            setup,
            disk,
            scratch: scratch.map_err(host("scratch disk"))?,
            powered: None,
            conversation: None,
            boots: 0,
            kernels_named: 0,
            consoles: Vec::new(),
            write_logs: Vec::new(),
            timeline: Vec::new(),
            observer: Box::new(|_| {}),
            firmware: Vec::new(),
            progress: BTreeMap::new(),
            before_saver: None,
            boot_ms: BTreeMap::new(),
            noise: None,
            directory,
        })
    }

    /// The main disk or one of its partitions (from 1), as the guest names it.
    pub fn device(&self, partition: u32) -> String {
        self.setup.front.device(0, partition)
    }

    pub(crate) fn scratch_device(&self) -> String {
        self.setup.front.device(1, 0)
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub(crate) fn saver(&self) -> Result<&Kernel, RunError> {
        self.setup.kernels.saver.as_ref().ok_or(RunError::Needs("a saver kernel"))
    }

    /// Presses the power switch; returns when the kernel's agent is ready. `why` says whether that kernel is expected to boot
    /// or to become, while it boots, one that slept on disk.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn power_on(&mut self, role: Role, why: ReadyWhy) -> Result<Ready, RunError> {
        let begun = Instant::now();
        self.powered = None;
        self.boots += 1;
        let kernel = match role {
            Role::Primary => self.setup.kernels.primary.clone(),
            Role::Saver | Role::Restorer => self.saver()?.clone(),
        };
        let initrd = self.directory.path().join("initrd");
        std::fs::write(&initrd, &kernel.initrd)
            .map_err(|error| RunError::Host { what: "writing the initramfs", error })?;
        let write_log = self.directory.path().join(format!("write-log-{}", self.boots));
        std::fs::File::create(&write_log).map_err(|error| RunError::Host { what: "write log", error })?;
        self.write_logs.push(write_log.clone());
        let config = Config {
            write_log,
            board: self.setup.board,
            cpus: self.setup.cpus,
            one_thread: self.setup.one_thread,
            counted: self.setup.counted,
            memory_mib: self.setup.memory_mib,
            kernel: kernel.bzimage,
            initrd,
            cmdline: self.cmdline(role),
            disks: [self.disk.path(), &self.scratch.path]
                .map(|path| (self.setup.front, path.to_owned()))
                .into(),
        };
        let (qemu, line) = Qemu::start(&config)?;
        let link = Link::new(line, self.conversation.take().unwrap_or_default(), Patience::default());
        self.powered = Some(Powered { qemu, link });
        let ready = self.arrive(role, why)?;
        self.note(
            role,
            &format!(
                "{} ready ({:.2} s of its own)",
                kernel.name,
                f64::from(u32::try_from(ready.boottime_ms).unwrap_or(u32::MAX)) / 1000.0
            ),
            begun,
        );
        Ok(ready)
    }

    /// A command line for the next boot in this role. Epochs of different boots never meet: a line
    /// of an earlier one cannot be taken for a line of this one.
    pub(crate) fn cmdline(&mut self, role: Role) -> String {
        self.kernels_named += 1;
        let mut line = format!("console=ttyS0 kjvm.role={role} kjvm.epoch={}", self.kernels_named * 1000);
        let rest = match role {
            Role::Primary => {
                // The test whether the timer interrupts measures the host: it waits for ticks by counting cycles, and QEMU on a busy
                // host has none for it ("IO-APIC + timer doesn't work!").
                line += &format!(
                    " no_timer_check resume={} panic=-1 oops=panic random.trust_cpu=on suspend.pm_test_delay=1",
                    self.device(2)
                );
                let jumps = self.setup.kernels.saver.is_some() && self.setup.reserve_region;
                if jumps { primary_arguments(SAVER_REGION) } else { String::new() }
            }
            Role::Saver => QUICK_BOOT_ARGUMENTS.to_owned(),
            Role::Restorer => {
                format!("{QUICK_BOOT_ARGUMENTS} {}", restorer_arguments(&self.firmware, SAVER_REGION))
            }
        };
        format!("{line} {rest}").trim().to_owned()
    }

    /// Cuts the power, whatever the machine does.
    pub fn power_cut(&mut self) {
        self.leave(|qemu| {
            qemu.power_cut();
            Ok(())
        })
        .unwrap_or_default();
    }

    /// Waits until the machine has switched itself off or reset.
    ///
    /// # Errors
    /// [`RunError::Qemu`].
    pub fn wait_off(&mut self) -> Result<(), RunError> {
        self.qemu()?.wait_end(ARRIVAL)?;
        self.leave(|_| Ok(()))
    }

    fn leave(&mut self, end: impl FnOnce(Qemu) -> Result<(), RunError>) -> Result<(), RunError> {
        let Some(Powered { qemu, link }) = self.powered.take() else { return Ok(()) };
        self.conversation = Some(link.power_lost());
        self.consoles.push(qemu.console());
        end(qemu)
    }

    /// From now on random bytes precede every line to the agent, often without a newline between them and the line.
    pub fn disturb(&mut self) {
        self.noise = Some(0x9e37_79b9_7f4a_7c15);
    }

    fn make_noise(&mut self) -> Result<(), RunError> {
        let Some(seed) = &mut self.noise else { return Ok(()) };
        let mut bytes = Vec::new();
        for _ in 0..40 {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.push((*seed >> 33) as u8);
            if *seed >> 60 == 0 {
                bytes.push(b'\n');
            }
        }
        self.link()?
            .stream()
            .write_all(&bytes)
            .map_err(|error| RunError::Host { what: "agent's line", error })
    }

    /// QEMU, while the machine has power.
    ///
    /// # Errors
    /// [`RunError::Check`] if it has none.
    pub fn qemu(&mut self) -> Result<&mut Qemu, RunError> {
        Ok(&mut self.powered()?.qemu)
    }

    /// The agent's line, while the machine has power.
    ///
    /// # Errors
    /// [`RunError::Check`] if it has none.
    pub fn link(&mut self) -> Result<&mut Link<UnixStream>, RunError> {
        Ok(&mut self.powered()?.link)
    }

    fn powered(&mut self) -> Result<&mut Powered, RunError> {
        self.powered.as_mut().ok_or_else(|| RunError::Check("the machine has no power".into()))
    }

    /// Asks the agent.
    ///
    /// # Errors
    /// [`RunError::Link`].
    pub fn ask(&mut self, ask: &Ask) -> Result<Answer, RunError> {
        self.make_noise()?;
        Ok(self.link()?.ask(ask, ANSWER)?)
    }

    /// Asks for something that takes the machine away; returns when it goes.
    ///
    /// # Errors
    /// [`RunError::Link`]; [`RunError::Check`] if it is somewhere else already.
    pub fn depart(&mut self, ask: &Ask) -> Result<(), RunError> {
        self.make_noise()?;
        match self.link()?.depart(ask, ANSWER)? {
            Departure::Going => Ok(()),
            Departure::Arrived(ready) => Err(RunError::Check(format!(
                "{} is ready and nobody said that the machine goes",
                ready.session
            ))),
        }
    }

    /// Asks for something the agent has to refuse; returns the failure.
    ///
    /// # Errors
    /// [`RunError::Check`] if it is not refused.
    pub fn refused(&mut self, ask: &Ask) -> Result<Failure, RunError> {
        match self.link()?.depart(ask, ANSWER) {
            Err(LinkError::Refused { failure, .. }) => Ok(failure),
            Err(other) => Err(other.into()),
            Ok(departure) => Err(RunError::Check(format!("{ask:?} was not refused: {departure:?}"))),
        }
    }

    /// Waits for `ready` from a kernel that came back with a failure; returns the failure.
    ///
    /// # Errors
    /// [`RunError::Check`] if it came back with success; [`RunError::Link`].
    pub fn arrive_failed(&mut self, role: Role) -> Result<Failure, RunError> {
        match self.arrive(role, ReadyWhy::Return) {
            Err(RunError::Outcome { failure, .. }) => Ok(failure),
            Err(other) => Err(other),
            Ok(ready) => Err(RunError::Check(format!("{} came back without a failure", ready.session))),
        }
    }

    /// Waits for `ready` from a kernel in this role, which has booted or come back with this outcome: success.
    ///
    /// # Errors
    /// [`RunError::Outcome`] if it came back with a failure; [`RunError::Check`] if it is another kernel; [`RunError::Link`].
    pub fn arrive(&mut self, role: Role, why: ReadyWhy) -> Result<Ready, RunError> {
        let ready = self.link()?.wait_ready(ARRIVAL)?;
        if (ready.session.role, ready.why) != (role, why) {
            return Err(RunError::Check(format!(
                "expected {role} after {why:?}, found {} after {:?}",
                ready.session, ready.why
            )));
        }
        if ready.why == ReadyWhy::Boot {
            self.boot_ms.insert(role, ready.boottime_ms);
        }
        match &ready.outcome {
            Some(outcome) => match &outcome.result {
                Ok(_) => Ok(ready),
                Err(failure) => {
                    Err(RunError::Outcome { session: ready.session.to_string(), failure: failure.clone() })
                }
            },
            None => Ok(ready),
        }
    }

    /// Adds to the timeline.
    pub fn note(&mut self, role: Role, text: &str, begun: Instant) {
        let (text, took) = (text.to_owned(), begun.elapsed());
        self.add(Phase { boot: self.boots, role: Some(role), text, took });
    }

    /// Adds something to the timeline that no kernel did.
    pub fn note_power(&mut self, text: &str) {
        let text = text.to_owned();
        self.add(Phase { boot: self.boots, role: None, text, took: Duration::ZERO });
    }

    fn add(&mut self, phase: Phase) {
        (self.observer)(&phase);
        self.timeline.push(phase);
    }

    /// Shows every further step to the observer as it is done.
    pub fn observe(&mut self, observer: Observer) {
        self.observer = observer;
    }

    /// What happened so far.
    pub fn timeline(&self) -> &[Phase] {
        &self.timeline
    }

    /// Everything the kernels wrote to the console, boot by boot.
    pub fn consoles(&self) -> String {
        let now = self.powered.as_ref().map(|powered| powered.qemu.console());
        self.consoles.iter().cloned().chain(now).collect::<Vec<_>>().join("\n-- next boot --\n")
    }

    /// What a person wants to see when a run fails: the timeline, and the machine as it stands.
    pub fn autopsy(&mut self) -> String {
        let mut text = String::new();
        for phase in &self.timeline {
            let role = phase.role.map_or(' ', Role::letter);
            text +=
                &format!("  boot {} {role} {} ({:.2} s)\n", phase.boot, phase.text, phase.took.as_secs_f32());
        }
        match &mut self.powered {
            Some(powered) => text += &powered.qemu.autopsy(),
            None => {
                let console = self.consoles.last().map(String::as_str).unwrap_or_default();
                let lines: Vec<&str> = console.lines().collect();
                text += "switched off; end of the last console:\n";
                text += &lines[lines.len().saturating_sub(40)..].join("\n");
            }
        }
        text
    }
}
