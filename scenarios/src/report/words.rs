//! Numbers as people read them.

/// `12,160`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3 flushes`, `1 flush`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Nanoseconds: `0.61 s`, `3.2 ms`, `2 min 05 s`.
pub fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match nanoseconds {
        0 => "0 s".into(),
        1..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} µs", seconds * 1e6),
        1_000_000..100_000_000 => format!("{:.1} ms", seconds * 1e3),
        100_000_000..60_000_000_000 => format!("{seconds:.2} s"),
        _ => {
            let whole = nanoseconds.div_ceil(1_000_000_000);
            match (whole / 60, whole % 60) {
                (minutes, 0) => format!("{minutes} min"),
                (minutes, seconds) => format!("{minutes} min {seconds:02} s"),
            }
        }
    }
}

/// Bytes: `4 KiB`, `190 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (name, shift) in UNITS {
        let unit = 1u64 << shift;
        if bytes >= unit {
            let value = bytes as f64 / unit as f64;
            return if bytes.is_multiple_of(unit) {
                format!("{value:.0} {name}")
            } else {
                format!("{value:.1} {name}")
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1000, 12_160, 1_234_567].map(count),
            ["0", "999", "1,000", "12,160", "1,234,567"]
        );
        assert_eq!(
            [counted(1, "flush", "flushes"), counted(3, "flush", "flushes")],
            ["1 flush", "3 flushes"]
        );
        assert_eq!(
            [0, 17, 1_500, 3_200_000, 612_000_000, 60_000_000_000, 125_000_000_000].map(duration),
            ["0 s", "17 ns", "1.5 µs", "3.2 ms", "0.61 s", "1 min", "2 min 05 s"]
        );
        assert_eq!(
            [12, 4096, 1536, 190 << 20, 3 << 30].map(size),
            ["12 B", "4 KiB", "1.5 KiB", "190 MiB", "3 GiB"]
        );
    }
}
