//! All that some modules need, in load order. A package has no `modules.dep`: it is computed where a kernel is installed.

use std::collections::BTreeSet;

use super::{Index, Module, ModuleError, ModuleTree};

/// What [`close`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closure {
    /// Every module needed, dependencies first.
    pub modules: Vec<Module>,
    /// Of those wanted: built into the kernel.
    pub built_in: Vec<String>,
    /// Of those wanted: not there at all.
    pub absent: Vec<String>,
}

impl From<Closure> for Index {
    fn from(closure: Closure) -> Self {
        Index { modules: closure.modules, built_in: closure.built_in, absent: closure.absent }
    }
}

/// Finds what must be loaded for the modules wanted, as modprobe would.
///
/// # Errors
/// If a module cannot be read, or needs one that is nowhere.
pub fn close(tree: &ModuleTree, wanted: &[&str]) -> Result<Closure, ModuleError> {
    let mut walk = Walk { tree, done: BTreeSet::new(), path: Vec::new(), modules: Vec::new() };
    let mut closure = Closure::default();
    for name in wanted {
        if tree.has(name) {
            walk.visit(&super::info::normal(name))?;
        } else if tree.is_built_in(name) {
            closure.built_in.push((*name).to_owned());
        } else {
            closure.absent.push((*name).to_owned());
        }
    }
    closure.modules = walk.modules;
    Ok(closure)
}

struct Walk<'a> {
    tree: &'a ModuleTree,
    done: BTreeSet<String>,
    /// From a module wanted down to the one being visited.
    path: Vec<String>,
    modules: Vec<Module>,
}

impl Walk<'_> {
    fn visit(&mut self, name: &str) -> Result<(), ModuleError> {
        if self.done.contains(name) {
            return Ok(());
        }
        if let Some(start) = self.path.iter().position(|visited| visited == name) {
            let circle = self.path.iter().skip(start).cloned().chain([name.to_owned()]).collect();
            return Err(ModuleError::Circle(circle));
        }
        self.path.push(name.to_owned());
        let needs = self.needs(name)?;
        for needed in &needs {
            self.visit(needed)?;
        }
        self.path.pop();
        self.done.insert(name.to_owned());
        self.modules.push(Module { name: name.to_owned(), needs });
        Ok(())
    }

    fn needs(&self, name: &str) -> Result<Vec<String>, ModuleError> {
        let info = self.tree.info(name)?;
        let mut needs = Vec::new();
        for before in &info.before {
            if self.tree.has(before) {
                needs.push(super::info::normal(before));
                continue;
            }
            // All that go by the alias, as modprobe does; the fastest is chosen by the kernel. None is no error: a wish.
            let providers = self.tree.by_alias(before)?;
            if providers.is_empty() && !self.tree.is_built_in(before) {
                tracing::debug!(module = name, wish = before, "nothing provides what the module would like");
            }
            // A provider that itself is being visited is on its way already.
            needs.extend(providers.into_iter().filter(|provider| !self.path.contains(provider)));
        }
        for depends in info.depends {
            if self.tree.has(&depends) {
                needs.push(depends);
            } else if !self.tree.is_built_in(&depends) {
                return Err(ModuleError::MissingDependency { needed_by: name.to_owned(), name: depends });
            }
        }
        let mut seen = BTreeSet::new();
        needs.retain(|needed| seen.insert(needed.clone()));
        Ok(needs)
    }
}
