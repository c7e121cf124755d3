//! What a scenario leaves behind when the power is cut, and how it is asked for.

use agent_protocol::message::{AfterSnapshot, HibernateMode};
use devices::disk::Media;
use thiserror::Error;
use vmm::Machine;

use super::judge::{Commit, Format};
use super::recovery::{ColdBoot, Plan, Recovery, Way, patience};
use crate::checks::record::places;
use crate::kernels::Kernels;
use crate::lab::{AfterCut, Lab, Trouble};
use crate::language::{Act, BootSpec, Expect, Scenario, Step, StepSpec, Use};
use crate::run::Finished;
use agent_protocol::message::{Role, Workload};

const PAGE: u64 = 4096;

/// Why a scenario cannot be explored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unexplorable {
    /// There is nothing that a power cut could hurt.
    #[error("it has no disk: what a power cut leaves is on disks")]
    NoDisk,
    /// No step saves a session.
    #[error(
        "no step of it leaves a session on a disk: `hibernate`, `snapshot`, or `preload`, `jump` and `save` do"
    )]
    NothingSaved,
    /// There is more than one way back.
    #[error("it saves a session in more than one way, with `{0}` and with `{1}`: explore them one at a time")]
    Mixed(&'static str, &'static str),
    /// The session must not come back.
    #[error(
        "its session is to be refused (`expect` of step {number}, `{step}`): what is legal after a cut follows from a session that comes back"
    )]
    Refused {
        /// Of the step, from 1.
        number: usize,
        /// Its name.
        step: &'static str,
    },
    /// Without the cuts of the scenario the steps do not follow from each other.
    #[error(
        "exploration brings its own power cuts, and without those of the scenario step {number}, `{step}`, would begin with a machine that is on. \
             Explore one that goes off in order, such as save-off-restore.toml, or one that wakes and goes on, such as save-s3-back.toml"
    )]
    NeedsItsCuts {
        /// Of the step, from 1.
        number: usize,
        /// Its name.
        step: &'static str,
    },
    /// The swap file that the kernel hibernates to was not made.
    #[error("the run did not come as far as making its swap file")]
    NoSwapFile,
}

/// The scenario as it is recorded: without its own power cuts, which exploration brings, and with what happens where the power did not fail.
///
/// A step that brings a session back is left out where the session never went away: A woke, or was jumped back to. Where B woke, it jumps back.
///
/// # Errors
/// [`Unexplorable`].
pub fn recorded(scenario: &Scenario) -> Result<Scenario, Unexplorable> {
    let mut recorded = scenario.clone();
    recorded.power.retain(|rule| !matches!(rule.act, Act::Cut { .. }));
    if recorded.power.len() == scenario.power.len() {
        return Ok(recorded);
    }
    let mut runs = Some(Role::Primary);
    recorded.steps.clear();
    for (number, spec) in (1..).zip(&scenario.steps) {
        let mut spec = spec.clone();
        match (runs, &spec.step) {
            (Some(Role::Primary), step) if step.begins_off() => continue,
            (Some(Role::Saver), Step::Restore | Step::Recover { .. }) => {
                spec = StepSpec { place: spec.place, ..StepSpec::plain(Step::JumpBack) };
            }
            (Some(_), step) if step.begins_off() => {
                return Err(Unexplorable::NeedsItsCuts { number, step: step.name() });
            }
            _ => {}
        }
        if spec.expect != Expect::Refused && spec.expect != Expect::Stays {
            runs = runs_after(&spec.step, runs);
        }
        recorded.steps.push(spec);
    }
    Ok(recorded)
}

/// Who runs after a step; None: nobody, the machine is off or was reset.
fn runs_after(step: &Step, runs: Option<Role>) -> Option<Role> {
    match step {
        Step::Jump => Some(Role::Saver),
        Step::Hibernate { mode: HibernateMode::Suspend | HibernateMode::TestResume, .. }
        | Step::Hibernate { pm_test: Some(_), .. } => runs,
        Step::Snapshot { then: AfterSnapshot::SuspendToRam } => runs,
        Step::Hibernate { .. }
        | Step::Snapshot { .. }
        | Step::PowerOff
        | Step::EnterS4
        | Step::Reboot
        | Step::Crash => None,
        Step::JumpBack | Step::Kexec => Some(Role::Primary),
        step if step.begins_off() => Some(Role::Primary),
        _ => runs,
    }
}

/// What is followed through every cut.
#[derive(Debug, Clone)]
pub struct Subject {
    /// How the session comes back.
    pub way: Way,
    /// What says that there is a session.
    pub commit: Commit,
    /// Before the first step of this name there is nothing to lose but what any boot loses.
    pub first_step: &'static str,
    after: AfterCut,
    plan: Plan,
}

impl Subject {
    /// What a recorded run leaves behind.
    ///
    /// # Errors
    /// [`Unexplorable`]; [`Trouble`] if the machine cannot be built.
    pub fn of(scenario: &Scenario, kernels: &Kernels, finished: &Finished) -> Result<Self, SubjectError> {
        let way = way(scenario)?;
        let back = scenario.steps.iter().find(|spec| way.brings_back(&spec.step));
        let boot = back.map_or_else(BootSpec::default, |spec| spec.boot.clone());
        let role = if way == Way::Jump { Role::Restorer } else { Role::Primary };
        let mut lab = Lab::new(scenario, kernels)?;
        lab.swap_file = finished.found.swap_file;
        let (place, device, offset) = match way {
            Way::Swap => {
                let (device, offset) = lab.hibernates_to().ok_or(Unexplorable::NoSwapFile)?;
                let file = scenario.swap_file().map(|(disk, partition, _)| (disk, partition));
                let (disk, partition) =
                    scenario.partition(Use::Swap).or(file).ok_or(Unexplorable::NoSwapFile)?;
                let all = [Use::Swap, Use::Ext4].map(|what| places(scenario, what)).concat();
                (all.into_iter().find(|it| (it.disk, it.partition) == (disk, partition)), device, offset)
            }
            Way::Snapshot | Way::Jump => {
                let place = places(scenario, Use::Image).into_iter().next();
                let device = place.as_ref().map(|place| lab.device(place.disk, place.partition));
                (place, device.unwrap_or_default(), 0)
            }
        };
        let place = place.ok_or(Unexplorable::NothingSaved)?;
        let format = match way {
            Way::Swap => Format::Swsusp,
            Way::Snapshot => Format::Snapshot,
            Way::Jump => Format::Jump,
        };
        let at = place.bytes.start.saturating_add(offset.saturating_mul(PAGE));
        let commit = Commit { disk: place.disk, at, format, part: place.bytes.clone() };
        let after = AfterCut { role, boot, found: finished.found.clone() };
        let cold = match way {
            Way::Jump => {
                let line = Lab::cold_line(scenario, kernels, &after)?;
                Some(ColdBoot { kernel: kernels.primary.clone(), line })
            }
            Way::Swap | Way::Snapshot => None,
        };
        let booted = after.boot.kernel.as_deref().and_then(|name| kernels.named(name));
        let asks = way != Way::Swap || booted.unwrap_or(&kernels.primary).has_modules();
        let files = places(scenario, Use::Ext4)
            .first()
            .filter(|_| scenario.workloads.contains(&Workload::Ext4))
            .map(|place| lab.device(place.disk, place.partition));
        let longest = finished.report.phases.iter().map(|phase| phase.nanoseconds).max();
        let plan = Plan {
            way,
            patience: patience(longest.unwrap_or_default()),
            device: asks.then_some(device),
            offset,
            cold,
            has_workloads: !scenario.workloads.is_empty(),
            files: false,
            file_system: files,
            synced: 0,
        };
        Ok(Self { way, commit, first_step: way.first_step(), after, plan })
    }

    /// Cold boots also mount A's file system, and look whether so many records of its journal are there: all that were synced before any cut.
    #[must_use]
    pub fn with_files(mut self, synced: u64) -> Self {
        self.plan.files = true;
        self.plan.synced = synced;
        self
    }

    /// The machine that boots from these disks after a cut: a function of them and of the scenario.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn machine(
        &self,
        scenario: &Scenario,
        kernels: &Kernels,
        contents: &[Media],
    ) -> Result<Machine, Trouble> {
        Lab::after_cut(scenario, kernels, &self.after, contents)
    }

    /// Who talks to it.
    pub fn recovery(&self) -> Recovery {
        Recovery::new(self.plan.clone())
    }
}

/// Why there is no subject.
#[derive(Debug, Error)]
pub enum SubjectError {
    /// The scenario has none.
    #[error(transparent)]
    Unexplorable(#[from] Unexplorable),
    /// The machine cannot be built.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// The way that a scenario saves a session.
///
/// # Errors
/// [`Unexplorable`].
pub fn way(scenario: &Scenario) -> Result<Way, Unexplorable> {
    if scenario.disks.is_empty() {
        return Err(Unexplorable::NoDisk);
    }
    let mut found: Option<(Way, &'static str)> = None;
    for spec in scenario.steps.iter().filter(|spec| spec.expect == Expect::Well) {
        let way = match spec.step {
            Step::Hibernate { pm_test: None, .. } => Way::Swap,
            Step::Snapshot { .. } => Way::Snapshot,
            Step::Save => Way::Jump,
            _ => continue,
        };
        match found {
            Some((other, name)) if other != way => return Err(Unexplorable::Mixed(name, spec.step.name())),
            _ => found = Some((way, spec.step.name())),
        }
    }
    let (way, _) = found.ok_or(Unexplorable::NothingSaved)?;
    let mut back = (1..).zip(&scenario.steps).filter(|(_, spec)| way.brings_back(&spec.step));
    match back.next().filter(|(_, spec)| spec.expect != Expect::Well) {
        Some((number, spec)) => Err(Unexplorable::Refused { number, step: spec.step.name() }),
        None => Ok(way),
    }
}

impl Way {
    fn brings_back(self, step: &Step) -> bool {
        match self {
            Self::Swap => *step == Step::Resume,
            Self::Snapshot => *step == Step::SnapshotRestore,
            Self::Jump => *step == Step::Restore,
        }
    }

    fn first_step(self) -> &'static str {
        match self {
            Self::Swap => "hibernate",
            Self::Snapshot => "snapshot",
            Self::Jump => "jump",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(steps: &str, more: &str) -> Scenario {
        let text = format!(
            "version = 1\nsteps = {steps}\nkernel = {{ primary = \"a\", saver = \"b\" }}\n\
             [[disk]]\nname = \"d\"\nsize = \"64M\"\npartitions = [{{ use = \"ext4\", size = \"16M\" }}, {{ use = \"swap\", size = \"8M\" }}, {{ use = \"image\", size = \"8M\" }}]\n{more}"
        );
        Scenario::read(&text, &[]).unwrap()
    }

    const CUT: &str = "[[power]]\nwhen = \"s3-entered\"\ndo = \"cut\"\n";

    fn steps(scenario: &Scenario) -> Vec<&'static str> {
        scenario.steps.iter().map(|spec| spec.step.name()).collect()
    }

    #[test]
    fn a_scenario_whose_power_fails_in_sleep_is_recorded_as_if_it_had_not() {
        let jumped = scenario(r#"["preload", "jump", "save", "suspend", "restore", "check"]"#, CUT);
        let jumped = recorded(&jumped).unwrap();
        assert_eq!(steps(&jumped), ["preload", "jump", "save", "suspend", "jump-back", "check"]);
        assert_eq!(jumped.power, []);
        let ram = scenario(r#"[{ do = "snapshot", then = "ram" }, "snapshot-restore", "check"]"#, CUT);
        assert_eq!(steps(&recorded(&ram).unwrap()), ["snapshot", "check"]);
        let hybrid = scenario(r#"[{ do = "hibernate", mode = "suspend" }, "resume", "check"]"#, CUT);
        assert_eq!(steps(&recorded(&hybrid).unwrap()), ["hibernate", "check"]);
        let off = scenario(r#"[{ do = "hibernate", mode = "shutdown" }, "resume", "check"]"#, CUT);
        assert_eq!(steps(&recorded(&off).unwrap()), ["hibernate", "resume", "check"]);
    }

    #[test]
    fn other_power_events_stay_and_what_makes_no_sense_without_a_cut_is_said() {
        let wakes = scenario(r#"["suspend", "check"]"#, "[[power]]\nwhen = \"s3-entered\"\ndo = \"wake\"\n");
        assert_eq!(recorded(&wakes).unwrap(), wakes);
        let lost = scenario(r#"["preload", "jump", "suspend", "resume"]"#, CUT);
        let error = recorded(&lost).unwrap_err();
        assert_eq!(error, Unexplorable::NeedsItsCuts { number: 4, step: "resume" });
        assert!(error.to_string().contains("save-off-restore.toml"));
    }

    #[test]
    fn the_way_back_follows_from_the_step_that_saves() {
        let of = |steps: &str| way(&scenario(steps, ""));
        assert_eq!(of(r#"["hibernate", "resume"]"#), Ok(Way::Swap));
        assert_eq!(of(r#"["snapshot", "snapshot-restore"]"#), Ok(Way::Snapshot));
        assert_eq!(of(r#"["preload", "jump", "save", "power-off", "restore"]"#), Ok(Way::Jump));
        assert_eq!(of(r#"["suspend"]"#), Err(Unexplorable::NothingSaved));
        assert_eq!(of(r#"["preload", "jump", "jump-back"]"#), Err(Unexplorable::NothingSaved));
        assert_eq!(of(r#"[{ do = "hibernate", pm-test = "core" }]"#), Err(Unexplorable::NothingSaved));
        let mixed = of(r#"["hibernate", "resume", "snapshot", "snapshot-restore"]"#);
        assert_eq!(mixed, Err(Unexplorable::Mixed("hibernate", "snapshot")));
        let refused = of(r#"["hibernate", { do = "resume", expect = "cold" }]"#);
        assert_eq!(refused, Err(Unexplorable::Refused { number: 2, step: "resume" }));
        let bare = Scenario::read("version = 1\nsteps = [\"suspend\"]\nkernel = { primary = \"a\" }", &[]);
        assert_eq!(way(&bare.unwrap()), Err(Unexplorable::NoDisk));
    }
}
