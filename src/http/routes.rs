//! The endpoints: one table from which both the server and the `OpenAPI` document are made.

use actix_web::guard::fn_guard;
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Resource, ResponseError, Route};

use super::error::ApiError;
use super::guard::Guard;
use super::observe::Places;
use super::{admin, credentials, health, lists, metrics, openapi, records, tokens, trail, users};
use crate::auth::{Scope, Scopes};
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
    /// Lists API tokens.
    Tokens,
    /// Makes an API token.
    CreateToken,
    /// Takes an API token back.
    RevokeToken,
    /// Reads the audit trail.
    Audit,
    /// Says what users store.
    Usage,
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

impl Does {
    /// What a caller needs for it: all of these scopes; `None` where anybody may, without
    /// credentials. This is the one table of that; `http/guard.rs` enforces it.
    #[must_use]
    pub fn needs(self) -> Option<Scopes> {
        let each = |of: fn(Table) -> Scope| {
            Table::PUBLIC.into_iter().map(of).fold(Scopes::NONE, Scopes::and)
        };
        match self {
            Self::Create(table)
            | Self::Update(table)
            | Self::Status(table)
            | Self::Delete(table) => Some(Scope::write(table).into()),
            Self::List(table) | Self::Read(table) => Some(Scope::read(table).into()),
            // Says whether the audience is there, too.
            Self::OfAudience => Some(Scopes::of(&[Scope::AudiencesRead, Scope::DistributionsRead])),
            Self::Summary => Some(each(Scope::read)),
            Self::Erase => Some(each(Scope::write)),
            Self::Checkpoint
            | Self::Tokens
            | Self::CreateToken
            | Self::RevokeToken
            | Self::Audit
            | Self::Usage => Some(Scope::Admin.into()),
            Self::Credentials => Some(Scope::CredentialsRead.into()),
            Self::Metrics => Some(Scope::MetricsRead.into()),
            Self::Health
            | Self::Live
            | Self::Ready
            | Self::OpenApi
            | Self::Docs
            | Self::DocsFile => None,
        }
    }

    /// The table whose records it is about, where it is one of those that all tables have.
    #[must_use]
    pub fn table(self) -> Option<Table> {
        match self {
            Self::Create(table)
            | Self::List(table)
            | Self::Read(table)
            | Self::Update(table)
            | Self::Status(table)
            | Self::Delete(table) => Some(table),
            _ => None,
        }
    }
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
    add("GET", "/api/admin/tokens".to_owned(), Does::Tokens);
    add("POST", "/api/admin/tokens".to_owned(), Does::CreateToken);
    add("DELETE", "/api/admin/tokens/{token_id}".to_owned(), Does::RevokeToken);
    add("GET", "/api/admin/audit".to_owned(), Does::Audit);
    add("GET", "/api/admin/usage".to_owned(), Does::Usage);
    add("GET", "/api/health".to_owned(), Does::Health);
    add("GET", "/health/live".to_owned(), Does::Live);
    add("GET", "/health/ready".to_owned(), Does::Ready);
    add("GET", "/metrics".to_owned(), Does::Metrics);
    add("GET", "/api/openapi.json".to_owned(), Does::OpenApi);
    add("GET", "/docs".to_owned(), Does::Docs);
    add("GET", "/docs/".to_owned(), Does::Docs);
    add("GET", "/docs/{file}".to_owned(), Does::DocsFile);
    all
}

/// Enters all endpoints into a server.
pub fn configure(config: &mut ServiceConfig) {
    enter(config, |_| true);
}

/// Enters `/metrics` alone into a server.
pub fn configure_metrics(config: &mut ServiceConfig) {
    enter(config, |does| does == Does::Metrics);
}

fn enter(config: &mut ServiceConfig, wanted: fn(Does) -> bool) {
    let all = endpoints();
    let mut first = 0;
    for group in all.chunk_by(|a, b| a.path == b.path) {
        let Some(endpoint) = group.first() else { continue };
        let places = Places::of(group, first);
        first += group.len();
        if !wanted(endpoint.does) {
            continue;
        }
        let mut resource = web::resource(endpoint.path.clone()).app_data(places);
        for endpoint in group {
            resource = serve(resource, endpoint.does);
        }
        let allow = allowed(group);
        let refuse = move || async move { ApiError::no_method(allow).error_response() };
        config.service(resource.default_service(web::to(refuse)).wrap(Guard::of(group)));
    }
    config.default_service(web::to(no_route));
}

async fn no_route() -> HttpResponse {
    ApiError::no_route().error_response()
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

/// A route for requests of these methods. The library's own guards note for each request which
/// methods there are, for an answer that we make ourselves ([`allowed`]).
fn of(methods: &'static [Method]) -> Route {
    web::route().guard(fn_guard(|ctx| methods.contains(&ctx.head().method)))
}

fn serve(resource: Resource, does: Does) -> Resource {
    let read = || of(&[Method::GET, Method::HEAD]);
    let (post, put, delete) =
        (|| of(&[Method::POST]), || of(&[Method::PUT]), || of(&[Method::DELETE]));
    match does {
        Does::Create(_) => resource.route(post().to(records::create)),
        Does::List(_) => resource.route(read().to(lists::list)),
        Does::Read(_) => resource.route(read().to(records::read)),
        Does::Update(_) => resource.route(put().to(records::update)),
        Does::Status(_) => resource.route(put().to(records::status)),
        Does::Delete(_) => resource.route(delete().to(records::delete)),
        Does::Credentials => resource.route(read().to(credentials::read)),
        Does::OfAudience => resource.route(read().to(lists::of_audience)),
        Does::Summary => resource.route(read().to(users::summary)),
        Does::Erase => resource.route(delete().to(users::erase)),
        Does::Checkpoint => resource.route(post().to(admin::checkpoint)),
        Does::Tokens => resource.route(read().to(tokens::list)),
        Does::CreateToken => resource.route(post().to(tokens::create)),
        Does::RevokeToken => resource.route(delete().to(tokens::revoke)),
        Does::Audit => resource.route(read().to(trail::list)),
        Does::Usage => resource.route(read().to(admin::usage)),
        Does::Health => resource.route(read().to(health::health)),
        Does::Live => resource.route(read().to(health::live)),
        Does::Ready => resource.route(read().to(health::ready)),
        Does::Metrics => resource.route(read().to(metrics::metrics)),
        Does::OpenApi => resource.route(read().to(openapi::document)),
        Does::Docs => resource.route(read().to(openapi::docs)),
        Does::DocsFile => resource.route(read().to(openapi::docs_file)),
    }
}
