//! Where this crate's futures leave it.

use futures_util::future::BoxFuture;

/// A future in a box. The code of one that is in none is made anew in every crate, and every part of it, that waits for it.
pub(crate) fn door<'a, T>(work: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    Box::pin(work)
}
