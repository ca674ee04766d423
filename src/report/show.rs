//! Numbers as people read them.

use super::document::Unit;

/// What stands where nothing is known.
pub const UNKNOWN: &str = "-";

/// `12,345`
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `+12,345`, `-7`, `0`
#[must_use]
pub fn signed(n: i64) -> String {
    let sign = sign(n);
    format!("{sign}{}", count(n.unsigned_abs()))
}

fn sign(n: i64) -> &'static str {
    match n.signum() {
        1 => "+",
        -1 => "-",
        _ => "",
    }
}

/// `12.3 MiB`
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(n: u64) -> String {
    real_bytes(n as f64)
}

/// `+12.3 MiB`
#[must_use]
pub fn signed_bytes(n: i64) -> String {
    let sign = sign(n);
    format!("{sign}{}", bytes(n.unsigned_abs()))
}

/// Bytes that need not be whole.
#[must_use]
pub fn real_bytes(n: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = n;
    for unit in units {
        if value.abs() < 1024.0 || unit == "PiB" {
            let digits = usize::from(unit != "B" && value.abs() < 100.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{n} B")
}

/// Nanoseconds as `850 µs`, `12.3 ms`, `2.10 s`; `-` for none, `> 10 s` beyond all bounds.
#[must_use]
pub fn time(ns: Option<f64>) -> String {
    match ns {
        None => UNKNOWN.to_owned(),
        Some(ns) if ns.is_infinite() => "> 10 s".to_owned(),
        Some(ns) if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        Some(ns) if ns < 1e8 => format!("{:.1} ms", ns / 1e6),
        Some(ns) if ns < 1e9 => format!("{:.0} ms", ns / 1e6),
        Some(ns) => format!("{:.2} s", ns / 1e9),
    }
}

/// A part of a whole.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a share")]
pub fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// `12.3 %`, with more digits for the small; `-` for none.
#[must_use]
pub fn share(share: Option<f64>) -> String {
    match share {
        None => UNKNOWN.to_owned(),
        Some(0.0) => "0 %".to_owned(),
        Some(share) if share < 0.0001 => "< 0.01 %".to_owned(),
        Some(share) if share < 0.1 => format!("{:.2} %", share * 100.0),
        Some(share) => format!("{:.1} %", share * 100.0),
    }
}

/// How much more or less than before: `+25 %`; `new` where there was nothing.
#[must_use]
pub fn change(now: Option<f64>, before: Option<f64>) -> String {
    match (now, before) {
        (Some(now), Some(before)) if now.is_infinite() || before.is_infinite() => {
            if now.is_infinite() && before.is_infinite() {
                "=".to_owned()
            } else {
                UNKNOWN.to_owned()
            }
        }
        (Some(now), Some(before)) if before > 0.0 => {
            let percent = (now / before - 1.0) * 100.0;
            if percent.abs() < 0.5 { "=".to_owned() } else { format!("{percent:+.0} %") }
        }
        (Some(now), Some(_)) if now > 0.0 => "new".to_owned(),
        (Some(_), Some(_)) => "=".to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

/// Seconds as `3 d 4 h`, `4 h 5 min`, `6 min`, `7 s`.
#[must_use]
pub fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{} d {hours} h", count(days)),
    }
}

/// A number in its unit, for axes.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole where shown so")]
pub fn in_unit(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count if value.fract() == 0.0 && value >= 0.0 => count(value as u64),
        Unit::Count => format!("{value:.1}"),
        Unit::Bytes => real_bytes(value),
        Unit::Time => time(Some(value)),
        Unit::Share => share(Some(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([count(0), count(999), count(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([signed(5), signed(-1200), signed(0)], ["+5", "-1,200", "0"]);
        assert_eq!([bytes(1023), bytes(1536), bytes(150 << 20)], ["1023 B", "1.5 KiB", "150 MiB"]);
        assert_eq!(signed_bytes(-(3 << 30)), "-3.0 GiB");
        let times =
            [Some(250_000.0), Some(1.25e7), Some(3e8), Some(2.5e9), Some(f64::INFINITY), None];
        assert_eq!(times.map(time), ["250 µs", "12.5 ms", "300 ms", "2.50 s", "> 10 s", "-"]);
        let shares = [Some(0.5), Some(0.0123), Some(0.00001), Some(0.0), None];
        assert_eq!(shares.map(share), ["50.0 %", "1.23 %", "< 0.01 %", "0 %", "-"]);
        let pairs = [(1.5, 1.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0), (0.5, 1.0)];
        let changes = pairs.map(|(now, before)| change(Some(now), Some(before)));
        assert_eq!(changes, ["+50 %", "=", "new", "=", "-50 %"]);
        assert_eq!(change(Some(f64::INFINITY), Some(1.0)), "-");
        assert_eq!([5, 60, 3660, 90_000].map(span), ["5 s", "1 min", "1 h 1 min", "1 d 1 h"]);
    }
}
