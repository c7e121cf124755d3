//! `--set`, and `[matrix]`: one text, several scenarios.

use toml_edit::{DocumentMut, Item, Table, Value};

use super::{Mistake, Scenario};

/// The most runs that one file may mean: a product grows fast.
const MOST: usize = 256;

/// A scenario of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// What sets it apart, as `[processors=1,front-end=nvme]`. Empty for the only one.
    pub suffix: String,
    /// Itself.
    pub scenario: Scenario,
    /// Its text.
    pub text: String,
}

/// A key with one of its values.
type Setting = (String, Value);

/// The text with these changes, as `key.key=value`.
pub(super) fn overridden(text: &str, overrides: &[String]) -> Result<String, Mistake> {
    if overrides.is_empty() {
        return Ok(text.to_owned());
    }
    let mut document = parsed(text)?;
    for assignment in overrides {
        let wrong = |why: &str| Mistake::new(0..0, format!("--set {assignment}: {why}"));
        let (path, value) = assignment.split_once('=').ok_or_else(|| wrong("it should be key=value"))?;
        // What is no TOML is a string: `--set kernel.primary=./bzImage` needs no quotes.
        let value = value.parse::<Value>().unwrap_or_else(|_| value.into());
        let path = path.trim();
        // Who sets what the matrix would vary wants that value alone.
        if let Some(matrix) = document.get_mut("matrix").and_then(Item::as_table_like_mut) {
            matrix.remove(path);
        }
        assign(&mut document, path, value).map_err(|why| wrong(&why))?;
    }
    Ok(document.to_string())
}

/// Every scenario that a text means.
pub(super) fn variants(text: &str) -> Result<Vec<Variant>, (Mistake, String)> {
    let failed = |mistake| (mistake, text.to_owned());
    let settings = combinations(text).map_err(failed)?;
    let mut variants = Vec::new();
    for settings in settings {
        let mut document = parsed(text).map_err(failed)?;
        document.remove("matrix");
        for (path, value) in &settings {
            let wrong = |why| failed(Mistake::new(0..0, format!("[matrix] `{path}`: {why}")));
            assign(&mut document, path, value.clone()).map_err(wrong)?;
        }
        let text = if settings.is_empty() { text.to_owned() } else { document.to_string() };
        let scenario = Scenario::parse(&text).map_err(|mistake| (mistake, text.clone()))?;
        variants.push(Variant { suffix: suffix(&settings), scenario, text });
    }
    Ok(variants)
}

/// The settings of each variant: the product of the lists of one table, and the products of several tables after each other.
fn combinations(text: &str) -> Result<Vec<Vec<Setting>>, Mistake> {
    let document = parsed(text)?;
    let place = |item: &Item| item.span().unwrap_or(0..0);
    let Some(item) = document.get("matrix") else { return Ok(vec![Vec::new()]) };
    let tables: Vec<&dyn toml_edit::TableLike> = match item {
        Item::ArrayOfTables(tables) => {
            tables.iter().map(|table| table as &dyn toml_edit::TableLike).collect()
        }
        _ => item.as_table_like().into_iter().collect(),
    };
    if tables.is_empty() {
        return Err(Mistake::new(place(item), "`matrix` should be a table, or several")
            .help("like `[matrix]` and `\"machine.processors\" = [1, 2]`"));
    }
    let mut all = Vec::new();
    for table in tables {
        let mut product: Vec<Vec<Setting>> = vec![Vec::new()];
        for (key, item) in table.iter() {
            let values = item.as_array().filter(|values| !values.is_empty());
            let values = values.ok_or_else(|| {
                Mistake::new(place(item), format!("`{key}` of [matrix] should be a list of values"))
                    .help("like `\"machine.processors\" = [1, 2]`: the key in quotes")
            })?;
            product = product
                .iter()
                .flat_map(|before| {
                    values.iter().map(move |value| {
                        let setting = (key.to_owned(), value.clone());
                        before.iter().cloned().chain([setting]).collect()
                    })
                })
                .collect();
            if all.len() + product.len() > MOST {
                return Err(Mistake::new(place(item), format!("more than {MOST} runs of one scenario")));
            }
        }
        all.append(&mut product);
    }
    Ok(all)
}

/// `[processors=1,front-end=nvme]`: the last word of each key, or all of it where that would be another's.
fn suffix(settings: &[Setting]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let shown = settings.iter().map(|(path, value)| {
        let is_own = settings.iter().filter(|(other, _)| last(other) == last(path)).count() == 1;
        let value = value.as_str().map_or_else(|| value.to_string().trim().to_owned(), str::to_owned);
        format!("{}={value}", if is_own { last(path) } else { path.clone() })
    });
    format!("[{}]", shown.collect::<Vec<_>>().join(","))
}

/// Sets a value by its path. Of a list of tables, the next word is the `name` of one, or its number from 0.
fn assign(document: &mut DocumentMut, path: &str, value: Value) -> Result<(), String> {
    let mut keys: Vec<&str> = path.split('.').collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or("the key is empty")?;
    let mut item = document.as_item_mut();
    for key in keys {
        item = step_into(item, key)?;
    }
    if item.is_array_of_tables() || item.is_array() {
        return Err(format!("`{last}` names one of a list: say what of it, as `{path}.key`"));
    }
    let table =
        item.as_table_like_mut().ok_or_else(|| format!("nothing can be set in what holds `{last}`"))?;
    table.insert(last, Item::Value(value));
    Ok(())
}

fn step_into<'a>(item: &'a mut Item, key: &str) -> Result<&'a mut Item, String> {
    let none = || format!("there is no `{key}` in that list");
    if let Some(tables) = item.as_array_of_tables() {
        let named = |table: &Table| table.get("name").and_then(Item::as_str) == Some(key);
        let number = tables.iter().position(named).or_else(|| key.parse().ok()).ok_or_else(none)?;
        return item.get_mut(number).ok_or_else(none);
    }
    if item.is_array() {
        let number: usize = key.parse().map_err(|_| none())?;
        return item.get_mut(number).ok_or_else(none);
    }
    let table = item.as_table_like_mut().ok_or_else(|| format!("`{key}` is in no table"))?;
    if !table.contains_key(key) {
        table.insert(key, toml_edit::table());
    }
    let item = table.get_mut(key).ok_or_else(|| format!("`{key}` is no table"))?;
    if item.is_table_like() || item.is_array_of_tables() || item.is_array() {
        Ok(item)
    } else {
        Err(format!("`{key}` is no table"))
    }
}

fn parsed(text: &str) -> Result<DocumentMut, Mistake> {
    text.parse::<DocumentMut>()
        .map_err(|error| Mistake::new(error.span().unwrap_or(0..0), format!("not TOML: {}", error.message())))
}
