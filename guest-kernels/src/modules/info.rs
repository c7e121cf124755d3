//! What a module says of itself: the `.modinfo` section, `key=value` strings ended by NUL.

use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader};

/// The part of `.modinfo` that says what must be loaded before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Names of modules whose symbols it uses.
    pub depends: Vec<String>,
    /// Names or aliases of modules that should be loaded before, if they are there (`softdep=pre:`).
    pub before: Vec<String>,
    /// Names it can be asked for by, such as `crypto-crc32c`.
    pub aliases: Vec<String>,
}

impl ModuleInfo {
    /// Reads the section out of a module.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn parse(module: &[u8]) -> Result<Self, String> {
        let why = |error: object::read::Error| error.to_string();
        let header = FileHeader64::<Endianness>::parse(module).map_err(why)?;
        let endian = header.endian().map_err(why)?;
        let sections = header.sections(endian, module).map_err(why)?;
        let (_, section) =
            sections.section_by_name(endian, b".modinfo").ok_or("it has no .modinfo section")?;
        Ok(Self::of_strings(section.data(endian, module).map_err(why)?, Some))
    }

    /// Reads strings of which `key` picks and shortens those wanted.
    pub(super) fn of_strings<'a>(strings: &'a [u8], key: impl Fn(&'a str) -> Option<&'a str>) -> Self {
        let mut info = Self::default();
        for string in strings.split(|byte| *byte == 0).filter_map(|string| std::str::from_utf8(string).ok()) {
            let Some((name, value)) = string.split_once('=') else { continue };
            match key(name) {
                Some("depends") => {
                    info.depends.extend(value.split(',').filter(|name| !name.is_empty()).map(normal));
                }
                Some("softdep") => {
                    let before = value.split("post:").next().unwrap_or_default();
                    let before = before.split_once("pre:").map_or("", |(_, names)| names);
                    info.before.extend(before.split_whitespace().map(str::to_owned));
                }
                Some("alias") => info.aliases.push(value.to_owned()),
                _ => {}
            }
        }
        info
    }
}

/// A module's name as the kernel has it: files and dependencies also spell it with `-`.
pub(super) fn normal(name: &str) -> String {
    name.replace('-', "_")
}
