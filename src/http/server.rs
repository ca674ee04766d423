//! The HTTP server: binding, bounds, the order of middleware.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::ArbiterHandle;
use actix_cors::Cors;
use actix_http::{HttpService, Protocol};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::middleware::{Condition, Next, from_fn};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, Error};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::compression::Compression;
use super::connection::{Admission, Guarded, Pace, Wire, refuse};
use super::edge::{Connected, edge};
use super::error::ApiError;
use super::observe::Observer;
use super::refusal::{Refusal, Refusals};
use super::routes;
use super::state::AppState;
use super::tls::Certificates;
use super::trace::{REQUEST_ID, TRACEPARENT, TRACERESPONSE};
use super::turns::Turns;
use super::workers::{Serving, Stopping};
use crate::auth::Worker;
use crate::cli::HttpSettings;
use crate::env::Clock;
use crate::store::Front;

/// Refused clients that are told why at once; more are cut off. Under an overload most of those who
/// come are refused, each for as long as it takes to hear that.
const MOST_GOODBYES: usize = 1024;
/// Connections to the port for metrics alone.
const MOST_SCRAPERS: usize = 64;
/// How long a client may take to end a connection that the server ended.
const DISCONNECT: Duration = Duration::from_secs(5);

/// A server that listens.
pub struct Bound {
    /// What serves, and ends it.
    pub serving: Serving,
    /// Where it listens: the real port where 0 was asked for.
    pub address: SocketAddr,
}

/// Binds, listens and serves on `threads`. With `certificates` it speaks HTTPS, and HTTP/2 where a
/// client does, else HTTP/1.
///
/// # Errors
/// Whatever binding says.
pub fn bind(
    settings: &HttpSettings,
    state: AppState,
    clock: Arc<dyn Clock>,
    certificates: Option<&Certificates>,
    threads: &[ArbiterHandle],
) -> io::Result<Bound> {
    let port = Port {
        listen: settings.listen,
        admission: Arc::clone(&state.bounds.admission),
        routes: routes::configure,
    };
    listen(port, settings, state, clock, certificates, threads)
}

/// As [`bind`], a port of its own for `/metrics` alone: with threads and connections of its own, it
/// answers while the other one is full.
///
/// # Errors
/// Whatever binding says.
pub fn bind_metrics(
    address: SocketAddr,
    settings: &HttpSettings,
    state: AppState,
    clock: Arc<dyn Clock>,
    certificates: Option<&Certificates>,
    threads: &[ArbiterHandle],
) -> io::Result<Bound> {
    let port = Port {
        listen: address,
        admission: Admission::new(MOST_SCRAPERS),
        routes: routes::configure_metrics,
    };
    listen(port, settings, state, clock, certificates, threads)
}

/// What tells one port from another.
struct Port {
    listen: SocketAddr,
    admission: Arc<Admission>,
    routes: fn(&mut ServiceConfig),
}

fn listen(
    port: Port,
    settings: &HttpSettings,
    state: AppState,
    clock: Arc<dyn Clock>,
    certificates: Option<&Certificates>,
    threads: &[ArbiterHandle],
) -> io::Result<Bound> {
    let listener = TcpListener::bind(port.listen)?;
    let address = listener.local_addr()?;
    let routes = port.routes;
    let most = port.admission.most();
    let goodbyes = most.min(MOST_GOODBYES);
    let door = Door {
        admission: port.admission,
        goodbyes: Arc::new(Semaphore::new(goodbyes)),
        refusals: Arc::clone(&state.bounds.refusals),
        pace: Pace {
            head: settings.header_timeout,
            write: settings.write_timeout,
            rate: settings.min_rate,
            clock,
        },
        tls: certificates.map(Certificates::acceptor),
    };
    let (keep_alive, data) = (settings.keep_alive, Data::new(state));
    let make = move |stopping: Stopping, turns: Turns| {
        let door = door.clone();
        let http = HttpService::build()
            .keep_alive(keep_alive)
            // The guard keeps this time, on every request and not the first alone.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(address)
            .graceful_shutdown_signal(move || stopping.clone().begun())
            .on_connect_ext({
                let pace = door.pace.clone();
                move |guarded: &Guarded, extensions| {
                    extensions.insert(Rc::new(Connected {
                        conduct: guarded.conduct(),
                        pace: pace.clone(),
                        tls: guarded.is_tls(),
                    }));
                }
            })
            .finish(map_config(app(&data, turns, routes), |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| {
            let door = door.clone();
            async move { door.open(stream).await }
        })
        .and_then(http.map_err(drop))
    };
    Ok(Bound { serving: Serving::start(listener, threads, most + goodbyes, make)?, address })
}

type AppRequest = actix_http::Request;

/// The application: outermost the edge, then CORS, then compression.
fn app(
    data: &Data<AppState>,
    turns: Turns,
    routes: fn(&mut ServiceConfig),
) -> impl ServiceFactory<
    AppRequest,
    Config = AppConfig,
    Response = ServiceResponse<BoxBody>,
    Error = Error,
    InitError = (),
> + use<> {
    let origins = data.bounds.origins.clone();
    let state = data.clone();
    // Made on the worker's own thread, for it alone.
    let observer = Rc::new(Observer::new(data));
    let outermost = move |req: ServiceRequest, next: Next<_>| {
        edge(state.clone(), Rc::clone(&observer), req, next)
    };
    let front = Data::new(Front::default());
    App::new()
        .app_data(data.clone())
        .app_data(front)
        .app_data(turns)
        .app_data(Worker::new(Arc::clone(&data.authenticator)))
        .wrap(Compression)
        .wrap(Condition::new(!origins.is_empty(), cors(&origins)))
        .wrap(from_fn(outermost))
        .configure(routes)
        .into_factory()
}

/// What pages of the named origins may send and read.
fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "PUT", "DELETE"])
        .allowed_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_MATCH,
            actix_web::http::header::IF_NONE_MATCH,
            super::idempotent::KEY,
            REQUEST_ID,
            TRACEPARENT,
            HeaderName::from_static("tracestate"),
        ])
        .expose_headers([
            ETAG,
            RETRY_AFTER,
            WWW_AUTHENTICATE,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            super::answer::REPLAYED,
            REQUEST_ID,
            TRACERESPONSE,
        ])
        .max_age(600);
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// Where connections come in.
#[derive(Clone)]
struct Door {
    admission: Arc<Admission>,
    goodbyes: Arc<Semaphore>,
    refusals: Arc<Refusals>,
    pace: Pace,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl Door {
    /// Lets a connection in, or ends it.
    async fn open(&self, stream: TcpStream) -> Result<(Guarded, Protocol, Option<SocketAddr>), ()> {
        let Some(place) = self.admission.enter() else {
            self.refusals.count(Refusal::Connections);
            return self.turn_away(stream).await;
        };
        let peer = stream.peer_addr().ok();
        // Answers are written whole: waiting for more only delays them. Without it they are late.
        let _ = stream.set_nodelay(true);
        let wire = self.secure(stream).await?;
        let protocol = if wire.is_http2() { Protocol::Http2 } else { Protocol::Http1 };
        let refusals = Arc::clone(&self.refusals);
        Ok((Guarded::new(wire, self.pace.clone(), refusals, place), protocol, peer))
    }

    async fn secure(&self, stream: TcpStream) -> Result<Wire, ()> {
        let Some(tls) = &self.tls else { return Ok(Wire::Plain(stream)) };
        let shaken = tokio::time::timeout(self.pace.head, tls.accept(stream)).await;
        if let Ok(Ok(stream)) = shaken {
            return Ok(Wire::Tls(Box::new(stream)));
        }
        self.refusals.count(Refusal::Handshake);
        Err(())
    }

    async fn turn_away<T>(&self, stream: TcpStream) -> Result<T, ()> {
        // Under TLS there is no one to talk to before the handshake.
        if self.tls.is_none()
            && let Ok(_goodbye) = self.goodbyes.try_acquire()
        {
            refuse(stream, &ApiError::overloaded("Too many connections are open")).await;
        }
        Err(())
    }
}
