//! What each endpoint takes and answers.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON object indexed by name takes the name in; a test builds the whole document"
)]

use serde_json::{Map, Value, json};

use super::schemas::{id, reference, user_id};
use super::{admin, examples};
use crate::domain::{Kind, Partitioning, Table};
use crate::http::error::{ApiError, CODES};
use crate::http::params::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::http::routes::{Does, Endpoint};

/// The name of the security scheme.
pub const SCHEME: &str = "bearer";

/// Codes that any endpoint of the store may answer.
const ANY: &[&str] = &[
    "STARTING",
    "OVERLOADED",
    "STORAGE_FAILED",
    "PARTITION_CORRUPT",
    "PARTITION_RESTARTING",
    "DRAINING",
    "TIMEOUT",
    "INTERNAL",
    "ERASURE_IN_PROGRESS",
    "MISSING_FIELD",
    "INVALID_FIELD",
    "INVALID_PARAMETER",
    "USER_MISMATCH",
    "UNAUTHENTICATED",
    "TOKEN_MALFORMED",
    "TOKEN_UNKNOWN",
    "TOKEN_EXPIRED",
    "TOKEN_REFUSED",
    "SCOPE_MISSING",
    "KEYS_UNAVAILABLE",
    "RATE_LIMITED",
    "MALFORMED_REQUEST",
    "REQUEST_TIMEOUT",
    "HEADERS_TOO_LARGE",
];
/// Codes that the guard of an endpoint answers.
pub(super) const GUARDED: &[&str] = &[
    "UNAUTHENTICATED",
    "TOKEN_MALFORMED",
    "TOKEN_UNKNOWN",
    "TOKEN_EXPIRED",
    "TOKEN_REFUSED",
    "SCOPE_MISSING",
    "KEYS_UNAVAILABLE",
    "INTERNAL",
];
const WRITES: &[&str] = &["STORAGE_FULL", "LOG_FAILED", "VERSION_MISMATCH", "CROSS_SITE"];
const GROWS: &[&str] = &["QUOTA_EXCEEDED"];
pub(super) const BODIES: &[&str] =
    &["MALFORMED_JSON", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"];
const KEYED: &[&str] = &["IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_KEY_UNVERIFIABLE"];

/// The operation of an endpoint. With `open`, credentials are not needed and requests name their
/// user themselves.
#[must_use]
pub fn operation(endpoint: &Endpoint, open: bool) -> Value {
    let mut operation = match endpoint.does {
        Does::Create(table) => create(table),
        Does::List(table) => list(table, &format!("{}, newest first", table.spec().name)),
        Does::Read(table) => read(table),
        Does::Update(table) => change(table, "Update", &examples::update(table)),
        Does::Status(table) => change(table, "Status", &examples::status(table)),
        Does::Delete(table) => delete(table),
        Does::Credentials => credentials(),
        Does::OfAudience => of_audience(),
        Does::Summary => summary(),
        Does::Erase => erase(),
        Does::Checkpoint => checkpoint(),
        Does::Health => health("Whether the process lives, and how it keeps data", false),
        Does::Live => health("Whether the process lives", false),
        Does::Ready => health("Whether requests are taken; names files that cannot be read", true),
        Does::Tokens => admin::tokens(),
        Does::CreateToken => admin::create_token(),
        Does::RevokeToken => admin::revoke_token(),
        Does::Audit => admin::audit(),
        Does::Usage => admin::usage(),
        Does::Metrics => metrics(),
        Does::OpenApi => text("This document", "application/json"),
        Does::Docs | Does::DocsFile => json!({
            "tags": ["operations"],
            "summary": "A page to read this document",
            "responses": {"308": {"description": "Where the page is"}},
        }),
    };
    let path_parameters = endpoint.path.split(['{', '}']).skip(1).step_by(2).map(|name| {
        let schema = match name {
            "user_id" => user_id(),
            "token_id" => json!({"type": "string", "pattern": "^[0-9A-Za-z]{12}$"}),
            _ => id(),
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    });
    let mut parameters: Vec<Value> = path_parameters.collect();
    if let Some(Value::Array(own)) = operation.get("parameters").cloned() {
        parameters.extend(own);
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if !open {
        for parameter in parameters_of(&mut operation) {
            // The credentials say whose records are meant.
            if *parameter == user_query(true) {
                *parameter = user_query(false);
            }
        }
    }
    operation["security"] = security(endpoint.does, open);
    operation["operationId"] = json!(name_of(endpoint));
    operation
}

fn parameters_of(operation: &mut Value) -> impl Iterator<Item = &mut Value> {
    operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
}

/// What a call needs: a bearer's token with all of these scopes, or nothing.
fn security(does: Does, open: bool) -> Value {
    match does.needs() {
        None => json!([]),
        Some(scopes) if open => json!([{}, {(SCHEME): scopes.names()}]),
        Some(scopes) => json!([{(SCHEME): scopes.names()}]),
    }
}

fn name_of(endpoint: &Endpoint) -> String {
    let words = endpoint.path.split(['/', '{', '}', '.', '_']).filter(|w| !w.is_empty());
    words.fold(endpoint.method.to_lowercase(), |name, word| format!("{name}_{word}"))
}

fn create(table: Table) -> Value {
    let spec = table.spec();
    let own = &["CREDENTIALS_UNAVAILABLE", "NOT_FOUND"];
    let errors = [ANY, WRITES, GROWS, BODIES, KEYED, own].concat();
    let made = done(&written(table), "Saved: a new record", &format!("{}Written", spec.title));
    let updated = done(&written(table), "Saved: the id existed", &format!("{}Written", spec.title));
    json!({
        "tags": [spec.name],
        "summary": format!("Saves a record of {}", spec.name),
        "description": "With an id that exists, updates that record in the month where it lives.",
        "parameters": [user_query(false), if_match(), idempotency_key()],
        "requestBody": body(&format!("{}Create", spec.title), &examples::create(table)),
        "responses": responses(&[("200", updated), ("201", made)], &errors),
    })
}

fn change(table: Table, schema: &str, example: &Value) -> Value {
    let spec = table.spec();
    let own = &["NOT_FOUND", "CREDENTIALS_UNAVAILABLE"];
    let errors = [ANY, WRITES, GROWS, BODIES, KEYED, own].concat();
    let changed = done(&written(table), "Changed", &format!("{}Written", spec.title));
    let summary =
        if schema == "Status" { "Sets the status of" } else { "Changes the fields sent of" };
    json!({
        "tags": [spec.name],
        "summary": format!("{summary} a record of {}", spec.name),
        "parameters": [user_query(false), if_match(), idempotency_key()],
        "requestBody": body(&format!("{}{schema}", spec.title), example),
        "responses": responses(&[("200", changed)], &errors),
    })
}

fn delete(table: Table) -> Value {
    let spec = table.spec();
    let errors = [ANY, WRITES, BODIES, &["NOT_FOUND"]].concat();
    let example = json!({"success": true, "message": format!("{} deleted", spec.title)});
    json!({
        "tags": [spec.name],
        "summary": format!("Deletes a record of {}", spec.name),
        "parameters": [user_query(true), if_match()],
        "responses": responses(&[("200", done(&example, "Deleted", "Deleted"))], &errors),
    })
}

fn read(table: Table) -> Value {
    let spec = table.spec();
    let example = json!({"success": true, (spec.singular): examples::record(table)});
    let schema = json!({
        "type": "object",
        "properties": {"success": {"const": true}, (spec.singular): reference(spec.title)},
        "required": ["success", spec.singular],
    });
    json!({
        "tags": [spec.name],
        "summary": format!("Reads a record of {}", spec.name),
        "parameters": [user_query(true), fields(), if_none_match()],
        "responses": responses(
            &[("200", content("The record", &schema, &example)), ("304", not_modified())],
            &[ANY, &["NOT_FOUND"]].concat(),
        ),
    })
}

fn list(table: Table, summary: &str) -> Value {
    let spec = table.spec();
    let example = json!({
        "success": true,
        (spec.name): [examples::record(table)],
        "count": 1,
        "next_cursor": null,
    });
    let schema = json!({
        "type": "object",
        "properties": {
            "success": {"const": true},
            (spec.name): {"type": "array", "items": reference(spec.title)},
            "count": {"type": "integer", "description": "Records on this page"},
            "next_cursor": {"type": ["string", "null"], "description": "Leads to the next page"},
        },
        "required": ["success", spec.name, "count", "next_cursor"],
    });
    let mut parameters = vec![user_query(true), fields(), if_none_match()];
    for name in spec.filters {
        let schema = match spec.column(name).map(|(_, c)| c.kind) {
            Some(Kind::Enum(values)) => json!({"type": "string", "enum": values}),
            _ => json!({"type": "string"}),
        };
        parameters.push(query(name, "Exactly this value", &schema));
    }
    let instant = json!({"type": "string", "format": "date-time"});
    parameters.extend([
        query(
            "q",
            &format!("Text in {}, whatever its case", spec.searched.join(", ")),
            &json!({"type": "string", "maxLength": 1000}),
        ),
        query("created_after", "Created strictly after", &instant),
        query("created_before", "Created strictly before", &instant),
        query(
            "limit",
            "Records on a page",
            &json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
        ),
        query("cursor", "The next_cursor of the page before", &json!({"type": "string"})),
    ]);
    if spec.partitioning == Partitioning::Monthly {
        parameters.push(query(
            "archived",
            "Whether months that were moved to the archive are listed, too",
            &json!({"type": "boolean", "default": false}),
        ));
    }
    json!({
        "tags": [spec.name],
        "summary": format!("Lists {summary}"),
        "parameters": parameters,
        "responses": responses(
            &[("200", content("One page", &schema, &example)), ("304", not_modified())],
            &[ANY, &["INVALID_CURSOR"]].concat(),
        ),
    })
}

fn credentials() -> Value {
    let example = json!({
        "success": true,
        "platform_id": "plat_01970c2f6a007c3e9d7a5b1c2d3e4f50",
        "credentials": {"api_key": "the-key", "account_id": "12345"},
    });
    let schema = json!({
        "type": "object",
        "properties": {
            "success": {"const": true},
            "platform_id": id(),
            "credentials": {"description": "As they were sent; null where the platform has none"},
        },
        "required": ["success", "platform_id", "credentials"],
    });
    json!({
        "tags": ["platforms"],
        "summary": "Gives a platform's credentials in the clear",
        "description": "Each read is in the audit trail. The answer must not be kept: \
            `Cache-Control: no-store`.",
        "parameters": [user_query(true)],
        "responses": responses(
            &[("200", content("The credentials", &schema, &example))],
            &[ANY, &["NOT_FOUND", "CREDENTIALS_UNAVAILABLE"]].concat(),
        ),
    })
}

fn of_audience() -> Value {
    let mut operation = list(Table::Distributions, "an audience's distributions, newest first");
    let not_found = error_response(404, &["NOT_FOUND"]);
    operation["responses"]["404"] = not_found;
    // The path says which audience.
    if let Some(Value::Array(parameters)) = operation.get_mut("parameters") {
        parameters.retain(|p| p["name"] != "audience_id");
    }
    operation
}

fn summary() -> Value {
    let example = json!({
        "success": true,
        "summary": {
            "audiences": {"total": 2, "active": 1, "draft": 1, "archived": 0},
            "platforms": {"total": 1, "active": 1, "by_type": {"the_trade_desk": 1}},
            "distributions": {"total": 1, "by_status": {"completed": 1}},
            "last_activity": "2025-05-30T12:00:00.000000Z",
        },
    });
    json!({
        "tags": ["users"],
        "summary": "Counts a user's records",
        "parameters": [user_query(false), if_none_match()],
        "responses": responses(
            &[("200", content("The counts", &json!({"type": "object"}), &example)), ("304", not_modified())],
            ANY,
        ),
    })
}

fn erase() -> Value {
    let example = json!({
        "success": true,
        "message": "User erased",
        "erased": {"audiences": 2, "platforms": 1, "distributions": 1, "files": 4, "tokens": 1},
        "counts_complete": true,
        "log_released": true,
    });
    json!({
        "tags": ["users"],
        "summary": "Erases everything of a user, files included",
        "parameters": [user_query(false)],
        "responses": responses(
            &[("200", content("What was erased", &json!({"type": "object"}), &example))],
            &[ANY, WRITES].concat(),
        ),
    })
}

fn checkpoint() -> Value {
    let example = json!({"success": true, "message": "Checkpoint written", "partitions": 3});
    json!({
        "tags": ["operations"],
        "summary": "Writes everything unsaved to Parquet now",
        "responses": responses(
            &[("200", content("Written", &json!({"type": "object"}), &example))],
            &[ANY, WRITES].concat(),
        ),
    })
}

fn health(summary: &str, may_fail: bool) -> Value {
    let object = json!({"type": "object"});
    let example = json!({"success": true, "status": "healthy"});
    let mut responses = json!({"200": content("It does", &object, &example)});
    if may_fail {
        responses["503"] =
            content("Not now", &object, &json!({"success": false, "status": "not ready"}));
    }
    json!({"tags": ["operations"], "summary": summary, "responses": responses})
}

fn metrics() -> Value {
    let text = json!({
        "description": "Prometheus text",
        "content": {"text/plain": {"schema": {}}},
    });
    json!({
        "tags": ["operations"],
        "summary": "Prometheus text",
        "responses": responses(&[("200", text)], GUARDED),
    })
}

fn text(summary: &str, media: &str) -> Value {
    json!({
        "tags": ["operations"],
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {(media): {"schema": {}}}}},
    })
}

fn written(table: Table) -> Value {
    let spec = table.spec();
    json!({
        "success": true,
        (spec.id_column()): format!("{}01970c2f6a007c3e9d7a5b1c2d3e4f50", spec.id_prefix),
        "message": format!("{} saved successfully", spec.title),
        "version": 1,
    })
}

fn done(example: &Value, description: &str, schema: &str) -> Value {
    content(description, &reference(schema), example)
}

pub(super) fn content(description: &str, schema: &Value, example: &Value) -> Value {
    json!({
        "description": description,
        "content": {"application/json": {"schema": schema, "example": example}},
    })
}

fn not_modified() -> Value {
    json!({"description": "The client has it already"})
}

fn body(schema: &str, example: &Value) -> Value {
    json!({
        "required": true,
        "content": {"application/json": {"schema": reference(schema), "example": example}},
    })
}

/// Success answers, and an error answer for each status that one of `codes` has.
pub(super) fn responses(success: &[(&str, Value)], codes: &[&str]) -> Value {
    let mut all: Map<String, Value> =
        success.iter().map(|(status, answer)| ((*status).to_owned(), answer.clone())).collect();
    let mut statuses: Vec<u16> =
        CODES.iter().filter(|(code, _, _)| codes.contains(code)).map(|(_, s, _)| *s).collect();
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        all.insert(status.to_string(), error_response(status, codes));
    }
    Value::Object(all)
}

fn error_response(status: u16, codes: &[&str]) -> Value {
    let of = CODES.iter().filter(|(code, s, _)| *s == status && codes.contains(code));
    let mut description = Vec::new();
    let mut cases = Map::new();
    for (code, _, meaning) in of {
        description.push(format!("`{code}`: {meaning}"));
        let example: Value =
            serde_json::from_str(&ApiError::new(code, *meaning).body()).unwrap_or_default();
        cases.insert((*code).to_owned(), json!({"value": example}));
    }
    json!({
        "description": description.join(". "),
        "content": {"application/json": {"schema": reference("Error"), "examples": cases}},
    })
}

pub(super) fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

fn user_query(required: bool) -> Value {
    let mut schema = user_id();
    if let (false, Some(schema)) = (required, schema.as_object_mut()) {
        // An empty one counts as absent: the path or the body says who.
        schema.remove("minLength");
    }
    let mut parameter = query("user_id", "Whose records", &schema);
    parameter["required"] = json!(required);
    parameter
}

fn fields() -> Value {
    query("fields", "Only these fields, separated by commas", &json!({"type": "string"}))
}

fn header(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}})
}

fn if_match() -> Value {
    header("If-Match", "Only where the record has this version, such as \"3\"")
}

fn if_none_match() -> Value {
    header("If-None-Match", "Answers 304 where the client's tag is still right")
}

fn idempotency_key() -> Value {
    let mut parameter =
        header("Idempotency-Key", "A repeat within 24 hours gets the first answer again");
    parameter["schema"] = json!({"type": "string", "minLength": 1, "maxLength": 255});
    parameter
}
