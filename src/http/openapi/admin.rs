//! Calls for administrators: tokens and the audit trail.

use serde_json::{Value, json};

use super::operations::{BODIES, GUARDED, content, query, responses};
use super::schemas::user_id;
use crate::auth::Scope;
use crate::http::params::{DEFAULT_LIMIT, MAX_LIMIT};

const KEPT: &[&str] = &["STORAGE_FULL", "STORAGE_FAILED"];

fn token() -> Value {
    json!({
        "id": "4f7GzK1mPq0a",
        "user_id": "demo_user",
        "scopes": ["audiences:read", "audiences:write"],
        "name": "nightly import",
        "status": "active",
        "created_at": "2026-11-24T12:00:00.000000Z",
        "expires_at": "2027-02-22T12:00:00.000000Z",
        "revoked_at": null,
    })
}

/// `GET /api/admin/tokens`
pub fn tokens() -> Value {
    let example = json!({"success": true, "tokens": [token()], "count": 1, "next_cursor": null});
    json!({
        "tags": ["operations"],
        "summary": "Lists API tokens, newest first, without their secrets",
        "parameters": paged("Only tokens of this user"),
        "responses": responses(
            &[("200", content("One page", &json!({"type": "object"}), &example))],
            &[GUARDED, &["INVALID_PARAMETER", "INVALID_CURSOR"]].concat(),
        ),
    })
}

/// `POST /api/admin/tokens`
pub fn create_token() -> Value {
    let scopes: Vec<&str> = Scope::ALL.into_iter().map(Scope::name).collect();
    let schema = json!({
        "type": "object",
        "properties": {
            "user_id": user_id(),
            "scopes": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": scopes}},
            "name": {"type": ["string", "null"], "minLength": 1, "maxLength": 100},
            "ttl": {
                "type": ["string", "null"],
                "pattern": "^[0-9]+ ?(ms|s|m|h|d)$",
                "description": "How long it works, such as 90d; null means until it is revoked",
            },
        },
        "required": ["user_id", "scopes"],
        "additionalProperties": false,
    });
    let asked = json!({
        "user_id": "demo_user", "scopes": ["audiences:read", "audiences:write"],
        "name": "nightly import", "ttl": "90d",
    });
    let mut example = token();
    if let Some(example) = example.as_object_mut() {
        example.insert("success".to_owned(), json!(true));
        let text = "ast_4f7GzK1mPq0a_…";
        example.insert("token".to_owned(), json!(text));
    }
    let errors = [GUARDED, BODIES, KEPT].concat();
    let own = ["MISSING_FIELD", "INVALID_FIELD", "INVALID_PARAMETER", "TOKEN_LIMIT", "TIMEOUT"];
    json!({
        "tags": ["operations"],
        "summary": "Makes an API token; the answer shows it, this once",
        "description": "Takes no Idempotency-Key: what is remembered must hold no secret.",
        "requestBody": {
            "required": true,
            "content": {"application/json": {"schema": schema, "example": asked}},
        },
        "responses": responses(
            &[("201", content("Made", &json!({"type": "object"}), &example))],
            &[errors.as_slice(), own.as_slice()].concat(),
        ),
    })
}

/// `DELETE /api/admin/tokens/{token_id}`
pub fn revoke_token() -> Value {
    let example = json!({"success": true, "message": "Token revoked"});
    json!({
        "tags": ["operations"],
        "summary": "Takes an API token back, at once",
        "responses": responses(
            &[("200", content("Revoked", &json!({"type": "object"}), &example))],
            &[GUARDED, KEPT, &["NOT_FOUND"]].concat(),
        ),
    })
}

/// `GET /api/admin/audit`
pub fn audit() -> Value {
    let event = json!({
        "time": "2026-11-24T12:00:00.000000Z", "action": "token_revoked", "by_user": "ops",
        "via": "token Zk29xQ0aLm3d", "user_id": "demo_user", "token_id": "4f7GzK1mPq0a",
    });
    let example = json!({"success": true, "events": [event], "count": 1, "next_cursor": null});
    let mut parameters = paged("Only events that this user caused or that are about him");
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.push(query("action", "Only this action", &json!({"type": "string"})));
    }
    json!({
        "tags": ["operations"],
        "summary": "Reads the audit trail, newest first",
        "description": "A page may hold fewer events than its limit, or none, and lead to a next \
            one: so many bytes are looked at for each.",
        "parameters": parameters,
        "responses": responses(
            &[("200", content("One page", &json!({"type": "object"}), &example))],
            &[GUARDED, &["INVALID_PARAMETER", "INVALID_CURSOR", "STORAGE_FAILED", "TIMEOUT"]]
                .concat(),
        ),
    })
}

fn paged(whose: &str) -> Value {
    let limit =
        json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT});
    // As everywhere, an empty one counts as absent.
    let text = json!({"type": "string"});
    json!([
        query("user_id", whose, &text),
        query("limit", "Most on a page", &limit),
        query("cursor", "The next_cursor of the page before", &json!({"type": "string"})),
    ])
}

/// `GET /api/admin/usage`
pub fn usage() -> Value {
    let table =
        |bytes: u64, files: u64| json!({"bytes": bytes, "files": files, "partitions": files});
    let example = json!({
        "success": true,
        "usage": {
            "measured_at": "2026-11-24T12:00:00.000000Z",
            "users": 1,
            "bytes": 45_678, "files": 4, "partitions": 4, "average_file_bytes": 11_419,
            "tables": {
                "audiences": table(30_000, 2), "platforms": table(5_678, 1),
                "distributions": table(10_000, 1),
            },
            "top": [{"user_id": "demo_user", "bytes": 45_678, "files": 4}],
        },
    });
    let what = "What users store in Parquet files, and the 20 who store most";
    json!({
        "tags": ["operations"],
        "summary": what,
        "description": "Measured in the background every `--usage-interval`; measured_at says when, \
            and is null, with zeros, before the first time.",
        "responses": responses(
            &[("200", content(what, &json!({"type": "object"}), &example))],
            &[GUARDED, &["STARTING"]].concat(),
        ),
    })
}
