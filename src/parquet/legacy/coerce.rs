//! Values made to fit their columns, and a place for those that do not.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::value::{Value, push_json};
use super::{Table, object};
use crate::domain::Micros;
use crate::domain::json_text::{compact, push_string};

/// Prefix of the `extra` field that keeps what did not fit a column.
const MISFIT: &str = "legacy_";

/// A value does not fit its column.
pub(super) struct Misfit;

/// What becomes of a value.
pub(super) trait Fit<T> {
    /// Takes the value where it fits.
    fn or_misfit(self, take: impl FnOnce(T)) -> Option<Misfit>;
}

impl<T> Fit<T> for Option<T> {
    fn or_misfit(self, take: impl FnOnce(T)) -> Option<Misfit> {
        match self {
            Some(value) => {
                take(value);
                None
            }
            None => Some(Misfit),
        }
    }
}

/// Any value as text.
pub(super) fn text<'a>(value: &'a Value<'_>) -> Cow<'a, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Json(json) => Cow::Borrowed(json),
        Value::Time(at) => Cow::Owned(at.to_string()),
        // pandas makes a column of numbers float where one is missing.
        Value::Double(_) => match int(value) {
            Some(n) => Cow::Owned(n.to_string()),
            None => Cow::Owned(json_form(value)),
        },
        _ => Cow::Owned(json_form(value)),
    }
}

/// An integer, also one that pandas made float or text.
pub(super) fn int(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(n) => Some(*n),
        // Every double in this range that has no fraction is an i64.
        Value::Double(d) if d.fract() == 0.0 && d.abs() < 9e18 => {
            #[allow(clippy::cast_possible_truncation, reason = "the range was checked")]
            let n = *d as i64;
            Some(n)
        }
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A double.
pub(super) fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(d) if d.is_finite() => Some(*d),
        #[allow(clippy::cast_precision_loss, reason = "the round trip is checked")]
        Value::Int(n) => Some(*n as f64).filter(|d| int(&Value::Double(*d)) == Some(*n)),
        Value::Text(text) => text.parse().ok().filter(|d: &f64| d.is_finite()),
        _ => None,
    }
}

/// An instant, also as ISO 8601 text.
pub(super) fn time(value: &Value<'_>) -> Option<Micros> {
    match value {
        Value::Time(at) => Some(*at),
        Value::Text(text) => Micros::parse(text).ok(),
        _ => None,
    }
}

/// Compact JSON: text that is JSON as it is, other text as a JSON string. Nothing for a JSON
/// null.
pub(super) fn json(value: &Value<'_>) -> Option<String> {
    let json = match value {
        Value::Text(text) => compacted(text).unwrap_or_else(|| json_form(value)),
        _ => json_form(value),
    };
    (json != "null").then_some(json)
}

/// A compact JSON array of texts and, with `numbers`, numbers. Other elements become the text of
/// their JSON form; what is no array becomes the one element.
pub(super) fn list(value: &Value<'_>, numbers: bool) -> String {
    let json = match value {
        Value::Text(text) => compacted(text),
        Value::Json(json) => Some(json.clone()),
        _ => None,
    };
    let elements: Option<Vec<&RawValue>> =
        json.as_deref().and_then(|json| serde_json::from_str(json).ok());
    let mut out = String::from("[");
    if let Some(elements) = elements {
        for (at, element) in elements.into_iter().map(RawValue::get).enumerate() {
            if at > 0 {
                out.push(',');
            }
            let number = element.starts_with(|c: char| c == '-' || c.is_ascii_digit());
            if element.starts_with('"') || element == "null" || (numbers && number) {
                out.push_str(element);
            } else {
                push_string(element, &mut out);
            }
        }
    } else {
        push_string(&text(value), &mut out);
    }
    out.push(']');
    out
}

fn compacted(text: &str) -> Option<String> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    let mut out = String::with_capacity(text.len());
    compact(text.trim_matches([' ', '\t', '\n', '\r']), &mut out).ok()?;
    Some(out)
}

fn json_form(value: &Value<'_>) -> String {
    let mut out = String::new();
    push_json(value, &mut out);
    out
}

/// The fields of `extra`.
pub(super) struct Extra {
    table: Table,
    json: String,
}

impl Extra {
    pub(super) fn new(table: Table) -> Self {
        Self { table, json: String::new() }
    }

    /// Keeps a column that the table does not know.
    pub(super) fn push(&mut self, name: &str, value: &Value<'_>) {
        self.push_raw(name, &json_form(value));
    }

    /// Keeps a value that does not fit the column `name`.
    pub(super) fn push_misfit(&mut self, name: &str, value: &Value<'_>) {
        self.push_raw(&format!("{MISFIT}{name}"), &json_form(value));
    }

    /// Keeps the fields of an `extra` column.
    pub(super) fn push_fields(&mut self, value: &Value<'_>) -> Option<Misfit> {
        let json = json(value)?;
        if !json.starts_with('{') {
            return Some(Misfit);
        }
        for (name, value) in object::fields_of(&json) {
            if self.table.spec().column(&name).is_some() {
                // Under its own name it would stand twice in a response.
                self.push_raw(&format!("{MISFIT}{name}"), value);
            } else {
                self.push_raw(&name, value);
            }
        }
        None
    }

    fn push_raw(&mut self, name: &str, json: &str) {
        self.json.push(if self.json.is_empty() { '{' } else { ',' });
        push_string(name, &mut self.json);
        self.json.push(':');
        self.json.push_str(json);
    }

    /// The object, where it has fields.
    pub(super) fn finish(mut self) -> Option<String> {
        if self.json.is_empty() {
            return None;
        }
        self.json.push('}');
        Some(self.json)
    }
}
