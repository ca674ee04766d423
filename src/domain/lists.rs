//! Lists of texts, some of them of numbers too: checked, and written as files give them back.

use serde_json::value::RawValue;

use super::fields::{Elements, Raw};
use super::input::{InputError, check_count, parse_text};
use super::json_text::push_string;

/// Appends a list of at most `most` elements, without white space and with no more escapes than
/// must be: a file keeps its elements as texts, and they come back like that.
///
/// # Errors
/// [`super::InputErrorKind::Invalid`] and the element's pointer where it is no such list, and
/// [`super::InputErrorKind::TooLarge`] where it is longer.
pub(super) fn write(
    name: &str,
    value: &Raw<'_>,
    numbers: bool,
    most: usize,
    out: &mut String,
) -> Result<(), InputError> {
    let count = match value.elements {
        Elements::Texts(count) => Some(count),
        Elements::TextsAndNumbers(count) if numbers => Some(count),
        Elements::TextsAndNumbers(_) | Elements::Unknown => None,
    };
    if let Some(count) = count.filter(|_| value.is_plain) {
        check_count(name, count, most)?;
        out.push_str(value.text);
        return Ok(());
    }
    let rule =
        if numbers { "must be a list of texts or numbers" } else { "must be a list of texts" };
    let elements: Vec<&RawValue> =
        serde_json::from_str(value.text).map_err(|_| InputError::invalid(name, rule))?;
    check_count(name, elements.len(), most)?;
    out.push('[');
    for (index, element) in elements.into_iter().map(RawValue::get).enumerate() {
        let of_element = |mut error: InputError| {
            error.pointer = format!("{}/{index}", error.pointer);
            error
        };
        if index > 0 {
            out.push(',');
        }
        match element.as_bytes().first() {
            Some(b'"') => push_string(&parse_text(name, element).map_err(of_element)?, out),
            Some(b'-' | b'0'..=b'9') if numbers => out.push_str(element),
            _ => return Err(of_element(InputError::invalid(name, rule))),
        }
    }
    out.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fields::split;
    use super::*;

    /// A list as it is kept, however much was known of it; or the error's pointer.
    fn written(list: &str, numbers: bool) -> Result<String, String> {
        let object = format!("{{\"l\":{list}}}");
        let fields = split(&object, 8).expect("an object");
        let [with, without] = [fields[0].value, Raw::new(fields[0].value.text)].map(|value| {
            let mut out = String::new();
            write("l", &value, numbers, 3, &mut out).map(|()| out).map_err(|e| e.pointer)
        });
        assert_eq!(with, without, "{list}");
        with
    }

    #[test]
    fn a_list_is_kept_as_a_file_gives_it_back() {
        for (list, kept) in [
            ("[]", "[]"),
            (r#" [ "a" , "b" ] "#, r#"["a","b"]"#),
            (r#"["\u0041\/b","\u00e9\n"]"#, r#"["A/b","é\n"]"#),
            (r#"["\ud83d\ude00","\\ \""]"#, r#"["😀","\\ \""]"#),
        ] {
            assert_eq!(written(list, false).as_deref(), Ok(kept));
            assert_eq!(written(list, true).as_deref(), Ok(kept));
        }
        assert_eq!(written("[1.50, \"\\u0031\",-2e9]", true).as_deref(), Ok("[1.50,\"1\",-2e9]"));
    }

    #[test]
    fn what_no_file_could_give_back_is_refused_where_it_stands() {
        let refused = |list, pointer: &str| {
            assert_eq!(written(list, true), Err(pointer.to_owned()), "{list}");
        };
        refused(r#"["a","\ud800"]"#, "/l/1");
        refused(r#"["\u0000"]"#, "/l/0");
        refused(r#"[1,["a"]]"#, "/l/1");
        refused(r#"["a",null]"#, "/l/1");
        refused("{}", "/l");
        refused(r#""a""#, "/l");
        refused("[1,2,3,4]", "/l");
        assert_eq!(written("[1]", false), Err("/l/0".to_owned()));
    }
}
