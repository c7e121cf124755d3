//! Boots: of A, which may find a session, and of C, which brings one back.

use std::sync::Arc;

use agent_protocol::layout::{SAVER_REGION, primary_arguments, restorer_arguments};
use agent_protocol::message::{Ask, ReadyWhy, Role};
use firmware::boot::Payload;

use super::scratch::Scratch;
use super::{Lab, PATIENCE, Trouble, unexpected};
use crate::guest::GuestError;
use crate::history::Happening;
use crate::kernels::Loaded;
use crate::language::{Back, BootSpec, DiskSpec, Step};
use crate::witness::Witness;
use vmm::FrontEnd;

const RESUMED: &str = "image consumed, A continues";

/// What somebody who was asked for a session said.
enum Session {
    /// It is here.
    Back,
    /// There is none, or it was refused, with these words.
    Refused(String),
}

impl<'a> Lab<'a> {
    /// Boots a kernel; the machine was off, or its reset line was pulled.
    pub(super) fn boot(&mut self, role: Role) -> Result<(), Trouble> {
        self.epochs += 1;
        let epoch = self.epochs * 1000;
        let (loaded, line) = match role {
            Role::Primary => (self.primary(), self.primary_line()),
            Role::Saver | Role::Restorer => {
                let named = self.next_boot.kernel.as_ref();
                let kernels = self.kernels;
                let other = named.and_then(|name| kernels.others.iter().find(|other| other.name == *name));
                let saver = other.or(kernels.saver.as_ref()).map(Arc::as_ref);
                let saver = saver.ok_or_else(|| Trouble::Impossible("there is no saver".into()))?;
                let confined = restorer_arguments(&self.firmware, SAVER_REGION);
                let more = [&self.scenario.kernel.saver_arguments, &self.next_boot.arguments];
                let line = format!("console=ttyS0 kjvm.role=C {confined} {} {}", more[0], more[1]);
                (saver, line)
            }
        };
        let command_line = format!("{line} kjvm.epoch={epoch}");
        let payload = Payload {
            kernel: &loaded.kernel.bytes,
            initrd: Some(&loaded.initrd),
            command_line: command_line.trim(),
        };
        self.guest.note(Happening::Kernel(role));
        self.guest.machine.boot(loaded.kernel.entry, &payload)?;
        if self.guest.tape.stop_for_requests {
            self.guest.narrate();
        }
        // Another kernel in A's place has its landmarks elsewhere. That of the saver lies at other addresses anyway.
        let is_known = role != Role::Primary || std::ptr::eq(loaded, Arc::as_ref(&self.kernels.primary));
        self.guest.tell(|witness, machine| witness.boots(machine, is_known));
        if role == Role::Primary {
            self.booted = loaded;
        }
        self.role = role;
        Ok(())
    }

    /// The kernel that this step boots in A's place.
    fn primary(&self) -> &'a Loaded {
        let kernels = self.kernels;
        self.next_boot.kernel.as_ref().and_then(|name| kernels.named(name)).unwrap_or(&kernels.primary)
    }

    /// What A is told on its command line, but for the number of its session.
    pub fn primary_line(&self) -> String {
        let mut line =
            "console=ttyS0 kjvm.role=A panic=-1 oops=panic random.trust_cpu=on suspend.pm_test_delay=1"
                .to_owned();
        if let Some((device, offset)) = self.hibernates_to() {
            line += &format!(" resume={device}");
            if offset != 0 {
                line += &format!(" resume_offset={offset}");
            }
        }
        if self.kernels.saver.is_some() && self.scenario.kernel.reserves_region {
            line += &format!(" {}", primary_arguments(SAVER_REGION));
        }
        for more in [&self.scenario.kernel.arguments, &self.next_boot.arguments] {
            if !more.is_empty() {
                line += &format!(" {more}");
            }
        }
        line
    }

    /// A executes a fresh A.
    pub(super) fn kexec(&mut self) -> Result<String, Trouble> {
        self.epochs += 1;
        let scratch = Scratch::of(self.scenario, self.kernels);
        let loaded = self.primary();
        let (kernel, initrd) = scratch.executed(&self.scratch_device(), &loaded.name);
        let cmdline = format!("{} kjvm.epoch={}", self.primary_line(), self.epochs * 1000);
        self.depart(&Ask::Kexec { kernel, initrd, cmdline })?;
        self.guest.note(Happening::Kernel(Role::Primary));
        self.booted = loaded;
        self.arrives(Role::Primary, ReadyWhy::Boot)?;
        self.begin_anew()?;
        Ok("a fresh A".into())
    }

    /// Where the scratch disk is: behind those of the scenario.
    pub(super) fn scratch_device(&self) -> String {
        let others = self.scenario.disks.iter().filter(|disk| disk.front_end == FrontEnd::Virtio).count();
        DiskSpec::device(FrontEnd::Virtio, others, 0)
    }

    pub(super) fn restore(&mut self) -> Result<String, Trouble> {
        self.boot(Role::Restorer)?;
        self.arrives(Role::Restorer, ReadyWhy::Boot)?;
        let device = self.image().unwrap_or_default();
        self.depart(&Ask::RestoreImage { device })?;
        self.guest.note(Happening::Kernel(Role::Primary));
        self.returns(Role::Primary)?;
        Ok(RESUMED.into())
    }

    pub(super) fn resume(&mut self) -> Result<String, Trouble> {
        match self.boot_and_look_in_swap()? {
            Session::Back => Ok(RESUMED.into()),
            Session::Refused(why) => Err(unexpected("A to come back", format!("a cold boot: {why}"))),
        }
    }

    pub(super) fn snapshot_restore(&mut self) -> Result<String, Trouble> {
        self.boot(Role::Primary)?;
        self.arrives(Role::Primary, ReadyWhy::Boot)?;
        let device = self.image().unwrap_or_default();
        self.depart(&Ask::SnapshotRestore { device })?;
        self.returns(Role::Primary)?;
        Ok(RESUMED.into())
    }

    pub(super) fn cold_boot(&mut self) -> Result<String, Trouble> {
        self.boot(Role::Primary)?;
        self.arrives(Role::Primary, ReadyWhy::Boot)?;
        self.begin_anew()?;
        Ok("no session".into())
    }

    /// A step that would bring a session back must not: the boot is a cold one.
    pub(super) fn cold_instead(&mut self, step: &Step) -> Result<String, Trouble> {
        let session = match step {
            Step::Restore => self.ask_restorer()?,
            Step::SnapshotRestore => self.ask_for_snapshot()?,
            _ => self.boot_and_look_in_swap()?,
        };
        match session {
            Session::Back => Err(Trouble::NotRefused("the session is back".into())),
            Session::Refused(why) => self.goes_on_cold(&why),
        }
    }

    /// Whatever is legal: a session that comes back, or a cold boot.
    pub(super) fn recover(&mut self, by: Back) -> Result<String, Trouble> {
        let session = match by {
            Back::Restore => self.ask_restorer()?,
            Back::SnapshotRestore => self.ask_for_snapshot()?,
            Back::Resume | Back::Derived => self.boot_and_look_in_swap()?,
        };
        match session {
            Session::Back => Ok(RESUMED.into()),
            Session::Refused(why) => self.goes_on_cold(&why),
        }
    }

    fn goes_on_cold(&mut self, why: &str) -> Result<String, Trouble> {
        if self.role == Role::Restorer {
            self.depart(&Ask::Reboot)?;
            self.resets()?;
            self.was_reset = false;
            // What the step says of its boot is of C's.
            self.next_boot = BootSpec::default();
            self.boot(Role::Primary)?;
            self.arrives(Role::Primary, ReadyWhy::Boot)?;
        }
        self.begin_anew()?;
        Ok(format!("cold boot: {why}"))
    }

    /// C boots, and is asked for A.
    fn ask_restorer(&mut self) -> Result<Session, Trouble> {
        self.boot(Role::Restorer)?;
        self.arrives(Role::Restorer, ReadyWhy::Boot)?;
        let device = self.image().unwrap_or_default();
        if let Some(why) = refusal(self.depart(&Ask::RestoreImage { device }))? {
            return Ok(Session::Refused(why));
        }
        self.guest.note(Happening::Kernel(Role::Primary));
        self.returns(Role::Primary)?;
        Ok(Session::Back)
    }

    /// A boots, and is asked for the image of /dev/snapshot.
    fn ask_for_snapshot(&mut self) -> Result<Session, Trouble> {
        self.boot(Role::Primary)?;
        self.arrives(Role::Primary, ReadyWhy::Boot)?;
        let device = self.image().unwrap_or_default();
        let came = self.depart(&Ask::SnapshotRestore { device }).and_then(|()| self.returns(Role::Primary));
        Ok(refusal(came)?.map_or(Session::Back, Session::Refused))
    }

    /// A boots, and looks into swap for what it was: by itself, or asked to, if its drivers come too late for that.
    fn boot_and_look_in_swap(&mut self) -> Result<Session, Trouble> {
        self.boot(Role::Primary)?;
        let ready = self.guest.wait_ready(PATIENCE)?;
        self.guest.put_back(ready.clone());
        if ready.why == ReadyWhy::Return {
            self.returns(Role::Primary)?;
            return Ok(Session::Back);
        }
        self.arrives(Role::Primary, ReadyWhy::Boot)?;
        if !self.booted.has_modules() {
            return Ok(Session::Refused("the kernel found no session".into()));
        }
        let (device, offset) = self.hibernates_to().unwrap_or_default();
        let came = self.depart(&Ask::Resume { device, offset }).and_then(|()| self.returns(Role::Primary));
        Ok(refusal(came)?.map_or(Session::Back, Session::Refused))
    }

    /// A runs where it was not before, or is not what it was: disks are taken up, and workloads begin anew.
    fn begin_anew(&mut self) -> Result<(), Trouble> {
        self.was_cold = true;
        self.synced = 0;
        self.guest.tell(Witness::begins_anew);
        self.take_up()
    }
}

/// The words of a refusal. None: it was done.
fn refusal(result: Result<(), Trouble>) -> Result<Option<String>, Trouble> {
    match result {
        Ok(()) => Ok(None),
        Err(Trouble::Guest(GuestError::Refused(failure))) => Ok(Some(failure.to_string())),
        Err(other) => Err(other),
    }
}
