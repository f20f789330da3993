//! Randomness of the generated org: SplitMix64 (Steele, Lea, Flood 2014), seeded per record.
//!
//! Each record has a stream of its own, named by seed, object and row, so any record can be made alone, in any order, and a
//! child can ask for a trait of its parent without the parent being kept. It is written out here, rather than taken from a
//! crate, because the same seed must give the same org for ever.

pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    pub fn new(seed: u64, object: &str, row: u64) -> Self {
        // FNV-1a over the object's name; mixing through the generator itself keeps neighbouring rows apart.
        let name =
            object.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut dice = Self { state: seed ^ name };
        dice.state = dice.bits() ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        dice.state = dice.bits();
        dice
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// In 0..limit; 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.unit() * limit as f64) as u64
    }

    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).unsigned_abs()) as i64
    }

    /// Box-Muller, one value of the pair.
    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        mean + deviation * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// A count with the given mean (Knuth's product method; means here are small).
    pub fn poisson(&mut self, mean: f64) -> u64 {
        let limit = (-mean).exp();
        let (mut product, mut count) = (self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// An item by its weight, the second of each pair.
    pub fn weighted<'a, T>(&mut self, items: &'a [(T, f64)]) -> &'a T {
        let total: f64 = items.iter().map(|(_, weight)| weight).sum();
        let mut left = self.unit() * total;
        for (item, weight) in items {
            left -= weight;
            if left < 0.0 {
                return item;
            }
        }
        &items[items.len() - 1].0
    }
}

pub(crate) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
