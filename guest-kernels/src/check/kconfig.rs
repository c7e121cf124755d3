//! A kernel's configuration as it was compiled: the `.config` format.

use std::collections::BTreeMap;

/// A configuration, by symbol without `CONFIG_`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelConfig {
    symbols: BTreeMap<String, String>,
    /// Of its first lines: `Linux/x86 6.1.192 Kernel Configuration`.
    version: Option<String>,
}

/// How a symbol is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting<'a> {
    /// Not set, or unknown to that version.
    No,
    /// `m`.
    Module,
    /// `y`.
    Yes,
    /// A number or a text.
    Value(&'a str),
}

impl KernelConfig {
    /// Reads a configuration. `None` if the text is none: without a single symbol that every kernel for x86 has.
    pub fn parse(text: &str) -> Option<Self> {
        let mut config = Self::default();
        for line in text.lines().map(str::trim) {
            if let Some((symbol, value)) = line.strip_prefix("CONFIG_").and_then(|line| line.split_once('='))
            {
                config.symbols.insert(symbol.to_owned(), value.trim_matches('"').to_owned());
            } else if let Some(title) = line.strip_prefix("# Linux/") {
                config.version = title.split_whitespace().nth(1).map(str::to_owned);
            }
        }
        config.symbols.contains_key("X86").then_some(config)
    }

    /// How a symbol is set, given without `CONFIG_`.
    pub fn get(&self, symbol: &str) -> Setting<'_> {
        match self.symbols.get(symbol).map(String::as_str) {
            None | Some("n") => Setting::No,
            Some("m") => Setting::Module,
            Some("y") => Setting::Yes,
            Some(value) => Setting::Value(value),
        }
    }

    /// The kernel version it was made for, as far as it says: `6.1.192`.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

impl Setting<'_> {
    /// As shown to people.
    pub fn shown(self) -> String {
        match self {
            Self::No => "not set".to_owned(),
            Self::Module => "m".to_owned(),
            Self::Yes => "y".to_owned(),
            Self::Value(value) => value.to_owned(),
        }
    }
}
