//! The endpoints: one table from which both the server and the `OpenAPI` document are made.

use actix_web::dev::{Service, ServiceRequest};
use actix_web::guard::{Any, Get, Head};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpMessage, HttpResponse, Resource, ResponseError};

use super::error::ApiError;
use super::{admin, credentials, health, lists, metrics, openapi, records, users};
use crate::domain::Table;

/// What an endpoint does, which is how the `OpenAPI` document describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Does {
    /// Creates or saves a record.
    Create(Table),
    /// Lists records.
    List(Table),
    /// Reads a record.
    Read(Table),
    /// Updates a record.
    Update(Table),
    /// Sets a record's status.
    Status(Table),
    /// Deletes a record.
    Delete(Table),
    /// Gives a platform's credentials.
    Credentials,
    /// Lists an audience's distributions.
    OfAudience,
    /// Counts a user's records.
    Summary,
    /// Erases a user.
    Erase,
    /// Writes everything to Parquet.
    Checkpoint,
    /// Says that the process lives, and how it keeps data.
    Health,
    /// Says that the process lives.
    Live,
    /// Says whether requests are taken.
    Ready,
    /// Prometheus text.
    Metrics,
    /// The `OpenAPI` document.
    OpenApi,
    /// A page to read the document.
    Docs,
    /// The page's own files.
    DocsFile,
}

/// An endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// Its path, parameters in braces.
    pub path: String,
    /// What it does.
    pub does: Does,
}

/// All endpoints, those of one path side by side.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    let mut all = Vec::new();
    let mut add = |method, path: String, does| all.push(Endpoint { method, path, does });
    for table in Table::PUBLIC {
        let base = format!("/api/{}", table.spec().name);
        let one = format!("{base}/{{{}}}", table.spec().id_column());
        add("GET", base.clone(), Does::List(table));
        add("POST", base, Does::Create(table));
        add("GET", one.clone(), Does::Read(table));
        add("PUT", one.clone(), Does::Update(table));
        add("DELETE", one.clone(), Does::Delete(table));
        add("PUT", format!("{one}/status"), Does::Status(table));
        if table == Table::Platforms {
            add("GET", format!("{one}/credentials"), Does::Credentials);
        }
        if table == Table::Audiences {
            add("GET", format!("{one}/distributions"), Does::OfAudience);
        }
    }
    add("GET", "/api/users/{user_id}/summary".to_owned(), Does::Summary);
    add("DELETE", "/api/users/{user_id}".to_owned(), Does::Erase);
    add("POST", "/api/admin/checkpoint".to_owned(), Does::Checkpoint);
    add("GET", "/api/health".to_owned(), Does::Health);
    add("GET", "/health/live".to_owned(), Does::Live);
    add("GET", "/health/ready".to_owned(), Does::Ready);
    add("GET", "/metrics".to_owned(), Does::Metrics);
    add("GET", "/api/openapi.json".to_owned(), Does::OpenApi);
    add("GET", "/docs".to_owned(), Does::Docs);
    add("GET", "/docs/{file}".to_owned(), Does::DocsFile);
    all
}

/// Enters all endpoints into a server.
pub fn configure(config: &mut ServiceConfig) {
    let all = endpoints();
    for group in all.chunk_by(|a, b| a.path == b.path) {
        let Some(first) = group.first() else { continue };
        let mut resource = web::resource(first.path.clone());
        for endpoint in group {
            resource = serve(resource, endpoint.does);
        }
        let allow = allowed(group);
        let refuse = move || async move { ApiError::no_method(allow).error_response() };
        let table = table_of(first.does);
        let resource =
            resource.default_service(web::to(refuse)).wrap_fn(move |req: ServiceRequest, next| {
                if let Some(table) = table {
                    req.extensions_mut().insert(table);
                }
                next.call(req)
            });
        config.service(resource);
    }
    config.default_service(web::to(no_route));
}

async fn no_route() -> HttpResponse {
    ApiError::no_route().error_response()
}

fn table_of(does: Does) -> Option<Table> {
    match does {
        Does::Create(table)
        | Does::List(table)
        | Does::Read(table)
        | Does::Update(table)
        | Does::Status(table)
        | Does::Delete(table) => Some(table),
        _ => None,
    }
}

fn allowed(group: &[Endpoint]) -> &'static str {
    let has = |method| group.iter().any(|e| e.method == method);
    match (has("GET"), has("POST"), has("PUT"), has("DELETE")) {
        (true, true, ..) => "GET, HEAD, POST",
        (true, _, true, true) => "GET, HEAD, PUT, DELETE",
        (true, ..) => "GET, HEAD",
        (_, true, ..) => "POST",
        (_, _, true, _) => "PUT",
        _ => "DELETE",
    }
}

fn serve(resource: Resource, does: Does) -> Resource {
    let read = || web::route().guard(Any(Get()).or(Head()));
    match does {
        Does::Create(_) => resource.route(web::post().to(records::create)),
        Does::List(_) => resource.route(read().to(lists::list)),
        Does::Read(_) => resource.route(read().to(records::read)),
        Does::Update(_) => resource.route(web::put().to(records::update)),
        Does::Status(_) => resource.route(web::put().to(records::status)),
        Does::Delete(_) => resource.route(web::delete().to(records::delete)),
        Does::Credentials => resource.route(read().to(credentials::read)),
        Does::OfAudience => resource.route(read().to(lists::of_audience)),
        Does::Summary => resource.route(read().to(users::summary)),
        Does::Erase => resource.route(web::delete().to(users::erase)),
        Does::Checkpoint => resource.route(web::post().to(admin::checkpoint)),
        Does::Health => resource.route(read().to(health::health)),
        Does::Live => resource.route(read().to(health::live)),
        Does::Ready => resource.route(read().to(health::ready)),
        Does::Metrics => resource.route(read().to(metrics::metrics)),
        Does::OpenApi => resource.route(read().to(openapi::document)),
        Does::Docs => resource.route(read().to(openapi::docs)),
        Does::DocsFile => resource.route(read().to(openapi::docs_file)),
    }
}
