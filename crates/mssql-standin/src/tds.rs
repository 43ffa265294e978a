//! A server of TDS 7.4, and of TDS 8.0, where TLS comes first: what SQL Server's clients speak to.
//!
//! ```text
//! socket ── packet ── message ── request ── [session] ── tokens ── packet ── socket
//!                └ prelogin, tls, login
//! ```
//!
//! The codec (`packet`, `prelogin`, `login`, `request`, `value`, `variant`, `token`) knows no I/O; `connection` and `server` are
//! tokio around it; [`Engine`] and [`Session`] are the seam to whatever answers. Source: the vendor's open specification,
//! [MS-TDS](https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/).
//!
//! Not done, and said so to the client: TDS before 7.3, several requests at once (MARS), integrated authentication by other means than
//! Kerberos, cursors of the server, distributed transactions.

mod answer;
mod collation;
mod connection;
mod error;
mod faults;
mod kerberos;
mod login;
mod packet;
mod prelogin;
mod prepared;
mod request;
mod rows;
mod server;
mod session;
mod tls;
mod token;
mod value;
mod variant;
mod wire;

pub use answer::{AttentionAnswer, Watch};
pub use collation::LATIN1_GENERAL;
pub(crate) use collation::to_wire as collation_on_the_wire;
pub use error::Error;
pub use faults::{Fault, Faults, Gate, Seen};
pub use login::{Login, Password};
pub use prelogin::Encryption;
pub use server::{Server, ServerConfig};
pub use session::{
    Column, Engine, Environment, Isolation, LoggedIn, Parameter, Request, Results, SentColumn, SentTable, Session,
    SqlError, Stopped, TableParameter, Transaction,
};
pub use tls::Certificate;
