//! Randomness that a seed decides, in integers only: the same on every machine.

use std::ops::RangeInclusive;

/// Chances are given in parts of this.
pub const MILLION: u64 = 1_000_000;

/// A xoshiro256++ generator.
#[derive(Clone, Debug)]
pub struct Random([u64; 4]);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    /// A generator of its own for one part of the world, so that drawing more in one part does not
    /// change what the others draw.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.draw())
    }

    pub fn draw(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let drawn = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// A number below `end`. Panics if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(0 < end, "no number lies below 0");
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }

    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// True in `parts` of a million cases.
    pub fn chance(&mut self, parts: u64) -> bool {
        0 < parts && self.below(MILLION) < parts
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// About exponentially distributed, with this mean: leading zeros give the whole part of a
    /// binary logarithm, the next bits its fraction.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let bits = self.draw() | 1;
        let zeros = u64::from(bits.leading_zeros());
        let fraction = (!(bits << zeros << 1)) >> 48;
        let thousandths = zeros * 1000 + fraction * 1000 / (1 << 16);
        (u128::from(mean) * u128::from(thousandths) * 693 / MILLION as u128) as u64
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end as u64 + 1) as usize);
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_for_ever() {
        let mut random = Random::new(7);
        let drawn = [random.draw(), random.below(1000), random.exponential(1000)];
        assert_eq!(drawn, [1_021_219_803_524_665_661, 172, 390], "seeds in the corpus rely on it");
    }

    #[test]
    fn the_exponential_has_its_mean() {
        let mut random = Random::new(1);
        let sum: u64 = (0..100_000).map(|_| random.exponential(1_000_000)).sum();
        let mean = sum / 100_000;
        assert!((950_000..1_060_000).contains(&mean), "{mean}");
    }

    #[test]
    fn chances_come_as_often_as_they_say() {
        let mut random = Random::new(2);
        let hits = (0..100_000).filter(|_| random.chance(250_000)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| random.chance(0)));
    }
}
