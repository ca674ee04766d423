//! From when until when a certificate holds. Only the server's own is looked at: what stands
//! behind it in the chain may have expired and still be of use to some clients, as cross-signed
//! roots are.

use rustls::pki_types::CertificateDer;
use simple_asn1::{ASN1Block, from_der};

use super::TlsError;
use crate::domain::Micros;

/// The time of a certificate, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// First instant.
    pub from: Micros,
    /// Last second.
    pub until: Micros,
}

impl Validity {
    /// Reads it off a certificate (RFC 5280, 4.1); `None` where it cannot be found.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let blocks = from_der(certificate).ok()?;
        let [certificate] = blocks.as_slice() else { return None };
        // Version, which may be left out, serial number, algorithm, issuer: then the times.
        let fields = sequence(sequence(certificate)?.first()?)?;
        let mut fields = fields.iter().skip_while(|f| !matches!(f, ASN1Block::Integer(..)));
        let [from, until] = sequence(fields.nth(3)?)? else { return None };
        Some(Self { from: instant(from)?, until: instant(until)? })
    }

    /// Whether it holds now.
    ///
    /// # Errors
    /// [`TlsError::NotYet`], [`TlsError::Expired`].
    pub fn holds(self, now: Micros) -> Result<(), TlsError> {
        if now < self.from {
            Err(TlsError::NotYet { from: self.from })
        } else if now.get() >= self.until.get().saturating_add(1_000_000) {
            Err(TlsError::Expired { until: self.until })
        } else {
            Ok(())
        }
    }
}

fn sequence(block: &ASN1Block) -> Option<&[ASN1Block]> {
    match block {
        ASN1Block::Sequence(_, parts) => Some(parts),
        _ => None,
    }
}

fn instant(block: &ASN1Block) -> Option<Micros> {
    let (ASN1Block::UTCTime(_, time) | ASN1Block::GeneralizedTime(_, time)) = block else {
        return None;
    };
    Some(Micros::new(time.assume_utc().unix_timestamp().saturating_mul(1_000_000)))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_holds_from_its_first_second_through_its_last() {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        params.not_before = date_time_ymd(2024, 2, 29);
        params.not_after = date_time_ymd(2055, 3, 1);
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        let validity = Validity::of(certificate.der()).expect("a certificate");
        let at = |text: &str| Micros::parse(text).expect("time");
        assert_eq!(validity, Validity { from: at("2024-02-29"), until: at("2055-03-01") });
        let judged = |text: &str| validity.holds(at(text)).map_err(|error| error.to_string());
        let early = judged("2024-02-28T23:59:59.999999Z").expect_err("early");
        assert!(early.contains("2024-02-29T00:00:00"), "{early}");
        assert_eq!(judged("2024-02-29T00:00:00Z"), Ok(()));
        assert_eq!(judged("2055-03-01T00:00:00.999999Z"), Ok(()));
        let late = judged("2055-03-01T00:00:01Z").expect_err("late");
        assert!(late.contains("expired") && late.contains("2055-03-01"), "{late}");
        for other in [&[][..], &[0x30, 0], &[0x30, 2, 0x30, 0], &[0x30, 0x82], &[2, 1, 1]] {
            assert_eq!(Validity::of(&CertificateDer::from(other)), None, "{other:?}");
        }
    }
}
