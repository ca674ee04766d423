//! Lists of records.

use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::listing;
use super::error::ApiError;
use super::guard::{Caller, Visit};
use super::params::Params;
use super::records::{in_time, reader_of, record_id};
use super::room::{Room, Share};
use super::state::{AppState, Bounds};
use crate::auth::{Scope, Scopes};
use crate::domain::{ListIdentity, Table, UserId};
use crate::store::{CacheKey, Front, ListRequest, Store, StoreError};

/// `GET /api/{table}`
///
/// # Errors
/// What is wrong with the request, or keeps the store from reading.
pub async fn list(visit: Visit, req: HttpRequest) -> Result<HttpResponse, ApiError> {
    let Visit { caller, state, table } = visit;
    let store = state.store()?;
    let (params, user) = reader_of(&caller, Scope::read(table), &req, None)?;
    let asked = CacheKey { what: shape(&req), user };
    let user = asked.user.clone();
    // Everything else of the request is looked at only where the answer is not at hand.
    remembered(&req, &state, asked, &[table], || async {
        let (request, identity) = params.list(&user, table)?;
        let fields = params.fields()?;
        page(store, &state.bounds, &user, table, (request, identity), fields).await
    })
    .await
}

/// The answer to a listing, made by `make` where it is not remembered.
///
/// # Errors
/// Those of `make`; 503 where it takes too long.
pub async fn remembered<F: Future<Output = Result<Bytes, ApiError>>>(
    req: &HttpRequest,
    state: &AppState,
    asked: CacheKey,
    tables: &[Table],
    make: impl FnOnce() -> F,
) -> Result<HttpResponse, ApiError> {
    let front = req.app_data::<Data<Front>>().ok_or_else(ApiError::internal)?;
    let store = state.store()?;
    if let Some(found) = store.at_hand(front, &asked) {
        return listing(req, &found);
    }
    in_time(state, async { listing(req, &*store.cached(front, asked, tables, make()).await?) })
        .await
}

/// What shapes the answer: the path and the query, as they came.
fn shape(req: &HttpRequest) -> String {
    let (path, query) = (req.path(), req.query_string());
    let mut shape = String::with_capacity(path.len() + 1 + query.len());
    for part in [path, "?", query] {
        shape.push_str(part);
    }
    shape
}

/// `GET /api/audiences/{id}/distributions`
///
/// # Errors
/// 404 where neither the audience nor a distribution of it exists; what is wrong with the
/// request, or keeps the store from reading.
pub async fn of_audience(
    caller: Caller,
    req: HttpRequest,
    path: Path<String>,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let store = state.store()?;
    let scopes = Scopes::of(&[Scope::AudiencesRead, Scope::DistributionsRead]);
    let (params, user) = reader_of(&caller, scopes, &req, None)?;
    let audience = record_id(Table::Audiences, &path)?;
    let table = Table::Distributions;
    let fixed = [("audience_id", audience.as_str())];
    let (request, identity) = params.list_where(&user, table, &fixed)?;
    let fields = params.fields()?;
    let asked = CacheKey { what: shape(&req), user: user.clone() };
    remembered(&req, &state, asked, &[table, Table::Audiences], || async {
        // Any distribution of it, whatever the request filters by.
        let (any, _) = Params::none().list_where(&user, table, &fixed)?;
        let columns = Some(any.filter.columns(table));
        let any = ListRequest { limit: 1, columns, archived: true, ..any };
        if store.list(&user, table, any).await?.rows.is_empty() {
            // History outlives its audience; an audience without history is an empty list.
            let audience = store.get(&user, Table::Audiences, &audience).await;
            audience.map_err(|e| ApiError::of(e, Table::Audiences.spec().title))?;
        }
        page(store, &state.bounds, &user, table, (request, identity), fields).await
    })
    .await
}

/// A page as it is sent, which takes its place in `pages` until the last copy of it is dropped.
async fn page(
    store: &Store,
    Bounds { pages, turns, .. }: &Bounds,
    user: &UserId,
    table: Table,
    (request, identity): (ListRequest, ListIdentity),
    fields: Option<Vec<String>>,
) -> Result<Bytes, ApiError> {
    // An error says that the server ends.
    let _turn = turns.acquire().await.map_err(|_| StoreError::Overloaded)?;
    let mut rows_share = pages.share();
    let page = store
        .list(user, table, request)
        .await
        .map_err(|error: StoreError| ApiError::from(error))?;
    take(&mut rows_share, pages, page.rows.iter().map(|row| row.memory()).sum())?;
    let mut body = String::with_capacity(256 + page.rows.len() * 1500);
    body.push_str("{\"success\":true,\"");
    body.push_str(table.spec().name);
    body.push_str("\":[");
    let wants = fields.as_ref().map(|f| move |name: &str| f.iter().any(|f| f == name));
    let wants = wants.as_ref().map(|w| w as &dyn Fn(&str) -> bool);
    for (index, row) in page.rows.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        Store::render(row, user, wants, &mut body);
    }
    body.push_str("],\"count\":");
    body.push_str(itoa::Buffer::new().format(page.rows.len()));
    body.push_str(",\"next_cursor\":");
    match page.next {
        Some(place) => {
            body.push('"');
            body.push_str(&identity.encode(&place));
            body.push('"');
        }
        None => body.push_str("null"),
    }
    body.push('}');
    body.shrink_to_fit();
    let mut share = pages.share();
    take(&mut share, pages, body.len())?;
    Ok(Bytes::from_owner(Rendered { body, _share: share }))
}

/// Takes room. One half of it is as much as a page's records, or its text, ever take: so a single
/// page is always let through.
fn take(share: &mut Share, pages: &Room, bytes: usize) -> Result<(), ApiError> {
    if share.grow(bytes.min(pages.most() / 2)) {
        return Ok(());
    }
    Err(ApiError::overloaded("Too many large pages are being sent"))
}

/// A page's text and the room it takes.
struct Rendered {
    body: String,
    _share: Share,
}

impl AsRef<[u8]> for Rendered {
    fn as_ref(&self) -> &[u8] {
        self.body.as_bytes()
    }
}
