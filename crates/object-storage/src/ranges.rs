//! What is held of objects in memory, and what is fetched next: decided here, without doing it.
//!
//! A place that nothing is known about costs a small range. Whoever goes on where a range ended gets one four times as large, up to
//! a bound; and in the second half of a large range the next one is fetched already. So a search in a large file moves
//! little, and a scan has long requests and none to wait for.
//!
//! Memory is bounded over all objects: what was not used for longest goes, and of a scan what lies behind the range in front of the
//! one that is read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;

use crate::error::Error;

/// The smallest range, and what ranges begin at multiples of. A request costs some 20 ms, which 256 KiB add little to.
pub(crate) const UNIT: u64 = 256 << 10;
/// The largest: past it, requests that are as long as this lose more when they break than their number costs.
const RANGE_MAX: u64 = 64 << 20;
/// How much larger the next range in a row is.
const GROWTH: u64 = 4;
/// Ranges of this length are a scan: the next one is fetched ahead.
const SCAN: u64 = UNIT * GROWTH;
/// So many ranges of full length fit: two each for four readers, as many as copy by default.
const RANGES_HELD: u64 = 8;

/// The ranges of all objects.
#[derive(Debug)]
pub(crate) struct Ranges {
    held: BTreeMap<(u64, u64), Held>,
    bytes: u64,
    bytes_max: u64,
    clock: u64,
}

#[derive(Debug)]
struct Held {
    len: u64,
    used: u64,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    Here(Bytes),
    Coming(Arc<Flight>),
}

/// What a reader finds at an offset.
#[derive(Debug)]
pub(crate) enum Found {
    /// The bytes from the offset on, to the end of their range; and what to fetch ahead.
    Here(Bytes, Option<Fetch>),
    /// They are on their way: the range begins here.
    Coming(u64, Arc<Flight>),
    /// Somebody must fetch them.
    Missing(Fetch),
}

/// A range that must be fetched: [`Ranges::arrived`] is told of the end.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub range: Range<u64>,
    pub flight: Arc<Flight>,
}

/// A range on its way.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    landed: Mutex<Option<Result<Bytes, Error>>>,
    changed: Condvar,
}

impl Flight {
    /// Blocks until the range is here.
    pub fn wait(&self) -> Result<Bytes, Error> {
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*landed {
                Some(result) => return result.clone(),
                None => landed = self.changed.wait(landed).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub fn land(&self, result: Result<Bytes, Error>) {
        *self.landed.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.changed.notify_all();
    }
}

impl Ranges {
    pub fn new(bytes_max: usize) -> Self {
        Ranges { held: BTreeMap::new(), bytes: 0, bytes_max: bytes_max as u64, clock: 0 }
    }

    /// The longest range.
    fn range_max(&self) -> u64 {
        (self.bytes_max / RANGES_HELD / UNIT * UNIT).clamp(UNIT, RANGE_MAX)
    }

    /// What is there at an offset of an object of a length; the offset is in front of its end.
    pub fn look(&mut self, object: u64, len: u64, offset: u64) -> Found {
        self.clock += 1;
        let clock = self.clock;
        let holding = self.held.range_mut((object, 0)..=(object, offset)).next_back();
        if let Some((&(_, start), held)) = holding.filter(|((_, start), held)| offset < start + held.len) {
            held.used = clock;
            let (end, scan) = (start + held.len, held.len >= SCAN);
            let second_half = offset - start >= held.len / 2;
            return match held.data.clone() {
                Data::Coming(flight) => Found::Coming(start, flight),
                Data::Here(bytes) => {
                    let ahead = if scan && second_half { self.ahead(object, len, end) } else { None };
                    Found::Here(bytes.slice((offset - start) as usize..), ahead)
                }
            };
        }
        let start = offset / UNIT * UNIT;
        let range = start..self.end(object, len, start);
        self.make_room(range.end - range.start);
        Found::Missing(self.enter(object, range))
    }

    /// The range from an offset on, where nothing is held there yet and it fits.
    fn ahead(&mut self, object: u64, len: u64, start: u64) -> Option<Fetch> {
        if start >= len || self.held.contains_key(&(object, start)) {
            return None;
        }
        let range = start..self.end(object, len, start);
        self.make_room(range.end - range.start).then(|| self.enter(object, range))
    }

    /// Where a range that begins at an offset ends: the longer the longer the one before it is.
    fn end(&self, object: u64, len: u64, start: u64) -> u64 {
        let before = self.before(object, start).map_or(0, |(_, len)| len);
        let length = (before * GROWTH).clamp(UNIT, self.range_max());
        let next = self.held.range((object, start + 1)..=(object, u64::MAX)).next().map_or(len, |(key, _)| key.1);
        (start + length).min(next).min(len)
    }

    /// Begin and length of the range that ends at an offset.
    fn before(&self, object: u64, end: u64) -> Option<(u64, u64)> {
        let (&(_, start), held) = self.held.range((object, 0)..(object, end)).next_back()?;
        (start + held.len == end).then_some((start, held.len))
    }

    fn enter(&mut self, object: u64, range: Range<u64>) -> Fetch {
        // A scan leaves nothing behind but the range that it reads.
        if let Some((before, len)) = self.before(object, range.start)
            && len >= SCAN
            && let Some((behind, _)) = self.before(object, before)
        {
            self.drop_here((object, behind));
        }
        let flight = Arc::new(Flight::default());
        let len = range.end - range.start;
        let held = Held { len, used: self.clock, data: Data::Coming(Arc::clone(&flight)) };
        self.bytes += len;
        self.held.insert((object, range.start), held);
        Fetch { range, flight }
    }

    /// Drops what was not used for longest until so many bytes fit; `false` where they never will.
    fn make_room(&mut self, len: u64) -> bool {
        while self.bytes + len > self.bytes_max {
            let here = self.held.iter().filter(|(_, held)| matches!(held.data, Data::Here(_)));
            let Some((&key, _)) = here.min_by_key(|(_, held)| held.used) else { return false };
            self.drop_here(key);
        }
        true
    }

    fn drop_here(&mut self, key: (u64, u64)) {
        if let Some(held) = self.held.remove(&key) {
            match held.data {
                Data::Here(_) => self.bytes -= held.len,
                // Somebody waits for it.
                Data::Coming(_) => drop(self.held.insert(key, held)),
            }
        }
    }

    /// A range is here, or will not come.
    pub fn arrived(&mut self, object: u64, start: u64, result: &Result<Bytes, Error>) {
        let Some(held) = self.held.get_mut(&(object, start)) else { return };
        match result {
            Ok(bytes) => held.data = Data::Here(bytes.clone()),
            Err(_) => {
                self.bytes -= held.len;
                self.held.remove(&(object, start));
            }
        }
    }

    /// Forgets an object that nobody reads any more.
    pub fn forget(&mut self, object: u64) {
        let starts: Vec<u64> = self.held.range((object, 0)..=(object, u64::MAX)).map(|(key, _)| key.1).collect();
        for start in starts {
            self.drop_here((object, start));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    /// Reads an object of a length at offsets; gives the ranges that were fetched, in units, those ahead with a plus.
    fn fetched(ranges: &mut Ranges, len: u64, offsets: impl IntoIterator<Item = u64>) -> Vec<String> {
        let mut all = Vec::new();
        let mut fetch = |ranges: &mut Ranges, fetch: Fetch, sign: &str| {
            let Range { start, end } = fetch.range;
            all.push(format!("{sign}{}..{}", start / UNIT, end.div_ceil(UNIT)));
            ranges.arrived(1, start, &Ok(Bytes::from(vec![0; (end - start) as usize])));
        };
        for offset in offsets {
            match ranges.look(1, len, offset) {
                Found::Here(bytes, ahead) => {
                    assert!(!bytes.is_empty());
                    if let Some(ahead) = ahead {
                        fetch(ranges, ahead, "+");
                    }
                }
                Found::Missing(missing) => fetch(ranges, missing, ""),
                Found::Coming(..) => panic!("nothing is under way"),
            }
            assert!(ranges.bytes <= ranges.bytes_max, "{} bytes are held", ranges.bytes);
        }
        all
    }

    #[test]
    fn a_scan_gets_longer_ranges_and_the_next_one_ahead() {
        let mut ranges = Ranges::new(128 << 20);
        let pages = (0..12_800).map(|page| page * 8192);
        let found = fetched(&mut ranges, 100 * MB, pages);
        assert_eq!(
            found,
            ["0..1", "1..5", "+5..21", "+21..85", "+85..149", "+149..213", "+213..277", "+277..341", "+341..400"]
        );
        assert!(ranges.bytes <= 3 * 16 * MB, "{} bytes are held behind the scan", ranges.bytes);
    }

    #[test]
    fn a_search_fetches_little() {
        let mut ranges = Ranges::new(128 << 20);
        let found = fetched(&mut ranges, 1 << 40, [0, 1 << 39, 1 << 38, (1 << 38) + 8192, 3 << 20, 3 << 20]);
        assert_eq!(found.len(), 4);
        assert_eq!(ranges.bytes, 4 * UNIT);
    }

    #[test]
    fn memory_is_bounded_whatever_is_read() {
        let mut ranges = Ranges::new(3 << 20);
        let scattered = (0..4000u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (1 << 30));
        fetched(&mut ranges, 1 << 30, scattered);
        fetched(&mut ranges, 1 << 30, (0..4000).map(|page| page * 8192));
        ranges.forget(1);
        assert_eq!((ranges.bytes, ranges.held.len()), (0, 0));
    }

    #[test]
    fn ranges_do_not_overlap_and_end_with_the_object() {
        let mut ranges = Ranges::new(128 << 20);
        let len = 3 * MB + 5;
        fetched(&mut ranges, len, [len - 1, 2 * MB, 0, UNIT, 5 * UNIT]);
        let held: Vec<_> = ranges.held.iter().map(|(key, held)| (key.1, key.1 + held.len)).collect();
        assert!(held.array_windows().all(|[a, b]| a.1 <= b.0), "{held:?}");
        assert_eq!(held.last().map(|h| h.1), Some(len));
    }

    #[test]
    fn who_comes_second_waits_for_the_same_range() {
        let mut ranges = Ranges::new(128 << 20);
        let Found::Missing(fetch) = ranges.look(1, MB, 10) else { panic!("nothing is there") };
        let Found::Coming(0, flight) = ranges.look(1, MB, 8192) else { panic!("it is on its way") };
        fetch.flight.land(Ok(Bytes::from_static(b"x")));
        assert_eq!(flight.wait().expect("landed"), "x");
        // One that failed is fetched anew by the next.
        ranges.arrived(1, 0, &Err(Error::settings("no")));
        assert!(matches!(ranges.look(1, MB, 10), Found::Missing(_)));
    }
}
