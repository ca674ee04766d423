//! How large what a client sends may be, and the check of a body before anything is made of it.
//!
//! [`InputLimits::scan`] walks over the bytes once and allocates nothing: a body that would make
//! too many values or nest too deep is refused before a parser sees it. It does not check that
//! the text is JSON; whatever it lets through, the parser judges.

use super::json_text::opening_brackets;

/// Which limit an input passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Levels of nesting.
    Depth,
    /// Values of a body.
    Nodes,
    /// The length of a name.
    Name,
    /// The length of a text.
    Text,
    /// The elements of a list.
    List,
    /// The size of unknown fields, or of merged metadata.
    Extra,
    /// The size of a record in the log.
    Record,
}

/// How large what a client sends may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InputLimits {
    /// Levels of nesting in one field.
    pub depth: usize,
    /// Values in a body, of all levels together.
    pub nodes: usize,
    /// Bytes of a name, a type or the id of another record.
    pub name: usize,
    /// Bytes of a description, a query or an error message.
    pub text: usize,
    /// Elements of a list.
    pub list: usize,
    /// Bytes of all unknown fields of a record together, and of its metadata.
    pub extra: usize,
}

impl Default for InputLimits {
    fn default() -> Self {
        Self {
            depth: 64,
            nodes: 100_000,
            name: 1 << 10,
            text: 256 << 10,
            list: 10_000,
            extra: 1 << 20,
        }
    }
}

/// Where a body passes a limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exceeded<'a> {
    /// Which limit: [`Limit::Depth`] or [`Limit::Nodes`].
    pub limit: Limit,
    /// The top-level field it happens in, as its JSON string was sent; `None` at the top itself.
    pub field: Option<&'a [u8]>,
}

impl InputLimits {
    /// Checks depth and number of values of a body.
    ///
    /// # Errors
    /// [`Exceeded`] at the first place that is too deep or one value too many.
    pub fn scan<'a>(&self, body: &'a [u8]) -> Result<(), Exceeded<'a>> {
        if self.surely_holds(body) {
            return Ok(());
        }
        let (mut at, mut depth, mut nodes, mut fresh) = (0, 0_usize, 1_usize, false);
        // At the top level, the string before a nested value is the value's name.
        let mut string: &[u8] = &[];
        while let Some(&byte) = body.get(at) {
            let value = match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {
                    at += 1;
                    continue;
                }
                b'}' | b']' => false,
                b',' => true,
                // The first value of an array or object has no comma before it.
                _ => fresh,
            };
            fresh = false;
            nodes += usize::from(value);
            let begin = at;
            at += 1;
            match byte {
                b'"' => {
                    at = end_of_string(body, at);
                    if depth == 1 {
                        string = body.get(begin..at).unwrap_or_default();
                    }
                }
                b'{' | b'[' => {
                    depth += 1;
                    fresh = true;
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            // The body's own object is a level above its fields'.
            let limit = match (depth > self.depth + 1, nodes > self.nodes) {
                (true, _) => Limit::Depth,
                (_, true) => Limit::Nodes,
                _ => continue,
            };
            return Err(Exceeded { limit, field: (depth > 1).then_some(string) });
        }
        Ok(())
    }

    /// Whether a body is within the limits however its bytes are arranged, as nearly all are: it
    /// has no more bytes than values are allowed, and no more opening brackets than levels.
    fn surely_holds(&self, body: &[u8]) -> bool {
        body.len() <= self.nodes && opening_brackets(body) <= self.depth
    }
}

/// The index after the closing quote of the string that begins at `at`, or the end.
fn end_of_string(body: &[u8], mut at: usize) -> usize {
    loop {
        let rest = body.get(at..).unwrap_or_default();
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else { return body.len().max(at) };
        if rest.get(found) == Some(&b'"') {
            return at + found + 1;
        }
        at += found + 2;
    }
}

/// How many elements a JSON array in compact form has; 0 for what is no array.
#[must_use]
pub fn elements(array: &str) -> usize {
    let bytes = array.as_bytes();
    if bytes.first() != Some(&b'[') || bytes.get(1) == Some(&b']') {
        return 0;
    }
    let (mut at, mut depth, mut count) = (0, 0_usize, 1);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn limits(depth: usize, nodes: usize) -> InputLimits {
        InputLimits { depth, nodes, ..InputLimits::default() }
    }

    /// All values of a JSON value, itself included.
    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(all) => all.iter().map(count).sum(),
            Value::Object(all) => all.values().map(count).sum::<usize>(),
            _ => 0,
        }
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(all) => 1 + all.iter().map(depth).max().unwrap_or(0),
            Value::Object(all) => 1 + all.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[\\PC\"\\\\{}\\[\\],]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"\\\\,\\[]{0,4}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn counts_are_exact(fields in proptest::collection::btree_map("[a-z]{1,3}", json(), 0..5)) {
            let value = Value::Object(fields.into_iter().collect());
            let (deep, many) = (depth(&value).max(1) - 1, count(&value));
            for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("JSON")] {
                let scanned = |depth, nodes| limits(depth, nodes).scan(text.as_bytes()).err();
                prop_assert_eq!(scanned(deep, many), None);
                let too_many = scanned(deep, many - 1).map(|e| e.limit);
                prop_assert_eq!(too_many, Some(Limit::Nodes));
                if deep > 0 {
                    let too_deep = scanned(deep - 1, many).map(|e| e.limit);
                    prop_assert_eq!(too_deep, Some(Limit::Depth));
                }
            }
        }

        #[test]
        fn nothing_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = limits(3, 10).scan(&bytes);
        }

        #[test]
        fn elements_are_counted(all in proptest::collection::vec(json(), 0..6)) {
            let (len, text) = (all.len(), Value::from(all).to_string());
            prop_assert_eq!(elements(&text), len);
        }
    }

    #[test]
    fn the_field_is_named() {
        let field = |depth, nodes, body: &'static str| {
            limits(depth, nodes).scan(body.as_bytes()).expect_err(body).field
        };
        assert_eq!(field(2, 99, r#"{"a":"b","c":[[[1]]]}"#), Some(&br#""c""#[..]));
        assert_eq!(field(9, 4, r#"{"a":[1,2,3]}"#), Some(&br#""a""#[..]));
        assert_eq!(field(9, 2, r#"{"a":1,"b":2}"#), None);
    }
}
