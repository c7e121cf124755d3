//! Kernel configurations: small fragments, merged, laid on `allnoconfig`, and held to their word.
//!
//! A fragment is written like a `.config`. A line that need not hold in every kernel version ends in `# optional: REASON`;
//! any other line that does not hold in the configuration that Kconfig makes of it is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use thiserror::Error;

use crate::manifest::{PieceRecord, sha256_of};

/// A named piece of configuration, one concern each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Its name, or the path it was read from.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What one line of a fragment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// With its prefix `CONFIG_`.
    pub symbol: String,
    /// What stands after `=`; `None` for `is not set`.
    pub value: Option<String>,
    /// Why it need not hold in every version.
    pub optional: Option<String>,
    /// `fragment:line`, for messages.
    pub place: String,
}

/// Fragments, put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    settings: BTreeMap<String, Setting>,
    /// The fragments it was made from.
    pub fragments: Vec<PieceRecord>,
}

/// What is wrong with a configuration.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A line that is neither setting nor comment.
    #[error(
        "{place}: `{line}` is not a line of a kernel configuration (CONFIG_X=y, # CONFIG_X is not set, or a comment)"
    )]
    Line {
        /// `fragment:line`.
        place: String,
        /// The line.
        line: String,
    },
    /// Two fragments want different things.
    #[error("{symbol} is {first}, but {second}: take one of them out")]
    Contradiction {
        /// The symbol.
        symbol: String,
        /// What the first wants, and where.
        first: String,
        /// What the second wants, and where.
        second: String,
    },
    /// Lines that Kconfig did not follow.
    #[error("the kernel's configuration does not hold what was asked:\n{}", .0.join("\n"))]
    NotHeld(
        /// One sentence for each, naming symbol, fragment and line.
        Vec<String>,
    ),
}

impl Configuration {
    /// Puts fragments together; no two may contradict each other.
    pub fn merge(fragments: &[Fragment]) -> Result<Self, ConfigError> {
        let mut settings: BTreeMap<String, Setting> = BTreeMap::new();
        for setting in fragments.iter().map(parse).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            if let Some(first) = settings.get(&setting.symbol)
                && first.value != setting.value
            {
                let wish = |one: &Setting| format!("{} at {}", shown(one.value.as_deref()), one.place);
                let (first, second) = (wish(first), wish(&setting));
                return Err(ConfigError::Contradiction { symbol: setting.symbol, first, second });
            }
            settings.entry(setting.symbol.clone()).or_insert(setting);
        }
        let record = |fragment: &Fragment| PieceRecord {
            name: fragment.name.clone(),
            sha256: sha256_of(fragment.text.as_bytes()),
        };
        Ok(Self { settings, fragments: fragments.iter().map(record).collect() })
    }

    /// As Kconfig reads it (`KCONFIG_ALLCONFIG`), in order of the symbols: the same for the same settings, whatever is
    /// said about them in comments.
    pub fn text(&self) -> String {
        self.settings.values().fold(String::new(), |mut text, setting| {
            let _ = match &setting.value {
                Some(value) => writeln!(text, "{}={value}", setting.symbol),
                None => writeln!(text, "# {} is not set", setting.symbol),
            };
            text
        })
    }

    /// Whether what Kconfig made of it holds what was asked. `known` are the symbols of this kernel version: one that does
    /// not exist is off, which is what was wanted, or a typing error, which was not.
    pub fn verify(&self, made: &str, known: &BTreeSet<String>) -> Result<(), ConfigError> {
        let made = values(made);
        let wrong = |setting: &&Setting| {
            let exists = known.contains(setting.symbol.trim_start_matches("CONFIG_"));
            let holds = made.get(setting.symbol.as_str()).copied() == setting.value.as_deref();
            setting.optional.is_none() && !(exists && holds)
        };
        let explain = |setting: &Setting| {
            let Setting { symbol, place, .. } = setting;
            let wanted = shown(setting.value.as_deref());
            if known.contains(symbol.trim_start_matches("CONFIG_")) {
                let found = shown(made.get(symbol.as_str()).copied());
                format!(
                    "  {place}: {symbol} should be {wanted} and is {found}: see its dependencies in the kernel's Kconfig"
                )
            } else {
                format!(
                    "  {place}: {symbol} does not exist in this kernel: correct it, or end the line in `# optional: REASON`"
                )
            }
        };
        let wrong: Vec<String> = self.settings.values().filter(wrong).map(explain).collect();
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::NotHeld(wrong)) }
    }
}

/// Whether this is a whole `.config` as Kconfig writes it, rather than a fragment.
pub fn is_complete(text: &str) -> bool {
    text.lines().take(3).any(|line| line.contains("Automatically generated file; DO NOT EDIT"))
}

/// What is set in a `.config`, by symbol.
pub fn values(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter(|line| line.starts_with("CONFIG_")).filter_map(|line| line.split_once('=')).collect()
}

fn parse(fragment: &Fragment) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for (number, line) in fragment.text.lines().enumerate() {
        let place = format!("{}:{}", fragment.name, number + 1);
        let wrong = || ConfigError::Line { place: place.clone(), line: line.to_owned() };
        let (head, optional) = match line.split_once("# optional:") {
            Some((head, reason)) => (head.trim(), Some(reason.trim().to_owned())),
            None => (line.trim(), None),
        };
        let (symbol, value) = if let Some(name) =
            head.strip_prefix("# ").and_then(|it| it.strip_suffix(" is not set"))
            && !name.contains(' ')
        {
            (name, None)
        } else if head.is_empty() || head.starts_with('#') {
            continue;
        } else {
            let (symbol, value) = head.split_once('=').ok_or_else(wrong)?;
            // Kconfig writes the one as the other.
            (symbol, (value != "n").then(|| value.to_owned()))
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let good = symbol.strip_prefix("CONFIG_").is_some_and(|it| !it.is_empty() && it.chars().all(plain))
            && value.as_deref() != Some("")
            && optional.as_deref() != Some("");
        if !good {
            return Err(wrong());
        }
        settings.push(Setting { symbol: symbol.to_owned(), value, optional, place });
    }
    Ok(settings)
}

fn shown(value: Option<&str>) -> String {
    value.unwrap_or("not set").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(name: &str, text: &str) -> Fragment {
        Fragment { name: name.into(), text: text.into() }
    }

    fn known(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn fragments_are_merged_and_comments_left_out() {
        let merged = Configuration::merge(&[
            fragment(
                "one.config",
                "# Why.\nCONFIG_SMP=y\n\n# CONFIG_NET is not set\nCONFIG_NAME=\"a # b\"\n",
            ),
            fragment(
                "two.config",
                "CONFIG_SMP=y\nCONFIG_NR_CPUS=8\nCONFIG_VT=n\nCONFIG_X=y # optional: since 6.2\n",
            ),
        ])
        .unwrap();
        insta::assert_snapshot!(merged.text(), @r#"
        CONFIG_NAME="a # b"
        # CONFIG_NET is not set
        CONFIG_NR_CPUS=8
        CONFIG_SMP=y
        # CONFIG_VT is not set
        CONFIG_X=y
        "#);
        assert_eq!(merged.fragments.len(), 2);
    }

    #[test]
    fn what_does_not_hold_is_named_with_its_place() {
        let merged = Configuration::merge(&[fragment(
            "a.config",
            "CONFIG_HELD=y\nCONFIG_DROPPED=y\n# CONFIG_FORCED is not set\nCONFIG_TYPPO=y\n# CONFIG_GONE is not set\n\
             CONFIG_NEW=y # optional: since 6.2\nCONFIG_NUMBER=8\n",
        )])
        .unwrap();
        let made = "CONFIG_HELD=y\n# CONFIG_DROPPED is not set\nCONFIG_FORCED=y\nCONFIG_NUMBER=4\n";
        let error = merged.verify(made, &known(&["HELD", "DROPPED", "FORCED", "NUMBER"])).unwrap_err();
        insta::assert_snapshot!(error, @r"
        the kernel's configuration does not hold what was asked:
          a.config:2: CONFIG_DROPPED should be y and is not set: see its dependencies in the kernel's Kconfig
          a.config:3: CONFIG_FORCED should be not set and is y: see its dependencies in the kernel's Kconfig
          a.config:5: CONFIG_GONE does not exist in this kernel: correct it, or end the line in `# optional: REASON`
          a.config:7: CONFIG_NUMBER should be 8 and is 4: see its dependencies in the kernel's Kconfig
          a.config:4: CONFIG_TYPPO does not exist in this kernel: correct it, or end the line in `# optional: REASON`
        ");
    }

    #[test]
    fn what_holds_passes() {
        let merged = Configuration::merge(&[fragment("a", "CONFIG_A=y\n# CONFIG_B is not set\n")]).unwrap();
        merged.verify("CONFIG_A=y\n# CONFIG_B is not set\n", &known(&["A", "B"])).unwrap();
        merged.verify("CONFIG_A=y\n", &known(&["A", "B"])).unwrap();
    }

    #[test]
    fn contradictions_and_garbage_are_refused() {
        let error = Configuration::merge(&[fragment("a", "CONFIG_A=y\n"), fragment("b", "\nCONFIG_A=n\n")])
            .unwrap_err();
        insta::assert_snapshot!(error, @"CONFIG_A is y at a:1, but not set at b:2: take one of them out");
        for bad in ["CONFIG_A", "SMP=y", "CONFIG_=y", "CONFIG_A B=y", "CONFIG_A=", "CONFIG_A=y # optional:"] {
            let error = Configuration::merge(&[fragment("bad", bad)]).unwrap_err();
            assert!(matches!(error, ConfigError::Line { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn a_whole_configuration_is_told_from_a_fragment() {
        assert!(is_complete(
            "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.12 Kernel Configuration\n"
        ));
        assert!(!is_complete("# Mine.\nCONFIG_A=y\n"));
    }
}
