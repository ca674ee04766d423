//! What a client sent, checked once: bytes in, domain values out. Nothing downstream validates
//! again.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;
use thiserror::Error;

use super::fields::{Field, Raw, split};
use super::json_text::{compact, push_string};
use super::limits::{InputLimits, Limit, elements};
use super::lists;
use super::object::ObjectFields;
use super::patch::Patch;
use super::{
    Cell, Credentials, JsonShape, Kind, MAX_CREDENTIALS, Micros, RecordId, Secret, Table,
    credentials, limits,
};

/// Which rule an input breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputErrorKind {
    /// The body is not one JSON object.
    Malformed,
    /// A required field is missing, null or blank.
    Missing,
    /// A field holds what it must not.
    Invalid,
    /// A field is larger than the server takes.
    Over(Limit),
}

/// Why an input is refused, for a person, and where.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{message}")]
pub struct InputError {
    /// Which rule.
    pub kind: InputErrorKind,
    /// What is wrong, for a person.
    pub message: String,
    /// JSON pointer to the field; empty for the body itself.
    pub pointer: String,
}

impl InputError {
    /// A field that is missing.
    #[must_use]
    pub fn missing(field: &str) -> Self {
        Self {
            kind: InputErrorKind::Missing,
            message: format!("Missing required field: {field}"),
            pointer: format!("/{field}"),
        }
    }

    /// A field whose value breaks a rule: `Invalid value for <field>: <rule>`.
    #[must_use]
    pub fn invalid(field: &str, rule: impl std::fmt::Display) -> Self {
        Self {
            kind: InputErrorKind::Invalid,
            message: format!("Invalid value for {field}: {rule}"),
            pointer: pointer_to(field),
        }
    }

    /// A field that passes a limit.
    #[must_use]
    pub fn over(limit: Limit, field: &str, rule: impl std::fmt::Display) -> Self {
        Self { kind: InputErrorKind::Over(limit), ..Self::invalid(field, rule) }
    }

    /// A record that grew larger than one may be.
    #[must_use]
    pub fn too_large() -> Self {
        Self {
            kind: InputErrorKind::Over(Limit::Record),
            message: "The record would be too large".to_owned(),
            pointer: String::new(),
        }
    }

    fn malformed(message: impl Into<String>) -> Self {
        Self { kind: InputErrorKind::Malformed, message: message.into(), pointer: String::new() }
    }
}

/// The JSON pointer to a top-level field (RFC 6901).
fn pointer_to(field: &str) -> String {
    format!("/{}", field.replace('~', "~0").replace('/', "~1"))
}

/// The parsed top level of a request body.
pub struct Body<'a> {
    fields: Vec<Field<'a>>,
    bytes: usize,
    limits: InputLimits,
}

impl<'a> Body<'a> {
    /// Parses a body: one JSON object, each field at most once.
    ///
    /// # Errors
    /// [`InputErrorKind::Malformed`] otherwise; [`InputErrorKind::Over`] for one that nests too
    /// deep or holds too many values, before anything is made of it.
    pub fn parse(bytes: &'a [u8], limits: &InputLimits) -> Result<Self, InputError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| InputError::malformed("The body is not UTF-8"))?;
        let fields = match split_within(text, limits) {
            Some(fields) => fields,
            None => parse_slowly(text, limits)?,
        };
        let mut names = Names::with_capacity(fields.len());
        for Field { name, .. } in &fields {
            // One without an escape has none.
            if matches!(name, Cow::Owned(name) if name.contains('\0')) {
                return Err(InputError {
                    kind: InputErrorKind::Invalid,
                    message: "The name of a field holds a NUL character".to_owned(),
                    pointer: String::new(),
                });
            }
            if !names.insert(name) {
                return Err(InputError {
                    kind: InputErrorKind::Invalid,
                    message: format!("Field sent twice: {name}"),
                    pointer: pointer_to(name),
                });
            }
        }
        Ok(Self { fields, bytes: bytes.len(), limits: *limits })
    }

    /// A top-level text field; `None` where it is absent or null.
    ///
    /// # Errors
    /// [`InputErrorKind::Invalid`] where it holds something else.
    pub fn text(&self, field: &str) -> Result<Option<Cow<'a, str>>, InputError> {
        match self.fields.iter().find(|sent| sent.name == field) {
            Some(Field { value, .. }) if !value.is_null() => text_of(field, value).map(Some),
            _ => Ok(None),
        }
    }

    /// The body as a patch of a record of `table`.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn patch(&self, table: Table) -> Result<Patch, InputError> {
        let spec = table.spec();
        let mut patch = Patch::new(table, self.bytes, self.limits);
        let mut extra: Vec<&Field<'_>> = Vec::new();
        for field in &self.fields {
            let Field { name, value } = field;
            match spec.column(name).filter(|(_, c)| c.kind != Kind::Extra) {
                Some((index, column)) => set_column(&mut patch, index, name, column.kind, value)?,
                None => extra.push(field),
            }
        }
        if let (false, Some(index)) =
            (extra.is_empty(), spec.index_where(|k| matches!(k, Kind::Extra)))
        {
            let limit = self.limits.extra;
            patch.set_written(index, |out| write_extra(&extra, limit, out))?;
        }
        Ok(patch)
    }
}

/// The fields of a body that is surely within the limits, as nearly all are.
fn split_within<'a>(text: &'a str, limits: &InputLimits) -> Option<Vec<Field<'a>>> {
    // A value takes a byte at least.
    (text.len() <= limits.nodes).then(|| split(text, limits.depth)).flatten()
}

/// The fields of any other body, or what is wrong with it.
fn parse_slowly<'a>(text: &'a str, limits: &InputLimits) -> Result<Vec<Field<'a>>, InputError> {
    if text.trim_start().starts_with('{') {
        limits.scan(text.as_bytes()).map_err(|over| exceeded(&over, limits))?;
    }
    let fields: ObjectFields<'_> = serde_json::from_str(text).map_err(|e| {
        InputError::malformed(format!(
            "The body is not a JSON object (line {}, column {})",
            e.line(),
            e.column()
        ))
    })?;
    let field = |(name, value): (_, &'a RawValue)| Field { name, value: Raw::new(value.get()) };
    Ok(fields.0.into_iter().map(field).collect())
}

/// Names seen so far. A body usually has so few that looking at each is quicker than hashing.
enum Names<'n> {
    Few {
        names: Vec<&'n str>,
        /// A bit for each, by [`mark`].
        marks: u64,
    },
    Many(HashSet<&'n str>),
}

impl<'n> Names<'n> {
    /// Most names that are looked at one by one.
    const FEW: usize = 40;

    fn with_capacity(count: usize) -> Self {
        if count <= Self::FEW {
            Self::Few { names: Vec::with_capacity(count), marks: 0 }
        } else {
            Self::Many(HashSet::with_capacity(count))
        }
    }

    /// Notes a name; `false` where it was noted before.
    fn insert(&mut self, name: &'n str) -> bool {
        match self {
            Self::Few { names, marks } => {
                let fresh = *marks & mark(name) == 0 || !names.contains(&name);
                *marks |= mark(name);
                names.push(name);
                fresh
            }
            Self::Many(names) => names.insert(name),
        }
    }
}

/// One bit of 64, which tells most names apart.
fn mark(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let end = |byte: Option<&u8>| byte.map_or(0, |b| usize::from(*b));
    1 << ((bytes.len() * 5 + end(bytes.first()) + end(bytes.last()) * 3) % 64)
}

fn exceeded(over: &limits::Exceeded<'_>, limits: &InputLimits) -> InputError {
    let field = over.field.and_then(|name| serde_json::from_slice::<String>(name).ok());
    let rule = match over.limit {
        Limit::Depth => format!("is nested deeper than {} levels", limits.depth),
        _ => format!("makes the body hold more than {} values", limits.nodes),
    };
    match field {
        Some(field) => InputError::over(over.limit, &field, rule),
        None => InputError {
            kind: InputErrorKind::Over(over.limit),
            message: format!("The body holds more than {} values", limits.nodes),
            pointer: String::new(),
        },
    }
}

fn set_column(
    patch: &mut Patch,
    index: usize,
    name: &str,
    kind: Kind,
    value: &Raw<'_>,
) -> Result<(), InputError> {
    let null = value.is_null();
    match kind {
        Kind::Id if !null => {
            let id = RecordId::checked(&text_of(name, value)?)
                .map_err(|e| InputError::invalid(name, e))?;
            patch.id = Some(id);
        }
        Kind::UserId if !null => patch.user_id = Some(text_of(name, value)?.into_owned()),
        Kind::CreatedAt if !null => patch.created_at = Some(parse_time(name, value.text)?),
        Kind::UpdatedAt if !null => patch.updated_at = Some(parse_time(name, value.text)?),
        Kind::Version if !null => patch.version = Some(parse_int(name, value.text)?),
        Kind::Sealed if null => patch.credentials = Credentials::Remove,
        Kind::Sealed => patch.credentials = parse_credentials(name, value)?,
        Kind::Id | Kind::UserId | Kind::CreatedAt | Kind::UpdatedAt | Kind::Version => {}
        _ if null => patch.set(index, Cell::Null),
        _ => set_value(patch, index, name, kind, value)?,
    }
    Ok(())
}

fn set_value(
    patch: &mut Patch,
    index: usize,
    name: &str,
    kind: Kind,
    value: &Raw<'_>,
) -> Result<(), InputError> {
    match kind {
        Kind::Enum(allowed) => {
            let text = text_of(name, value)?;
            if !allowed.contains(&text.as_ref()) {
                let rule = format!("must be one of {}", allowed.join(", "));
                return Err(InputError::invalid(name, rule));
            }
            patch.set(index, Cell::Text(&text));
        }
        Kind::Timestamp => patch.set(index, Cell::Time(parse_time(name, value.text)?)),
        Kind::Int64 => patch.set(index, Cell::Int(parse_int(name, value.text)?)),
        Kind::Double => patch.set(index, Cell::Double(parse_double(name, value.text)?)),
        Kind::TextList { numbers } => {
            let most = patch.limits().list;
            patch.set_written(index, |out| lists::write(name, value, numbers, most, out))?;
        }
        Kind::Json(shape) => {
            let rule = match (shape, value.text.as_bytes().first()) {
                (JsonShape::Array, Some(b'['))
                | (JsonShape::Object, Some(b'{'))
                | (JsonShape::Any, _) => None,
                (JsonShape::Array, _) => Some("must be a JSON array"),
                (JsonShape::Object, _) => Some("must be a JSON object"),
            };
            if let Some(rule) = rule {
                return Err(InputError::invalid(name, rule));
            }
            let most = patch.limits().list;
            // Each element takes a byte at least, and a comma before the next.
            if shape == JsonShape::Array && value.text.len() / 2 > most {
                check_count(name, elements(value.text), most)?;
            }
            patch.set_written(index, |out| write_compact(name, value, out))?;
        }
        _ => {
            let text = text_of(name, value)?;
            check_length(name, &text, patch.limits())?;
            patch.set(index, Cell::Text(&text));
        }
    }
    Ok(())
}

/// Checks the length of a text column's value.
///
/// # Errors
/// [`InputErrorKind::Over`] where it is too long.
pub(super) fn check_length(name: &str, text: &str, limits: &InputLimits) -> Result<(), InputError> {
    let prose = matches!(name, "description" | "original_query" | "error_message");
    let (limit, most) = if prose { (Limit::Text, limits.text) } else { (Limit::Name, limits.name) };
    if text.len() > most {
        return Err(InputError::over(limit, name, format!("must be at most {most} bytes")));
    }
    Ok(())
}

pub(super) fn check_count(name: &str, count: usize, most: usize) -> Result<(), InputError> {
    if count > most {
        let rule = format!("must have at most {most} elements");
        return Err(InputError::over(Limit::List, name, rule));
    }
    Ok(())
}

fn parse_credentials(name: &str, value: &Raw<'_>) -> Result<Credentials, InputError> {
    if !value.text.starts_with('{') {
        return Err(InputError::invalid(name, "must be a JSON object"));
    }
    // With room for all of it, no part of it is left behind where the text grew.
    let mut text = String::with_capacity(value.text.len());
    let compacted = compact(value.text, &mut text);
    let secret = Secret::new(text);
    compacted.map_err(|e| InputError::invalid(name, e))?;
    if secret.expose().len() > MAX_CREDENTIALS {
        let rule = format!("may have {MAX_CREDENTIALS} bytes");
        return Err(InputError::invalid(name, rule));
    }
    let is_view = credentials::is_view(secret.expose());
    Ok(if is_view { Credentials::View } else { Credentials::Plain(secret) })
}

fn write_compact(name: &str, value: &Raw<'_>, out: &mut String) -> Result<(), InputError> {
    if value.is_plain {
        out.push_str(value.text);
        return Ok(());
    }
    compact(value.text, out).map_err(|e| InputError::invalid(name, e))
}

fn write_extra(fields: &[&Field<'_>], most: usize, out: &mut String) -> Result<(), InputError> {
    let begin = out.len();
    for (index, Field { name, value }) in fields.iter().copied().enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        push_string(name, out);
        out.push(':');
        write_compact(name, value, out)?;
        if out.len() - begin >= most {
            return Err(unknown_fields_too_large(most));
        }
    }
    out.push('}');
    Ok(())
}

/// The refusal of fields that the table does not know and that are too large together.
pub(super) fn unknown_fields_too_large(most: usize) -> InputError {
    InputError {
        kind: InputErrorKind::Over(Limit::Extra),
        message: format!("Fields that the table does not know may take {most} bytes together"),
        pointer: String::new(),
    }
}

fn text_of<'a>(name: &str, value: &Raw<'a>) -> Result<Cow<'a, str>, InputError> {
    match unquoted(value.text) {
        Some(text) if value.is_plain => Ok(Cow::Borrowed(text)),
        _ => parse_text(name, value.text),
    }
}

fn unquoted(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

pub(super) fn parse_text<'a>(name: &str, raw: &'a str) -> Result<Cow<'a, str>, InputError> {
    if let Some(plain) = unquoted(raw).filter(|text| !text.contains('\\')) {
        return Ok(Cow::Borrowed(plain));
    }
    let text: String = serde_json::from_str(raw)
        .map_err(|_| InputError::invalid(name, "must be a text without unpaired surrogates"))?;
    if text.contains('\0') {
        return Err(InputError::invalid(name, "holds a NUL character"));
    }
    Ok(Cow::Owned(text))
}

/// Reads an instant out of a JSON value.
///
/// # Errors
/// [`InputErrorKind::Invalid`] where it is not one.
pub(super) fn parse_time(name: &str, raw: &str) -> Result<Micros, InputError> {
    let text = parse_text(name, raw)?;
    Micros::parse(&text).map_err(|e| InputError::invalid(name, e))
}

/// Reads a whole number, not negative; `5.0` is one.
///
/// # Errors
/// [`InputErrorKind::Invalid`] where it is not one.
pub(super) fn parse_int(name: &str, raw: &str) -> Result<i64, InputError> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = raw.parse::<i64>().ok().or_else(|| {
        let double: f64 = serde_json::from_str(raw).ok()?;
        #[allow(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        (double.fract() == 0.0 && double.abs() <= EXACT).then_some(double as i64)
    });
    match number {
        Some(number) if number >= 0 => Ok(number),
        _ => Err(InputError::invalid(name, "must be a whole number, not negative")),
    }
}

/// Reads a number.
///
/// # Errors
/// [`InputErrorKind::Invalid`] where it is not one.
pub(super) fn parse_double(name: &str, raw: &str) -> Result<f64, InputError> {
    serde_json::from_str::<f64>(raw)
        .ok()
        .filter(|d| d.is_finite())
        .ok_or_else(|| InputError::invalid(name, "must be a number"))
}

/// A patch's row for tests.
#[cfg(test)]
pub(crate) fn row_of(table: Table, body: &str) -> super::Row {
    let limits = InputLimits::default();
    let patch = Body::parse(body.as_bytes(), &limits).expect("body").patch(table).expect("patch");
    let id = patch.id.clone().unwrap_or(RecordId::checked("x").expect("id"));
    let at = patch.created_at.unwrap_or_default();
    patch.created(id, at, at)
}
