//! Objects of S3 and of stores that speak like it, read as files are: bytes from an offset.
//!
//! ```text
//!  reader ── read_exact(offset) ── ranges in memory ──hit──> bytes
//!                                        │ miss: a small range; the larger the longer the reader goes on in order
//!                                        └── GET with the range and the ETag ── the store's own thread ── S3
//! ```
//!
//! **Invariants:** what is held in memory is bounded for all objects of a [`Store`] together; an object that changes while it is read is
//! an error, never a mixture; a body that ends early is never taken for the whole; an error names object and offset, and says
//! whether it may go away by itself. Keys, tokens and passwords are in no message.

mod credentials;
mod error;
mod object;
mod profile;
mod ranges;
mod role;
mod settings;
mod store;

pub use credentials::Environment;
pub use error::{Error, Kind};
pub use object::Object;
pub use settings::{Addressing, Credentials, Keys, Role, Settings};
pub use store::{Entry, Location, Store};
