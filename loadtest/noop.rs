//! The reference server of `loadtest/compare`: the same HTTP stack, doing nothing with what it
//! is sent.
//!
//! It reads a save's body and parses its top-level fields as the real server does, stores nothing,
//! and answers in the real server's words. A listing is a ready-made text. What the real server
//! loses against it is the price of storing, not of HTTP. It compresses nothing.
//!
//! With `--append` it is the least that a durable server of this stack can do: a body goes to one
//! thread, which writes what has come meanwhile behind each other, syncs it, and only then are the
//! requests answered. Nothing can be read back.

#![warn(clippy::pedantic)]

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;

use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use audience_store::domain::object::ObjectFields;
use clap::Parser;
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Largest body that is read, the real server's default.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Connections at once, all workers together, the real server's default.
const MAX_CONNECTIONS: usize = 10_000;

const EMPTY_LISTING: &str = r#"{"success":true,"audiences":[],"count":0,"next_cursor":null}"#;

/// Answers like audience-store and stores nothing.
#[derive(Parser)]
#[command(name = "noop")]
struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Worker threads; 0 is the number of cores.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// File with the body that every listing gets; an empty listing without it.
    #[arg(long, value_name = "FILE")]
    static_body: Option<PathBuf>,
    /// How many times that body is in memory, sent by turns: as many listings take more of the
    /// processor's caches than one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    bodies: u32,
    /// File that saves are appended to and synced in before they are answered.
    #[arg(long, value_name = "FILE")]
    append: Option<PathBuf>,
}

/// Bytes of the file that saves are appended to. They are written before, as the real server's
/// are: a sync over them is one of data alone. At the end it begins anew.
const APPENDED: u64 = 512 << 20;

/// A body, and whom to tell that it is on disk.
type Append = (web::Bytes, oneshot::Sender<()>);

/// Begins the thread that writes and syncs bodies.
#[allow(clippy::disallowed_methods, reason = "no part of the store")]
fn appender(path: &Path) -> io::Result<mpsc::Sender<Append>> {
    let file = File::create(path)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..APPENDED).step_by(zeros.len()) {
        file.write_all_at(&zeros, at)?;
    }
    file.sync_all()?;
    let (sender, receiver) = mpsc::channel::<Append>();
    std::thread::spawn(move || {
        let (mut at, mut batch) = (0, Vec::new());
        while let Ok(first) = receiver.recv() {
            let (bodies, told): (Vec<web::Bytes>, Vec<_>) =
                std::iter::once(first).chain(receiver.try_iter()).unzip();
            batch.clear();
            for body in &bodies {
                batch.extend_from_slice(body);
            }
            if at + batch.len() as u64 > APPENDED {
                at = 0;
            }
            // Who is not told is answered with an error.
            if file.write_all_at(&batch, at).and_then(|()| file.sync_data()).is_ok() {
                at += batch.len() as u64;
                for waiting in told {
                    // It may have gone away.
                    let _ = waiting.send(());
                }
            }
        }
    });
    Ok(sender)
}

/// What the handlers of one worker share.
struct Shared {
    listings: Vec<web::Bytes>,
    listed: AtomicUsize,
    saves: AtomicU64,
    appends: Option<mpsc::Sender<Append>>,
}

impl Shared {
    /// Waits until a body is on disk, where that is asked for; whether all went well.
    async fn store(&self, body: web::Bytes) -> bool {
        let Some(appends) = &self.appends else { return true };
        let (told, on_disk) = oneshot::channel();
        appends.send((body, told)).is_ok() && on_disk.await.is_ok()
    }
}

async fn save(body: web::Bytes, shared: web::Data<Shared>) -> HttpResponse {
    match serde_json::from_slice::<ObjectFields<'_>>(&body) {
        Ok(fields) if !fields.0.is_empty() => {
            drop(fields);
            if !shared.store(body).await {
                return HttpResponse::InternalServerError().finish();
            }
            let number = shared.saves.fetch_add(1, Ordering::Relaxed);
            HttpResponse::Created().content_type(ContentType::json()).body(format!(
                "{{\"success\":true,\"audience_id\":\"aud_{number:032x}\",\
                 \"message\":\"Audience saved successfully\",\"version\":1}}"
            ))
        }
        _ => HttpResponse::BadRequest().content_type(ContentType::json()).body(
            "{\"success\":false,\"error\":\"The body is not a JSON object\",\
             \"code\":\"MALFORMED\",\"details\":{}}",
        ),
    }
}

async fn list(shared: web::Data<Shared>) -> HttpResponse {
    let number = shared.listed.fetch_add(1, Ordering::Relaxed);
    let body = shared.listings.get(number % shared.listings.len()).cloned().unwrap_or_default();
    HttpResponse::Ok().content_type(ContentType::json()).body(body)
}

async fn ready() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body("{\"ready\":true}")
}

#[allow(clippy::disallowed_methods, reason = "no part of the store: read once, before serving")]
fn listing(args: &Args) -> io::Result<web::Bytes> {
    let Some(path) = &args.static_body else {
        return Ok(web::Bytes::from_static(EMPTY_LISTING.as_bytes()));
    };
    let body = std::fs::read(path).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
    })?;
    Ok(web::Bytes::from(body))
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let args = Args::parse();
    let body = listing(&args)?;
    // Each in memory of its own.
    let listings: Vec<_> = (0..args.bodies).map(|_| web::Bytes::copy_from_slice(&body)).collect();
    let appends = args.append.as_deref().map(appender).transpose()?;
    let workers = match args.workers {
        0 => std::thread::available_parallelism()?.get(),
        workers => workers,
    };
    HttpServer::new(move || {
        // Made per worker: a counter shared by all of them would be a cost the real server lacks.
        let (listings, appends) = (listings.clone(), appends.clone());
        let (listed, saves) = (AtomicUsize::new(0), AtomicU64::new(0));
        let shared = Shared { listings, listed, saves, appends };
        App::new()
            .app_data(web::Data::new(shared))
            .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
            .service(
                web::resource("/api/audiences")
                    .route(web::post().to(save))
                    .route(web::get().to(list)),
            )
            .route("/health/ready", web::get().to(ready))
    })
    .workers(workers)
    .max_connections(MAX_CONNECTIONS / workers.max(1))
    .bind(args.listen)
    .map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", args.listen))
    })?
    .run()
    .await
}
