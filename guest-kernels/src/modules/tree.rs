//! The modules of a package, unpacked: `kernel/**/*.ko[.xz]`, `modules.builtin`, `modules.builtin.modinfo`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::info::{ModuleInfo, normal};
use super::{ModuleError, io_error};
use crate::compression::Compression;

/// Most bytes a module can have.
const MODULE_LIMIT: u64 = 256 << 20;

/// A directory of modules of one kernel, by name.
#[derive(Debug, Clone)]
pub struct ModuleTree {
    modules: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
    built_in_aliases: BTreeSet<String>,
}

impl ModuleTree {
    /// Looks through a directory `lib/modules/<release>`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(root: &Path) -> Result<Self, ModuleError> {
        let mut modules = BTreeMap::new();
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).map_err(io_error("list", &directory))? {
                let entry = entry.map_err(io_error("list", &directory))?;
                let path = entry.path();
                if entry.file_type().map_err(io_error("list", &path))?.is_dir() {
                    pending.push(path);
                } else if let Some(name) = module_name(&path) {
                    modules.insert(name, path);
                }
            }
        }
        let text = |name: &str| {
            let path = root.join(name);
            match fs::read(&path) {
                // A kernel without any built-in module.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                bytes => bytes.map_err(io_error("read", &path)),
            }
        };
        let built_in = String::from_utf8_lossy(&text("modules.builtin")?)
            .lines()
            .filter_map(|line| module_name(Path::new(line)))
            .collect();
        let strings = text("modules.builtin.modinfo")?;
        let info = ModuleInfo::of_strings(&strings, |key| key.split_once('.').map(|(_, key)| key));
        Ok(Self { modules, built_in, built_in_aliases: info.aliases.into_iter().collect() })
    }

    /// Whether the kernel has it built in, under that name or alias.
    pub fn is_built_in(&self, name: &str) -> bool {
        self.built_in.contains(&normal(name)) || self.built_in_aliases.contains(name)
    }

    /// Whether there is a module of that name.
    pub fn has(&self, name: &str) -> bool {
        self.modules.contains_key(&normal(name))
    }

    /// Modules that go by an alias. For algorithms (`crypto-*`) only those in software: accelerators need their hardware.
    ///
    /// # Errors
    /// If a module cannot be read.
    pub fn by_alias(&self, alias: &str) -> Result<Vec<String>, ModuleError> {
        let mut found = Vec::new();
        let crypto = alias.starts_with("crypto-");
        for (name, path) in &self.modules {
            let directory = path.to_string_lossy();
            if crypto && (!directory.contains("/crypto/") || directory.contains("/drivers/")) {
                continue;
            }
            if self.info(name)?.aliases.iter().any(|known| known == alias) {
                found.push(name.clone());
            }
        }
        Ok(found)
    }

    /// What a module says of itself.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn info(&self, name: &str) -> Result<ModuleInfo, ModuleError> {
        let bytes = self.read(name)?;
        ModuleInfo::parse(&bytes).map_err(|why| ModuleError::NotAModule { path: self.path(name), why })
    }

    /// A module, uncompressed. Its signature stays on.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, ModuleError> {
        let path = self.path(name);
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        match Compression::by_extension(&file) {
            Compression::None => Ok(bytes),
            compression => {
                compression.decompress(&bytes, MODULE_LIMIT).map_err(io_error("decompress", &path))
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.modules.get(&normal(name)).cloned().unwrap_or_else(|| PathBuf::from(name))
    }
}

/// `kernel/fs/ext4/ext4.ko.xz` is `ext4`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, rest) = file.split_once(".ko")?;
    (rest.is_empty() || rest.starts_with('.')).then(|| normal(name))
}
