//! The `OpenAPI` document, made from the endpoints, the tables and the error codes, and a page to
//! read it.

mod admin;
mod examples;
mod operations;
mod schemas;

use std::sync::{Arc, OnceLock};

use actix_web::http::header::CONTENT_SECURITY_POLICY;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use super::answer::json as answer;
use super::error::ApiError;
use super::headers::PAGE_POLICY;
use super::routes::{Does, endpoints};
use super::state::AppState;
use crate::auth::Mode;

/// `GET /api/openapi.json`
pub async fn document(state: Data<AppState>) -> HttpResponse {
    static OPEN: OnceLock<Bytes> = OnceLock::new();
    static GUARDED: OnceLock<Bytes> = OnceLock::new();
    let open = state.authenticator.mode() == Mode::Off;
    let document = if open { &OPEN } else { &GUARDED };
    answer(document.get_or_init(|| Bytes::from(build(open).to_string())).clone())
}

/// `GET /docs`: the page's address has a slash at its end, which its files are relative to.
pub async fn docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header(("Location", "/docs/index.html")).finish()
}

/// `GET /docs/{file}`: Swagger UI, served from the program itself.
pub async fn docs_file(req: HttpRequest, file: Path<String>) -> HttpResponse {
    let config = Arc::new(utoipa_swagger_ui::Config::from("/api/openapi.json"));
    match utoipa_swagger_ui::serve(&file, config) {
        Ok(Some(found)) => {
            let mut response = HttpResponse::Ok();
            response.insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY));
            response.content_type(found.content_type).body(found.bytes.into_owned())
        }
        Ok(None) => ApiError::no_route().error_response(),
        Err(error) => {
            tracing::error!(%error, path = req.path(), "a file of the documentation page is broken");
            ApiError::internal().error_response()
        }
    }
}

/// The whole document. With `open` it is that of a server that needs no credentials.
#[must_use]
pub fn build(open: bool) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints() {
        if endpoint.does == Does::DocsFile || endpoint.path.ends_with('/') {
            continue;
        }
        let item = paths.entry(endpoint.path.clone()).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(endpoint.method.to_lowercase(), operations::operation(&endpoint, open));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "audience-store",
            // Of the API, not of the server: no answer tells which program it comes from.
            "version": "1",
            "description": "Audiences, platforms and distributions, durable and apart for each \
                user, in plain Parquet files. A success answer to a write means that the change \
                survives kill -9 and power loss (with `--sync always`).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "audiences", "description": "Who to reach"},
            {"name": "platforms", "description": "Where to reach them"},
            {"name": "distributions", "description": "Which audience went where"},
            {"name": "users", "description": "A user as a whole"},
            {"name": "operations", "description": "For operators"},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                (operations::SCHEME): {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token (`ast_…`) or a JSON web token, as the server is \
                        set up. What stands beside it at a call are the scopes it needs, all of \
                        them; `admin` stands for all others but `credentials:read`.",
                },
            },
        },
    })
}
