//! `If-Match` and `If-None-Match`.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use super::error::ApiError;
use crate::store::Precondition;

/// What `If-Match` expects of a record. A record's tag is its version: `"3"`.
///
/// # Errors
/// 400 where the header is not a list of tags.
pub fn if_match(req: &HttpRequest) -> Result<Precondition, ApiError> {
    let Some(tags) = tags(req, &IF_MATCH)? else { return Ok(Precondition::None) };
    if tags == ["*"] {
        return Ok(Precondition::Exists);
    }
    // A tag that no version has matches none.
    Ok(Precondition::Versions(
        tags.iter().filter_map(|tag| tag.trim_matches('"').parse().ok()).collect(),
    ))
}

/// Whether `If-None-Match` names the tag the client would get: it then has the content already.
///
/// # Errors
/// 400 where the header is not text.
pub fn has_it(req: &HttpRequest, etag: &str) -> Result<bool, ApiError> {
    let Some(tags) = tags(req, &IF_NONE_MATCH)? else { return Ok(false) };
    let bare = |tag: &str| tag.trim_start_matches("W/").to_owned();
    Ok(tags.iter().any(|tag| tag == "*" || bare(tag) == bare(etag)))
}

fn tags(req: &HttpRequest, name: &HeaderName) -> Result<Option<Vec<String>>, ApiError> {
    let mut all = Vec::new();
    for value in req.headers().get_all(name) {
        let text = value.to_str().map_err(|_| ApiError::header(name.as_str(), "must be ASCII"))?;
        all.extend(text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()));
    }
    Ok((!all.is_empty()).then_some(all))
}

/// A record's tag.
#[must_use]
pub fn version_tag(version: i64) -> String {
    let mut tag = String::with_capacity(24);
    tag.push('"');
    tag.push_str(itoa::Buffer::new().format(version));
    tag.push('"');
    tag
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn versions_are_read_from_tags() {
        for (header, expected) in [
            ("\"3\"", Precondition::Versions(vec![3])),
            ("3", Precondition::Versions(vec![3])),
            ("\"3\", \"4\"", Precondition::Versions(vec![3, 4])),
            ("\"x\"", Precondition::Versions(vec![])),
            ("*", Precondition::Exists),
        ] {
            let req = TestRequest::default().insert_header(("If-Match", header)).to_http_request();
            assert_eq!(if_match(&req).expect(header), expected);
        }
        assert_eq!(
            if_match(&TestRequest::default().to_http_request()).expect("none"),
            Precondition::None
        );
    }

    #[test]
    fn weak_tags_compare_weakly() {
        let req = TestRequest::default()
            .insert_header(("If-None-Match", "\"a\", W/\"b\""))
            .to_http_request();
        assert!(has_it(&req, "W/\"b\"").expect("b"));
        assert!(has_it(&req, "W/\"a\"").expect("a"));
        assert!(!has_it(&req, "W/\"c\"").expect("c"));
    }
}
