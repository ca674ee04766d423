//! Schemas, made from the tables.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON object indexed by name takes the name in; a test builds the whole document"
)]

use serde_json::{Map, Value, json};

use crate::domain::{Column, JsonShape, Kind, Table};
use crate::http::error::CODES;

/// All named schemas.
#[must_use]
pub fn all() -> Value {
    let mut schemas = Map::new();
    for table in Table::PUBLIC {
        let title = table.spec().title;
        schemas.insert(title.to_owned(), record(table));
        schemas.insert(format!("{title}Create"), input(table, true));
        schemas.insert(format!("{title}Update"), input(table, false));
        schemas.insert(format!("{title}Status"), status(table));
        schemas.insert(format!("{title}Written"), written(table));
    }
    schemas.insert("Deleted".to_owned(), message());
    schemas.insert("Error".to_owned(), error());
    Value::Object(schemas)
}

/// A reference to a named schema.
#[must_use]
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schema of an id.
#[must_use]
pub fn id() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"})
}

/// The schema of a user id.
#[must_use]
pub fn user_id() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 128,
        "description": "1 to 128 bytes of UTF-8, not blank, without control characters",
    })
}

fn value(kind: Kind) -> Value {
    match kind {
        Kind::Id => id(),
        Kind::UserId => user_id(),
        Kind::Text => json!({"type": "string"}),
        Kind::Enum(values) => json!({"type": "string", "enum": values}),
        Kind::CreatedAt | Kind::UpdatedAt | Kind::Timestamp => {
            json!({"type": "string", "format": "date-time", "examples": ["2025-05-30T12:00:00.000000Z"]})
        }
        Kind::Int64 => {
            json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": i64::MAX})
        }
        Kind::Version => json!({"type": "integer", "format": "int64", "minimum": 1}),
        Kind::Double => json!({"type": "number", "format": "double"}),
        Kind::TextList { numbers: false } => json!({"type": "array", "items": {"type": "string"}}),
        Kind::TextList { numbers: true } => {
            json!({"type": "array", "items": {"type": ["string", "number"]}})
        }
        Kind::Json(JsonShape::Array) => json!({"type": "array", "items": {}}),
        Kind::Json(JsonShape::Any) => json!({}),
        Kind::Sealed => json!({
            "type": "object",
            "description": "What stands in the place of credentials",
            "properties": {"encrypted": {"const": true}, "account_id": {}},
        }),
        Kind::Json(JsonShape::Object) | Kind::Extra => json!({"type": "object"}),
    }
}

/// Credentials as they are sent.
fn secret() -> Value {
    json!({
        "type": "object",
        "writeOnly": true,
        "description": "Sealed, and never shown in a record. What a read shows in their place \
            changes nothing when it is sent back; null removes them",
    })
}

fn nullable(mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        match object.get("type").cloned() {
            Some(Value::String(one)) => {
                object.insert("type".to_owned(), json!([one, "null"]));
            }
            Some(Value::Array(mut many)) => {
                many.push(json!("null"));
                object.insert("type".to_owned(), Value::Array(many));
            }
            _ => {}
        }
        if let Some(Value::Array(values)) = object.get_mut("enum") {
            values.push(Value::Null);
        }
    }
    schema
}

fn always_there(kind: Kind) -> bool {
    matches!(kind, Kind::Id | Kind::UserId | Kind::CreatedAt | Kind::UpdatedAt | Kind::Version)
}

fn record(table: Table) -> Value {
    let shown = table.spec().columns.iter().filter(|c| c.kind != Kind::Extra);
    let of =
        |c: &Column| if always_there(c.kind) { value(c.kind) } else { nullable(value(c.kind)) };
    let properties: Map<String, Value> = shown.map(|c| (c.name.to_owned(), of(c))).collect();
    json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": true,
        "description": "Fields the table does not know are kept and given back beside these",
    })
}

fn input(table: Table, create: bool) -> Value {
    let taken = |c: &&Column| c.kind != Kind::Extra;
    let columns: Vec<&Column> = table.spec().columns.iter().filter(taken).collect();
    let of = |c: &Column| {
        let mut schema = if c.kind == Kind::Sealed { secret() } else { value(c.kind) };
        if c.required && c.kind == Kind::Text {
            schema["minLength"] = json!(1);
            schema["pattern"] = json!("\\S");
        }
        // Where the query says whose it is, the body's user_id may be null.
        if c.required && c.kind != Kind::UserId { schema } else { nullable(schema) }
    };
    let properties: Map<String, Value> =
        columns.iter().map(|c| (c.name.to_owned(), of(c))).collect();
    let required: Vec<&str> = columns
        .iter()
        .filter(|c| create && c.required && c.kind != Kind::UserId)
        .map(|c| c.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": true,
        "description": "user_id may stand here or in the query. Fields the table does not know \
            are kept. created_at, updated_at and version of an existing record are the server's: \
            other values are named in the answer's `ignored`",
    })
}

fn status(table: Table) -> Value {
    let mut schema = input(table, false);
    if let Some(statuses) = table.spec().allowed("status") {
        schema["properties"]["status"] = json!({"type": "string", "enum": statuses});
    }
    schema["required"] = json!(["status"]);
    schema
}

fn written(table: Table) -> Value {
    let spec = table.spec();
    json!({
        "type": "object",
        "properties": {
            "success": {"const": true},
            (spec.id_column()): id(),
            "message": {"type": "string"},
            "version": {"type": "integer", "minimum": 1},
            "ignored": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Fields that were sent and not taken, because the server keeps them",
            },
        },
        "required": ["success", spec.id_column(), "message", "version"],
    })
}

fn message() -> Value {
    json!({
        "type": "object",
        "properties": {"success": {"const": true}, "message": {"type": "string"}},
        "required": ["success", "message"],
    })
}

fn error() -> Value {
    let codes: Vec<&str> = CODES.iter().map(|(code, _, _)| *code).collect();
    json!({
        "type": "object",
        "properties": {
            "success": {"const": false},
            "error": {"type": "string", "description": "What is wrong, for a person"},
            "code": {"type": "string", "enum": codes},
            "details": {"type": "object"},
        },
        "required": ["success", "error", "code", "details"],
    })
}
