//! Query parameters, parsed strictly: valid UTF-8, a known one at most once.

use std::borrow::Cow;

use actix_web::HttpRequest;
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::domain::{Filter, ListIdentity, Micros, Table, UserId};
use crate::store::ListRequest;

/// Records on a page where the request names no limit.
pub const DEFAULT_LIMIT: usize = 50;
/// Most records on a page.
pub const MAX_LIMIT: usize = 1000;
/// Longest text to search for, in bytes.
const MAX_Q: usize = 1000;

/// The parameters of a request.
pub struct Params<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

impl<'q> Params<'q> {
    /// Parses a query string.
    ///
    /// # Errors
    /// 400 where an escape is not UTF-8.
    pub fn parse(query: &'q str) -> Result<Self, ApiError> {
        let mut params = Vec::with_capacity(4);
        let mut rest = query;
        while !rest.is_empty() {
            let (pair, more) = cut(rest, b'&');
            let (name, value) = cut(pair, b'=');
            if !pair.is_empty() {
                params.push((decode(name)?, decode(value)?));
            }
            rest = more;
        }
        Ok(Self(params))
    }

    /// The parameters of a request that has none.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// A parameter's value; an empty one counts as absent.
    ///
    /// # Errors
    /// 400 where it comes twice.
    pub fn get(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| &**v);
        let value = values.next();
        if values.next().is_some() {
            return Err(ApiError::parameter(name, "must come once"));
        }
        Ok(value.filter(|v| !v.is_empty()))
    }

    /// The list that the parameters describe.
    ///
    /// # Errors
    /// 400 for the first parameter that holds what it must not.
    pub fn list(
        &self,
        user: &UserId,
        table: Table,
    ) -> Result<(ListRequest, ListIdentity), ApiError> {
        self.list_where(user, table, &[])
    }

    /// The list that the parameters describe, of records with `fixed` column values.
    ///
    /// # Errors
    /// As [`Params::list`].
    pub fn list_where(
        &self,
        user: &UserId,
        table: Table,
        fixed: &[(&'static str, &str)],
    ) -> Result<(ListRequest, ListIdentity), ApiError> {
        let mut filter = Filter::default();
        for name in table.spec().filters.iter().copied() {
            let fixed = fixed.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
            if let Some(value) = fixed.map_or_else(|| self.get(name), |v| Ok(Some(v)))? {
                filter.equal(table, name, value).map_err(|e| ApiError::parameter(name, e))?;
            }
        }
        if let Some(text) = self.get("q")? {
            if text.len() > MAX_Q {
                return Err(ApiError::parameter("q", "must be at most 1000 bytes"));
            }
            filter.containing(text);
        }
        if let Some(at) = self.time("created_after")? {
            filter.after(at);
        }
        if let Some(at) = self.time("created_before")? {
            filter.before(at);
        }
        let identity = ListIdentity::new(user, table, &filter);
        let after = match self.get("cursor")? {
            Some(cursor) => Some(identity.decode(cursor).map_err(ApiError::cursor)?),
            None => None,
        };
        let columns = self.fields()?.map(|fields| {
            let spec = table.spec();
            let mut columns = filter.columns(table);
            columns.extend(fields.iter().filter_map(|f| spec.column(f)).map(|(index, _)| index));
            let unknown = fields.iter().any(|f| spec.column(f).is_none());
            columns.extend(spec.column("extra").filter(|_| unknown).map(|(index, _)| index));
            columns.sort_unstable();
            columns.dedup();
            columns
        });
        let (limit, archived) = (self.limit()?, self.archived()?);
        Ok((ListRequest { filter, after, limit, columns, archived }, identity))
    }

    /// Records on a page.
    ///
    /// # Errors
    /// 400 where that is no number from 1 to [`MAX_LIMIT`].
    pub fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.get("limit")? else { return Ok(DEFAULT_LIMIT) };
        let limit = text.parse::<usize>().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
        limit.ok_or_else(|| ApiError::parameter("limit", "must be a whole number from 1 to 1000"))
    }

    /// Whether archived months are asked for.
    fn archived(&self) -> Result<bool, ApiError> {
        match self.get("archived")? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::parameter("archived", "must be true or false")),
        }
    }

    fn time(&self, name: &str) -> Result<Option<Micros>, ApiError> {
        let Some(text) = self.get(name)? else { return Ok(None) };
        Micros::parse(text).map(Some).map_err(|e| ApiError::parameter(name, e))
    }

    /// The fields an answer is limited to: known columns or names of extra fields.
    ///
    /// # Errors
    /// 400 where the list names nothing, or what no column or field can be called.
    pub fn fields(&self) -> Result<Option<Vec<String>>, ApiError> {
        let Some(text) = self.get("fields")? else { return Ok(None) };
        let fields: Vec<String> =
            text.split(',').map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect();
        if fields.is_empty() || fields.len() > 100 {
            return Err(ApiError::parameter("fields", "must name 1 to 100 fields"));
        }
        Ok(Some(fields))
    }
}

/// A segment of the request's path, decoded strictly: actix's own decoding puts a replacement
/// character where bytes are not UTF-8, so that several paths would name one user.
///
/// # Errors
/// 400 for an escape that is none or is not UTF-8.
pub fn path_segment(req: &HttpRequest, index: usize, name: &str) -> Result<String, ApiError> {
    let raw = req.uri().path().split('/').nth(index + 1).unwrap_or_default();
    segment(raw).ok_or_else(|| {
        ApiError::new("INVALID_PARAMETER", "The path is not percent-encoded UTF-8")
            .detail("pointer", &format!("/{name}"))
            .detail("in", "path")
    })
}

/// The text that a path segment encodes: every `%` begins an escape, and all bytes are UTF-8.
#[must_use]
pub fn segment(raw: &str) -> Option<String> {
    let escapes = raw.split('%').skip(1);
    let hex = |b: &u8| b.is_ascii_hexdigit();
    for after in escapes {
        after.as_bytes().get(..2).filter(|digits| digits.iter().all(hex))?;
    }
    percent_decode_str(raw).decode_utf8().ok().map(Cow::into_owned)
}

/// What stands before and after the first `at`, which is ASCII; nothing after where there is none.
fn cut(text: &str, at: u8) -> (&str, &str) {
    let place = text.bytes().position(|byte| byte == at);
    let parts = place.and_then(|place| Some((text.get(..place)?, text.get(place + 1..)?)));
    parts.unwrap_or((text, ""))
}

fn decode(text: &str) -> Result<Cow<'_, str>, ApiError> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned);
    decoded.map(Cow::Owned).map_err(|_| {
        ApiError::new("INVALID_PARAMETER", "The query is not valid UTF-8").detail("in", "query")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        UserId::checked("u").expect("user")
    }

    fn list(query: &str) -> Result<ListRequest, ApiError> {
        Params::parse(query)?.list(&user(), Table::Audiences).map(|(request, _)| request)
    }

    #[test]
    fn defaults_and_bounds() {
        assert_eq!(list("").expect("default").limit, 50);
        assert_eq!(list("limit=1000").expect("most").limit, 1000);
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=-1",
            "limit=1&limit=2",
            "status=gone",
            "created_after=soon",
            "cursor=abc",
            "fields=,",
            "q=%ff",
            "q=%C0%AF",
        ] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_parameters_are_let_be() {
        assert!(list("_=123&user_id=u&offset=3").is_ok());
    }

    #[test]
    fn a_path_has_one_reading() {
        for (raw, text) in [
            ("u", "u"),
            ("a%2Fb", "a/b"),
            ("a%2fb", "a/b"),
            ("a%252Fb", "a%2Fb"),
            ("%C3%BC", "ü"),
            ("a+b", "a+b"),
            ("%2e%2E", ".."),
        ] {
            assert_eq!(segment(raw).as_deref(), Some(text), "{raw}");
        }
        // No escape, half of one, no UTF-8, overlong, a surrogate.
        for bad in ["%", "a%2", "%zz", "%+1", "%ff", "%C0%AF", "%E0%80%AF", "%ED%A0%80", "%C3"] {
            assert_eq!(segment(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_choose_columns() {
        let request = list("fields=name,status&q=x").expect("fields");
        let names: Vec<_> = request
            .columns
            .expect("columns")
            .into_iter()
            .map(|i| Table::Audiences.spec().columns[i].name)
            .collect();
        assert_eq!(names, ["name", "description", "status", "original_query"]);
    }

    #[test]
    fn a_cursor_of_another_filter_is_refused() {
        let position = crate::domain::Position {
            created_at: Micros::new(1),
            id: crate::domain::RecordId::checked("a").expect("id"),
        };
        let (_, identity) =
            Params::parse("q=x").expect("p").list(&user(), Table::Audiences).expect("list");
        let cursor = identity.encode(&crate::domain::Place { month: None, position });
        assert!(list(&format!("q=x&cursor={cursor}")).is_ok());
        assert!(list(&format!("q=y&cursor={cursor}")).is_err());
    }
}
