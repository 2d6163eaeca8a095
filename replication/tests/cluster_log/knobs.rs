//! How hard a life is.

use crate::random::Random;

/// What may go wrong in a life, and how often: chances in a thousand steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knobs {
    pub seats: u16,
    /// Nodes without a seat.
    pub learners: u16,
    /// Node 0 forms the cluster for itself, and the others come later.
    pub grows: bool,
    pub steps: u32,
    pub loss: u32,
    pub duplicates: u32,
    /// Messages overtake each other.
    pub reorders: bool,
    pub crashes: u32,
    pub wipes: u32,
    pub cuts: u32,
    pub pauses: u32,
    pub false_deaths: u32,
    pub flushes: u32,
    /// One entry per message, and crashes that pick leaders.
    pub piecemeal: bool,
}

impl Knobs {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut sometimes = |most: u32| match random.below(3) {
            0 => 0,
            _ => random.below(u64::from(most)) as u32,
        };
        let (loss, duplicates) = (sometimes(150), sometimes(100));
        let (crashes, wipes) = (sometimes(12), sometimes(5));
        let (cuts, pauses, false_deaths) = (sometimes(12), sometimes(12), sometimes(4));
        let seats = [3, 3, 3, 5, 5, 1][random.below(6) as usize];
        Self {
            seats,
            learners: random.below(2) as u16,
            grows: random.below(6) == 0,
            steps: 1_500,
            loss,
            duplicates,
            reorders: random.below(2) == 0,
            crashes,
            wipes,
            cuts,
            pauses,
            false_deaths,
            flushes: 100 + random.below(800) as u32,
            piecemeal: random.below(3) == 0,
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn calm(self) -> Self {
        Self {
            loss: 0,
            duplicates: 0,
            reorders: false,
            crashes: 0,
            wipes: 0,
            cuts: 0,
            pauses: 0,
            false_deaths: 0,
            flushes: 1_000,
            ..self
        }
    }
}
