//! What to run: enough to run it again, in one line.

use std::fmt;
use std::str::FromStr;

use engine::Planted;

use crate::knobs::{Knobs, Profile};
use crate::random::Random;

/// Which machine is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum WorldKind {
    /// A journal and an owner that holds entries for a while.
    Journal,
    /// A shard's engine with producers and consumers.
    Engine,
    /// A whole node with Kafka clients.
    Node,
    /// A cluster of three or five nodes.
    Cluster,
}

impl WorldKind {
    /// Those that are judged. Clusters are not among them yet: a few of their seeds do not settle.
    pub const ALL: &'static [Self] = Self::OF_ONE_NODE;
    pub const OF_ONE_NODE: &'static [Self] = &[Self::Journal, Self::Engine, Self::Node];
}

/// A run: `journal model 17 stall=0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub world: WorldKind,
    pub profile: Profile,
    pub seed: u64,
    /// Knobs that are set instead of drawn.
    pub set: Vec<(String, u64)>,
    pub mutant: Option<String>,
}

impl Plan {
    #[must_use]
    pub fn new(world: WorldKind, profile: Profile, seed: u64) -> Self {
        Self { world, profile, seed, set: Vec::new(), mutant: None }
    }

    /// The world's knobs, and the randomness that is left for everything else.
    ///
    /// Panics on a knob that does not exist.
    #[must_use]
    pub fn draw(&self) -> (Knobs, Random) {
        let mut random = Random::new(self.seed);
        let mut knobs = Knobs::draw(&mut random.fork(), self.profile);
        for (name, value) in &self.set {
            *knobs.knob(name).expect("knobs are checked when they are read") = *value;
        }
        (knobs, random)
    }

    /// The mutant to plant in engines, if it is one of theirs.
    #[must_use]
    pub fn planted(&self) -> Planted {
        self.mutant.as_deref().and_then(Planted::named).unwrap_or_default()
    }

    /// The mutant to plant in replication, if it is one of its own.
    #[must_use]
    pub fn planted_in_replication(&self) -> replication::Planted {
        self.mutant.as_deref().and_then(replication::Planted::named).unwrap_or_default()
    }

    /// The command that runs this again, with its trace.
    #[must_use]
    pub fn command(&self) -> String {
        let mut command = format!(
            "cargo run -p sim -- --world {} --profile {} --seed {}",
            self.world, self.profile, self.seed
        );
        for (name, value) in &self.set {
            command += &format!(" --set {name}={value}");
        }
        if let Some(mutant) = &self.mutant {
            command += &format!(" --mutant {mutant}");
        }
        command + " --trace"
    }
}

impl fmt::Display for WorldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = clap::ValueEnum::to_possible_value(self).expect("no world is hidden");
        f.write_str(value.get_name())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Beyond => "beyond",
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.world, self.profile, self.seed)?;
        for (name, value) in &self.set {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let mut next = |what| words.next().ok_or_else(|| format!("{line:?} lacks its {what}"));
        let world = clap::ValueEnum::from_str(next("world")?, false)?;
        let profile = clap::ValueEnum::from_str(next("profile")?, false)?;
        let seed = next("seed")?.parse().map_err(|error| format!("{line:?}: {error}"))?;
        let set = words.map(parse_setting).collect::<Result<_, _>>()?;
        Ok(Self { world, profile, seed, set, mutant: None })
    }
}

/// Reads `knob=value`.
pub fn parse_setting(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is no knob=value"))?;
    if !Knobs::NAMES.contains(&name) {
        return Err(format!("no knob is called {name:?}; there are {}", Knobs::NAMES.join(", ")));
    }
    let value = value.parse().map_err(|error| format!("{text:?}: {error}"))?;
    Ok((name.to_owned(), value))
}

/// Reads the name of a mutant.
pub fn parse_mutant(text: &str) -> Result<String, String> {
    let names: Vec<_> =
        crate::mutants::names().chain(crate::mutants::names_in_clusters()).collect();
    if names.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("no mutant is called {text:?}; there are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_line() {
        let plan: Plan = "journal beyond 17 stall=0 lives=2".parse().unwrap();
        assert_eq!(plan.to_string(), "journal beyond 17 stall=0 lives=2");
        assert_eq!((plan.draw().0.stall, plan.draw().0.lives), (0, 2));
        assert!("journal beyond".parse::<Plan>().unwrap_err().contains("lacks its seed"));
        assert!("journal model 1 nonsense=2".parse::<Plan>().is_err());
    }
}
