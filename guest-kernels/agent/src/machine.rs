//! Carries requests out.

use agent_protocol::layout::MIB;
use agent_protocol::message::{Answer, Ask, Failure, Role};
use nix::sys::reboot::RebootMode;

use crate::failure::failure;
use crate::image::partition::Partition;
use crate::image::{memory, stream};
use crate::kexec::{jump, plain, preload};
use crate::serve::{Deed, Perform};
use crate::workloads::Workloads;
use crate::{devices, disks, dmesg, files, filler, identity, power, run, sleep, swap_file, text};

/// The guest as the host sees it.
pub struct Machine {
    /// Our part.
    pub role: Role,
    /// Modules loaded at boot.
    pub modules: u32,
    workloads: Workloads,
}

impl Machine {
    /// A machine in this role.
    pub fn new(role: Role, modules: u32) -> Machine {
        Machine { role, modules, workloads: Workloads::default() }
    }

    /// Some requests make sense in one role only; elsewhere they would damage what they should save.
    fn must_be(&self, roles: &[Role]) -> Result<(), Failure> {
        if roles.contains(&self.role) {
            return Ok(());
        }
        let names: Vec<String> = roles.iter().map(Role::to_string).collect();
        Err(failure(format!("this can be asked of kernel {} only", names.join(" or "))))
    }

    fn answer(&mut self, ask: Ask) -> Result<Deed, Failure> {
        let answer = match ask {
            Ask::Identify => Answer::Identity(identity::identify(self.modules)?),
            Ask::MemoryMap { skip } => identity::memory_map(skip)?,

            Ask::Partition { disk, partitions } => done(disks::partition(&disk, &partitions))?,
            Ask::MakeExt4 { device, arguments } => done(disks::make_ext4(&device, &arguments))?,
            Ask::Mount { device, at, fstype, options } => {
                done(disks::mount_device(&device, &at, &fstype, &options))?
            }
            Ask::Unmount { at } => done(disks::unmount(&at))?,
            Ask::MakeSwap { device } => done(disks::make_swap(&device))?,
            Ask::MakeSwapFile { path, mib } => {
                Answer::SwapFile { offset: swap_file::make(&path, u64::from(mib) * MIB)? }
            }
            Ask::SwapOn { device, priority } => done(disks::swap_on(&device, priority))?,
            Ask::SwapOff { device } => done(disks::swap_off(&device))?,

            Ask::StartWorkloads { workloads, directory, kib, seed } => {
                self.must_be(&[Role::Primary])?;
                done(self.workloads.start(&workloads, &directory, kib, seed))?
            }
            Ask::CheckWorkloads => Answer::Workloads(self.workloads.check()?),
            Ask::StopWorkloads => Answer::Workloads(self.workloads.stop()?),

            Ask::ReadFile { path, offset, len } => files::read(&path, offset, len)?,
            Ask::WriteFile { path, offset, bytes, sync } => done(files::write(&path, offset, &bytes, sync))?,
            Ask::CopyBulk { from, to } => files::copy(&from, &to)?,
            Ask::HashFile { path, len } => files::hash(&path, len)?,
            Ask::ReadText { path } => Answer::Text(text::read(&path)?),
            Ask::WriteText { path, text } => done(text::write(&path, &text))?,
            Ask::Sysctl { name, value } => {
                let path = text::sysctl_path(&name);
                if let Some(value) = value {
                    text::write(&path, &value)?;
                }
                Answer::Text(text::read(&path)?)
            }
            Ask::Run { argv, timeout_ms } => run::run(&argv, timeout_ms)?,
            Ask::Dmesg { since } => Answer::Dmesg(dmesg::since(since)?),
            Ask::Sync => done(disks::sync())?,
            Ask::FillMemory { left } => done(filler::fill(left))?,
            Ask::SetAlarm { seconds } => done(sleep::set_alarm(seconds))?,

            Ask::Preload { kernel, initrd, region, cmdline } => {
                self.must_be(&[Role::Primary])?;
                preload::preload(&kernel, &initrd, region, &cmdline)?
            }
            Ask::SaveImage { device, disks } => {
                self.must_be(&[Role::Saver])?;
                memory::save(&device, &disks, jump::way_back()?)?
            }

            leaving => return self.leave(leaving),
        };
        Ok(Deed::Answer(Ok(answer)))
    }

    /// Checks everything that can be refused while the machine is still here.
    fn leave(&mut self, ask: Ask) -> Result<Deed, Failure> {
        let leave: Box<dyn FnOnce() -> Result<Answer, Failure>> = match ask {
            Ask::Suspend { state, pm_test } => {
                sleep::check_suspend(state, pm_test)?;
                Box::new(move || sleep::suspend(state, pm_test))
            }
            Ask::Hibernate { mode, pm_test } => {
                sleep::check_hibernate(mode, pm_test)?;
                Box::new(move || sleep::hibernate(mode, pm_test))
            }
            Ask::Resume { device, offset } => {
                sleep::prepare_resume(&device, offset)?;
                Box::new(move || sleep::resume(&device))
            }
            Ask::SnapshotSave { device, then } => {
                let (partition, snapshot) = stream::prepare_save(&device)?;
                Box::new(move || stream::save(&partition, snapshot, then))
            }
            Ask::SnapshotRestore { device } => {
                let loaded = stream::load(&device)?;
                Box::new(move || loaded.enter())
            }
            Ask::Jump { image } => {
                self.must_be(&[Role::Primary])?;
                jump::check_loaded()?;
                jump::sync()?;
                Box::new(move || jump::jump(image.as_deref()))
            }
            Ask::JumpBack { image } => {
                self.must_be(&[Role::Saver])?;
                let partition = image.as_deref().map(Partition::open).transpose()?;
                if let Some(partition) = &partition {
                    partition.header()?;
                }
                jump::prepare(jump::way_back()?)?;
                Box::new(move || jump::enter(partition.as_ref()))
            }
            Ask::RestoreImage { device } => {
                self.must_be(&[Role::Restorer])?;
                let partition = Partition::open(&device)?;
                jump::prepare(memory::load(&partition)?)?;
                Box::new(move || jump::enter(Some(&partition)))
            }
            Ask::EnterS4 => {
                self.must_be(&[Role::Saver])?;
                sleep::check_offer("/sys/power/disk", "platform")?;
                Box::new(stream::enter_s4)
            }
            Ask::Kexec { kernel, initrd, cmdline } => {
                plain::load(&kernel, &initrd, &cmdline)?;
                Box::new(plain::execute)
            }
            Ask::PowerOff => Box::new(|| power::end(RebootMode::RB_POWER_OFF)),
            Ask::Reboot => Box::new(|| power::end(RebootMode::RB_AUTOBOOT)),
            Ask::Crash => Box::new(power::crash),
            other => return Err(failure(format!("not a request that can be carried out: {other:?}"))),
        };
        Ok(Deed::Leave(leave))
    }
}

impl Perform for Machine {
    fn perform(&mut self, ask: Ask) -> Deed {
        devices::await_named(&ask);
        self.answer(ask).unwrap_or_else(|failure| Deed::Answer(Err(failure)))
    }
}

fn done(result: Result<(), Failure>) -> Result<Answer, Failure> {
    result.map(|()| Answer::Done)
}
