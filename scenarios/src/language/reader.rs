//! Reading TOML so that every mistake has a place: tables that know which keys were asked for, and values that know what they may be.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;

type Item<'a> = Spanned<DeValue<'a>>;

/// A table. Keys that nobody asks for are mistakes.
pub(super) struct Table<'a> {
    /// What it describes, for messages: "a disk".
    what: &'static str,
    table: &'a DeTable<'a>,
    place: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn new(what: &'static str, table: &'a DeTable<'a>, place: Range<usize>) -> Self {
        Self { what, table, place, asked: Vec::new() }
    }

    pub(super) fn place(&self) -> Range<usize> {
        self.head()
    }

    /// The value of a key, if it is there.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        self.table.get(key).map(|item| Value { key, item })
    }

    /// The value of a key that has to be there.
    pub(super) fn required(&mut self, key: &'static str) -> Result<Value<'a>, Mistake> {
        let (what, place) = (self.what, self.head());
        self.optional(key).ok_or_else(|| Mistake::new(place, format!("{what} needs `{key}`")))
    }

    /// Which of these keys is there: exactly one.
    pub(super) fn one(&mut self, keys: &[&'static str]) -> Result<Value<'a>, Mistake> {
        let mut found = keys.iter().filter_map(|key| self.optional(key)).collect::<Vec<_>>();
        let choice = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        match (found.pop(), found.pop()) {
            (Some(only), None) => Ok(only),
            (Some(second), Some(_)) => Err(Mistake::new(
                second.place(),
                format!("`{}` is one too many: {} takes one of {choice}", second.key, self.what),
            )),
            (None, _) => Err(Mistake::new(self.head(), format!("{} needs one of {choice}", self.what))),
        }
    }

    /// The first line of it: what a message about something missing points at.
    fn head(&self) -> Range<usize> {
        self.place.start..self.place.end.min(self.place.start.saturating_add(1))
    }

    /// All has been asked for.
    pub(super) fn end(self) -> Result<(), Mistake> {
        for (key, _) in self.table {
            let word: &str = key.get_ref();
            if !self.asked.contains(&word) {
                return Err(Mistake::unknown(
                    key.span(),
                    &format!("key of {}", self.what),
                    word,
                    &self.asked,
                ));
            }
        }
        Ok(())
    }
}

/// A value of a key.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) key: &'static str,
    item: &'a Item<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn place(&self) -> Range<usize> {
        self.item.span()
    }

    /// It is not what it should be.
    pub(super) fn wrong(&self, should: &str) -> Mistake {
        let is = match self.item.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        Mistake::new(self.place(), format!("{is} in `{}`: it should be {should}", self.key))
    }

    /// A mistake about it.
    pub(super) fn mistake(&self, what: impl Into<String>) -> Mistake {
        Mistake::new(self.place(), what)
    }

    pub(super) fn is_string(&self) -> bool {
        matches!(self.item.get_ref(), DeValue::String(_))
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.item.get_ref(), DeValue::Table(_))
    }

    pub(super) fn string(&self) -> Result<&'a str, Mistake> {
        match self.item.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong("a string")),
        }
    }

    /// A string that is not empty.
    pub(super) fn text(&self) -> Result<&'a str, Mistake> {
        let text = self.string()?;
        if text.is_empty() { Err(self.mistake(format!("`{}` is empty", self.key))) } else { Ok(text) }
    }

    /// A whole number in a range.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Result<u64, Mistake> {
        let DeValue::Integer(number) = self.item.get_ref() else { return Err(self.wrong("a whole number")) };
        let value = u64::from_str_radix(number.as_str(), number.radix()).ok();
        value.filter(|value| range.contains(value)).ok_or_else(|| {
            self.mistake(format!("`{}` should be between {} and {}", self.key, range.start(), range.end()))
        })
    }

    /// A whole number, also below 0.
    pub(super) fn integer(&self) -> Result<i64, Mistake> {
        let DeValue::Integer(number) = self.item.get_ref() else { return Err(self.wrong("a whole number")) };
        i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| self.mistake(format!("`{}` is beyond 64 bits", self.key)))
    }

    /// `true` or `false`.
    pub(super) fn truth(&self) -> Result<bool, Mistake> {
        match self.item.get_ref() {
            DeValue::Boolean(truth) => Ok(*truth),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// A date, or text that should be one.
    pub(super) fn date_text(&self) -> Result<String, Mistake> {
        match self.item.get_ref() {
            DeValue::Datetime(date) => Ok(date.to_string()),
            DeValue::String(text) => Ok(text.to_string()),
            _ => Err(self.wrong("a date")),
        }
    }

    /// Bytes: a number, or text like `256M`.
    pub(super) fn size(&self) -> Result<u64, Mistake> {
        if !self.is_string() {
            return self.number(1..=1 << 40);
        }
        quantity(self.string()?, &[("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("", 1)])
            .ok_or_else(|| self.mistake(format!("`{}` is no size", self.key)).help("like `256M` or `1G`"))
    }

    /// Nanoseconds: text like `30s`.
    pub(super) fn duration(&self) -> Result<u64, Mistake> {
        const SECOND: u64 = 1_000_000_000;
        let units = [
            ("ms", 1_000_000),
            ("us", 1000),
            ("ns", 1),
            ("s", SECOND),
            ("min", 60 * SECOND),
            ("h", 3600 * SECOND),
        ];
        quantity(self.string()?, &units).ok_or_else(|| {
            self.mistake(format!("`{}` is no length of time", self.key)).help("like `30s`, `250ms` or `2min`")
        })
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, kind: &str, words: &[(&str, T)]) -> Result<T, Mistake> {
        let word = self.string()?;
        words.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
            Mistake::unknown(self.place(), kind, word, &known)
        })
    }

    pub(super) fn table(&self, what: &'static str) -> Result<Table<'a>, Mistake> {
        match self.item.get_ref() {
            DeValue::Table(table) => Ok(Table::new(what, table, self.place())),
            _ => Err(self.wrong("a table")),
        }
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Result<impl Iterator<Item = Value<'a>> + use<'a>, Mistake> {
        let key = self.key;
        match self.item.get_ref() {
            DeValue::Array(items) => Ok(items.iter().map(move |item| Value { key, item })),
            _ => Err(self.wrong("a list")),
        }
    }
}

/// A number and its unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let unit = unit.strip_suffix("iB").unwrap_or(unit);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(*factor),
        // Decimal fractions without floating point: 1.5s is 1500 ms to the nanosecond.
        Some((whole, fraction)) if !fraction.is_empty() && fraction.len() <= 9 => {
            let scale = 10u64.checked_pow(fraction.len() as u32)?;
            let whole = whole.parse::<u64>().ok()?.checked_mul(*factor)?;
            let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(*factor) / u128::from(scale);
            whole.checked_add(u64::try_from(part).ok()?)
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        let size = |text| quantity(text, &[("M", 1 << 20), ("", 1)]);
        assert_eq!(size("256M"), Some(256 << 20));
        assert_eq!(size("256MiB"), Some(256 << 20));
        assert_eq!(size("1.5M"), Some(3 << 19));
        assert_eq!(size("17"), Some(17));
        for wrong in ["", "M", "1.M", "1..5M", "-1M", "1X", "99999999999999M", "0x10"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
