//! Makes hostile inputs out of sound ones: repeatable from a seed.

/// A small random number generator (splitmix64): the same seed gives the same inputs on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.number() % end as u64) as usize }
    }
}

/// Numbers that lengths, counts and offsets break at.
const EDGES: [u64; 12] = [0, 1, 2, 7, 0x7F, 0xFF, 0x1FFF, 0x2000, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF];

/// Changes `input` in one to eight places: bits, edge values, blocks moved, removed or doubled, a cut end.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..1 + random.below(8) {
        let at = random.below(input.len());
        match random.below(8) {
            0 | 1 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            2 if !input.is_empty() => input[at] = random.number() as u8,
            3 | 4 => {
                let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4)];
                for (byte, new) in input.iter_mut().skip(at).zip(&edge[..width]) {
                    *byte = *new;
                }
            }
            5 => {
                let len = random.below(64).min(input.len() - at);
                let from = random.below(input.len().saturating_sub(len));
                input.copy_within(from..from + len, at);
            }
            6 => {
                let from = random.below(other.len());
                let len = random.below(256).min(other.len() - from).min(input.len() - at);
                input[at..at + len].copy_from_slice(&other[from..from + len]);
            }
            _ if random.below(4) == 0 => input.truncate(at),
            _ => {}
        }
    }
}
