//! The kernels that have a name, and what each is for.

use std::borrow::Cow;

use thiserror::Error;

use crate::config::Fragment;
use crate::patch::Patch;

/// A kernel that can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Such as `primary-6.12`.
    pub name: &'static str,
    /// How it is obtained.
    pub recipe: Recipe,
    /// What it is for, in one line.
    pub purpose: &'static str,
}

/// How a kernel is obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipe {
    /// Compiled here, from the distribution's source package of that name.
    Build {
        /// What to put into it.
        variant: Variant,
        /// The source package.
        package: &'static str,
        /// What to change in it first; nothing for all but the twins.
        fixes: &'static [Fix],
    },
    /// Compiled by the distribution; the package may be one that merely depends on the newest.
    Stock {
        /// The package.
        package: &'static str,
    },
}

/// What a kernel is configured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// A, the kernel that sleeps.
    Primary,
    /// B and C, which save and restore A.
    Saver,
}

/// A change of ours to a kernel's sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fix {
    /// The file in `fixtures/`.
    pub name: &'static str,
    text: &'static str,
}

impl Fix {
    /// The diff.
    pub fn patch(self) -> Patch {
        Patch { name: self.name.to_owned(), text: Cow::Borrowed(self.text.as_bytes()) }
    }
}

/// Hibernation writes and flushes in an order that survives a power cut, as far as the swap device is concerned.
const SWSUSP_ORDER: Fix =
    Fix { name: "swsusp-order.patch", text: include_str!("../fixtures/swsusp-order.patch") };

/// Hibernation flushes the other disks too.
const SWSUSP_OTHER_DISKS: Fix =
    Fix { name: "swsusp-other-disks.patch", text: include_str!("../fixtures/swsusp-other-disks.patch") };

const fn built(name: &'static str, variant: Variant, package: &'static str, purpose: &'static str) -> Known {
    Known { name, recipe: Recipe::Build { variant, package, fixes: &[] }, purpose }
}

/// A primary kernel as it would be with our fixes: what exploration finds in the one, it must not find in the other.
const fn twin(
    name: &'static str,
    package: &'static str,
    fixes: &'static [Fix],
    purpose: &'static str,
) -> Known {
    Known { name, recipe: Recipe::Build { variant: Variant::Primary, package, fixes }, purpose }
}

const fn stock(name: &'static str, package: &'static str, purpose: &'static str) -> Known {
    Known { name, recipe: Recipe::Stock { package }, purpose }
}

/// Every kernel that has a name.
pub const CATALOGUE: [Known; 10] = [
    built("primary-6.12", Variant::Primary, "linux-source-6.12", "A: sleeps, in every way that Linux has"),
    built(
        "saver-6.12",
        Variant::Saver,
        "linux-source-6.12",
        "B and C: save and restore A; little hardware, boots fast",
    ),
    built("primary-6.1", Variant::Primary, "linux-source-6.1", "A, older"),
    built("saver-6.1", Variant::Saver, "linux-source-6.1", "B and C, older"),
    twin(
        "fixed-6.12",
        "linux-source-6.12",
        &[SWSUSP_ORDER],
        "primary-6.12 with our fix of hibernation's order",
    ),
    twin(
        "fixed-disks-6.12",
        "linux-source-6.12",
        &[SWSUSP_ORDER, SWSUSP_OTHER_DISKS],
        "fixed-6.12 that flushes every other disk as well",
    ),
    stock("stock-6.12", "linux-image-6.12-amd64", "the distribution's backport: all but the kexec jump"),
    stock("stock-6.1", "linux-image-amd64", "the distribution's kernel: all but the kexec jump"),
    stock("stock-6.12-cloud", "linux-image-6.12-cloud-amd64", "the backport for cloud machines"),
    stock("stock-6.1-cloud", "linux-image-cloud-amd64", "the distribution's kernel for cloud machines"),
];

/// A name that no kernel has.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no kernel is named `{name}`{} All are listed by `kjvm kernels list`.", did_you_mean(.nearest))]
pub struct UnknownKernel {
    /// What was asked for.
    pub name: String,
    /// The names most like it, the best first; none if nothing is like it.
    pub nearest: Vec<String>,
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest.split_last() {
        None => ".".to_owned(),
        Some((last, [])) => format!(": did you mean `{last}`?"),
        Some((last, others)) => format!(": did you mean `{}` or `{last}`?", others.join("`, `")),
    }
}

/// The kernel of that name.
pub fn lookup(name: &str) -> Result<&'static Known, UnknownKernel> {
    CATALOGUE.iter().find(|known| known.name == name).ok_or_else(|| unknown(name, &[]))
}

/// The error for a name that neither the catalogue nor `others`, such as the names in a cache, have.
pub fn unknown(name: &str, others: &[String]) -> UnknownKernel {
    /// Below this, names have little more than a version in common.
    const LIKE: f64 = 0.6;
    let lower = name.to_lowercase();
    let names = CATALOGUE.iter().map(|known| known.name).chain(others.iter().map(String::as_str));
    let mut scored: Vec<(f64, &str)> = names
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&lower, candidate), candidate))
        .filter(|(score, candidate)| *score >= LIKE || (lower.len() > 2 && candidate.starts_with(&lower)))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.dedup_by_key(|(_, candidate)| *candidate);
    UnknownKernel {
        name: name.to_owned(),
        nearest: scored.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect(),
    }
}

macro_rules! fragments {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../configs/", $name)))),*]
    };
}

/// What A, B and C have in common.
const COMMON: &[(&str, &str)] = fragments![
    "boot.config",
    "processor.config",
    "system-calls.config",
    "pseudo-filesystems.config",
    "console.config",
    "clocks.config",
    "sleep.config",
    "disks.config",
];

const PRIMARY: &[(&str, &str)] =
    fragments!["ahci.config", "ext4.config", "diagnostics.config", "primary.config"];

const SAVER: &[(&str, &str)] = fragments!["saver.config"];

impl Variant {
    /// The variant that a name begins with: `primary-mine` is a primary.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.split_once('-').map_or(name, |(first, _)| first) {
            "primary" => Some(Self::Primary),
            "saver" => Some(Self::Saver),
            _ => None,
        }
    }

    /// Its configuration.
    pub fn fragments(self) -> Vec<Fragment> {
        let own = match self {
            Self::Primary => PRIMARY,
            Self::Saver => SAVER,
        };
        let fragment =
            |&(name, text): &(&str, &str)| Fragment { name: name.to_owned(), text: text.to_owned() };
        COMMON.iter().chain(own).map(fragment).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;

    #[test]
    fn every_name_is_found_and_fit_for_a_directory() {
        for known in &CATALOGUE {
            assert_eq!(lookup(known.name), Ok(known));
            crate::cache::check_name(known.name).unwrap();
            if let Recipe::Build { variant, fixes, .. } = known.recipe {
                let named = Variant::of_name(known.name);
                assert_eq!(named, if fixes.is_empty() { Some(variant) } else { None }, "{}", known.name);
            }
        }
    }

    #[test]
    fn the_nearest_names_are_offered() {
        let message = |name| lookup(name).unwrap_err().to_string();
        insta::assert_snapshot!(message("primry-6.12"), @"no kernel is named `primry-6.12`: did you mean `primary-6.12` or `primary-6.1`? All are listed by `kjvm kernels list`.");
        insta::assert_snapshot!(message("Saver"), @"no kernel is named `Saver`: did you mean `saver-6.1` or `saver-6.12`? All are listed by `kjvm kernels list`.");
        insta::assert_snapshot!(message("zzz"), @"no kernel is named `zzz`. All are listed by `kjvm kernels list`.");
    }

    #[test]
    fn the_fragments_agree_with_each_other() {
        for variant in [Variant::Primary, Variant::Saver] {
            let merged = Configuration::merge(&variant.fragments()).unwrap().text();
            assert!(
                merged.contains("CONFIG_KEXEC_JUMP=y")
                    && merged.contains("# CONFIG_STRICT_DEVMEM is not set")
            );
        }
    }

    #[test]
    fn the_saver_is_linked_where_the_region_is() {
        let merged = Configuration::merge(&Variant::Saver.fragments()).unwrap().text();
        let start = agent_protocol::layout::SAVER_REGION.start;
        assert!(merged.contains(&format!("CONFIG_PHYSICAL_START={start:#x}\n")));
    }
}
