//! The top-level fields of a JSON object, taken apart and checked in one pass over its bytes.
//!
//! [`split`] takes what nearly all bodies are. What it leaves is `serde_json`'s to judge: whatever
//! is no JSON, nests deep, or has an escape in a field's name. What it takes, `serde_json` takes as
//! well and finds the same fields in.

use std::borrow::Cow;

use super::json_text::{MAX_JSON_DEPTH, MAX_JSON_NODES};

/// A field and its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Field<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: Raw<'a>,
}

/// A value as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Raw<'a> {
    /// Well-formed JSON, without white space around it.
    pub(super) text: &'a str,
    /// Whether it surely has neither an escape nor white space between its tokens.
    pub(super) is_plain: bool,
    pub(super) elements: Elements,
}

impl<'a> Raw<'a> {
    /// A value of which nothing is known but that it is well-formed.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, is_plain: false, elements: Elements::Unknown }
    }

    pub(super) fn is_null(&self) -> bool {
        self.text == "null"
    }
}

/// What is known of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Elements {
    /// Nothing, or it is no list, or holds other values too.
    Unknown,
    /// So many texts.
    Texts(usize),
    /// So many texts and numbers.
    TextsAndNumbers(usize),
}

impl Elements {
    fn with(self, first: u8) -> Self {
        match (self, first) {
            (Self::Texts(count), b'"') => Self::Texts(count + 1),
            (Self::TextsAndNumbers(count), b'"')
            | (Self::Texts(count) | Self::TextsAndNumbers(count), b'-' | b'0'..=b'9') => {
                Self::TextsAndNumbers(count + 1)
            }
            _ => Self::Unknown,
        }
    }
}

/// The fields of an object none of whose values nests deeper than `depth`; `None` where it takes
/// `serde_json` to tell.
pub(super) fn split(object: &str, depth: usize) -> Option<Vec<Field<'_>>> {
    if object.len() >= MAX_JSON_NODES {
        return None;
    }
    let deepest = depth.min(MAX_JSON_DEPTH);
    let mut scanner = Scanner { text: object, at: 0, deepest, is_plain: true };
    scanner.expect(b'{')?;
    let mut fields = Vec::with_capacity(24);
    if scanner.token()? == b'}' {
        scanner.at += 1;
    } else {
        loop {
            let name = Cow::Borrowed(scanner.name()?);
            fields.push(Field { name, value: scanner.value()? });
            match scanner.token()? {
                b',' => scanner.at += 1,
                b'}' => break scanner.at += 1,
                _ => return None,
            }
        }
    }
    scanner.token().is_none().then_some(())?;
    (scanner.at == object.len()).then_some(fields)
}

/// Walks over tokens. Where a method says `None`, there is no going on.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    deepest: usize,
    /// Whether neither white space nor an escape was met since this was set.
    is_plain: bool,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The first byte of the next token, which stays where it is.
    #[inline]
    fn token(&mut self) -> Option<u8> {
        match self.peek()? {
            byte if byte > b' ' => Some(byte),
            _ => self.token_after_space(),
        }
    }

    #[inline(never)]
    fn token_after_space(&mut self) -> Option<u8> {
        self.is_plain = false;
        while let b' ' | b'\t' | b'\n' | b'\r' = self.peek()? {
            self.at += 1;
        }
        self.peek()
    }

    fn expect(&mut self, token: u8) -> Option<()> {
        (self.token()? == token).then_some(())?;
        self.at += 1;
        Some(())
    }

    /// The name of a field of the object itself, and the colon after it.
    fn name(&mut self) -> Option<&'a str> {
        self.token()?;
        self.is_plain = true;
        let begin = self.at + 1;
        self.string()?;
        let name = self.text.get(begin..self.at - 1)?;
        self.is_plain.then_some(())?;
        self.expect(b':')?;
        Some(name)
    }

    fn value(&mut self) -> Option<Raw<'a>> {
        self.token()?;
        self.is_plain = true;
        let begin = self.at;
        let mut elements = Elements::Unknown;
        // Of the brackets that are open, the innermost in the lowest bit: whether it is a brace.
        let (mut open, mut depth) = (0_u64, 0);
        loop {
            let first = self.token()?;
            if depth == 1 && open & 1 == 0 {
                elements = elements.with(first);
            }
            match first {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    (depth <= self.deepest).then_some(())?;
                    self.at += 1;
                    let is_object = first == b'{';
                    open = open << 1 | u64::from(is_object);
                    if depth == 1 && !is_object {
                        elements = Elements::Texts(0);
                    }
                    let next = self.token()?;
                    if next != if is_object { b'}' } else { b']' } {
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => self.number()?,
            }
            while depth > 0 {
                let is_object = open & 1 == 1;
                match self.token()? {
                    b',' => {
                        self.at += 1;
                        if is_object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if is_object => {}
                    b']' if !is_object => {}
                    _ => return None,
                }
                self.at += 1;
                depth -= 1;
                open >>= 1;
            }
            if depth == 0 {
                let text = self.text.get(begin..self.at)?;
                return Some(Raw { text, is_plain: self.is_plain, elements });
            }
        }
    }

    /// The name of a field of an object within a value, and the colon after it.
    fn key(&mut self) -> Option<()> {
        self.token()?;
        self.string()?;
        self.expect(b':')
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        rest.starts_with(word.as_bytes()).then_some(())?;
        self.at += word.len();
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.peek()? == b'-');
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek()?, b'+' | b'-'));
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > begin).then_some(())
    }

    fn string(&mut self) -> Option<()> {
        (self.peek()? == b'"').then_some(())?;
        self.at += 1;
        loop {
            self.at += ordinary(self.text.as_bytes().get(self.at..)?);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                // A control character must be escaped.
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.is_plain = false;
        let rest = self.text.as_bytes().get(self.at + 1..)?;
        self.at += match rest.first()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' if rest.get(1..5)?.iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return None,
        };
        Some(())
    }
}

/// How many of the first bytes neither end a string nor are special in it: all of them up to the
/// first that does, but for the last seven, which are not looked at.
fn ordinary(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The highest bit of each byte that is less than `least`, exact in the lowest of them.
    let less = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word;
    let (words, _) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // With this bit flipped the quote follows the control characters, which stay such.
        let quote_or_control = less(word ^ (ONES * 2), b'"' - 1);
        let escape = less(word ^ (ONES * u64::from(b'\\')), 1);
        let special = (quote_or_control | escape) & HIGH;
        if special != 0 {
            return index * 8 + (special.trailing_zeros() / 8) as usize;
        }
    }
    words.len() * 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::super::json_text::compact;
    use super::super::object::ObjectFields;
    use super::*;

    /// What was split off is what `serde_json` finds, and what is said of it is so.
    fn check(text: &str, depth: usize) -> Result<bool, TestCaseError> {
        let Some(fields) = split(text, depth) else { return Ok(false) };
        let known = serde_json::from_str::<ObjectFields<'_>>(text);
        let known = known.map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?.0;
        let pairs: Vec<_> = fields.iter().map(|f| (f.name.clone(), f.value.text)).collect();
        let known: Vec<_> = known.into_iter().map(|(name, raw)| (name, raw.get())).collect();
        prop_assert_eq!(pairs, known);
        for Field { value, .. } in fields {
            if value.is_plain {
                let mut tight = String::new();
                prop_assert_eq!(compact(value.text, &mut tight), Ok(()));
                prop_assert_eq!(&tight, value.text);
            }
            let list = serde_json::from_str::<Vec<&RawValue>>(value.text).unwrap_or_default();
            let is_text = |v: &&RawValue| v.get().starts_with('"');
            let is_number = |v: &&RawValue| {
                v.get().starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
            };
            let texts = list.iter().all(is_text);
            let both = list.iter().all(|v| is_text(v) || is_number(v));
            match value.elements {
                Elements::Texts(count) => prop_assert!(texts && count == list.len()),
                Elements::TextsAndNumbers(count) => {
                    prop_assert!(!texts && both && count == list.len());
                }
                Elements::Unknown => {
                    prop_assert!(!value.text.starts_with('[') || !both);
                }
            }
        }
        Ok(true)
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[\\PC\"\\\\{}\\[\\],\u{0}-\u{1f}]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"\\\\,\\[é]{0,12}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn objects_fall_apart_as_the_library_has_it(
            fields in proptest::collection::btree_map("[a-zé ]{0,9}", json(), 0..8),
        ) {
            let value = Value::Object(fields.into_iter().collect());
            for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("JSON")] {
                prop_assert!(check(&text, 64)?, "{} is taken", text);
                let spaced = format!(" {text}\r\n");
                prop_assert!(check(&spaced, 64)?);
            }
        }

        #[test]
        fn damage_is_not_taken_for_json(
            fields in proptest::collection::btree_map("[a-z]{0,9}", json(), 0..5),
            at in any::<prop::sample::Index>(),
            with in "[\\PC\"\\\\{}\\[\\],:0-9eE.+\\- \u{0}-\u{1f}]{0,2}",
            gone in 0_usize..3,
        ) {
            let text = Value::Object(fields.into_iter().collect()).to_string();
            let mut damaged: Vec<char> = text.chars().collect();
            let at = at.index(damaged.len());
            let end = (at + gone).min(damaged.len());
            damaged.splice(at..end, with.chars());
            check(&damaged.into_iter().collect::<String>(), 64)?;
        }

        #[test]
        fn tokens_in_any_order_are_judged_alike(tokens in proptest::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\\n\"", "1", "-0.5e+3", "01", "-", "1.",
                "true", "nul", "null", " ", "\"\\u12aG\"", "\"\\ud800\"", "\"", "\\",
            ]), 0..12,
        )) {
            check(&format!("{{\"x\":{}}}", tokens.concat()), 64)?;
            check(&tokens.concat(), 64)?;
        }
    }

    #[test]
    fn what_nests_deeper_than_asked_is_left() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(split(&nested(3), 3).is_some());
        assert!(split(&nested(4), 3).is_none());
        assert!(split(&nested(64), 1000).is_some());
        assert!(split(&nested(65), 1000).is_none());
    }

    #[test]
    fn every_byte_of_a_text_is_looked_at() {
        for length in 0..20 {
            for at in 0..=length {
                for (special, taken) in [("\u{1}", false), ("\\", false), ("\u{7f}", true)] {
                    let text = format!("{}{special}{}", "x".repeat(at), "é".repeat(length - at));
                    let object = format!("{{\"a\":\"{text}\"}}");
                    assert_eq!(split(&object, 3).is_some(), taken, "{object}");
                }
            }
        }
    }
}
