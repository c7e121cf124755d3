//! The scenario language: TOML, read with a place for every mistake.
//!
//! ```toml
//! version = 1
//! about = "A jumps to B, B saves A and suspends to RAM, the power fails, C restores A"
//! steps = ["preload", "jump", "save", "suspend", "restore", "check"]
//!
//! [kernel]
//! primary = "primary-6.12"
//! saver = "saver-6.12"
//!
//! [[disk]]
//! name = "system"
//! size = "520M"
//! partitions = [{ use = "ext4", size = "64M" }, { use = "swap", size = "192M" }, { use = "image", size = "256M" }]
//!
//! [[power]]
//! when = "s3-entered"
//! do = "cut"
//! ```

mod abilities;
mod disk;
mod expected;
mod fault;
mod kernel;
mod machine;
mod matrix;
mod mistake;
mod power;
mod reader;
mod region;
mod step;
mod when;

use std::ops::Range;

use toml::de::DeTable;

pub use disk::{DiskSpec, PartitionSpec, Use};
pub use expected::{Known, read as read_expected};
pub use fault::FaultSpec;
pub use kernel::{BootSpec, BuildSpec, KernelSpec};
pub use machine::MachineSpec;
pub use matrix::Variant;
pub use mistake::{Mistake, nearest};
pub use power::{Act, PowerRule, Survives};
pub use region::Region;
pub use step::{AfterImage, Back, Device, Expect, Step, StepSpec, Wake};
pub use when::{Occasion, When};

use crate::checks::Clause;
use agent_protocol::message::Workload;
use reader::{Table, Value};

/// The version of the language that is read.
const VERSION: u64 = 1;
/// Cycles, if nothing is said: many resume bugs need the second.
const CYCLES: u32 = 2;

/// What is to happen, and with what.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// One line for a person.
    pub about: String,
    /// The machine.
    pub machine: MachineSpec,
    /// Its kernels.
    pub kernel: KernelSpec,
    /// Its disks, in the order in which Linux names them.
    pub disks: Vec<DiskSpec>,
    /// What runs in A all the time.
    pub workloads: Vec<Workload>,
    /// How often the steps are done.
    pub cycles: u32,
    /// What happens after A has booted and its workloads run.
    pub steps: Vec<StepSpec>,
    /// What happens to the power meanwhile.
    pub power: Vec<PowerRule>,
    /// Texts of the kernel log that are no failure here, though they would be one elsewhere.
    pub allow: Vec<String>,
    /// Clauses that have to find something here: the scenario does what they are there to catch.
    pub must_fail: Vec<Clause>,
}

impl Scenario {
    /// Reads a scenario. `overrides` are `key.key=value`, as on a command line.
    ///
    /// # Errors
    /// The first [`Mistake`], and the text its place is in: that of the overrides if there are any.
    pub fn read(text: &str, overrides: &[String]) -> Result<Self, (Mistake, String)> {
        let text = Self::overridden(text, overrides)?;
        Self::parse(&text).map_err(|mistake| (mistake, text))
    }

    /// The text of a scenario with `overrides` put in.
    ///
    /// # Errors
    /// As [`Scenario::read`].
    pub fn overridden(text: &str, overrides: &[String]) -> Result<String, (Mistake, String)> {
        matrix::overridden(text, overrides).map_err(|mistake| (mistake, text.to_owned()))
    }

    /// Every scenario that a text means: one, or those of its `[matrix]`, in the order of its lists.
    ///
    /// # Errors
    /// As [`Scenario::read`].
    pub fn variants(text: &str, overrides: &[String]) -> Result<Vec<Variant>, (Mistake, String)> {
        matrix::variants(&Self::overridden(text, overrides)?)
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let parsed = DeTable::parse(text).map_err(|error| {
            Mistake::new(error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()))
        })?;
        let mut table = Table::new("a scenario", parsed.get_ref(), 0..0);
        let version = table.required("version")?;
        if version.number(0..=u64::MAX)? != VERSION {
            return Err(version
                .mistake(format!("this kjvm reads version {VERSION} of the language"))
                .help("a newer scenario needs a newer kjvm"));
        }
        let about = table.optional("about").map_or(Ok(""), |value| value.string())?.to_owned();
        let machine = match table.optional("machine") {
            Some(value) => MachineSpec::read(value.table("[machine]")?, &MachineSpec::default())?,
            None => MachineSpec::default(),
        };
        let kernel = KernelSpec::read(table.required("kernel")?.table("[kernel]")?)?;
        let disks = match table.optional("disk") {
            Some(value) => DiskSpec::read_all(value)?,
            None => Vec::new(),
        };
        let workloads = match table.optional("workloads") {
            Some(value) => {
                let words = Workload::ALL.map(|workload| (workload.name(), workload));
                value.list()?.map(|word| word.word("workload", &words)).collect::<Result<_, _>>()?
            }
            None => Workload::ALL.to_vec(),
        };
        let cycles =
            table.optional("cycles").map_or(Ok(CYCLES.into()), |value| value.number(1..=1000))? as u32;
        let steps = table.required("steps")?;
        let steps = steps
            .list()?
            .map(|step| StepSpec::read(step, &machine, &disks))
            .collect::<Result<Vec<_>, _>>()?;
        let power = match table.optional("power") {
            Some(value) => {
                value.list()?.map(|rule| PowerRule::read(rule, &disks)).collect::<Result<_, _>>()?
            }
            None => Vec::new(),
        };
        let allow = match table.optional("allow") {
            Some(value) => value.list()?.map(allowed).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let must_fail = match table.optional("must-fail") {
            Some(value) => value.list()?.map(clause).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        // Read where there is more than one scenario to be made of the text.
        table.optional("matrix");
        table.end()?;
        let scenario =
            Self { about, machine, kernel, disks, workloads, cycles, steps, power, allow, must_fail };
        scenario.has_what_it_needs()?;
        Ok(scenario)
    }

    /// The first partition of a kind: number of the disk from 0, number of the partition from 1.
    pub fn partition(&self, what: Use) -> Option<(usize, u32)> {
        self.disks.iter().enumerate().find_map(|(disk, spec)| {
            let at = spec.partitions.iter().position(|partition| partition.what == what)?;
            Some((disk, at as u32 + 1))
        })
    }

    /// The first swap file: number of the disk from 0, number of its partition from 1, and its size in MiB.
    pub fn swap_file(&self) -> Option<(usize, u32, u32)> {
        self.disks.iter().enumerate().find_map(|(disk, spec)| {
            spec.partitions
                .iter()
                .zip(1..)
                .find_map(|(partition, number)| partition.swap_file.map(|mib| (disk, number, mib)))
        })
    }

    /// How A would come back if the power went in this step: as the last step from here back says that saves a session.
    pub fn back(&self, place: &Range<usize>) -> Option<Back> {
        let before = self.steps.iter().take_while(|spec| spec.place.start < place.start);
        before.filter_map(|spec| spec.step.back()).last()
    }

    /// Steps that need something the scenario does not have.
    fn has_what_it_needs(&self) -> Result<(), Mistake> {
        for StepSpec { step, place, .. } in &self.steps {
            if step.needs_saver() && self.kernel.saver.is_none() {
                return Err(Mistake::new(place.clone(), format!("`{}` needs a saver", step.name()))
                    .help("name it: `saver = \"saver-6.12\"` under [kernel]"));
            }
            if let Some(what) = step.needs_partition()
                && self.partition(what).is_none()
                && !(what == Use::Swap && self.swap_file().is_some())
            {
                let what = what.name();
                return Err(Mistake::new(
                    place.clone(),
                    format!("`{}` needs a partition for it", step.name()),
                )
                .help(format!("give a [[disk]] one with `use = \"{what}\"`")));
            }
        }
        Ok(())
    }
}

/// A text of the kernel log, or with the reason why it is none to worry about.
fn allowed(value: Value<'_>) -> Result<String, Mistake> {
    if value.is_string() {
        return value.text().map(str::to_owned);
    }
    let mut table = value.table("what is allowed")?;
    let says = table.required("says")?.text()?.to_owned();
    table.required("because")?.text()?;
    table.end()?;
    Ok(says)
}

fn clause(value: Value<'_>) -> Result<Clause, Mistake> {
    let id = value.string()?;
    Clause::named(id).ok_or_else(|| {
        let ids: Vec<&str> = Clause::ALL.iter().map(|clause| clause.id()).collect();
        Mistake::unknown(value.place(), "clause", id, &ids)
    })
}

#[cfg(test)]
mod tests;
