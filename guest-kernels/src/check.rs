//! What a kernel can do, and which setting it lacks for the rest: read from its configuration, never guessed.

mod ability;
mod kconfig;
mod needs;
mod source;
mod text;

pub use ability::{Ability, Need, Want};
pub use kconfig::{KernelConfig, Setting};
pub use source::{CheckError, ConfigSource, KernelFacts, check};

use serde::{Deserialize, Serialize};

/// What was found about a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The kernel itself; `None` if only a configuration was given.
    pub kernel: Option<KernelFacts>,
    /// Where its configuration comes from.
    pub config: ConfigSource,
    /// One for each [`Ability`], in their order.
    pub verdicts: Vec<Verdict>,
}

/// Whether a kernel can do one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The thing.
    pub ability: Ability,
    /// Whether it can.
    pub able: bool,
    /// Modules the agent must load first; none if all is built in.
    pub modules: Vec<String>,
    /// Settings it lacks.
    pub missing: Vec<Missing>,
    /// Abilities it builds on that are lacking themselves. Of disks, one is enough.
    pub unmet: Vec<Ability>,
}

/// A setting that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// As it must be: `CONFIG_KEXEC_JUMP=y`.
    pub wanted: String,
    /// As it is: `not set`, `m`, `1`.
    pub found: String,
    /// What for.
    pub why: String,
}

impl Report {
    /// Judges a configuration.
    pub fn new(kernel: Option<KernelFacts>, source: ConfigSource, config: &KernelConfig) -> Self {
        let mut verdicts: Vec<Verdict> = Vec::new();
        // An ability builds on earlier ones only, so theirs are decided.
        for ability in Ability::ALL {
            let verdict = judge(ability, config, &verdicts);
            verdicts.push(verdict);
        }
        Self { kernel, config: source, verdicts }
    }

    /// The verdict on one ability.
    pub fn verdict(&self, ability: Ability) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.ability == ability)
    }

    /// Whether the kernel can do it.
    pub fn is_able(&self, ability: Ability) -> bool {
        self.verdict(ability).is_some_and(|verdict| verdict.able)
    }

    /// Why the kernel cannot do it, in one sentence, for what is skipped. `None` if it can.
    pub fn reason(&self, ability: Ability) -> Option<String> {
        let verdict = self.verdict(ability).filter(|verdict| !verdict.able)?;
        let mut lacks: Vec<&str> = verdict.missing.iter().map(|missing| missing.wanted.as_str()).collect();
        let mut pending = verdict.unmet.clone();
        while let Some(unmet) = pending.pop() {
            let below = self.verdict(unmet)?;
            lacks.extend(below.missing.iter().map(|missing| missing.wanted.as_str()));
            pending.extend(&below.unmet);
        }
        lacks.sort_unstable();
        lacks.dedup();
        Some(format!("{} needs {}", ability.name(), lacks.join(", ")))
    }
}

fn judge(ability: Ability, config: &KernelConfig, earlier: &[Verdict]) -> Verdict {
    let verdict_on = |other: Ability| earlier.iter().find(|verdict| verdict.ability == other);
    let able = |other: Ability| verdict_on(other).is_some_and(|verdict| verdict.able);
    let mut modules: Vec<String> = Vec::new();
    let mut missing = Vec::new();
    for need in ability.needs() {
        match need.want.hold(config) {
            Ok(None) => {}
            Ok(Some(module)) => modules.push(module.to_owned()),
            Err((wanted, found)) => missing.push(Missing { wanted, found, why: need.why.to_owned() }),
        }
    }
    let mut unmet: Vec<Ability> = ability.builds_on().iter().copied().filter(|other| !able(*other)).collect();
    let choice = ability.one_of();
    if !choice.is_empty() && !choice.iter().any(|other| able(*other)) {
        unmet.extend(choice);
    }
    for below in ability.builds_on().iter().filter_map(|other| verdict_on(*other)) {
        modules.extend(below.modules.iter().cloned());
    }
    modules.sort();
    modules.dedup();
    Verdict { ability, able: missing.is_empty() && unmet.is_empty(), modules, missing, unmet }
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
