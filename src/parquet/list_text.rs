//! List cells: compact JSON text in a row, `list<string>` in Parquet.
//!
//! A list of texts stores its elements as they are. A list that takes numbers stores a number as
//! its text and a string as itself, unless that string would come back as a number or begins
//! with `"`: then it is stored as JSON text, quotes included. [`push_element`] is the inverse of
//! [`elements`], so numbers and strings come back as they came.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::domain::json_text::push_string;

/// The elements of a list cell as Parquet stores them, `None` for a JSON null; or nothing where
/// the text is not a JSON array. Values other than texts and numbers, which validation lets into
/// no list, are stored as their JSON text.
pub(super) fn elements(list: &str, numbers: bool) -> Option<Vec<Option<Cow<'_, str>>>> {
    let raw: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let values = raw.into_iter().map(RawValue::get);
    values.map(|v| if v == "null" { Some(None) } else { stored(v, numbers).map(Some) }).collect()
}

fn stored(value: &str, numbers: bool) -> Option<Cow<'_, str>> {
    if !value.starts_with('"') {
        return Some(Cow::Borrowed(value));
    }
    let text = match value.get(1..value.len().checked_sub(1)?) {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        _ => Cow::Owned(serde_json::from_str(value).ok()?),
    };
    if numbers && (text.starts_with('"') || is_json_number(&text)) {
        let mut quoted = String::with_capacity(text.len() + 2);
        push_string(&text, &mut quoted);
        return Some(Cow::Owned(quoted));
    }
    Some(text)
}

/// Appends one stored element as JSON. False where a quoted element is not a JSON string, which
/// [`elements`] never makes.
pub(super) fn push_element(stored: Option<&str>, numbers: bool, out: &mut String) -> bool {
    match stored {
        None => out.push_str("null"),
        Some(text) if numbers && is_json_number(text) => out.push_str(text),
        Some(text) if numbers && text.starts_with('"') => {
            let Ok(text) = serde_json::from_str::<Cow<'_, str>>(text) else { return false };
            push_string(&text, out);
        }
        Some(text) => push_string(text, out),
    }
    true
}

/// Whether a text is a number by JSON's grammar (RFC 8259, section 6).
pub(super) fn is_json_number(text: &str) -> bool {
    fn digits(bytes: &[u8]) -> Option<&[u8]> {
        let n = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        if n == 0 { None } else { bytes.get(n..) }
    }
    fn number(text: &[u8]) -> Option<&[u8]> {
        let rest = text.strip_prefix(b"-").unwrap_or(text);
        let mut rest = match rest {
            [b'0', rest @ ..] => rest,
            _ => digits(rest)?,
        };
        if let [b'.', fraction @ ..] = rest {
            rest = digits(fraction)?;
        }
        if let [b'e' | b'E', exponent @ ..] = rest {
            let signless = match exponent {
                [b'+' | b'-', signless @ ..] => signless,
                _ => exponent,
            };
            rest = digits(signless)?;
        }
        Some(rest)
    }
    number(text.as_bytes()).is_some_and(<[u8]>::is_empty)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(list: &str, numbers: bool) -> String {
        let mut out = String::from("[");
        for (i, element) in elements(list, numbers).expect("list").iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            assert!(push_element(element.as_deref(), numbers, &mut out));
        }
        out.push(']');
        out
    }

    #[test]
    fn numbers_and_texts_keep_apart() {
        let list = r#"[0,1.50,-2e+9,"0","x","\"","\"q\"","",null,12345678901234567890123]"#;
        let stored: Vec<_> = elements(list, true).expect("list").into_iter().flatten().collect();
        assert_eq!(
            stored,
            [
                "0",
                "1.50",
                "-2e+9",
                "\"0\"",
                "x",
                r#""\"""#,
                r#""\"q\"""#,
                "",
                "12345678901234567890123"
            ]
        );
        assert_eq!(back(list, true), list);
        assert_eq!(
            elements(r#"["0","\"a"]"#, false).expect("list"),
            [Some("0".into()), Some("\"a".into())]
        );
        assert_eq!(back(r#"["0","\"a"]"#, false), r#"["0","\"a"]"#);
        assert_eq!(elements("{}", true), None);
    }

    #[test]
    fn knows_json_numbers() {
        for yes in ["0", "-0", "10", "1.0", "1e5", "1E-05", "-0.10e+1"] {
            assert!(is_json_number(yes), "{yes}");
        }
        for no in [
            "", "-", "01", "+1", "1.", ".5", "1e", "1e+", "0x1", "NaN", " 1", "1 ", "1.2.3",
            "\u{661}",
        ] {
            assert!(!is_json_number(no), "{no}");
            assert!(serde_json::from_str::<&RawValue>(no).is_err() || no.trim() != no, "{no}");
        }
    }

    proptest! {
        #[test]
        fn any_list_survives(items in proptest::collection::vec(
            prop_oneof![
                any::<i64>().prop_map(|n| n.to_string()),
                any::<f64>().prop_filter("finite", |d| d.is_finite()).prop_map(|d| ryu::Buffer::new().format_finite(d).to_owned()),
                any::<String>().prop_map(|s| { let mut o = String::new(); push_string(&s, &mut o); o }),
                "[-+0-9.eE\"]{0,5}".prop_map(|s| { let mut o = String::new(); push_string(&s, &mut o); o }),
                Just("null".to_owned()),
            ], 0..6), numbers in any::<bool>()) {
            let strings_only: Vec<String> = items.into_iter().filter(|i| numbers || i.starts_with('"')).collect();
            let list = format!("[{}]", strings_only.join(","));
            prop_assert_eq!(back(&list, numbers), list);
        }
    }
}
