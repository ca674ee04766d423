//! Tokens that hold and tokens that do not, with keys made here.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A key pair: how it signs, and its public half as a web key and as PEM.
struct Pair {
    algorithm: Algorithm,
    signs: EncodingKey,
    web: Value,
    pem: String,
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).expect("ASCII")).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa(size: KeySize) -> Pair {
    let pair = RsaKeyPair::generate(size).expect("RSA");
    let private: Pkcs8V1Der = pair.as_der().expect("PKCS 8");
    let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
    let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let tag = "PRIVATE KEY";
    let text = format!(
        "-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n",
        STANDARD.encode(private.as_ref())
    );
    Pair {
        algorithm: Algorithm::RS256,
        signs: EncodingKey::from_rsa_pem(text.as_bytes()).expect("key"),
        web: json!({"kty": "RSA", "n": b64(&parts.n), "e": b64(&parts.e)}),
        pem: pem(public.as_ref()),
    }
}

fn ec() -> Pair {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("EC");
    let private = pair.to_pkcs8v1().expect("PKCS 8");
    let point = pair.public_key().as_ref();
    let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
    Pair {
        algorithm: Algorithm::ES256,
        signs: EncodingKey::from_ec_der(private.as_ref()),
        web: json!({"kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..])}),
        pem: pem(public.as_ref()),
    }
}

fn ed() -> Pair {
    let pair = Ed25519KeyPair::generate().expect("Ed25519");
    let private = pair.to_pkcs8v1().expect("PKCS 8");
    let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
    Pair {
        algorithm: Algorithm::EdDSA,
        signs: EncodingKey::from_ed_der(private.as_ref()),
        web: json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key())}),
        pem: pem(public.as_ref()),
    }
}

fn secret() -> EncodingKey {
    EncodingKey::from_secret(SECRET)
}

fn rules() -> Rules {
    Rules {
        issuer: "i".to_owned(),
        audience: "a".to_owned(),
        user_claim: "sub".to_owned(),
        scope_claim: "scope".to_owned(),
        leeway: 0,
    }
}

fn claims() -> Value {
    json!({"iss": "i", "aud": "a", "exp": 1000, "sub": "u", "scope": "admin"})
}

fn signed(header: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims().to_string()));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("sign");
    format!("{message}.{signature}")
}

fn of(pair: &Pair, kid: Option<&str>) -> String {
    let alg = format!("{:?}", pair.algorithm);
    let header = match kid {
        Some(kid) => json!({"alg": alg, "kid": kid, "typ": "JWT"}),
        None => json!({"alg": alg}),
    };
    signed(&header, &pair.signs, pair.algorithm)
}

/// A set of these keys, named 0, 1, ….
fn set(pairs: &[&Pair]) -> Keys {
    let named = |(kid, pair): (usize, &&Pair)| {
        let mut web = pair.web.clone();
        web["kid"] = json!(kid.to_string());
        web
    };
    let keys: Vec<Value> = pairs.iter().enumerate().map(named).collect();
    Keys::public(json!({ "keys": keys }).to_string().as_bytes()).expect("keys")
}

fn verdict(token: &str, keys: &Keys) -> Result<String, Refusal> {
    let verified = check(token, keys, &rules(), 900)?;
    let scopes = crate::auth::Scope::AudiencesRead;
    Ok(verified.principal.user_for(scopes, &[]).expect("user").as_str().to_owned())
}

fn refused(token: &str, keys: &Keys) -> bool {
    matches!(verdict(token, keys), Err(Refusal::Refused(_)))
}

#[test]
fn all_four_algorithms_hold_from_a_set_from_pem_and_from_a_secret() {
    let pairs = [rsa(KeySize::Rsa2048), ec(), ed()];
    let all = set(&pairs.iter().collect::<Vec<_>>());
    for (kid, pair) in pairs.iter().enumerate() {
        let token = of(pair, Some(&kid.to_string()));
        assert_eq!(verdict(&token, &all).as_deref(), Ok("u"), "{:?}", pair.algorithm);
        let one = Keys::public(pair.pem.as_bytes()).expect("PEM");
        for kid in [None, Some("whatever")] {
            assert_eq!(verdict(&of(pair, kid), &one).as_deref(), Ok("u"), "{:?}", pair.algorithm);
        }
    }
    let one = Keys::secret(SECRET).expect("secret");
    let token = signed(&json!({"alg": "HS256"}), &secret(), Algorithm::HS256);
    assert_eq!(verdict(&token, &one).as_deref(), Ok("u"));
    let with_break = [SECRET, b"\r\n"].concat();
    assert!(verdict(&token, &Keys::secret(&with_break).expect("secret")).is_ok());
}

#[test]
fn a_token_without_a_signature_is_refused_however_it_says_so() {
    let keys = set(&[&ec()]);
    for alg in ["none", "None", "NONE", "nOnE", "", "HS512", "RS512", "ES384", "PS256"] {
        let header = b64(json!({"alg": alg, "kid": "0"}).to_string());
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{}.{signature}", b64(claims().to_string()));
            assert!(refused(&token, &keys), "{alg} {signature}");
        }
    }
    let token = of(&ec(), Some("0"));
    let (message, _) = token.rsplit_once('.').expect("parts");
    assert!(refused(&format!("{message}."), &keys));
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    let pair = rsa(KeySize::Rsa2048);
    let (one, all) = (Keys::public(pair.pem.as_bytes()).expect("PEM"), set(&[&pair]));
    let modulus = URL_SAFE_NO_PAD.decode(pair.web["n"].as_str().expect("n")).expect("base64");
    for secret in [pair.pem.as_bytes(), pair.pem.trim_end().as_bytes(), &modulus] {
        let key = EncodingKey::from_secret(secret);
        let header = json!({"alg": "HS256", "kid": "0"});
        let token = signed(&header, &key, Algorithm::HS256);
        for keys in [&one, &all] {
            assert_eq!(verdict(&token, keys), Err(Refusal::Refused("its `alg` is not the key's")));
        }
    }
}

#[test]
fn which_key_is_meant_must_be_said_and_known() {
    let (first, second) = (ec(), ec());
    let keys = set(&[&first, &second]);
    assert!(verdict(&of(&first, Some("0")), &keys).is_ok());
    assert_eq!(
        verdict(&of(&first, Some("1")), &keys),
        Err(Refusal::Refused("its signature is wrong"))
    );
    assert_eq!(verdict(&of(&first, None), &keys), Err(Refusal::Refused("it has no `kid`")));
    assert_eq!(
        verdict(&of(&first, None), &set(&[&first])),
        Err(Refusal::Refused("it has no `kid`")),
        "also where there is one"
    );
    assert_eq!(verdict(&of(&first, Some("2")), &keys), Err(Refusal::UnknownKey));
    assert_eq!(verdict(&of(&first, Some("../0")), &keys), Err(Refusal::UnknownKey));
    assert_eq!(verdict(&of(&first, Some("0")), &Keys::None), Err(Refusal::NoKeys));
}

#[test]
fn keys_and_extensions_that_a_token_brings_itself_are_not_taken() {
    let (ours, theirs) = (ec(), ec());
    let keys = set(&[&ours]);
    let mut header = json!({"alg": "ES256", "kid": "0", "jwk": theirs.web, "jku": "http://x"});
    let token = signed(&header, &theirs.signs, Algorithm::ES256);
    assert_eq!(verdict(&token, &keys), Err(Refusal::Refused("its signature is wrong")));
    header["crit"] = json!(["exp"]);
    assert!(refused(&signed(&header, &ours.signs, Algorithm::ES256), &keys));
}

#[test]
fn every_changed_character_is_noticed() {
    let pair = ed();
    let keys = set(&[&pair]);
    let token = of(&pair, Some("0"));
    assert!(verdict(&token, &keys).is_ok());
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        // Another bit of the six that a character has, but for the last, which pads.
        changed[at] = if changed[at] == b'A' { b'Q' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        assert!(verdict(&changed, &keys).is_err(), "{at}");
    }
    for cut in ["", ".", "..", "a.b", "a.b.c.d", "ä.b.c", &token[1..], &token[..token.len() - 5]] {
        assert!(verdict(cut, &keys).is_err(), "{cut}");
    }
}

#[test]
fn claims_are_believed_after_the_signature() {
    let (ours, theirs) = (ec(), ec());
    let token = of(&theirs, Some("0"));
    let expired = check(&token, &set(&[&ours]), &rules(), 5000);
    assert_eq!(expired, Err(Refusal::Refused("its signature is wrong")));
}

#[test]
fn keys_that_do_not_fit_are_left_out_of_a_set() {
    let good = ec().web;
    let with = |changes: Value| {
        let mut key = good.clone();
        key["kid"] = json!("k");
        for (name, value) in changes.as_object().expect("object") {
            key[name] = value.clone();
        }
        Keys::public(json!({"keys": [key]}).to_string().as_bytes()).map(|_| ())
    };
    for fits in [
        json!({}),
        json!({"use": "sig", "alg": "ES256", "key_ops": ["verify"]}),
        json!({"x5c": ["AAAA"], "anything": {}}),
    ] {
        assert_eq!(with(fits.clone()), Ok(()), "{fits}");
    }
    let short = rsa_1024();
    for unfit in [
        json!({"kid": null}),
        json!({"kid": ""}),
        json!({"use": "enc"}),
        json!({"key_ops": ["sign"]}),
        json!({"alg": "ES384"}),
        json!({"alg": "HS256"}),
        json!({"crv": "P-384"}),
        json!({"crv": "secp256k1"}),
        json!({"x": "AAAA"}),
        json!({"y": null}),
        json!({"kty": "oct", "k": b64(SECRET)}),
        json!({"kty": "RSA", "n": short, "e": "AQAB"}),
        json!({"kty": "OKP", "crv": "X25519"}),
        json!({"kty": 7}),
    ] {
        assert_eq!(with(unfit.clone()), Err(KeyError::Empty), "{unfit}");
    }
    let many = json!({"keys": vec![json!({}); 101]}).to_string();
    assert_eq!(Keys::public(many.as_bytes()).err(), Some(KeyError::TooMany));
    for bad in ["{}", "{\"keys\":{}}", "{", "[]", "", "junk"] {
        assert!(Keys::public(bad.as_bytes()).is_err(), "{bad}");
    }
}

/// A modulus of 1024 bits.
fn rsa_1024() -> String {
    b64([&[0x00, 0xff][..], &[0x55; 127]].concat())
}

#[test]
fn a_pem_file_holds_one_public_key_of_a_kind_that_is_taken() {
    let key = ec().pem;
    let twice = format!("{key}{}", ec().pem);
    let error = |text: &str| Keys::public(text.as_bytes()).err();
    assert_eq!(error(&twice), Some(KeyError::Several));
    for tag in ["PRIVATE KEY", "EC PRIVATE KEY", "CERTIFICATE"] {
        assert_eq!(error(&key.replace("PUBLIC KEY", tag)), Some(KeyError::Pem), "{tag}");
    }
    assert_eq!(
        error("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        Some(KeyError::Pem)
    );
    assert_eq!(Keys::secret(b"short\n").err(), Some(KeyError::Secret));
}
