//! One object, as it was when it was found: bytes from an offset.

use std::sync::Arc;

use crate::error::Error;
use crate::ranges::{Fetch, Flight, Found};
use crate::store::{Entry, Store};

/// An object that is read. Clones are the same reader.
#[derive(Clone, Debug)]
pub struct Object(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    store: Store,
    number: u64,
    entry: Arc<Entry>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.store.ranges().forget(self.number);
    }
}

impl Object {
    pub(crate) fn new(store: Store, number: u64, entry: Entry) -> Self {
        Object(Arc::new(Opened { store, number, entry: Arc::new(entry) }))
    }

    /// Its length when it was found.
    pub fn len(&self) -> u64 {
        self.0.entry.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills a buffer with the bytes from an offset. Blocks the thread, but no other task of a runtime with several threads.
    ///
    /// # Errors
    /// Where the object has fewer bytes, is another one by now, or cannot be read: names object and offset.
    pub fn read_exact(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let len = self.len();
        if offset.checked_add(into.len() as u64).is_none_or(|end| end > len) {
            let why = format!("{} bytes from there on were asked for, it has {len} in all", into.len());
            return Err(Error::new(crate::Kind::NotFound, self.0.entry.location.to_string(), why).at(offset));
        }
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let found = self.0.store.ranges().look(self.0.number, len, at);
            let bytes = match found {
                Found::Here(bytes, ahead) => {
                    if let Some(ahead) = ahead {
                        self.start(ahead);
                    }
                    bytes
                }
                Found::Coming(start, flight) => landed(&flight, start, at)?,
                Found::Missing(fetch) => {
                    let (start, flight) = (fetch.range.start, Arc::clone(&fetch.flight));
                    self.start(fetch);
                    landed(&flight, start, at)?
                }
            };
            let n = rest.len().min(bytes.len());
            for (to, from) in rest.chunks_mut(n).zip([bytes.get(..n).unwrap_or_default()]) {
                to.copy_from_slice(from);
            }
            done += n;
        }
        Ok(())
    }

    fn start(&self, fetch: Fetch) {
        self.0.store.start(self.0.number, Arc::clone(&self.0.entry), fetch);
    }
}

/// Waits for a range; gives its bytes from an offset on.
fn landed(flight: &Flight, start: u64, at: u64) -> Result<bytes::Bytes, Error> {
    let bytes = crate::store::blocking(|| flight.wait()).map_err(|error| error.at(at))?;
    let skip = usize::try_from(at - start).unwrap_or(usize::MAX).min(bytes.len());
    Ok(bytes.slice(skip..))
}
