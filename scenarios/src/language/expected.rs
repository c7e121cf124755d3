//! `expected.toml`: what is known to fail.

use std::ops::Range;

use toml::de::DeTable;

use super::reader::{Table, Value};
use super::{Mistake, VERSION};
use crate::checks::Clause;

/// A clause that is known to fail on a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub clause: Clause,
    /// Only failures of this class. None: any.
    pub class: Option<String>,
    /// Kernels A by name, at least one; `*` stands for anything.
    pub kernels: Vec<String>,
    /// BLAKE3 of images of that name on which the failure was seen, in hexadecimal.
    pub blake3: Vec<String>,
    /// Scenarios by name, with `*`. Empty: all.
    pub scenarios: Vec<String>,
    /// Why it fails.
    pub reason: String,
    /// In bytes of the text.
    pub place: Range<usize>,
}

/// Reads a table of what is known to fail. No text at all is an empty one.
///
/// # Errors
/// The first mistake.
pub fn read(text: &str) -> Result<Vec<Known>, Mistake> {
    let parsed = DeTable::parse(text).map_err(|error| {
        Mistake::new(error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()))
    })?;
    if parsed.get_ref().is_empty() {
        return Ok(Vec::new());
    }
    let mut table = Table::new("a table of expected failures", parsed.get_ref(), 0..0);
    let version = table.required("version")?;
    if version.number(0..=u64::MAX)? != VERSION {
        return Err(version.mistake(format!("this kjvm reads version {VERSION}")));
    }
    let known = match table.optional("expected") {
        Some(value) => value.list()?.map(Known::read).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    table.end()?;
    Ok(known)
}

impl Known {
    fn read(value: Value<'_>) -> Result<Self, Mistake> {
        let place = value.place();
        let mut table = value.table("an expected failure")?;
        let words: Vec<(&str, Clause)> = Clause::ALL.iter().map(|clause| (clause.id(), *clause)).collect();
        let clause = table.required("clause")?.word("clause", &words)?;
        let class = table.optional("class").map(|class| class.text().map(str::to_owned)).transpose()?;
        let kernel = table.required("kernel")?;
        let texts = |value: Option<Value<'_>>| match value {
            Some(list) => list.list()?.map(|text| text.text().map(str::to_owned)).collect(),
            None => Ok(Vec::new()),
        };
        let kernels = if kernel.is_string() { vec![kernel.text()?.to_owned()] } else { texts(Some(kernel))? };
        if kernels.is_empty() {
            return Err(kernel.mistake("`kernel` names none").help("`*` stands for any"));
        }
        let hashes = table.optional("blake3");
        let blake3 = texts(hashes)?;
        if let (Some(value), Some(wrong)) = (hashes, blake3.iter().find(|hash| !is_hash(hash))) {
            return Err(value
                .mistake(format!("`{wrong}` is no BLAKE3 hash"))
                .help("64 lower-case hexadecimal digits, as the report of a run has them"));
        }
        let scenarios = texts(table.optional("scenarios"))?;
        let reason = table.required("reason")?.text()?.to_owned();
        table.end()?;
        Ok(Self { clause, class, kernels, blake3, scenarios, reason, place })
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_mistakes_have_a_place() {
        let hash = "0".repeat(64);
        let text = format!(
            "version = 1\n[[expected]]\nclause = \"O5.C1\"\nkernel = \"primary-*\"\nblake3 = [\"{hash}\"]\nreason = \"no flush\""
        );
        let [known] = &read(&text).unwrap()[..] else { panic!("one entry") };
        assert_eq!((known.clause, known.class.as_deref()), (Clause::HeaderLast, None));
        assert_eq!(
            (&known.kernels[..], &known.blake3[..]),
            (&["primary-*".to_owned()][..], &[hash.clone()][..])
        );
        for (from, to, line, said) in [
            ("version = 1", "version = 2", 1, "version 1"),
            ("O5.C1", "O5.C9", 3, "unknown clause `O5.C9`"),
            ("kernel", "kernels", 2, "needs `kernel`"),
            ("\"primary-*\"", "[]", 4, "names none"),
            ("\"primary-*\"", "[7]", 4, "should be a string"),
            (&*hash, "0xff", 5, "no BLAKE3 hash"),
            ("reason = \"no flush\"", "", 2, "needs `reason`"),
            ("[[expected]]", "[[expect]]", 2, "unknown key"),
        ] {
            let wrong = text.replacen(from, to, 1);
            let mistake = read(&wrong).unwrap_err();
            assert!(mistake.to_string().contains(said), "{mistake}");
            assert_eq!(mistake.line_and_column(&wrong).0, line, "{mistake}");
        }
        assert_eq!(read("# nothing\n"), Ok(Vec::new()));
    }
}
