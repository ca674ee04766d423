//! Who is let in where: the one place that asks for credentials, and that every request to a
//! known endpoint passes before its body is read.
//!
//! What an endpoint needs stands in [`Does::needs`]. What the guard lets in is handed on as a
//! [`Caller`], which a handler takes as an argument; only the guard makes one. Every answer with
//! 401 or 403, the guard's own or a handler's, is noted in the audit trail.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{
    Extensions, Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready,
};
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;

use super::edge;
use super::error::ApiError;
use super::routes::{Does, Endpoint};
use super::state::AppState;
use crate::audit::{Actor, Denied, Via};
use crate::auth::{Principal, Refusal, Scopes, Worker};
use crate::domain::Table;

/// A caller whom the guard has let in.
pub struct Caller(Arc<Principal>);

impl Deref for Caller {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.0
    }
}

impl Caller {
    /// Of a request with these extensions.
    fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Admitted>().map(|admitted| Self(Arc::clone(&admitted.0)))
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        // An endpoint that needs nothing has no caller: asking for one is a defect.
        ready(Self::of(&req.extensions()).ok_or_else(ApiError::internal))
    }
}

/// What most endpoints of records need, looked for at once.
pub struct Visit {
    /// Who calls.
    pub caller: Caller,
    /// Which records.
    pub table: Table,
    /// What handlers are handed.
    pub state: Data<AppState>,
}

impl FromRequest for Visit {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let visit = || {
            let extensions = req.extensions();
            let caller = Caller::of(&extensions)?;
            let table = *extensions.get::<Table>()?;
            Some(Self { caller, table, state: req.app_data::<Data<AppState>>()?.clone() })
        };
        // As above; so is asking for a table where an endpoint is of none.
        ready(visit().ok_or_else(ApiError::internal))
    }
}

/// Of this module alone, so that nothing else puts one into a request.
struct Admitted(Arc<Principal>);

/// An endpoint, as the guard looks it up.
struct Rule {
    method: &'static str,
    route: String,
    does: Does,
}

/// Guards the endpoints of one path.
pub struct Guard(Rc<[Rule]>);

impl Guard {
    /// The guard of endpoints that share a path.
    #[must_use]
    pub fn of(group: &[Endpoint]) -> Self {
        let rule = |e: &Endpoint| Rule { method: e.method, route: e.path.clone(), does: e.does };
        Self(group.iter().map(rule).collect())
    }
}

impl<S, B> Transform<S, ServiceRequest> for Guard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type InitError = ();
    type Transform = Guarded<S>;
    type Future = Ready<Result<Guarded<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Guarded { service: Rc::new(service), rules: Rc::clone(&self.0) }))
    }
}

/// A guarded service.
pub struct Guarded<S> {
    service: Rc<S>,
    rules: Rc<[Rule]>,
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, req: ServiceRequest) -> Self::Future {
        let (service, rules) = (Rc::clone(&self.service), Rc::clone(&self.rules));
        Box::pin(async move {
            let Some(rule) = find(&rules, req.method()) else {
                // No such method: said to anybody, as the document of endpoints is public.
                return Ok(service.call(req).await?.map_into_left_body());
            };
            if let Some(table) = rule.does.table() {
                req.extensions_mut().insert(table);
            }
            let Some(needs) = rule.does.needs() else {
                return Ok(service.call(req).await?.map_into_left_body());
            };
            let mut who = Who::Nobody;
            let response = match admit(&req, needs, &mut who).await {
                Ok(principal) => {
                    req.extensions_mut().insert(Admitted(principal));
                    service.call(req).await?.map_into_left_body()
                }
                Err(error) => {
                    // Not `into_response`, which drops what went wrong.
                    let response = HttpResponse::from_error(error);
                    ServiceResponse::new(req.into_parts().0, response).map_into_right_body()
                }
            };
            note(rule, &who, &response);
            Ok(response)
        })
    }
}

fn find<'a>(rules: &'a [Rule], method: &Method) -> Option<&'a Rule> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    rules.iter().find(|rule| rule.method == method)
}

/// Who asked, as far as that is known.
enum Who {
    Nobody,
    /// A token of this id, which is not taken.
    Token(String),
    Known(Arc<Principal>),
}

impl Who {
    fn actor(&self) -> Actor {
        match self {
            Self::Nobody => Actor { user: None, via: Via::Nothing },
            Self::Token(id) => Actor { user: None, via: Via::Token(id.clone()) },
            Self::Known(principal) => principal.actor(),
        }
    }
}

/// The caller, where his credentials allow what is needed. `who` says who he is, whether he is
/// let in or not.
async fn admit(
    req: &ServiceRequest,
    needs: Scopes,
    who: &mut Who,
) -> Result<Arc<Principal>, ApiError> {
    let worker = req.app_data::<Worker>().ok_or_else(ApiError::internal)?;
    let state = req.app_data::<Data<AppState>>().ok_or_else(ApiError::internal)?;
    let check = || checked_by(worker, req.request());
    let mut checked = check();
    if let Err(Refusal::UnknownKey | Refusal::NoKeys) = checked {
        // What it waits for may take longer than a request may; then the old keys decide.
        let _ = tokio::time::timeout(state.timeout, worker.shared().fresh_keys()).await;
        checked = check();
    }
    let principal = checked.map_err(|refusal| {
        if let Some(token) = refusal.token() {
            *who = Who::Token(token.to_owned());
        }
        ApiError::from(refusal)
    })?;
    *who = Who::Known(Arc::clone(&principal));
    if let Some(user) = principal.only_user() {
        // Before anything is read or looked at: what is refused counts too.
        edge::admit(req.request(), user)?;
    }
    principal.require(needs)?;
    Ok(principal)
}

/// The caller, as far as a worker's keys and tokens tell, whatever he may do.
///
/// # Errors
/// [`Refusal`].
pub fn checked_by(worker: &Worker, req: &HttpRequest) -> Result<Arc<Principal>, Refusal> {
    worker.check(req.headers().get_all(AUTHORIZATION).map(HeaderValue::as_bytes))
}

/// Notes an answer that refuses.
fn note<B>(rule: &Rule, who: &Who, response: &ServiceResponse<B>) {
    let status = response.status();
    if status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN {
        return;
    }
    let req = response.request();
    let Some(state) = req.app_data::<Data<AppState>>() else { return };
    let error = response.response().error().and_then(|e| e.as_error::<ApiError>());
    state.audit.denied(Denied {
        by: who.actor(),
        status: status.as_u16(),
        // An answer that is remembered for an Idempotency-Key has no error any more.
        code: error.map_or("FORBIDDEN", ApiError::code),
        method: rule.method,
        route: rule.route.clone(),
        peer: req.peer_addr().map(|peer| peer.ip()),
    });
}
