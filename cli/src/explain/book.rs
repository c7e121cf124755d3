//! The documentation, as far as words of it are explained: chapters, sections, rows of tables.

/// A page of `docs/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chapter {
    Scenarios,
    Knobs,
    Words,
    Oracles,
}

/// A heading and what stands under it, deeper headings included.
pub struct Section {
    /// As it stands there, heading included.
    pub text: String,
}

/// A place where a word is explained.
pub struct Found {
    /// Of the section.
    pub heading: String,
    /// A paragraph, or a table of the one row.
    pub text: String,
}

impl Chapter {
    /// Those in which single words are looked up.
    pub const ALL: [Self; 3] = [Self::Scenarios, Self::Knobs, Self::Words];

    fn text(self) -> &'static str {
        match self {
            Self::Scenarios => include_str!("../../../docs/scenarios.md"),
            Self::Knobs => include_str!("../../../docs/knobs.md"),
            Self::Words => include_str!("../../../docs/words.md"),
            Self::Oracles => include_str!("../../../docs/oracles.md"),
        }
    }

    /// The first section with such a heading.
    pub fn section(self, wanted: impl Fn(&str) -> bool) -> Option<Section> {
        let mut text = String::new();
        let mut depth = None;
        for (line, heading) in lines(self.text()) {
            match (heading, depth) {
                (Some((level, _)), Some(own)) if level <= own => break,
                (Some((level, title)), None) if wanted(title) => depth = Some(level),
                _ => {}
            }
            if depth.is_some() {
                text += line;
                text.push('\n');
            }
        }
        depth.map(|_| Section { text })
    }

    /// Where the word stands in code, in any of them: the rows of tables that begin with it, else the paragraphs that hold it.
    pub fn look_up(word: &str) -> Vec<Found> {
        let blocks = Self::ALL.into_iter().flat_map(Self::blocks).filter(|block| block.is_about(word));
        let (rows, paragraphs): (Vec<_>, Vec<_>) = blocks.partition(|block| block.is_row);
        let found = if rows.is_empty() { paragraphs } else { rows };
        found.into_iter().map(|block| Found { heading: block.heading, text: block.text }).collect()
    }

    /// Every word that is looked up.
    pub fn words(self) -> Vec<String> {
        self.blocks().iter().flat_map(|block| codes(block.subject())).map(str::to_owned).collect()
    }

    fn blocks(self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut heading, mut table, mut open, mut fenced) = (String::new(), Vec::new(), false, false);
        for (line, title) in lines(self.text()) {
            if line.starts_with("```") {
                fenced = !fenced;
                open = false;
                continue;
            }
            if fenced {
                continue;
            }
            if let Some((_, title)) = title {
                heading = title.to_owned();
                open = false;
            } else if line.starts_with('|') {
                open = false;
                table.push(line);
                if let [head, ruler, .., row] = &table[..] {
                    let text = [*head, *ruler, *row].join("\n");
                    blocks.push(Block { heading: heading.clone(), text, is_row: true });
                }
                continue;
            } else if line.trim().is_empty() {
                open = false;
            } else if let Some(block) = blocks.last_mut().filter(|_| open) {
                block.text.push('\n');
                block.text += line;
            } else {
                blocks.push(Block { heading: heading.clone(), text: line.to_owned(), is_row: false });
                open = true;
            }
            table.clear();
        }
        blocks
    }
}

impl Section {
    /// Without what stands under deeper headings.
    pub fn opening(&self) -> String {
        let deeper = |(number, heading): &(usize, Option<(usize, &str)>)| *number > 0 && heading.is_some();
        let kept =
            lines(&self.text).enumerate().take_while(|(number, (_, heading))| !deeper(&(*number, *heading)));
        kept.map(|(_, (line, _))| format!("{line}\n")).collect()
    }
}

/// A paragraph, or a row of a table under the head of the table.
struct Block {
    heading: String,
    text: String,
    is_row: bool,
}

impl Block {
    /// Where the words that it explains stand.
    fn subject(&self) -> &str {
        if !self.is_row {
            return &self.text;
        }
        let row = self.text.lines().last().unwrap_or_default();
        row.split('|').nth(1).unwrap_or_default()
    }

    fn is_about(&self, word: &str) -> bool {
        codes(self.subject()).any(|code| same(code, word))
    }
}

/// Lines, and those that are headings: how deep, and what they say.
fn lines(text: &str) -> impl Iterator<Item = (&str, Option<(usize, &str)>)> {
    let mut fenced = false;
    text.lines().map(move |line| {
        fenced ^= line.starts_with("```");
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        let title = line.get(level..).unwrap_or_default();
        let is_heading = level > 0 && title.starts_with(' ') && !fenced;
        (line, is_heading.then(|| (level, title.trim())))
    })
}

/// What stands between backquotes; of an assignment or of several words, also the first one.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).flat_map(|code| {
        let first = code.split([' ', '=']).next().unwrap_or_default();
        [code, first].into_iter().take(if first == code { 1 } else { 2 })
    })
}

/// Knobs are written with a hyphen in scenarios and with an underscore in Rust.
fn same(one: &str, other: &str) -> bool {
    one.replace('_', "-").eq_ignore_ascii_case(&other.replace('_', "-"))
}

/// Whether the first word of a heading is this one.
pub fn begins_with(heading: &str, word: &str) -> bool {
    heading.split(' ').next() == Some(word)
}
