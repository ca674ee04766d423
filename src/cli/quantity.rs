//! Durations and sizes as people write them: `50ms`, `90d`, `8MiB`.
//!
//! Reading and showing are inverse: what [`show_duration`] and [`show_size`] write, the readers
//! read back to the same value. Fractions, signs and compound forms (`1h30m`) are not read.

use std::time::Duration;

/// Milliseconds of each unit of time, the largest first.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes of each unit of size, in the order in which a size is shown.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads a whole number and one of `ms`, `s`, `m`, `h`, `d`. `None` where the text is anything
/// else or too large for milliseconds in 64 bits.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, millis) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.checked_mul(*millis)?))
}

/// Writes a duration with the largest unit that divides it; below a millisecond it is cut.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let (unit, size) = largest(millis, &TIME_UNITS);
    format!("{}{unit}", millis / size)
}

/// Reads plain bytes, or a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`, `KB`, `MB`,
/// `GB`, `TB` in any case. `None` where the text is anything else or passes 64 bits.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return Some(number);
    }
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*bytes)
}

/// Writes a size with the largest binary unit that divides it, else a decimal one, else bytes.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0".to_owned();
    }
    let (unit, size) = largest(bytes, &SIZE_UNITS);
    if size == 1 { bytes.to_string() } else { format!("{}{unit}", bytes / size) }
}

fn largest(value: u64, units: &[(&'static str, u64)]) -> (&'static str, u64) {
    units.iter().copied().find(|(_, size)| value.is_multiple_of(*size)).unwrap_or(("", 1))
}

/// The digits at the front, and what follows them.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations() {
        for (text, millis) in [
            ("50ms", 50),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("90d", 7_776_000_000),
            ("0s", 0),
            ("5 s", 5_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "+5s",
            "1.5s",
            "5S",
            "5M",
            "1h30m",
            "5sec",
            "99999999999999999999d",
            "9999999999999999d",
            "５s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("512KiB", 512 << 10),
            ("1MiB", 1 << 20),
            ("64MB", 64_000_000),
            ("2kb", 2_000),
            ("4gib", 4 << 30),
            ("8388608", 8 << 20),
            ("7B", 7),
            ("0", 0),
            ("64 MiB", 64 << 20),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in [
            "",
            "MiB",
            "-1",
            "1.5MiB",
            "64M",
            "64Mb it",
            "1EiB",
            "18446744073709551616",
            "16777216TiB",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn shows_the_shortest_form() {
        assert_eq!(show_duration(Duration::from_mins(1)), "1m");
        assert_eq!(show_duration(Duration::from_secs(75)), "75s");
        assert_eq!(show_duration(Duration::from_hours(24)), "1d");
        assert_eq!(show_duration(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(show_size(8 << 20), "8MiB");
        assert_eq!(show_size(5_000_001), "5000001");
        assert_eq!(show_size(3_000), "3KB");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0..u64::MAX / 2, bytes: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_breaks_the_readers(text: String) {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
