//! Compression of answers, for clients that say which codings they take. Who says nothing is passed
//! by: his answers stay as they are, and finding that out anew costs each of them.

use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::Error;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::header::ACCEPT_ENCODING;
use actix_web::middleware::Compress;
use futures_util::future::{Either, LocalBoxFuture, MapOk, TryFutureExt};

/// Compresses answers where they may be.
pub struct Compression;

/// An answer as it was, or as the HTTP library's [`Compress`] left it.
type Answer<B> = ServiceResponse<EitherBody<B, BoxBody>>;

impl<S, B> Transform<S, ServiceRequest> for Compression
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = Answer<B>;
    type Error = Error;
    type InitError = ();
    type Transform = Compressing<S, <Compress as Transform<Rc<S>, ServiceRequest>>::Transform>;
    type Future = LocalBoxFuture<'static, Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        Box::pin(async move {
            let plain = Rc::new(service);
            let compressing = Compress::default().new_transform(Rc::clone(&plain)).await?;
            Ok(Compressing { plain, compressing })
        })
    }
}

/// A service, by itself and with its answers compressed.
pub struct Compressing<S, C> {
    plain: Rc<S>,
    compressing: C,
}

impl<S, C, B, D> Service<ServiceRequest> for Compressing<S, C>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    C: Service<ServiceRequest, Response = ServiceResponse<D>, Error = Error>,
    C::Future: 'static,
    B: MessageBody + 'static,
    D: MessageBody + 'static,
{
    type Response = Answer<B>;
    type Error = Error;
    type Future = Either<
        MapOk<S::Future, fn(ServiceResponse<B>) -> Answer<B>>,
        LocalBoxFuture<'static, Result<Answer<B>, Error>>,
    >;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.plain.poll_ready(cx)
    }

    fn call(&self, req: ServiceRequest) -> Self::Future {
        if !req.headers().contains_key(ACCEPT_ENCODING) {
            return Either::Left(self.plain.call(req).map_ok(ServiceResponse::map_into_left_body));
        }
        let answer = self.compressing.call(req);
        Either::Right(Box::pin(async move {
            Ok(answer.await?.map_into_boxed_body().map_into_right_body())
        }))
    }
}
