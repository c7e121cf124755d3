//! The order of Debian version numbers (deb-version(7)).

use std::cmp::Ordering;

/// Compares two versions: epoch, upstream version, revision.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_epoch, a) = a.split_once(':').unwrap_or(("0", a));
    let (b_epoch, b) = b.split_once(':').unwrap_or(("0", b));
    let (a_upstream, a_revision) = a.rsplit_once('-').unwrap_or((a, ""));
    let (b_upstream, b_revision) = b.rsplit_once('-').unwrap_or((b, ""));
    compare_part(a_epoch, b_epoch)
        .then_with(|| compare_part(a_upstream, b_upstream))
        .then_with(|| compare_part(a_revision, b_revision))
}

/// Stretches without digits and numbers, in turn.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (a_text, a_rest) = split(a, |c| !c.is_ascii_digit());
        let (b_text, b_rest) = split(b, |c| !c.is_ascii_digit());
        let (a_number, a_rest) = split(a_rest, |c| c.is_ascii_digit());
        let (b_number, b_rest) = split(b_rest, |c| c.is_ascii_digit());
        let order = compare_text(a_text, b_text).then_with(|| compare_number(a_number, b_number));
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
    Ordering::Equal
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// `~` before the end, the end before letters, letters before everything else.
fn compare_text(a: &str, b: &str) -> Ordering {
    let rank = |c: Option<char>| match c {
        Some('~') => (0, '~'),
        None => (1, '\0'),
        Some(c) if c.is_ascii_alphabetic() => (2, c),
        Some(c) => (3, c),
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (x, y) = (a.next(), b.next());
        if (x, y) == (None, None) {
            return Ordering::Equal;
        }
        let order = rank(x).cmp(&rank(y));
        if order.is_ne() {
            return order;
        }
    }
}

/// By value, whatever the length.
fn compare_number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_ordered_as_the_manual_says() {
        let ascending = [
            "6.1.176-1",
            "6.1.192-2~bpo1",
            "6.1.192-2",
            "6.12.9-1",
            "6.12.107-1",
            "6.12.117-1~deb12u1",
            "1:0.1-1",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare("1.0-01", "1.0-1"), Ordering::Equal);
        assert_eq!(compare("1.0~~", "1.0~"), Ordering::Less);
        assert_eq!(compare("1.0+b1", "1.0"), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn the_order_is_antisymmetric(a in "[0-9a-z.~+:-]{0,12}", b in "[0-9a-z.~+:-]{0,12}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        }
    }
}
