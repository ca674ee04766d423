//! JSON text that is kept as it came: numbers to the last digit, keys in their order.
//!
//! [`compact`] takes text that `serde_json` has already found well-formed (a `RawValue`), removes
//! the white space between tokens and refuses what would break readers further on: too deep, too
//! many values, a NUL, half a surrogate pair.

use std::fmt::Write;

use thiserror::Error;

/// Deepest nesting of a JSON value that is stored.
pub const MAX_JSON_DEPTH: usize = 64;
/// Most values (of any kind) inside one JSON value that is stored.
pub const MAX_JSON_NODES: usize = 1_000_000;

/// Why a well-formed JSON text is refused.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum JsonTextError {
    /// More levels than [`MAX_JSON_DEPTH`].
    #[error("is nested deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
    /// More values than [`MAX_JSON_NODES`].
    #[error("holds more than {MAX_JSON_NODES} values")]
    TooMany,
    /// A `\u0000`.
    #[error("holds a NUL character")]
    Nul,
    /// Half of a surrogate pair.
    #[error("holds an unpaired surrogate")]
    Surrogate,
    /// Not JSON after all.
    #[error("is not JSON")]
    Malformed,
}

/// Appends `text` to `out` without the white space between tokens.
///
/// # Errors
/// [`JsonTextError`]; `out` then holds a part of the text.
pub fn compact(text: &str, out: &mut String) -> Result<(), JsonTextError> {
    let bytes = text.as_bytes();
    if is_surely_compact(bytes) {
        out.push_str(text);
        return Ok(());
    }
    compact_token_by_token(text, out)
}

fn compact_token_by_token(text: &str, out: &mut String) -> Result<(), JsonTextError> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut nodes = 1_usize;
    let mut start = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(bytes, at + 1)?;
                continue;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.push_str(text.get(start..at).ok_or(JsonTextError::Malformed)?);
                start = at + 1;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Err(JsonTextError::TooDeep);
                }
                nodes += 1;
            }
            b'}' | b']' => depth = depth.checked_sub(1).ok_or(JsonTextError::Malformed)?,
            b',' => nodes += 1,
            _ => {}
        }
        if nodes > MAX_JSON_NODES {
            return Err(JsonTextError::TooMany);
        }
        at += 1;
    }
    out.push_str(text.get(start..).ok_or(JsonTextError::Malformed)?);
    Ok(())
}

/// Whether [`compact`] surely has nothing to take out of a well-formed text and nothing to refuse,
/// as in most of what clients send. Bytes are looked at without regard to what is inside strings:
/// where that leaves a doubt, the answer is no.
fn is_surely_compact(bytes: &[u8]) -> bool {
    // Line breaks and tabs stand only between tokens.
    if bytes.len() >= MAX_JSON_NODES || bytes.iter().fold(u8::MAX, |least, b| least.min(*b)) < b' '
    {
        return false;
    }
    if memchr::memchr(b'\\', bytes).is_some() {
        return false;
    }
    // Of two tokens side by side, one is a bracket, a comma or a colon.
    let apart = |byte: Option<&u8>| matches!(byte, Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'));
    opening_brackets(bytes) <= MAX_JSON_DEPTH
        && memchr::memchr_iter(b' ', bytes).all(|at| {
            apart(at.checked_sub(1).and_then(|before| bytes.get(before)))
                && apart(bytes.get(at + 1))
        })
}

/// How many opening brackets there are, inside strings too: no value is nested deeper.
pub(super) fn opening_brackets(bytes: &[u8]) -> usize {
    // Few enough bytes for a count in one of them, which the compiler does for many at once.
    let opening = |part: &[u8]| {
        part.iter().fold(0_u8, |sum, b| sum + u8::from(*b == b'{') + u8::from(*b == b'['))
    };
    bytes.chunks(128).map(|part| usize::from(opening(part))).sum()
}

/// Index after the closing quote of the string whose first character is at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> Result<usize, JsonTextError> {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let found = memchr::memchr2(b'"', b'\\', rest).ok_or(JsonTextError::Malformed)?;
        if rest.get(found) == Some(&b'"') {
            return Ok(at + found + 1);
        }
        at = end_of_escape(bytes, at + found)?;
    }
}

/// Index after the escape whose backslash is at `at`; a surrogate pair counts as one escape.
fn end_of_escape(bytes: &[u8], at: usize) -> Result<usize, JsonTextError> {
    if bytes.get(at + 1) != Some(&b'u') {
        return Ok(at + 2);
    }
    match hex4(bytes, at + 2)? {
        0 => Err(JsonTextError::Nul),
        0xD800..=0xDBFF => {
            let paired = bytes.get(at + 6) == Some(&b'\\')
                && bytes.get(at + 7) == Some(&b'u')
                && matches!(hex4(bytes, at + 8)?, 0xDC00..=0xDFFF);
            if paired { Ok(at + 12) } else { Err(JsonTextError::Surrogate) }
        }
        0xDC00..=0xDFFF => Err(JsonTextError::Surrogate),
        _ => Ok(at + 6),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Result<u32, JsonTextError> {
    let digits = bytes.get(at..at + 4).and_then(|d| std::str::from_utf8(d).ok());
    digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or(JsonTextError::Malformed)
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(text: &str, out: &mut String) {
    push_strings(&[text], out);
}

/// Appends `parts`, one after another, as one JSON string, quotes included.
pub fn push_strings(parts: &[&str], out: &mut String) {
    out.push('"');
    for part in parts {
        push_escaped(part, out);
    }
    out.push('"');
}

fn push_escaped(text: &str, out: &mut String) {
    // Without a branch for each byte, the compiler looks at many at once.
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        out.push_str(text);
        return;
    }
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => {
                out.push_str(text.get(start..at).unwrap_or_default());
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{byte:04x}");
                start = at + 1;
                continue;
            }
            _ => continue,
        };
        // Only ASCII bytes reach this point, so both cuts fall on character boundaries.
        out.push_str(text.get(start..at).unwrap_or_default());
        out.push_str(escape);
        start = at + 1;
    }
    out.push_str(text.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn compacted(text: &str) -> Result<String, JsonTextError> {
        let mut out = String::new();
        compact(text, &mut out).map(|()| out)
    }

    #[test]
    fn keeps_everything_but_white_space() {
        let text = "{ \"b\" : [ 1.0 , 12345678901234567890123 ],\n\t\"a b\\\" \" : \"x  y\" }";
        assert_eq!(
            compacted(text).expect("compact"),
            "{\"b\":[1.0,12345678901234567890123],\"a b\\\" \":\"x  y\"}"
        );
    }

    #[test]
    fn refuses_what_breaks_readers() {
        assert_eq!(compacted(r#""\ud83d\ude00""#).expect("pair"), r#""\ud83d\ude00""#);
        assert_eq!(compacted(r#""\ud83d""#), Err(JsonTextError::Surrogate));
        assert_eq!(compacted(r#""\ud83dx\ude00""#), Err(JsonTextError::Surrogate));
        assert_eq!(compacted(r#""\ude00""#), Err(JsonTextError::Surrogate));
        assert_eq!(compacted(r#"["\u0000"]"#), Err(JsonTextError::Nul));
        assert_eq!(compacted(r#""\\u0000""#).expect("escaped backslash"), r#""\\u0000""#);
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        assert_eq!(compacted(&deep), Err(JsonTextError::TooDeep));
        let many = format!("[{}0]", "0,".repeat(1_000_001));
        assert_eq!(compacted(&many), Err(JsonTextError::TooMany));
    }

    proptest! {
        #[test]
        fn strings_survive(text in any::<String>()) {
            let mut out = String::new();
            push_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_str::<String>(&out).expect("json"), text);
        }

        #[test]
        fn values_survive(keys in proptest::collection::vec("[^\\x00]{0,8}", 0..8)) {
            let value = Value::Array(keys.into_iter().map(|k| serde_json::json!({k.clone(): [k, 1, null]})).collect());
            let pretty = serde_json::to_string_pretty(&value).expect("json");
            prop_assert_eq!(compacted(&pretty).expect("compact"), serde_json::to_string(&value).expect("json"));
        }

        #[test]
        fn the_short_cut_makes_no_difference(
            words in proptest::collection::vec("[a-z0-9 ,:\\[\\]{}\"\\\\é]{0,9}", 0..8),
            deep in 0_usize..70,
        ) {
            let words: Vec<Value> = words.into_iter().map(|w| serde_json::json!({w.clone(): [w, true, 1.5]})).collect();
            let value = Value::Array(words);
            let pretty = serde_json::to_string_pretty(&value).expect("json");
            let tight = serde_json::to_string(&value).expect("json");
            let nested = format!("{}{tight}{}", "[".repeat(deep), "]".repeat(deep));
            let lines: Vec<&str> = pretty.lines().map(str::trim).collect();
            // Tabs and line breaks, runs of spaces, single spaces, none.
            for text in [&pretty, &pretty.replace('\n', ""), &lines.join(" "), &lines.concat(), &nested] {
                let mut slowly = String::new();
                let expected = compact_token_by_token(text, &mut slowly).map(|()| slowly);
                prop_assert_eq!(compacted(text), expected);
            }
        }
    }
}
