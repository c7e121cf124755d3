//! Markdown as plain lines.

/// Characters of a line.
const WIDTH: usize = 100;

/// Text without marks: lines of a readable width, tables as lists, code as it is.
pub fn rendered(markdown: &str) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut head: Option<Vec<String>> = None;
    let mut fenced = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            flush(&mut out, &mut paragraph);
            fenced = !fenced;
        } else if fenced {
            out += &format!("    {line}\n");
        } else if line.starts_with('|') {
            flush(&mut out, &mut paragraph);
            let cells: Vec<String> = line
                .trim_matches('|')
                .split(" |")
                .map(|cell| unmarked(cell.trim_matches(['|', ' '])))
                .collect();
            match &head {
                None => head = Some(cells),
                Some(_) if cells.iter().all(|cell| cell.bytes().all(|byte| byte == b'-' || byte == b'|')) => {
                }
                Some(head) => row(&mut out, head, &cells),
            }
            continue;
        } else if line.trim().is_empty() {
            flush(&mut out, &mut paragraph);
            if !out.is_empty() && !out.ends_with("\n\n") {
                out.push('\n');
            }
        } else if let Some(title) = line.starts_with('#').then(|| line.trim_start_matches('#')) {
            flush(&mut out, &mut paragraph);
            out += &format!("{}\n", unmarked(title.trim()));
        } else if line.starts_with("    ") && paragraph.is_empty() {
            out += &format!("{line}\n");
        } else {
            if line.starts_with("- ") {
                flush(&mut out, &mut paragraph);
            }
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph += line.trim();
        }
        head = None;
    }
    flush(&mut out, &mut paragraph);
    out
}

fn flush(out: &mut String, paragraph: &mut String) {
    let text = unmarked(&std::mem::take(paragraph));
    wrapped(out, &text, "", if text.starts_with("- ") { "  " } else { "" });
}

fn row(out: &mut String, head: &[String], cells: &[String]) {
    let mut cells = cells.iter().zip(head);
    if let Some((first, _)) = cells.next() {
        wrapped(out, first, "  ", "  ");
    }
    for (cell, title) in cells.filter(|(cell, _)| !cell.is_empty()) {
        let text = if title.is_empty() || head.len() < 3 { cell.clone() } else { format!("{title}: {cell}") };
        wrapped(out, &text, "      ", "        ");
    }
}

fn wrapped(out: &mut String, text: &str, first: &str, rest: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            *out += line.trim_end();
            out.push('\n');
            line = rest.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    if !is_empty {
        *out += &line;
        out.push('\n');
    }
}

/// Without emphasis, and links without where they lead to.
fn unmarked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        out += before;
        match after.split_once("](").and_then(|(label, tail)| Some((label, tail.split_once(')')?.1))) {
            Some((label, tail)) if !label.contains(']') => {
                out += label;
                rest = tail;
            }
            _ => {
                out.push('[');
                rest = after;
            }
        }
    }
    out += rest;
    out.replace("**", "").replace('`', "").replace("\\|", "|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_and_the_text_stays() {
        let text = "## A `b`\n\nsee [the **page**](page.md), [[disk]] and `x`\nand more\n\n- one\n  two\n- three\n\n\
                    | word | means | of |\n|---|---|---|\n| `a` | b | |\n\n```toml\nx = [1] # **\n```\n";
        insta::assert_snapshot!(rendered(text), @r"
        A b

        see the page, [[disk]] and x and more

        - one two
        - three

          a
              means: b

            x = [1] # **
        ");
    }
}
