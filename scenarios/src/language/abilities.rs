//! What a scenario asks of its kernels.

use agent_protocol::message::{AfterSnapshot, HibernateMode, PmTest, SuspendState};
use guest_kernels::check::Ability;
use vmm::FrontEnd;

use super::{Back, Scenario, Step, StepSpec, Use, Wake};

impl Scenario {
    /// What the kernel in A's place has to be able to do.
    pub fn asks_of_primary(&self) -> Vec<Ability> {
        let mut asked = vec![Ability::Agent];
        for disk in &self.disks {
            asked.push(match disk.front_end {
                FrontEnd::Virtio => Ability::VirtioBlk,
                FrontEnd::Nvme => Ability::Nvme,
            });
        }
        if self.kernel.saver.is_some() {
            // The saver comes on a disk of its own.
            asked.push(Ability::VirtioBlk);
        }
        if self.partition(Use::Ext4).is_some() {
            asked.push(Ability::Ext4);
        }
        if !self.workloads.is_empty() {
            asked.push(Ability::Workloads);
        }
        asked.extend(self.asks_of_steps(false));
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    /// What the kernel in B's and C's place has to be able to do.
    pub fn asks_of_saver(&self) -> Vec<Ability> {
        let mut asked = vec![Ability::Agent];
        asked.extend(self.asks_of_steps(true));
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    /// From the jump to the way back, or to a boot, the steps are the saver's.
    fn asks_of_steps(&self, of_saver: bool) -> Vec<Ability> {
        let mut asked = Vec::new();
        let mut in_saver = false;
        for StepSpec { step, .. } in &self.steps {
            if of_saver {
                match step {
                    Step::Jump | Step::Save | Step::JumpBack | Step::EnterS4 => {
                        asked.push(Ability::KexecJumpSaver);
                    }
                    Step::Restore | Step::Recover { by: Back::Restore } => {
                        asked.push(Ability::KexecJumpRestorer);
                    }
                    _ => {}
                }
            }
            if in_saver == of_saver {
                asked.extend(of_whoever_runs(step));
            }
            if !of_saver {
                asked.extend(of_primary(step));
            }
            in_saver = match step {
                Step::Jump => true,
                Step::JumpBack => false,
                step if step.begins_off() => false,
                _ => in_saver,
            };
        }
        asked
    }
}

fn level(pm_test: Option<PmTest>) -> Option<Ability> {
    pm_test.map(|_| Ability::PmTest)
}

fn of_whoever_runs(step: &Step) -> Vec<Ability> {
    let Step::Suspend { state, wake, pm_test } = step else { return Vec::new() };
    let sleep = match state {
        SuspendState::Mem => Ability::S3,
        SuspendState::Freeze => Ability::S2idle,
    };
    let alarm = matches!(wake, Wake::Alarm { .. }).then_some(Ability::Alarm);
    [Some(sleep), alarm, level(*pm_test)].into_iter().flatten().collect()
}

fn of_primary(step: &Step) -> Vec<Ability> {
    match step {
        Step::Preload | Step::Jump => vec![Ability::KexecJumpPrimary],
        Step::Kexec => vec![Ability::Kexec],
        Step::Hibernate { mode, pm_test } => {
            let mode = match mode {
                HibernateMode::Platform => Ability::HibernatePlatform,
                HibernateMode::Shutdown => Ability::HibernateShutdown,
                HibernateMode::Reboot => Ability::HibernateReboot,
                HibernateMode::Suspend => Ability::HibernateSuspend,
                HibernateMode::TestResume => Ability::HibernateTestResume,
            };
            [Some(mode), level(*pm_test)].into_iter().flatten().collect()
        }
        Step::Snapshot { then } => {
            let s3 = (*then == AfterSnapshot::SuspendToRam).then_some(Ability::S3);
            [Some(Ability::Uswsusp), s3].into_iter().flatten().collect()
        }
        _ => Vec::new(),
    }
}
