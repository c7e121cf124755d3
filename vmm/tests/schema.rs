//! What changes the fingerprint of a snapshot's layout, and what does not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../build/schema.rs"]
mod schema;

fn text(source: &str) -> String {
    let mut schema = schema::Schema::default();
    schema.add(source).unwrap();
    schema.text()
}

const SOURCE: &str = "
    /// A device.
    #[derive(Clone, Serialize, Deserialize)]
    struct Device { /// Its name.
        name: Name, table: [u8; LINES] }
    const LINES: usize = 2 * HALF;
    const HALF: usize = 4;
    const OTHER: usize = 4;
    type Name = u16;
    bitflags! { #[derive(Serialize, Deserialize)] struct Flags: u8 { /// One.
        const ONE = 1; } }
    mod inner { #[derive(Deserialize)] enum Kind { A, B } }
    impl Serialize for Special { fn serialize() { self.0.serialize() } }
    fn code() { work(1) }
";

#[test]
fn layouts_count() {
    let before = text(SOURCE);
    for (from, to) in [
        ("name: Name, table: [u8; LINES]", "table: [u8; LINES], name: Name"),
        ("HALF: usize = 4", "HALF: usize = 5"),
        ("Name = u16", "Name = u32"),
        ("Flags: u8", "Flags: u16"),
        ("A, B", "B, A"),
        ("self.0.serialize()", "self.1.serialize()"),
    ] {
        assert!(SOURCE.contains(from));
        assert_ne!(text(&SOURCE.replace(from, to)), before, "{from}");
    }
}

#[test]
fn words_and_code_do_not() {
    let before = text(SOURCE);
    for (from, to) in [
        ("A device", "Some device"),
        ("Its name", "What it is called"),
        ("One.", "Two."),
        ("work(1)", "work(2)"),
        ("OTHER: usize = 4", "OTHER: usize = 5"),
    ] {
        assert!(SOURCE.contains(from));
        assert_eq!(text(&SOURCE.replace(from, to)), before, "{from}");
    }
}
