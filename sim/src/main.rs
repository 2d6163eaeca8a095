//! `sim`: runs seeds, replays one, hunts mutants.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, panic};

use clap::Parser;
use sim::knobs::Profile;
use sim::plan::{Plan, WorldKind, parse_mutant, parse_setting};
use sim::run::{Report, run};
use sim::{coverage, mutants, shrink};

/// One in so many seeds is run twice, to see that it repeats itself.
const REPEATED: u64 = 50;

/// Runs the production state machines in a deterministic world full of faults.
///
/// Without --seed, fresh seeds run until the time is up, an equal share of it in each world.
#[derive(Parser, Debug)]
#[command(name = "sim", max_term_width = 100)]
struct Options {
    /// Run this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// The first of the fresh seeds; drawn from the clock if not given.
    #[arg(long)]
    from: Option<u64>,
    /// How long to run fresh seeds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many fresh seeds to run in each world, however long that takes.
    #[arg(long, conflicts_with = "seconds")]
    seeds: Option<u64>,
    /// Only this world.
    #[arg(long)]
    world: Option<WorldKind>,
    /// Only faults of this profile.
    #[arg(long)]
    profile: Option<Profile>,
    /// Set a knob instead of drawing it.
    #[arg(long = "set", value_name = "KNOB=VALUE", value_parser = parse_setting)]
    set: Vec<(String, u64)>,
    /// Plant a mutant.
    #[arg(long, value_name = "NAME", value_parser = parse_mutant)]
    mutant: Option<String>,
    /// Hunt every mutant, or the one named by --mutant, and print a table; fails if one survives.
    #[arg(long)]
    mutants: bool,
    /// Seeds that a hunt may take.
    #[arg(long, default_value_t = 20_000)]
    seeds_max: u64,
    /// Tell everything that happens.
    #[arg(long)]
    trace: bool,
    /// Make the failing seed simpler before reporting it.
    #[arg(long)]
    shrink: bool,
    /// Run the plans of this file first.
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// Fail if something that should have happened never did.
    #[arg(long)]
    require_coverage: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.trace {
        panic::set_hook(Box::new(|_| {}));
    }
    if options.mutants {
        return hunt_all(&options);
    }
    let mut tally = Tally::default();
    let held = match options.seed {
        Some(seed) => {
            options.plans(&options.worlds(), seed).iter().all(|plan| tally.run(plan, &options))
        }
        None => run_corpus(&options, &mut tally) && run_fresh(&options, &mut tally),
    };
    tally.print();
    let covered = !options.require_coverage || tally.is_covered();
    if held && covered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Options {
    fn worlds(&self) -> Vec<WorldKind> {
        self.world.map_or_else(|| WorldKind::ALL.to_vec(), |world| vec![world])
    }

    /// The seed in each of `worlds` and each profile that was not excluded.
    fn plans(&self, worlds: &[WorldKind], seed: u64) -> Vec<Plan> {
        let both = || vec![Profile::Model, Profile::Beyond];
        let profiles = self.profile.map_or_else(both, |profile| vec![profile]);
        let pairs = worlds.iter().flat_map(|world| profiles.iter().map(move |p| (*world, *p)));
        let plan = |(world, profile)| Plan {
            set: self.set.clone(),
            mutant: self.mutant.clone(),
            ..Plan::new(world, profile, seed)
        };
        pairs.map(plan).collect()
    }
}

fn run_corpus(options: &Options, tally: &mut Tally) -> bool {
    let Some(path) = &options.corpus else { return true };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("cannot read {}: {error}", path.display());
            return false;
        }
    };
    match sim::corpus::parse(&text) {
        Ok(plans) => plans.iter().all(|plan| tally.run(plan, options)),
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            false
        }
    }
}

fn run_fresh(options: &Options, tally: &mut Tally) -> bool {
    let from_clock =
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs() * 1_000_000);
    let first = options.from.unwrap_or_else(from_clock);
    println!("fresh seeds from {first}");
    let worlds = options.worlds();
    // A life of a node takes far longer than one of a journal: each world has its share of the time.
    let share = Duration::from_secs(options.seconds) / worlds.len() as u32;
    worlds.iter().all(|world| {
        let end = Instant::now() + share;
        let goes_on = |seed: &u64| match options.seeds {
            Some(seeds) => *seed - first < seeds,
            None => Instant::now() < end,
        };
        let mut run =
            |seed| options.plans(&[*world], seed).iter().all(|plan| tally.run(plan, options));
        (first..).take_while(goes_on).all(&mut run)
    })
}

/// What all runs together showed.
#[derive(Default)]
struct Tally {
    runs: u64,
    repeated: u64,
    lasted: Duration,
    cpu: Duration,
    counts: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Runs a plan; false, with a report, if it fails.
    fn run(&mut self, plan: &Plan, options: &Options) -> bool {
        let before = Instant::now();
        let report = run(plan, options.trace);
        self.cpu += before.elapsed();
        self.add(&report);
        if let Some(violation) = &report.violation {
            println!("FAILED {plan}\n  {violation}\n  {}", plan.command());
            if options.shrink {
                let (simpler, runs) = shrink::shrink(plan, violation.checker);
                println!("  simpler, after {runs} runs: {simpler}\n  {}", simpler.command());
            }
            return false;
        }
        if options.seed.is_some() || self.runs.is_multiple_of(REPEATED) {
            self.repeated += 1;
            if let Err(violation) = report.check_repeats(&run(plan, false)) {
                println!("FAILED {plan}\n  {violation}");
                return false;
            }
        }
        true
    }

    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.lasted += report.lasted;
        for (what, count) in &report.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    fn is_covered(&self) -> bool {
        let missing = coverage::missing(&self.counts);
        if !missing.is_empty() {
            println!("never happened: {}", missing.join(", "));
        }
        missing.is_empty()
    }

    fn print(&self) {
        let cpu = self.cpu.as_secs_f64();
        println!(
            "{} runs, {} of them twice: {:.0} a CPU-second; {:.2} simulated hours",
            self.runs,
            self.repeated,
            self.runs as f64 / cpu,
            self.lasted.as_secs_f64() / 3600.0,
        );
        for (what, count) in &self.counts {
            println!("{count:>12}  {what}");
        }
    }
}

fn hunt_all(options: &Options) -> ExitCode {
    println!("{:<30} {:>7} {:>6}  {:<12} plan", "mutant", "seeds", "s", "seen by");
    let on_one = options.world != Some(WorldKind::Cluster);
    let in_clusters = options.world.is_none_or(|world| world == WorldKind::Cluster);
    let given = options.world.map(|world| [world]);
    let of_one_node = given.as_ref().map_or(WorldKind::OF_ONE_NODE, |world| &world[..]);
    let ones = mutants::names().filter(|_| on_one).map(|name| (name, of_one_node));
    let others = mutants::names_in_clusters().filter(|_| in_clusters);
    let mut survivors = 0;
    for (name, worlds) in ones.chain(others.map(|name| (name, &[WorldKind::Cluster][..]))) {
        if options.mutant.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        match hunt(name, worlds, options) {
            Ok(caught) => survivors += u32::from(!caught),
            Err(error) => {
                eprintln!("sim/mutants.txt: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line of the table; false if the mutant survives.
fn hunt(name: &str, worlds: &[WorldKind], options: &Options) -> Result<bool, String> {
    let began = Instant::now();
    let caught = mutants::catch(name, worlds, options.from.unwrap_or(1), options.seeds_max)?;
    let seconds = began.elapsed().as_secs_f64();
    match &caught {
        Some(caught) => {
            let seeds = caught.seeds.map_or_else(|| "known".to_owned(), |seeds| seeds.to_string());
            let (checker, plan) = (format!("{:?}", caught.violation.checker), &caught.plan);
            println!("{name:<30} {seeds:>7} {seconds:>6.1}  {checker:<12} {plan}");
        }
        None => println!("{name:<30} {:>7} {seconds:>6.1}  SURVIVED", options.seeds_max),
    }
    Ok(caught.is_some())
}
