//! XPRESS with Huffman codes (LZ77+Huffman of [MS-XCA] 2.2): what compressed backups are compressed with.
//!
//! ```text
//! block  : 256 bytes: 512 code lengths of 4 bits, the even symbol in the low half | codes, and bytes between them
//! symbol : 0-255 a byte | 256 + 16 * w + n: a match, n + 3 bytes long, the w lower bits of its distance follow
//! ```
//!
//! A block makes 64 KiB, only the last one less; codes are canonical and up to 15 bits long, and every table uses up the code
//! space. Bits are taken from little-endian 16-bit words, most significant first.
//!
//! The surprising part: a match of 18 bytes and more says how long it is in whole bytes *between* the words. They stand where
//! a reader that keeps 16 to 31 bits at hand reads its next word, so all readers and writers must count words alike.
//! Here bits are taken in 32 at a time, and given back before such a byte is read.
//!
//! Behind the end of the input there are zero bits, as many as are asked for: writers leave them out. So input that was cut
//! may decode to something; who needs to know has a checksum of the input (see [`container`](crate::container)).
//! In a real backup of 2016 every piece ended 0, 2 or 4 bytes behind the place of the next word.
//!
//! [MS-XCA]: https://learn.microsoft.com/openspecs/windows_protocols/ms-xca

use crate::bytes::{Malformed, Result, slice};

/// Bytes that a block makes.
pub const BLOCK: usize = 65_536;
/// Bytes of its table.
pub const TABLE: usize = 256;
/// Number of symbols.
pub const SYMBOLS: usize = 512;
/// Longest code.
pub const CODE_MAX: usize = 15;
/// Shortest match.
pub const MATCH_MIN: usize = 3;

/// Codes up to this length are found in one step.
const SHORT: usize = 11;
/// So many 15-bit numbers begin with longer codes, at most: 512 codes of 12 bits.
const LONG_CODES: usize = SYMBOLS << (CODE_MAX - SHORT - 1);
/// Bytes that a match is copied in.
const CHUNK: usize = 16;

/// Decompresses `input` into all of `output`.
///
/// # Errors
/// Where a table is no code, a match begins before the output or ends behind it, or a table or a length is behind
/// the end of the input; with the offset in the input.
pub fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    let mut codes = Codes { short: [0; 1 << SHORT], long: [0; LONG_CODES], long_from: 0 };
    let (mut at, mut done) = (0usize, 0usize);
    while done < output.len() {
        let table = slice(input, at, TABLE, "table of codes")?;
        codes.build(table).map_err(|what| Malformed::new(what, at))?;
        let mut bits = Bits { input, next: at.saturating_add(TABLE), bits: 0, count: 0 };
        let end = output.len().min(done.saturating_add(BLOCK));
        done = block(&codes, &mut bits, output, done, end)?;
        at = bits.position();
    }
    Ok(())
}

/// Decodes symbols until `end` is reached; gives how far the output is made. The last match may go beyond.
fn block(codes: &Codes, bits: &mut Bits<'_>, output: &mut [u8], mut done: usize, end: usize) -> Result<usize> {
    while done < end {
        bits.refill();
        let mut symbol = codes.next(bits);
        if symbol < 256 {
            // The next code is at hand, too: two of 15 bits fit into 32.
            let Some(place) = output.get_mut(done) else { break };
            *place = symbol as u8;
            done += 1;
            if done >= end {
                break;
            }
            symbol = codes.next(bits);
            if symbol < 256 {
                let Some(place) = output.get_mut(done) else { break };
                *place = symbol as u8;
                done += 1;
                continue;
            }
            bits.refill();
        }
        let mut len = usize::from(symbol & 15);
        if len == 15 {
            len = bits.long_len()?;
        }
        len = len.saturating_add(MATCH_MIN);
        let width = u32::from(symbol >> 4 & 15);
        let distance = (1usize << width) + bits.take(width) as usize;
        if distance > done {
            let what = format!("a match {distance} bytes back, {done} bytes from the begin");
            return Err(Malformed::new(what, bits.position()));
        }
        if len > output.len() - done {
            let what = format!("a match of {len} bytes, {} bytes from the end", output.len() - done);
            return Err(Malformed::new(what, bits.position()));
        }
        copy_match(output, done, distance, len);
        done += len;
    }
    Ok(done)
}

/// Repeats `len` bytes from `distance` bytes before `at`; both are in range.
#[inline(always)]
fn copy_match(output: &mut [u8], at: usize, distance: usize, len: usize) {
    let from = at - distance;
    if distance >= CHUNK && output.len() - at >= len + CHUNK {
        // The last chunk goes too far: what follows is written over it.
        let mut copied = 0;
        while copied < len {
            let source = output.get(from + copied..).and_then(|rest| rest.first_chunk::<CHUNK>()).copied();
            let target = output.get_mut(at + copied..).and_then(|rest| rest.first_chunk_mut::<CHUNK>());
            let (Some(source), Some(target)) = (source, target) else { return };
            *target = source;
            copied += CHUNK;
        }
        return;
    }
    repeat(output, at, distance, len);
}

/// The same where chunks would overlap, or not fit.
fn repeat(output: &mut [u8], at: usize, distance: usize, len: usize) {
    let from = at - distance;
    if let (1, Some(&byte)) = (distance, output.get(from)) {
        if let Some(target) = output.get_mut(at..at + len) {
            target.fill(byte);
        }
        return;
    }
    // What was copied is a source, too: twice as much each time.
    let mut copied = 0;
    while copied < len {
        let part = (distance + copied).min(len - copied);
        output.copy_within(from..from + part, at + copied);
        copied += part;
    }
}

/// A table of codes, for looking up 15 bits.
struct Codes {
    /// By the first 11 bits: symbol << 4 | length; 0 where the code is longer.
    short: [u16; 1 << SHORT],
    /// The same by 15 bits, from `long_from` on: longer codes come after all shorter ones.
    long: [u16; LONG_CODES],
    long_from: usize,
}

impl Codes {
    /// Builds it from the lengths of the codes; the error says what is wrong with them.
    fn build(&mut self, table: &[u8]) -> Result<(), &'static str> {
        let mut counts = [0u16; 16];
        let mut lens = [0u8; SYMBOLS];
        for (pair, byte) in lens.as_chunks_mut::<2>().0.iter_mut().zip(table) {
            *pair = [byte & 15, byte >> 4];
        }
        for len in lens {
            if let Some(count) = counts.get_mut(usize::from(len)) {
                *count += 1;
            }
        }
        // Where the codes of each length begin, as 15-bit numbers.
        let mut starts = [0usize; 16];
        let mut next = 0usize;
        self.long_from = 0;
        for (len, (start, count)) in starts.iter_mut().zip(counts).enumerate().skip(1) {
            if len == SHORT + 1 {
                self.long_from = next;
            }
            *start = next;
            next += usize::from(count) << (CODE_MAX - len);
        }
        if next != 1 << CODE_MAX {
            return Err("table of codes does not use up the code space");
        }
        for (symbol, len) in (0u16..).zip(lens) {
            let entry = symbol << 4 | u16::from(len);
            let len = usize::from(len);
            let Some(start) = starts.get_mut(len).filter(|_| len > 0) else { continue };
            let (from, count) = (*start, 1 << (CODE_MAX - len));
            *start += count;
            let places = if len <= SHORT {
                let shift = CODE_MAX - SHORT;
                self.short.get_mut(from >> shift..(from + count) >> shift)
            } else {
                let from = from - self.long_from;
                self.long.get_mut(from..from + count)
            };
            if let Some(places) = places {
                places.fill(entry);
            }
        }
        if let Some(rest) = self.short.get_mut(self.long_from >> (CODE_MAX - SHORT)..) {
            rest.fill(0);
        }
        Ok(())
    }

    /// Takes the next code; at least 15 bits are at hand. Gives its symbol.
    #[inline(always)]
    fn next(&self, bits: &mut Bits<'_>) -> u16 {
        let short = self.short.get((bits.bits >> (64 - SHORT)) as usize).copied().unwrap_or(0);
        let entry = if short != 0 {
            short
        } else {
            let code = (bits.bits >> (64 - CODE_MAX)) as usize;
            self.long.get(code.wrapping_sub(self.long_from)).copied().unwrap_or(0)
        };
        let len = u32::from(entry & 15);
        bits.bits <<= len;
        bits.count = bits.count.wrapping_sub(len);
        entry >> 4
    }
}

/// The words of a block, and the bytes between them.
struct Bits<'a> {
    input: &'a [u8],
    /// Where the next word stands: behind the end, once all are used up.
    next: usize,
    /// Bits at hand, from the top; below them zeroes.
    bits: u64,
    /// How many.
    count: u32,
}

impl Bits<'_> {
    /// Sees to it that 32 bits are at hand.
    #[inline(always)]
    fn refill(&mut self) {
        if self.count < 32 {
            let words = match self.input.get(self.next..).and_then(|rest| rest.first_chunk::<4>()) {
                Some(words) => u32::from_le_bytes(*words),
                None => self.last_words(),
            };
            // The first word becomes the upper one.
            self.bits |= u64::from(words.rotate_left(16)) << (32 - self.count);
            self.next = self.next.saturating_add(4);
            self.count += 32;
        }
    }

    /// The end of the input, filled up with zeroes.
    #[cold]
    fn last_words(&self) -> u32 {
        let mut words = [0u8; 4];
        for (word, byte) in words.iter_mut().zip(self.input.get(self.next..).unwrap_or_default()) {
            *word = *byte;
        }
        u32::from_le_bytes(words)
    }

    /// Takes up to 15 bits, which are at hand.
    #[inline(always)]
    fn take(&mut self, width: u32) -> u64 {
        // Two shifts: one by 64 would be none.
        let value = self.bits >> 1 >> (63 - width);
        self.bits <<= width;
        self.count = self.count.wrapping_sub(width);
        value
    }

    /// Bits that a reader of single words has at hand.
    fn at_hand(&self) -> u32 {
        16 + self.count % 16
    }

    /// Where a reader of single words reads next.
    fn position(&self) -> usize {
        let at_hand = self.at_hand();
        // After two literals there may be fewer bits here than there, by one word.
        let ahead = self.count.saturating_sub(at_hand) / 8;
        let behind = at_hand.saturating_sub(self.count) / 8;
        self.next.saturating_sub(ahead as usize).saturating_add(behind as usize)
    }

    /// A whole byte from between the words.
    fn byte(&mut self) -> Result<u8> {
        let position = self.position();
        let Some(&byte) = self.input.get(position) else {
            return Err(Malformed::new("compressed data ends in the length of a match", position));
        };
        self.count = self.at_hand();
        self.bits &= !(u64::MAX >> self.count);
        self.next = position.saturating_add(1);
        Ok(byte)
    }

    /// A length of 15 and more, without the least length of a match.
    #[inline(never)]
    fn long_len(&mut self) -> Result<usize> {
        let byte = self.byte()?;
        if byte < 255 {
            return Ok(15 + usize::from(byte));
        }
        let mut len = u32::from(u16::from_le_bytes([self.byte()?, self.byte()?]));
        if len == 0 {
            len = u32::from_le_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]);
        }
        if len < 15 {
            return Err(Malformed::new(format!("length {len} of a match in the form of long ones"), self.position()));
        }
        Ok(len as usize)
    }
}
