//! One value of an Arrow array, whatever its type.

use std::borrow::Cow;
use std::fmt::Write;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::domain::Micros;
use crate::domain::json_text::push_string;

/// A value, borrowed where it is text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// Null, or a NaN: pandas writes one for the other.
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Time(Micros),
    Text(Cow<'a, str>),
    /// The JSON form of a list, a struct or a map.
    Json(String),
}

/// The value at `row` of an array.
pub(super) fn value_at(array: &dyn Array, row: usize) -> Value<'_> {
    if row >= array.len() || array.is_null(row) {
        return Value::Null;
    }
    macro_rules! int {
        ($type:ty) => {
            Value::Int(i64::from(array.as_primitive::<$type>().value(row)))
        };
    }
    match array.data_type() {
        // An array of this type has no validity bitmap that `is_null` could look at.
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => int!(Int8Type),
        DataType::Int16 => int!(Int16Type),
        DataType::Int32 => int!(Int32Type),
        DataType::Int64 => int!(Int64Type),
        DataType::UInt8 => int!(UInt8Type),
        DataType::UInt16 => int!(UInt16Type),
        DataType::UInt32 => int!(UInt32Type),
        DataType::UInt64 => {
            let n = array.as_primitive::<UInt64Type>().value(row);
            i64::try_from(n).map_or_else(|_| Value::Json(n.to_string()), Value::Int)
        }
        DataType::Float16 => double(array.as_primitive::<Float16Type>().value(row).into()),
        DataType::Float32 => double(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).into()),
        DataType::LargeUtf8 => Value::Text(array.as_string::<i64>().value(row).into()),
        DataType::Utf8View => Value::Text(array.as_string_view().value(row).into()),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(row)),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(row)),
        DataType::Timestamp(unit, _) => instant(array, *unit, row),
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            scaled(days, 86_400_000_000)
        }
        DataType::Date64 => scaled(array.as_primitive::<Date64Type>().value(row), 1000),
        DataType::List(_) => elements(array.as_list::<i32>().value(row).as_ref()),
        DataType::LargeList(_) => elements(array.as_list::<i64>().value(row).as_ref()),
        DataType::FixedSizeList(..) => elements(array.as_fixed_size_list().value(row).as_ref()),
        DataType::Struct(_) => fields(array, row),
        DataType::Map(..) => entries(array, row),
        _ => shown(array, row),
    }
}

fn double(d: f64) -> Value<'static> {
    if d.is_nan() { Value::Null } else { Value::Double(d) }
}

/// Bytes are text that another writer did not call so; others are shown in hex.
fn bytes(bytes: &[u8]) -> Value<'_> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Value::Text(text.into());
    }
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Value::Text(hex.into())
}

fn scaled(n: i64, micros: i64) -> Value<'static> {
    n.checked_mul(micros).map_or(Value::Int(n), |at| Value::Time(Micros::new(at)))
}

fn instant(array: &dyn Array, unit: TimeUnit, row: usize) -> Value<'static> {
    match unit {
        TimeUnit::Second => {
            scaled(array.as_primitive::<TimestampSecondType>().value(row), 1_000_000)
        }
        TimeUnit::Millisecond => {
            scaled(array.as_primitive::<TimestampMillisecondType>().value(row), 1000)
        }
        TimeUnit::Microsecond => {
            scaled(array.as_primitive::<TimestampMicrosecondType>().value(row), 1)
        }
        TimeUnit::Nanosecond => {
            let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
            Value::Time(Micros::new(nanos.div_euclid(1000)))
        }
    }
}

fn elements(list: &dyn Array) -> Value<'static> {
    let mut out = String::from("[");
    for at in 0..list.len() {
        if at > 0 {
            out.push(',');
        }
        push_json(&value_at(list, at), &mut out);
    }
    out.push(']');
    Value::Json(out)
}

fn fields(array: &dyn Array, row: usize) -> Value<'static> {
    let object = array.as_struct();
    let mut out = String::from("{");
    for (at, (field, column)) in object.fields().iter().zip(object.columns()).enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_string(field.name(), &mut out);
        out.push(':');
        push_json(&value_at(column.as_ref(), row), &mut out);
    }
    out.push('}');
    Value::Json(out)
}

/// A map as an object; keys that are no text are its text.
fn entries(array: &dyn Array, row: usize) -> Value<'static> {
    let entries = array.as_map().value(row);
    let mut out = String::from("{");
    let (Some(keys), Some(values)) = (entries.columns().first(), entries.columns().get(1)) else {
        return Value::Json("{}".to_owned());
    };
    for at in 0..entries.len() {
        if at > 0 {
            out.push(',');
        }
        let key = value_at(keys.as_ref(), at);
        push_string(&super::coerce::text(&key), &mut out);
        out.push(':');
        push_json(&value_at(values.as_ref(), at), &mut out);
    }
    out.push('}');
    Value::Json(out)
}

/// Decimals, times of day, durations: as text.
fn shown(array: &dyn Array, row: usize) -> Value<'_> {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default());
    match formatter.map(|f| f.value(row).try_to_string()) {
        Ok(Ok(text)) => Value::Text(text.into()),
        _ => Value::Null,
    }
}

/// Appends a value's JSON form.
pub(super) fn push_json(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) => out.push_str(itoa::Buffer::new().format(*n)),
        Value::Double(d) if d.is_finite() => out.push_str(ryu::Buffer::new().format_finite(*d)),
        Value::Double(d) => push_string(&d.to_string(), out),
        Value::Time(at) => push_string(&at.to_string(), out),
        Value::Text(text) => push_string(text, out),
        Value::Json(json) => out.push_str(json),
    }
}
