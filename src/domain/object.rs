//! The top-level fields of a compact JSON object, without parsing what they hold.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of a JSON object in the order they came, values as raw text.
#[derive(Debug, Default)]
pub struct ObjectFields<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for ObjectFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = ObjectFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(24);
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
                    fields.push((name, value));
                }
                Ok(ObjectFields(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A key, borrowed where it holds no escape.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The fields of an object that this store wrote; none where the text is not an object.
#[must_use]
pub fn fields_of(object: &str) -> Vec<(Cow<'_, str>, &str)> {
    let fields: ObjectFields<'_> = serde_json::from_str(object).unwrap_or_default();
    fields.0.into_iter().map(|(name, value)| (name, value.get())).collect()
}

/// `base` with the fields of `changes` set, in `base`'s order, new ones after. Both are compact
/// objects or absent; values are compact JSON.
#[must_use]
pub fn merged<'a>(
    base: Option<&str>,
    changes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut fields: Vec<(Cow<'_, str>, &str)> = base.map(fields_of).unwrap_or_default();
    let mut places: HashMap<Cow<'_, str>, usize> =
        fields.iter().enumerate().map(|(index, (name, _))| (name.clone(), index)).collect();
    for (name, value) in changes {
        if let Some(field) = places.get(name).and_then(|index| fields.get_mut(*index)) {
            field.1 = value;
        } else {
            places.insert(Cow::Borrowed(name), fields.len());
            fields.push((Cow::Borrowed(name), value));
        }
    }
    let mut out = String::from("{");
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        super::json_text::push_string(name, &mut out);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_text() {
        let fields = fields_of(r#"{"b":1.0,"a\n":[ ],"c":{"d":1}}"#);
        assert_eq!(
            fields,
            [("b".into(), "1.0"), ("a\n".into(), "[ ]"), ("c".into(), r#"{"d":1}"#)]
        );
    }

    #[test]
    fn merges_over() {
        let merged = merged(Some(r#"{"a":1,"b":2}"#), [("b", "3"), ("c", "null")]);
        assert_eq!(merged, r#"{"a":1,"b":3,"c":null}"#);
        assert_eq!(super::merged(None, []), "{}");
    }
}
