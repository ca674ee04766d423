//! What went wrong, as HTTP says it: the only place where statuses and codes are decided.
//!
//! Every error body is `{"success":false,"error":…,"code":…,"details":{…}}`. No text in it
//! carries a path, a stack or a secret.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use super::refusal::Refusal;
use crate::audit::AuditError;
use crate::auth::tokens::TokenFileError;
use crate::auth::{self, Denial, IdentityError, Scopes};
use crate::domain::input::{InputError, InputErrorKind};
use crate::domain::json_text::push_string;
use crate::store::{Quota, StoreError};

/// After which whoever is refused for the moment may come again.
const SOON: Duration = Duration::from_secs(1);

/// An error answer.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Names and compact JSON values.
    details: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    challenge: Challenge,
    /// Which limit it is about.
    refusal: Option<Refusal>,
}

/// The code of an error answer, carried by the answer for whoever counts it.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub &'static str);

/// What `WWW-Authenticate` says of a token (RFC 6750, 3).
#[derive(Clone, Copy, Debug)]
enum Challenge {
    Nothing,
    Invalid,
    Lacks(Scopes),
}

/// Every code there is, with its status and what it means: the `OpenAPI` document and the tests
/// are made from this.
pub const CODES: &[(&str, u16, &str)] = &[
    ("MALFORMED_REQUEST", 400, "What was sent is not HTTP; the connection is closed"),
    ("MALFORMED_JSON", 400, "The body is not one JSON object"),
    ("MISSING_FIELD", 400, "A required field is missing, null or blank"),
    ("INVALID_FIELD", 400, "A field holds what it must not; details.pointer says where"),
    ("INVALID_PARAMETER", 400, "A query parameter or header holds what it must not"),
    ("INVALID_CURSOR", 400, "The cursor does not belong to this list"),
    ("UNAUTHENTICATED", 401, "There are no credentials, or not of a kind that is taken"),
    ("TOKEN_MALFORMED", 401, "The credentials are no token: a typo, a cut, something else"),
    ("TOKEN_UNKNOWN", 401, "The token is not known, or was revoked"),
    ("TOKEN_EXPIRED", 401, "The token's time is over"),
    ("TOKEN_REFUSED", 401, "The web token does not hold: its signature, its key or its claims"),
    ("SCOPE_MISSING", 403, "The credentials lack a scope; details.scopes says which"),
    ("USER_MISMATCH", 403, "The request names another user than the one it may"),
    ("CROSS_SITE", 403, "A page of another site, not named in cors-origin, asks for a change"),
    ("QUOTA_EXCEEDED", 403, "The user has as many audiences, or stores as much, as one may"),
    ("NOT_FOUND", 404, "There is no such record"),
    ("ROUTE_NOT_FOUND", 404, "There is no such endpoint"),
    ("METHOD_NOT_ALLOWED", 405, "The endpoint has no such method"),
    ("REQUEST_TIMEOUT", 408, "The request took too long to arrive; nothing was changed"),
    ("TOKEN_LIMIT", 409, "There are as many tokens as there may be; revoke some"),
    (
        "IDEMPOTENCY_KEY_UNVERIFIABLE",
        409,
        "The Idempotency-Key came before; with which request cannot be told any more: its \
         fingerprint's key is retired",
    ),
    ("ERASURE_IN_PROGRESS", 409, "The user's data is being erased"),
    ("VERSION_MISMATCH", 412, "The record has another version than If-Match names"),
    ("PAYLOAD_TOO_LARGE", 413, "The body is larger than the server takes"),
    ("UNSUPPORTED_MEDIA_TYPE", 415, "The body is not sent as plain application/json"),
    ("IDEMPOTENCY_KEY_REUSED", 422, "The Idempotency-Key came with another request before"),
    ("RATE_LIMITED", 429, "The user sent more requests than one may in a minute"),
    ("HEADERS_TOO_LARGE", 431, "The head of the request is larger than the server takes"),
    ("INTERNAL", 500, "A defect of the server"),
    ("KEYS_UNAVAILABLE", 503, "The keys that web tokens are checked with cannot be had now"),
    ("STARTING", 503, "The server is still recovering"),
    ("OVERLOADED", 503, "Too much work is waiting"),
    ("STORAGE_FULL", 503, "No space is left; reads go on"),
    ("STORAGE_FAILED", 503, "The storage could not be read or written"),
    ("LOG_FAILED", 503, "The log failed; writes are refused until a restart, reads go on"),
    ("PARTITION_CORRUPT", 503, "A file that the request needs cannot be read; it is kept as it is"),
    ("PARTITION_RESTARTING", 503, "The partition failed and is being rebuilt"),
    (
        "CREDENTIALS_UNAVAILABLE",
        503,
        "The credentials do not open with the keys at hand; they are kept",
    ),
    ("DRAINING", 503, "The server is stopping"),
    ("TIMEOUT", 503, "The request took too long; whether it changed something is not known"),
];

impl ApiError {
    /// An error with a code out of [`CODES`].
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        let known = CODES.iter().find(|(known, _, _)| *known == code);
        let status = known.and_then(|(_, status, _)| StatusCode::from_u16(*status).ok());
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            message: message.into(),
            details: Vec::new(),
            retry_after: None,
            allow: None,
            challenge: Challenge::Nothing,
            refusal: None,
        }
    }

    /// Adds a detail that is a text.
    #[must_use]
    pub fn detail(mut self, name: &'static str, text: &str) -> Self {
        let mut json = String::new();
        push_string(text, &mut json);
        self.details.push((name, json));
        self
    }

    /// Says which limit it is about, for the count of refusals.
    #[must_use]
    pub fn refusing(mut self, refusal: Refusal) -> Self {
        self.refusal = Some(refusal);
        self
    }

    /// Whole seconds after which to try again, where it says so.
    #[must_use]
    pub fn retry_seconds(&self) -> Option<u64> {
        let after = self.retry_after?;
        Some((after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1))
    }

    /// 503 `OVERLOADED`, to be tried again soon.
    #[must_use]
    pub fn overloaded(message: &'static str) -> Self {
        Self::new("OVERLOADED", message).retry_after(SOON)
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// A query parameter that holds what it must not.
    #[must_use]
    pub fn parameter(name: &str, rule: impl fmt::Display) -> Self {
        Self::new("INVALID_PARAMETER", format!("Invalid value for {name}: {rule}"))
            .detail("pointer", &format!("/{name}"))
            .detail("in", "query")
    }

    /// A cursor that leads nowhere.
    #[must_use]
    pub fn cursor(rule: impl fmt::Display) -> Self {
        Self::new("INVALID_CURSOR", format!("Invalid value for cursor: {rule}"))
            .detail("pointer", "/cursor")
            .detail("in", "query")
    }

    /// A header that holds what it must not.
    #[must_use]
    pub fn header(name: &str, rule: impl fmt::Display) -> Self {
        Self::new("INVALID_PARAMETER", format!("Invalid value for {name}: {rule}"))
            .detail("pointer", &format!("/{name}"))
            .detail("in", "header")
    }

    /// There is no such endpoint.
    #[must_use]
    pub fn no_route() -> Self {
        Self::new("ROUTE_NOT_FOUND", "There is no such endpoint")
    }

    /// The endpoint has other methods.
    #[must_use]
    pub fn no_method(allow: &'static str) -> Self {
        let mut error = Self::new("METHOD_NOT_ALLOWED", "The endpoint has no such method");
        error.allow = Some(allow);
        error
    }

    /// A defect of the server, of which a client is told no more.
    #[must_use]
    pub fn internal() -> Self {
        Self::new("INTERNAL", "Internal error")
    }

    /// The record does not exist: the same bytes for one that never did and one of another user.
    #[must_use]
    pub fn not_found(title: &str) -> Self {
        Self::new("NOT_FOUND", format!("{title} not found"))
    }

    /// The error for something of `title`: "Audience not found".
    #[must_use]
    pub fn of(error: StoreError, title: &str) -> Self {
        match error {
            StoreError::NotFound => Self::not_found(title),
            other => other.into(),
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Whether a repeat of the request must get this answer again: it says something about the
    /// request and the record, not about the server's state.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.code, "NOT_FOUND" | "VERSION_MISMATCH" | "INVALID_FIELD" | "MISSING_FIELD")
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = String::from("{\"success\":false,\"error\":");
        push_string(&self.message, &mut body);
        body.push_str(",\"code\":\"");
        body.push_str(self.code);
        body.push_str("\",\"details\":{");
        for (index, (name, value)) in self.details.iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            push_string(name, &mut body);
            body.push(':');
            body.push_str(value);
        }
        body.push_str("}}");
        body
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.content_type("application/json");
        if let Some(seconds) = self.retry_seconds() {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        let realm = "Bearer realm=\"audience-store\"";
        let challenge = match self.challenge {
            Challenge::Invalid => Some(format!("{realm}, error=\"invalid_token\"")),
            Challenge::Lacks(scopes) => {
                Some(format!("{realm}, error=\"insufficient_scope\", scope=\"{scopes}\""))
            }
            Challenge::Nothing => {
                (self.status == StatusCode::UNAUTHORIZED).then(|| realm.to_owned())
            }
        };
        if let Some(challenge) = challenge {
            response.insert_header((WWW_AUTHENTICATE, challenge));
        }
        let mut response = response.body(self.body());
        response.extensions_mut().insert(Code(self.code));
        if let Some(refusal) = self.refusal {
            response.extensions_mut().insert(refusal);
        }
        response
    }
}

impl From<InputError> for ApiError {
    fn from(error: InputError) -> Self {
        let refusal = match error.kind {
            InputErrorKind::Over(limit) => Some(limit.into()),
            _ => None,
        };
        let answer = Self::new(error.kind.code(), error.message);
        Self { refusal, ..answer.detail("pointer", &error.pointer) }
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        let code = match error {
            IdentityError::Missing => "MISSING_FIELD",
            IdentityError::Invalid(_) => "INVALID_FIELD",
            IdentityError::Mismatch | IdentityError::Other => "USER_MISMATCH",
        };
        Self::new(code, error.to_string()).detail("pointer", "/user_id")
    }
}

impl From<auth::Refusal> for ApiError {
    fn from(refusal: auth::Refusal) -> Self {
        let code = match &refusal {
            auth::Refusal::Missing => "UNAUTHENTICATED",
            auth::Refusal::Malformed(_) => "TOKEN_MALFORMED",
            auth::Refusal::Unknown { .. } => "TOKEN_UNKNOWN",
            auth::Refusal::Expired { .. } => "TOKEN_EXPIRED",
            auth::Refusal::Refused(_) | auth::Refusal::UnknownKey => "TOKEN_REFUSED",
            auth::Refusal::NoKeys => "KEYS_UNAVAILABLE",
        };
        let mut error = Self::new(code, refusal.to_string());
        match refusal {
            auth::Refusal::Missing => {}
            auth::Refusal::NoKeys => error.retry_after = Some(Duration::from_secs(5)),
            _ => error.challenge = Challenge::Invalid,
        }
        error
    }
}

impl From<Denial> for ApiError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Identity(error) => error.into(),
            Denial::Scopes(scopes) => {
                let mut error = Self::new("SCOPE_MISSING", denial.to_string())
                    .detail("scopes", &scopes.to_string());
                error.challenge = Challenge::Lacks(scopes);
                error
            }
        }
    }
}

impl From<TokenFileError> for ApiError {
    fn from(error: TokenFileError) -> Self {
        match error {
            TokenFileError::Refused(refused) => Self::new("TOKEN_LIMIT", refused.to_string()),
            TokenFileError::Io(e) if e.kind() == std::io::ErrorKind::StorageFull => {
                StoreError::StorageFull.into()
            }
            TokenFileError::Io(_) | TokenFileError::Damaged { .. } => {
                tracing::error!(%error, "tokens could not be changed");
                StoreError::StorageFailed.into()
            }
        }
    }
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Full => StoreError::StorageFull.into(),
            AuditError::Failed => StoreError::StorageFailed.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        const LATER: Duration = Duration::from_secs(30);
        match error {
            StoreError::NotFound => Self::not_found("Record"),
            StoreError::VersionMismatch { current } => {
                let mut error =
                    Self::new("VERSION_MISMATCH", format!("The record has version {current}"));
                error.details.push(("version", current.to_string()));
                error
            }
            StoreError::Input(error) => error.into(),
            StoreError::KeyReused => Self::new(
                "IDEMPOTENCY_KEY_REUSED",
                "This Idempotency-Key was used with another request",
            ),
            StoreError::KeyUnverifiable => Self::new(
                "IDEMPOTENCY_KEY_UNVERIFIABLE",
                "This Idempotency-Key was used; whether with this request cannot be told any more. \
                 Read the record to see what was done",
            ),
            StoreError::QuotaExceeded(quota) => quota_exceeded(quota),
            StoreError::Overloaded => Self::overloaded("Too much work is waiting, try again soon"),
            StoreError::StorageFull => {
                Self::new("STORAGE_FULL", "No space is left for writes").retry_after(LATER)
            }
            StoreError::LogFailed => Self::new(
                "LOG_FAILED",
                "The log failed: whether this change was kept is known after a restart",
            )
            .retry_after(LATER),
            StoreError::StorageFailed => {
                Self::new("STORAGE_FAILED", "The storage could not be used").retry_after(SOON)
            }
            StoreError::PartitionCorrupt => Self::new(
                "PARTITION_CORRUPT",
                "A file that holds these records cannot be read; it is kept as it is",
            )
            .retry_after(LATER),
            StoreError::Restarting { after } => {
                Self::new("PARTITION_RESTARTING", "These records are being recovered")
                    .retry_after(after)
            }
            StoreError::CredentialsUnavailable => Self::new(
                "CREDENTIALS_UNAVAILABLE",
                "The credentials cannot be used with the keys that the server has; they are kept",
            )
            .retry_after(LATER),
            StoreError::Erasing => {
                Self::new("ERASURE_IN_PROGRESS", "The user's data is being erased")
                    .retry_after(SOON)
            }
            StoreError::Draining => {
                Self::new("DRAINING", "The server is stopping").retry_after(SOON)
            }
            StoreError::TooSlow => {
                Self::new("TIMEOUT", "The request took too long").retry_after(SOON)
            }
            StoreError::Internal => Self::internal(),
        }
    }
}

fn quota_exceeded(quota: Quota) -> ApiError {
    let (what, refusal, message) = match quota {
        Quota::Audiences(most) => (
            "audiences",
            Refusal::QuotaAudiences,
            format!("The user has the {most} audiences one may have"),
        ),
        Quota::Bytes(most) => {
            ("bytes", Refusal::QuotaBytes, format!("The user may store {most} bytes"))
        }
    };
    ApiError::new("QUOTA_EXCEEDED", message).detail("quota", what).refusing(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_and_codes_are_known() {
        let error = ApiError::parameter("limit", "must be \"1\" to 1000");
        let body: serde_json::Value = serde_json::from_str(&error.body()).expect("json");
        assert_eq!(body["code"], "INVALID_PARAMETER");
        assert_eq!(body["details"]["pointer"], "/limit");
        assert_eq!(body["success"], false);
        for error in [
            StoreError::NotFound,
            StoreError::VersionMismatch { current: 2 },
            StoreError::Overloaded,
            StoreError::StorageFull,
            StoreError::LogFailed,
            StoreError::StorageFailed,
            StoreError::PartitionCorrupt,
            StoreError::Restarting { after: Duration::from_millis(1) },
            StoreError::CredentialsUnavailable,
            StoreError::Erasing,
            StoreError::Draining,
            StoreError::KeyReused,
            StoreError::KeyUnverifiable,
            StoreError::QuotaExceeded(Quota::Audiences(1)),
            StoreError::QuotaExceeded(Quota::Bytes(1)),
        ] {
            let error = ApiError::from(error);
            assert!(CODES.iter().any(|(code, _, _)| *code == error.code), "{error}");
            let unavailable = error.status == StatusCode::SERVICE_UNAVAILABLE;
            assert!(!unavailable || error.retry_after.is_some(), "{error}");
            assert_ne!(error.status, StatusCode::INTERNAL_SERVER_ERROR, "{error}");
        }
    }
}
