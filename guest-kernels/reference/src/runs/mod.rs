//! The reference runs: one short function for each path through sleep and back, and the table of all of them.

mod bad_image;
mod bad_input;
mod jump;
mod kexec;
mod suspend;
mod swsusp;
mod uswsusp;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_protocol::message::Role;

use crate::error::RunError;
use crate::kernels::Kernels;
use crate::machine::{Machine, Observer, Phase};
use crate::qemu::Front;
use crate::setup::Setup;

/// Which kernels can do a run at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A primary that can jump, and a saver.
    Jump,
    /// Nothing a distribution's kernel does not have.
    Anything,
}

/// A reference run.
#[derive(Debug)]
pub struct Run {
    /// Family and name.
    pub name: &'static str,
    /// What happens.
    pub about: &'static str,
    /// On which kernels.
    pub needs: Needs,
    /// Changes the usual machine.
    pub arrange: fn(&mut Setup),
    /// The steps.
    pub steps: fn(&mut Machine) -> Result<(), RunError>,
    /// Where it is known to fail.
    pub known: &'static [Known],
    /// More processors than this the reference machine cannot take through it (see [`AP_LOST_IN_S3`]).
    pub most_cpus: u32,
}

/// Why some runs are done on one processor.
///
/// QEMU 7.2's firmware starts the second processor on a wake from S3, and it runs off: until a kernel sends it INIT it is found in real
/// mode at the dummy handler F000:FF53, with leftovers in its registers. A kernel that wakes by itself sends INIT in milliseconds. A
/// saver with one processor never does: A does, after the jump back, if the runaway has not ended in a triple fault by then.
pub const AP_LOST_IN_S3: &str = "QEMU's firmware loses the second processor on a wake from S3 (triple fault while the saver, \
     which has one processor, is awake)";

/// A failure that is expected on a kernel which cannot do better.
#[derive(Debug)]
pub struct Known {
    /// The primary's name.
    pub kernel: &'static str,
    /// Part of the error: any other failure is a new one.
    pub error: &'static str,
    /// Why.
    pub reason: &'static str,
}

const fn run(
    name: &'static str,
    about: &'static str,
    needs: Needs,
    steps: fn(&mut Machine) -> Result<(), RunError>,
) -> Run {
    Run { name, about, needs, arrange: |_| {}, steps, known: &[], most_cpus: u32::MAX }
}

const fn arranged(run: Run, arrange: fn(&mut Setup)) -> Run {
    Run { arrange, ..run }
}

const fn known(run: Run, known: &'static [Known]) -> Run {
    Run { known, ..run }
}

/// A run in which B wakes from S3 and lives on for a while.
const fn saver_wakes(run: Run) -> Run {
    Run { most_cpus: 1, ..run }
}

/// A run in which A continues after a jump, from B or from C.
const fn returning(
    name: &'static str,
    about: &'static str,
    steps: fn(&mut Machine) -> Result<(), RunError>,
) -> Run {
    known(run(name, about, Jump, steps), &[NO_GDT])
}

use Needs::{Anything, Jump};

const NO_GDT: Known = Known {
    kernel: "primary-6.1",
    error: "the machine closed the line",
    reason: "6.1 does not load its GDT again when it is jumped back to (relocate_kernel_64.S): triple fault at the first segment load",
};

const fn exclusive(kernel: &'static str) -> Known {
    let reason = "6.1 opens the swap device exclusively for test_resume, which fails while it is in use (swsusp_check: EBUSY)";
    Known { kernel, error: "Device or resource busy", reason }
}

const fn no_pm_debug(kernel: &'static str) -> Known {
    Known {
        kernel,
        error: "/sys/power/pm_test",
        reason: "the cloud kernels have no pm_test (CONFIG_PM_DEBUG)",
    }
}

/// Kernels for cloud machines.
const CLOUD: &[Known] = &[no_pm_debug("stock-6.12-cloud"), no_pm_debug("stock-6.1-cloud")];

/// All runs, in the order they are listed.
pub const RUNS: &[Run] = &[
    returning("jump::save_return", "jump, save, jump back", jump::save_return),
    saver_wakes(returning(
        "jump::save_s3_return",
        "jump, save, S3 in B, wake by alarm, jump back",
        jump::save_s3_return,
    )),
    returning("jump::save_off_restore", "jump, save, power off, cold boot, restore", jump::save_off_restore),
    returning(
        "jump::save_s3_power_cut_restore",
        "jump, save, S3 in B, power lost, cold boot, restore",
        jump::save_s3_power_cut_restore,
    ),
    returning("jump::save_s4_restore", "jump, save, B enters S4, cold boot, restore", jump::save_s4_restore),
    saver_wakes(returning(
        "jump::twice_resident",
        "jump back, jump into the resident B again, S3, back",
        jump::twice_resident,
    )),
    returning("jump::twice_cold", "power lost in S3 and restore, twice", jump::twice_cold),
    arranged(
        saver_wakes(returning(
            "jump::swapped_return",
            "region not reserved in A: swapped; S3, jump back",
            jump::save_s3_return,
        )),
        |setup| setup.reserve_region = false,
    ),
    arranged(
        returning(
            "jump::swapped_restore",
            "region not reserved in A: swapped; power lost in S3, restore",
            jump::save_s3_power_cut_restore,
        ),
        |setup| setup.reserve_region = false,
    ),
    run("swsusp::platform", "hibernate, S4, cold boot", Anything, swsusp::platform),
    run("swsusp::shutdown", "hibernate, power off, cold boot", Anything, swsusp::shutdown),
    run("swsusp::reboot", "hibernate, reset", Anything, swsusp::reboot),
    run("swsusp::suspend", "hybrid sleep: image, S3, wake from RAM", Anything, swsusp::suspend),
    run(
        "swsusp::suspend_power_cut",
        "hybrid sleep: image, S3, power lost, cold boot",
        Anything,
        swsusp::suspend_power_cut,
    ),
    known(
        run("swsusp::test_resume", "image written and loaded at once", Anything, swsusp::test_resume),
        &[exclusive("primary-6.1"), exclusive("stock-6.1"), exclusive("stock-6.1-cloud")],
    ),
    run("suspend::s3", "S3, wake by alarm and by the host", Anything, suspend::s3),
    run("suspend::s2idle", "s2idle, wake by power button", Anything, suspend::s2idle),
    known(run("suspend::pm_test_mem", "every pm_test level for mem", Anything, suspend::pm_test_mem), CLOUD),
    known(
        run("suspend::pm_test_disk", "every pm_test level for disk", Anything, suspend::pm_test_disk),
        CLOUD,
    ),
    run("uswsusp::off_restore", "/dev/snapshot, power off, cold boot", Anything, uswsusp::off_restore),
    run("uswsusp::ram", "/dev/snapshot, S3, wake from RAM", Anything, uswsusp::ram),
    run(
        "uswsusp::ram_power_cut",
        "/dev/snapshot, S3, power lost, cold boot",
        Anything,
        uswsusp::ram_power_cut,
    ),
    run("kexec::plain", "A executes a fresh A", Anything, kexec::plain),
    run("kexec::crash", "A panics, reset, cold boot", Anything, kexec::crash),
    returning(
        "bad_image::refused",
        "flipped bits and a torn header are refused, then restored",
        bad_image::refused,
    ),
    run("bad_image::cold_boot", "after a refusal A still boots cold", Jump, bad_image::cold_boot),
    arranged(
        returning(
            "bad_input::image_full",
            "no room for the image: B jumps back, A says ENOSPC",
            bad_input::image_full,
        ),
        |setup| setup.layout.image = 4,
    ),
    arranged(
        run("bad_input::no_memory", "kexec_load refused for lack of memory", Jump, bad_input::no_memory),
        |setup| setup.reserve_region = false,
    ),
    returning("bad_input::garbage", "random bytes between the lines of the agent's port", bad_input::garbage),
];

/// The run of this name.
pub fn find(name: &str) -> Option<&'static Run> {
    RUNS.iter().find(|run| run.name == name)
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// The primary kernel's name.
    pub kernel: String,
    /// Virtual processors.
    pub cpus: u32,
    /// How it ended.
    pub verdict: Verdict,
    /// On the host's clock.
    pub took: Duration,
    /// Its steps.
    pub timeline: Vec<Phase>,
    /// From the start of the kernel to `ready`, of the last boot in each role, in milliseconds.
    pub boot_ms: BTreeMap<Role, u64>,
}

/// How a run ended.
#[derive(Debug)]
pub enum Verdict {
    /// As it should.
    Pass,
    /// Not as it should; with what a person wants to see.
    Fail(String),
    /// As expected for this kernel, which cannot do better: the reason.
    KnownFailure(&'static str),
    /// The host could not do its part.
    Host(String),
    /// This kernel cannot do it: the reason.
    Skipped(&'static str),
}

impl Run {
    /// Why these kernels cannot do this run, if they cannot.
    pub fn impossible(&self, kernels: &Kernels) -> Option<&'static str> {
        (self.needs == Needs::Jump && kernels.saver.is_none())
            .then_some("distribution kernels have no kexec jump (CONFIG_KEXEC_JUMP)")
    }

    /// Runs it, on no more processors than it can be done with; the observer sees every step as it is done.
    pub fn execute(&'static self, kernels: &Kernels, cpus: u32, front: Front, observer: Observer) -> Report {
        let begun = Instant::now();
        let cpus = cpus.min(self.most_cpus);
        let report = |verdict, timeline, boot_ms| Report {
            name: self.name,
            kernel: kernels.primary.name.clone(),
            cpus,
            verdict,
            took: begun.elapsed(),
            timeline,
            boot_ms,
        };
        if let Some(reason) = self.impossible(kernels) {
            return report(Verdict::Skipped(reason), Vec::new(), BTreeMap::new());
        }
        let mut setup = Setup::new(kernels.clone(), cpus);
        setup.front = front;
        (self.arrange)(&mut setup);
        let mut machine = match Machine::new(setup) {
            Ok(machine) => machine,
            Err(error) => return report(Verdict::Host(error.to_string()), Vec::new(), BTreeMap::new()),
        };
        machine.observe(observer);
        let ended = (self.steps)(&mut machine);
        let known = self.known.iter().find(|known| known.kernel == kernels.primary.name);
        let verdict = match (ended, known) {
            (Ok(()), None) => Verdict::Pass,
            (Ok(()), Some(Known { reason, .. })) => {
                Verdict::Fail(format!("passed, although it is known to fail: {reason}"))
            }
            (Err(error), _) if error.is_hosts() => Verdict::Host(error.to_string()),
            (Err(error), Some(known)) if error.to_string().contains(known.error) => {
                Verdict::KnownFailure(known.reason)
            }
            (Err(error), _) => Verdict::Fail(format!("{error}\n{}", machine.autopsy())),
        };
        let timeline = std::mem::take(&mut machine.timeline);
        report(verdict, timeline, std::mem::take(&mut machine.boot_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (at, run) in RUNS.iter().enumerate() {
            assert!(RUNS[at + 1..].iter().all(|other| other.name != run.name), "{}", run.name);
            assert_eq!(find(run.name).unwrap().about, run.about);
        }
        assert!(find("jump::nowhere").is_none());
    }
}
