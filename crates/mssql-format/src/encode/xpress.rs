//! Compresses as [`crate::xpress`] decompresses: plain and correct, for the stand-in and for tests.

use crate::xpress::{BLOCK, CODE_MAX, MATCH_MIN, SYMBOLS, TABLE};

/// The longest distance of a match.
const DISTANCE_MAX: usize = 65_535;
/// Earlier places that are tried for a match.
const TRIES: usize = 16;
const HASH_BITS: u32 = 14;

/// Appends the compressed form of `input` to `output`.
pub fn xpress_compress(input: &[u8], output: &mut Vec<u8>) {
    let mut places = Places { latest: vec![usize::MAX; 1 << HASH_BITS], before: vec![usize::MAX; input.len()] };
    let mut start = 0;
    while start < input.len() {
        let end = input.len().min(start + BLOCK);
        let mut tokens = tokens(input, start, end, &mut places);
        if end == input.len() {
            // The end has a symbol of its own, which readers that know the length do not need.
            tokens.push(Token { symbol: 256, distance: 0, len: 0 });
        }
        write_block(&tokens, output);
        start = end;
    }
}

/// A byte, or a match.
struct Token {
    symbol: u16,
    /// The lower bits of the distance.
    distance: u16,
    /// Length without the least length, where it is 15 or more.
    len: u16,
}

/// Where three bytes of the same hash stood before.
struct Places {
    latest: Vec<usize>,
    before: Vec<usize>,
}

impl Places {
    fn enter(&mut self, input: &[u8], at: usize) {
        if let Some(hash) = hash(input, at) {
            self.before[at] = std::mem::replace(&mut self.latest[hash], at);
        }
    }

    /// The longest match for the bytes at `at`, up to `end`: distance and length.
    fn find(&self, input: &[u8], at: usize, end: usize) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        let mut place = self.latest[hash(input, at)?];
        for _ in 0..TRIES {
            if place == usize::MAX || at - place > DISTANCE_MAX {
                break;
            }
            let len = input[at..end].iter().zip(&input[place..]).take_while(|(a, b)| a == b).count();
            if len >= MATCH_MIN && best.is_none_or(|(_, longest)| len > longest) {
                best = Some((at - place, len));
            }
            place = self.before[place];
        }
        best
    }
}

fn hash(input: &[u8], at: usize) -> Option<usize> {
    let bytes = input.get(at..at + 3)?;
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
    Some((word.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize)
}

fn tokens(input: &[u8], start: usize, end: usize, places: &mut Places) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = start;
    while at < end {
        let (symbol, distance, len, took) = match places.find(input, at, end) {
            Some((distance, took)) => {
                let width = distance.ilog2();
                let len = took - MATCH_MIN;
                (256 + 16 * width as u16 + len.min(15) as u16, (distance - (1 << width)) as u16, len as u16, took)
            }
            None => (u16::from(input[at]), 0, 0, 1),
        };
        tokens.push(Token { symbol, distance, len });
        for place in at..at + took {
            places.enter(input, place);
        }
        at += took;
    }
    tokens
}

fn write_block(tokens: &[Token], output: &mut Vec<u8>) {
    let mut counts = [0u32; SYMBOLS];
    for token in tokens {
        counts[usize::from(token.symbol)] += 1;
    }
    let lens = code_lens(counts);
    let table = output.len();
    output.extend(lens.as_chunks::<2>().0.iter().map(|[even, odd]| even | odd << 4));
    debug_assert_eq!(output.len(), table + TABLE);
    let codes = codes(&lens);
    let mut words = Words::new(output);
    for token in tokens {
        let symbol = usize::from(token.symbol);
        words.bits(codes[symbol].into(), lens[symbol].into());
        if symbol >= 256 {
            let (n, width) = (symbol & 15, symbol >> 4 & 15);
            if n == 15 {
                let more = token.len - 15;
                words.byte(more.min(255) as u8);
                if more >= 255 {
                    token.len.to_le_bytes().into_iter().for_each(|byte| words.byte(byte));
                }
            }
            words.bits(token.distance.into(), width as u32);
        }
    }
    words.finish();
}

/// Lengths of a code for symbols that occur so often, none longer than 15 bits; at least two symbols get one.
fn code_lens(mut counts: [u32; SYMBOLS]) -> [u8; SYMBOLS] {
    // A code of one symbol would not use up the code space.
    for spare in [256, 0] {
        if counts.iter().filter(|&&count| count > 0).count() < 2 && counts[spare] == 0 {
            counts[spare] = 1;
        }
    }
    loop {
        let lens = huffman(&counts);
        if lens.iter().all(|&len| usize::from(len) <= CODE_MAX) {
            return lens;
        }
        // Flatter counts make a flatter tree.
        for count in counts.iter_mut().filter(|count| **count > 0) {
            *count = *count / 2 + 1;
        }
    }
}

/// Depths of the symbols in a Huffman tree.
fn huffman(counts: &[u32; SYMBOLS]) -> [u8; SYMBOLS] {
    let mut queue: std::collections::BinaryHeap<_> = (0..SYMBOLS)
        .filter(|&symbol| counts[symbol] > 0)
        .map(|symbol| std::cmp::Reverse((u64::from(counts[symbol]), symbol)))
        .collect();
    // Symbols are nodes 0 to 511, inner nodes follow.
    let mut parents = vec![usize::MAX; SYMBOLS];
    while let (Some(std::cmp::Reverse(one)), Some(std::cmp::Reverse(other))) = (queue.pop(), queue.pop()) {
        let node = parents.len();
        parents.push(usize::MAX);
        parents[one.1] = node;
        parents[other.1] = node;
        if queue.is_empty() {
            break;
        }
        queue.push(std::cmp::Reverse((one.0 + other.0, node)));
    }
    let mut depths = vec![0u8; parents.len()];
    for node in (0..parents.len()).rev() {
        if parents[node] != usize::MAX {
            depths[node] = depths[parents[node]] + 1;
        }
    }
    let mut lens = [0; SYMBOLS];
    lens.copy_from_slice(&depths[..SYMBOLS]);
    lens
}

/// Canonical codes of the given lengths.
fn codes(lens: &[u8; SYMBOLS]) -> [u16; SYMBOLS] {
    let mut codes = [0; SYMBOLS];
    let mut next = 0u16;
    for len in 1..=CODE_MAX as u8 {
        next <<= 1;
        for symbol in (0..SYMBOLS).filter(|&symbol| lens[symbol] == len) {
            codes[symbol] = next;
            next = next.wrapping_add(1);
        }
    }
    codes
}

/// Writes words, and bytes where a reader of single words expects them: behind two words that are reserved ahead.
struct Words<'a> {
    output: &'a mut Vec<u8>,
    /// Places of the word that is being filled and of the next one.
    places: [usize; 2],
    word: u32,
    free: u32,
}

impl<'a> Words<'a> {
    fn new(output: &'a mut Vec<u8>) -> Self {
        let at = output.len();
        output.extend([0; 4]);
        Words { output, places: [at, at + 2], word: 0, free: 16 }
    }

    fn bits(&mut self, value: u32, width: u32) {
        if width <= self.free {
            self.free -= width;
            self.word = self.word << width | value;
            return;
        }
        let left = width - self.free;
        self.put(self.word << self.free | value >> left);
        self.places = [self.places[1], self.output.len()];
        self.output.extend([0; 2]);
        self.word = value & ((1 << left) - 1);
        self.free = 16 - left;
    }

    fn byte(&mut self, byte: u8) {
        self.output.push(byte);
    }

    fn finish(self) {
        let word = self.word << self.free;
        let Words { output, places, .. } = self;
        output[places[0]..places[0] + 2].copy_from_slice(&(word as u16).to_le_bytes());
    }

    fn put(&mut self, word: u32) {
        let at = self.places[0];
        self.output[at..at + 2].copy_from_slice(&(word as u16).to_le_bytes());
    }
}
