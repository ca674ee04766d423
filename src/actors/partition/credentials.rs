//! What stands in the `credentials` column before this server can seal: nothing of the secret.
//!
//! Layout: `1`, then the credentials' `account_id` as compact JSON. The secret itself stays in
//! the file of the Python service, which the take-over keeps under `legacy/`.

use crate::domain::object::fields_of;

const KEPT_IN_LEGACY: u8 = 1;

/// The column's bytes for credentials that stay where the Python service wrote them.
#[must_use]
pub fn kept_in_legacy(plain: &str) -> Box<[u8]> {
    let mut bytes = vec![KEPT_IN_LEGACY];
    if let Some((_, account)) = fields_of(plain).iter().find(|(name, _)| name == "account_id") {
        bytes.extend_from_slice(account.as_bytes());
    }
    bytes.into()
}

/// Appends what reads show in the place of credentials:
/// `{"encrypted":true,"account_id":"12345"}`.
pub fn sealed_view(sealed: &[u8], out: &mut String) {
    out.push_str("{\"encrypted\":true");
    if let Some((&KEPT_IN_LEGACY, account)) = sealed.split_first()
        && let Ok(account) = std::str::from_utf8(account)
        && !account.is_empty()
    {
        out.push_str(",\"account_id\":");
        out.push_str(account);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_account_and_nothing_else() {
        let sealed = kept_in_legacy(r#"{"api_key":"sk-live","account_id":"12345"}"#);
        assert!(!String::from_utf8_lossy(&sealed).contains("sk-live"));
        let mut out = String::new();
        sealed_view(&sealed, &mut out);
        assert_eq!(out, r#"{"encrypted":true,"account_id":"12345"}"#);
        let mut out = String::new();
        sealed_view(&kept_in_legacy("not json"), &mut out);
        assert_eq!(out, r#"{"encrypted":true}"#);
    }
}
