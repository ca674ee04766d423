//! The HTTP server: binding, bounds, the order of middleware.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::Compress;
use actix_web::web::Data;
use actix_web::{App, HttpServer};

use super::routes;
use super::state::AppState;
use crate::auth::Worker;
use crate::cli::HttpSettings;
use crate::store::Front;

/// A server that listens.
pub struct Bound {
    /// Runs it.
    pub server: Server,
    /// Stops it.
    pub handle: ServerHandle,
    /// Where it listens: the real port where 0 was asked for.
    pub address: SocketAddr,
}

/// Binds and starts to listen. Requests are answered once `server` is polled.
///
/// # Errors
/// Whatever binding says.
pub fn bind(settings: &HttpSettings, state: AppState) -> io::Result<Bound> {
    let listener = TcpListener::bind(settings.listen)?;
    let address = listener.local_addr()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = if settings.workers == 0 { cores } else { settings.workers };
    let data = Data::new(state);
    let server = HttpServer::new(move || {
        // Made on the worker's own thread, for it alone.
        let front = Data::new(Front::default());
        App::new()
            .app_data(data.clone())
            .app_data(front)
            .app_data(Worker::new(Arc::clone(&data.authenticator)))
            .wrap(Compress::default())
            .configure(routes::configure)
    })
    .workers(workers)
    .max_connections((settings.max_connections / workers).max(1))
    .keep_alive(settings.keep_alive)
    .client_request_timeout(settings.request_timeout)
    .client_disconnect_timeout(Duration::from_secs(5))
    .shutdown_timeout(settings.drain_timeout.as_secs())
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(Bound { handle: server.handle(), server, address })
}
