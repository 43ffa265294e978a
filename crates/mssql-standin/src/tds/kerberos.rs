//! Kerberos, by the system's GSSAPI: whoever has a ticket for the keytab of this process (`KRB5_KTNAME`) may enter.
//!
//! ```text
//! LOGIN7 with a ticket ─► our answer to it ─► all that follows a login, in a message of its own
//! ```
//!
//! Clients check the answer, and have nothing to say to it.
//! Source: MS-TDS 2.2.6.8, 3.3.5.5; RFC 4121.

#[cfg(feature = "kerberos")]
use libgssapi::context::{SecurityContext, ServerCtx};

use super::session::SqlError;

/// Who has been let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// `user@REALM`
    pub(super) principal: String,
    /// What the client is answered.
    pub(super) answer: Vec<u8>,
}

/// Looks at a client's ticket. Blocks on files.
///
/// # Errors
/// 18452, with the words of the system's library.
#[cfg(feature = "kerberos")]
pub(super) fn accept(ticket: &[u8]) -> Result<Accepted, SqlError> {
    // Without credentials that are named, those of the keytab are taken.
    let mut context = ServerCtx::new(None);
    let answer = context.step(ticket, None).map_err(|e| refused(&e.to_string()))?;
    if !context.is_complete() {
        return Err(refused("another round would be needed"));
    }
    let name = context.source_name().and_then(|name| name.display_name()).map_err(|e| refused(&e.to_string()))?;
    let principal = String::from_utf8_lossy(&name).into_owned();
    Ok(Accepted { principal, answer: answer.map(|answer| answer.to_vec()).unwrap_or_default() })
}

/// This stand-in was built without it.
#[cfg(not(feature = "kerberos"))]
pub(super) fn accept(_: &[u8]) -> Result<Accepted, SqlError> {
    Err(refused("this stand-in was built without Kerberos"))
}

/// What a server says to whom it does not know; why goes to its log, as it does there.
fn refused(why: &str) -> SqlError {
    tracing::warn!("a ticket was not accepted: {why}");
    let text = "Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication.";
    SqlError::new(18452, 14, text)
}
