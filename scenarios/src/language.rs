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

mod disk;
mod expected;
mod machine;
mod mistake;
mod power;
mod reader;
mod step;

use toml::de::DeTable;
use toml_edit::DocumentMut;

pub use disk::{DiskSpec, PartitionSpec, Use};
pub use expected::{Known, read as read_expected};
pub use machine::{KernelSpec, MachineSpec};
pub use mistake::{Mistake, nearest};
pub use power::{Cut, Survives, When};
pub use step::{AfterImage, Step, StepSpec, Wake};

use agent_protocol::message::Workload;
use reader::Table;

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
    pub power: Vec<Cut>,
    /// Texts of the kernel log that are no failure here, though they would be one elsewhere.
    pub allow: Vec<String>,
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
        overridden(text, overrides).map_err(|mistake| (mistake, text.to_owned()))
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
            Some(value) => MachineSpec::read(value.table("[machine]")?)?,
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
        let steps = steps.list()?.map(StepSpec::read).collect::<Result<Vec<_>, _>>()?;
        let power = match table.optional("power") {
            Some(value) => value.list()?.map(|rule| Cut::read(rule, &disks)).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let allow = match table.optional("allow") {
            Some(value) => {
                value.list()?.map(|text| text.text().map(str::to_owned)).collect::<Result<_, _>>()?
            }
            None => Vec::new(),
        };
        table.end()?;
        let scenario = Self { about, machine, kernel, disks, workloads, cycles, steps, power, allow };
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

    /// Steps that need something the scenario does not have.
    fn has_what_it_needs(&self) -> Result<(), Mistake> {
        for StepSpec { step, place } in &self.steps {
            if step.needs_saver() && self.kernel.saver.is_none() {
                return Err(Mistake::new(place.clone(), format!("`{}` needs a saver", step.name()))
                    .help("name it: `saver = \"saver-6.12\"` under [kernel]"));
            }
            if let Some(what) = step.needs_partition()
                && self.partition(what).is_none()
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

fn overridden(text: &str, overrides: &[String]) -> Result<String, Mistake> {
    if overrides.is_empty() {
        return Ok(text.to_owned());
    }
    let mut document = text.parse::<DocumentMut>().map_err(|error| {
        Mistake::new(error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()))
    })?;
    for assignment in overrides {
        let wrong = |why: &str| Mistake::new(0..0, format!("--set {assignment}: {why}"));
        let (path, value) = assignment.split_once('=').ok_or_else(|| wrong("it should be key=value"))?;
        // What is no TOML is a string: `--set kernel.primary=./bzImage` needs no quotes.
        let value = value.parse::<toml_edit::Value>().unwrap_or_else(|_| value.into());
        let mut keys: Vec<&str> = path.trim().split('.').collect();
        let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(|| wrong("the key is empty"))?;
        let mut table = document.as_table_mut();
        for key in keys {
            table = table
                .entry(key)
                .or_insert(toml_edit::table())
                .as_table_mut()
                .ok_or_else(|| wrong(&format!("`{key}` is no table")))?;
        }
        table[last] = toml_edit::value(value);
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests;
