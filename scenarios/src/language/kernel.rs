//! `[kernel]`, and what a single boot has of its own.

use std::path::PathBuf;

use super::reader::Table;
use super::{MachineSpec, Mistake};

/// Which kernels: names of the catalogue, files, or names of builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSpec {
    /// A.
    pub primary: String,
    /// B, and C.
    pub saver: Option<String>,
    /// More for A's command line.
    pub arguments: String,
    /// More for the command lines of B and C.
    pub saver_arguments: String,
    /// A leaves the saver's region alone from the start; otherwise what it has there is swapped out in the jump.
    pub reserves_region: bool,
    /// Kernels to be compiled.
    pub builds: Vec<BuildSpec>,
}

/// A kernel to be compiled, from the distribution's sources or others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuildSpec {
    /// Its name.
    pub name: String,
    /// Directory or tar archive. None: the distribution's, which the name says.
    pub source: Option<PathBuf>,
    /// Configuration: a fragment or a whole one. None: as the name says, `primary-...` or `saver-...`.
    pub config: Option<PathBuf>,
}

/// What boots, where it differs from what the scenario says of all boots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootSpec {
    /// Another kernel.
    pub kernel: Option<String>,
    /// More for its command line.
    pub arguments: String,
    /// Another machine.
    pub machine: Option<MachineSpec>,
}

impl KernelSpec {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, Mistake> {
        let primary = table.required("primary")?.text()?.to_owned();
        let saver = table.optional("saver").map(|value| value.text().map(str::to_owned)).transpose()?;
        let arguments = table.optional("arguments").map_or(Ok(""), |value| value.string())?.to_owned();
        let saver_arguments =
            table.optional("saver-arguments").map_or(Ok(""), |value| value.string())?.to_owned();
        let words = [("reserved", true), ("swapped", false)];
        let reserves_region = table
            .optional("saver-region")
            .map_or(Ok(true), |value| value.word("use of the saver's region", &words))?;
        let mut builds: Vec<BuildSpec> = Vec::new();
        if let Some(list) = table.optional("builds") {
            for value in list.list()? {
                let build = BuildSpec::read(value.table("a build")?)?;
                if builds.iter().any(|other| other.name == build.name) {
                    return Err(value.mistake(format!("there are two builds named `{}`", build.name)));
                }
                builds.push(build);
            }
        }
        table.end()?;
        Ok(Self { primary, saver, arguments, saver_arguments, reserves_region, builds })
    }
}

impl BuildSpec {
    fn read(mut table: Table<'_>) -> Result<Self, Mistake> {
        let name = table.required("name")?;
        let text = name.text()?.to_owned();
        if text.contains('/') {
            return Err(name.mistake("the name of a build is no path"));
        }
        let mut path = |key| table.optional(key).map(|value| value.text().map(PathBuf::from)).transpose();
        let (source, config) = (path("source")?, path("config")?);
        table.end()?;
        Ok(Self { name: text, source, config })
    }
}

impl BootSpec {
    pub(super) fn read(table: &mut Table<'_>, machine: &MachineSpec) -> Result<Self, Mistake> {
        let kernel = table.optional("kernel").map(|value| value.text().map(str::to_owned)).transpose()?;
        let arguments = table.optional("arguments").map_or(Ok(""), |value| value.string())?.to_owned();
        let machine = match table.optional("machine") {
            Some(value) => Some(MachineSpec::read(value.table("a machine")?, machine)?),
            None => None,
        };
        Ok(Self { kernel, arguments, machine })
    }
}
