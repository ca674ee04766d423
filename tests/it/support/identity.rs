//! Somebody who makes JSON web tokens: key pairs, tokens, and a tiny server of a key set.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A key pair: how it signs, and its public half as a web key and as PEM.
pub struct Pair {
    /// What it is for.
    pub algorithm: Algorithm,
    /// Its secret half.
    pub signs: EncodingKey,
    /// Its public half, without a name.
    pub web: Value,
    /// The same as PEM.
    pub pem: String,
}

/// Unpadded base64 for URLs.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(tag: &str, der: &[u8]) -> String {
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", STANDARD.encode(der))
}

impl Pair {
    /// For RS256.
    pub fn rsa() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("RSA");
        let private: Pkcs8V1Der = pair.as_der().expect("PKCS 8");
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let text = pem("PRIVATE KEY", private.as_ref());
        Self {
            algorithm: Algorithm::RS256,
            signs: EncodingKey::from_rsa_pem(text.as_bytes()).expect("key"),
            web: json!({"kty": "RSA", "n": b64(&parts.n), "e": b64(&parts.e)}),
            pem: pem("PUBLIC KEY", public.as_ref()),
        }
    }

    /// For ES256.
    pub fn ec() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("EC");
        let private = pair.to_pkcs8v1().expect("PKCS 8");
        let point = pair.public_key().as_ref();
        let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        Self {
            algorithm: Algorithm::ES256,
            signs: EncodingKey::from_ec_der(private.as_ref()),
            web: json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}),
            pem: pem("PUBLIC KEY", public.as_ref()),
        }
    }

    /// For EdDSA.
    pub fn ed() -> Self {
        let pair = Ed25519KeyPair::generate().expect("Ed25519");
        let private = pair.to_pkcs8v1().expect("PKCS 8");
        let public: PublicKeyX509Der = pair.public_key().as_der().expect("X.509");
        Self {
            algorithm: Algorithm::EdDSA,
            signs: EncodingKey::from_ed_der(private.as_ref()),
            web: json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key())}),
            pem: pem("PUBLIC KEY", public.as_ref()),
        }
    }

    /// A token with these claims, its key named or not.
    pub fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT"});
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        signed(&header, claims, &self.signs, self.algorithm)
    }
}

/// A token of any header.
pub fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("sign");
    format!("{message}.{signature}")
}

/// A set of these keys with their names.
pub fn set(keys: &[(&str, &Pair)]) -> String {
    let named = |(kid, pair): &(&str, &Pair)| {
        let mut web = pair.web.clone();
        web["kid"] = json!(kid);
        web["use"] = json!("sig");
        web
    };
    json!({ "keys": keys.iter().map(named).collect::<Vec<_>>() }).to_string()
}

/// A connection, in the open or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A server that gives one answer to every request, and counts them.
pub struct KeyServer {
    scheme: &'static str,
    address: SocketAddr,
    answer: Arc<Mutex<(u16, String)>>,
    served: watch::Receiver<u64>,
}

impl KeyServer {
    /// A server of this set.
    pub async fn start(keys: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        Self::over(listener, keys)
    }

    /// The same over TLS, and the certificate of the authority that vouches for it.
    pub async fn start_tls(keys: &str) -> (Self, String) {
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer_key = rcgen::KeyPair::generate().expect("key");
        let issuer = CertifiedIssuer::self_signed(authority, issuer_key).expect("authority");
        let key = rcgen::KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("certificate");
        let private = PrivateKeyDer::try_from(key.serialize_der()).expect("key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("certificate and key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let tls = Some(TlsAcceptor::from(Arc::new(config)));
        (Self::serving(listener, keys, tls), issuer.pem())
    }

    /// A server on a socket that listens already.
    pub fn over(listener: TcpListener, keys: &str) -> Self {
        Self::serving(listener, keys, None)
    }

    fn serving(listener: TcpListener, keys: &str, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = listener.local_addr().expect("address");
        let answer = Arc::new(Mutex::new((200, keys.to_owned())));
        let (count, served) = watch::channel(0);
        let answers = Arc::clone(&answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream: Box<dyn Stream> = match &tls {
                    None => Box::new(stream),
                    // A client that trusts nobody here hangs up.
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => continue,
                    },
                };
                let mut head = Vec::new();
                while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                    let mut part = [0; 1024];
                    match stream.read(&mut part).await {
                        Ok(read) if read > 0 => head.extend_from_slice(&part[..read]),
                        _ => break,
                    }
                }
                let (status, body) = answers.lock().expect("answer").clone();
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nLocation: /else\r\nConnection: close\r\n\r\n{body}"
                );
                // A client that goes away has its answer.
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
                count.send_modify(|n| *n += 1);
            }
        });
        Self { scheme, address, answer, served }
    }

    /// The address of the set.
    pub fn url(&self) -> String {
        format!("{}://{}/jwks.json", self.scheme, self.address)
    }

    /// What is answered from now on.
    pub fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().expect("answer") = (status, body.to_owned());
    }

    /// Requests answered so far.
    pub fn served(&self) -> u64 {
        *self.served.borrow()
    }

    /// Waits until so many more were answered.
    pub async fn serves(&self, more: u64) {
        let mut served = self.served.clone();
        let wanted = self.served() + more;
        let done = served.wait_for(|n| *n >= wanted);
        tokio::time::timeout(super::PATIENCE, done).await.expect("in time").expect("server");
    }
}
